//! Measures how hard instances are pressed, for services that are balanced by it. Where none is, nothing is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_cri::Cri;
use gantry_kernel::InstanceId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeper::{Shared, chain};
use crate::domain::pressure::{RESOURCES, Used, bounds, pressed};
use crate::domain::spec::label;
use crate::domain::wanted::Wanted;

const PERIOD: Duration = Duration::from_secs(2);

pub struct Pressure {
    pub cri: Cri,
    pub shared: Shared,
    /// Labels that choose this node's containers.
    pub own: BTreeMap<String, String>,
}

/// Processor time of each container at the look before.
#[derive(Default)]
struct Before {
    at: Option<Instant>,
    cpu_nanos: BTreeMap<String, u64>,
}

impl Pressure {
    /// Until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut wanted = self.shared.wanted.subscribe();
        let mut before = Before::default();
        loop {
            let word = wanted.borrow_and_update().clone();
            let asked = word.filter(|w| w.services.values().any(|s| s.wire.balance == RESOURCES));
            match &asked {
                Some(word) => self.look(word, &mut before).await,
                None => {
                    before = Before::default();
                    self.say(BTreeMap::new());
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = wanted.changed(), if asked.is_none() => if changed.is_err() { return },
                () = tokio::time::sleep(PERIOD), if asked.is_some() => {}
            }
        }
    }

    async fn look(&self, wanted: &Wanted, before: &mut Before) {
        let usage = match self.cri.usage(&self.own).await {
            Ok(usage) => usage,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "what instances use is not known; they keep the weights they have");
                return;
            }
        };
        let now = Instant::now();
        let within = before.at.replace(now).map_or(Duration::ZERO, |at| now - at);
        let earlier = std::mem::take(&mut before.cpu_nanos);
        let mut all: BTreeMap<InstanceId, Used> = BTreeMap::new();
        for container in usage {
            let Some(id) = container.labels.get(label::INSTANCE).and_then(|id| id.parse().ok()) else { continue };
            let used = all.entry(id).or_default();
            // Of one that was not there before it is not known yet.
            used.cpu_nanos += earlier.get(&container.id).map_or(0, |then| container.cpu_nanos.saturating_sub(*then));
            used.memory_bytes += container.memory_working_set_bytes;
            before.cpu_nanos.insert(container.id, container.cpu_nanos);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let known = all.into_iter().filter_map(|(id, used)| Some((id, pressed(used, within, bounds(wanted.instances.get(&id)?, cores)))));
        self.say(known.collect());
    }

    fn say(&self, all: BTreeMap<InstanceId, u8>) {
        let changed = self.shared.pressed.send_if_modified(|held| {
            let changed = *held != all;
            *held = all;
            changed
        });
        if changed {
            self.shared.wake.notify_one();
        }
    }
}
