//! Looks at a cluster's API server again and again. What follows from it the reconciler decides.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_kernel::{Env, OffsetDateTime};
use gantry_kubernetes::Client;
use tokio_util::sync::CancellationToken;

use crate::domain::fleet::Pulse;

/// What the looks have shown, shared with whoever decides.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Pulse>>);

impl Health {
    pub fn pulse(&self) -> Pulse {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Pulse::forgive`]
    pub fn forgive(&self, now: OffsetDateTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).forgive(now);
    }

    /// True: it is otherwise than before.
    fn see(&self, env: &Env, look: Result<(), String>, grace: Duration) -> bool {
        let mut pulse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pulse.is_well();
        pulse.see(env.now(), look, time::Duration::try_from(grace).unwrap_or(time::Duration::MAX));
        pulse.is_well() != before
    }
}

/// Six times within the grace time, at least every ten seconds.
fn pause(grace: Duration) -> Duration {
    (grace / 6).clamp(Duration::from_millis(250), Duration::from_secs(10))
}

/// Until `cancel`. `grace` is asked each time: it can be set anew.
pub async fn follow(client: Client, env: Env, health: Health, grace: impl Fn() -> Duration + Send, moved: impl Fn() + Send, cancel: CancellationToken) {
    let looking = async move {
        loop {
            let grace = grace();
            let within = (grace / 2).clamp(Duration::from_secs(1), Duration::from_secs(5));
            let look = client.ready(within).await.map_err(|trouble| trouble.to_string());
            if health.see(&env, look, grace) {
                moved();
            }
            tokio::time::sleep(pause(grace)).await;
        }
    };
    tokio::select! {
        () = looking => {}
        () = cancel.cancelled() => {}
    }
}
