//! Tells live readers that there may be something new.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What another replica wrote is seen after this long; what this one wrote, at once.
const OTHERS: Duration = Duration::from_secs(1);

/// A bell that many wait on. Cheap to clone.
#[derive(Clone)]
pub struct Bell(watch::Sender<u64>);

impl Bell {
    pub fn new() -> Self {
        Self(watch::channel(0).0)
    }

    pub fn ring(&self) {
        self.0.send_modify(|n| *n += 1);
    }

    pub fn hear(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Rings whenever a subscription has moved on, until cancelled.
pub async fn ring_on(mut moved: watch::Receiver<i64>, bell: Bell, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = moved.changed() => if changed.is_err() { return },
        }
        bell.ring();
    }
}

/// Rings now and then for what other replicas wrote, until cancelled. Costs nothing while nobody listens.
pub async fn ring_for_others(bells: [Bell; 2], cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(OTHERS) => {}
        }
        bells.iter().filter(|b| b.0.receiver_count() > 0).for_each(Bell::ring);
    }
}
