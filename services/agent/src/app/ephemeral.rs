//! Measures what instances write on the node's disk besides volumes, where it is limited. Who has written too much is told to the keeper, which
//! ends it and makes it anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gantry_cri::Cri;
use gantry_kernel::InstanceId;
use tokio_util::sync::CancellationToken;

use super::keeper::{Shared, chain};
use crate::adapters::sizes;
use crate::domain::ephemeral::{Written, excess, is_limited};
use crate::domain::spec::label;
use crate::domain::wanted::Wanted;

/// As often as containerd looks at the containers' layers.
const PERIOD: Duration = Duration::from_secs(10);

pub struct Ephemeral {
    pub cri: Cri,
    pub shared: Shared,
    /// Labels that choose this node's containers.
    pub own: BTreeMap<String, String>,
    /// Where the instances' folders are.
    pub instances: PathBuf,
}

impl Ephemeral {
    /// Until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut wanted = self.shared.wanted.subscribe();
        loop {
            let word = wanted.borrow_and_update().clone();
            let asked = word.filter(|w| w.instances.values().any(is_limited));
            match &asked {
                // With very many files it takes long.
                Some(word) => tokio::select! {
                    () = cancel.cancelled() => return,
                    () = self.look(word) => {}
                },
                None => self.say(BTreeMap::new()),
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = wanted.changed(), if asked.is_none() => if changed.is_err() { return },
                () = tokio::time::sleep(PERIOD), if asked.is_some() => {}
            }
        }
    }

    async fn look(&self, wanted: &Wanted) {
        let usage = match self.cri.usage(&self.own).await {
            Ok(usage) => usage,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "what instances have written is not known; the next look tells");
                return;
            }
        };
        // With the main container: what is found is true as long as that one runs.
        let mut all: BTreeMap<InstanceId, (Option<String>, Written)> = BTreeMap::new();
        for container in usage {
            let Some(id) = container.labels.get(label::INSTANCE).and_then(|id| id.parse().ok()) else { continue };
            let (main, written) = all.entry(id).or_default();
            let name = container.labels.get(label::BESIDE).cloned().unwrap_or_default();
            if name.is_empty() {
                *main = Some(container.id);
            }
            written.layers.insert(name, container.disk_bytes);
        }
        let mut over = BTreeMap::new();
        for (id, (main, mut written)) in all {
            let Some((main, instance)) = main.zip(wanted.instances.get(&id).filter(|i| is_limited(i))) else { continue };
            written.scratch = sizes::of_folders(self.instances.join(id.to_string()), "scratch-").await;
            over.extend(excess(instance, &written).map(|why| (main, why)));
        }
        self.say(over);
    }

    fn say(&self, all: BTreeMap<String, String>) {
        let changed = self.shared.excess.send_if_modified(|held| {
            let changed = *held != all;
            *held = all;
            changed
        });
        if changed {
            self.shared.wake.notify_one();
        }
    }
}
