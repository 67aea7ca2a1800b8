//! Looks at a cluster's API server again and again. What follows from it the reconciler decides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_kernel::Env;
use gantry_kubernetes::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::fleet::{Moment, Pulse, Turn};

/// What the looks have shown, shared with whoever decides.
#[derive(Clone)]
pub struct Health {
    pulse: Arc<Mutex<Pulse>>,
    /// From here on time is counted: the machine's clock may be set.
    began: Instant,
}

impl Default for Health {
    fn default() -> Self {
        Self { pulse: Arc::default(), began: Instant::now() }
    }
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pulse(&self) -> Pulse {
        self.lock().clone()
    }

    fn steady(&self) -> time::Duration {
        time::Duration::try_from(self.began.elapsed()).unwrap_or(time::Duration::MAX)
    }

    fn now(&self, env: &Env) -> Moment {
        Moment { steady: self.steady(), told: env.now() }
    }

    /// [`Pulse::forgive`]
    pub fn forgive(&self, env: &Env) {
        let now = self.now(env);
        self.lock().forgive(now);
    }

    /// [`Pulse::turn`], now.
    pub fn turn(&self, lost: bool, grace: time::Duration) -> Turn {
        self.lock().turn(self.steady(), lost, grace)
    }

    /// True: it is otherwise than before.
    fn see(&self, env: &Env, look: Result<(), String>, grace: Duration) -> bool {
        let now = self.now(env);
        let mut pulse = self.lock();
        let before = pulse.is_well();
        pulse.see(now, look, time::Duration::try_from(grace).unwrap_or(time::Duration::MAX));
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
