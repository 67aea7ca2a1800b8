//! Keeps the container runtime and the balancer within the limits of the configuration, also when they were started anew.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::keeper::chain;
use crate::adapters::daemons::Daemons;

/// One that was started anew is bounded after so long at the latest.
const LOOK: Duration = Duration::from_secs(3);

/// Until cancelled. The limits stay: the daemons go on without the agent.
pub async fn run(daemons: Daemons, cancel: CancellationToken) {
    let mut told = String::new();
    loop {
        let said = daemons.round().await.err().map(|error| chain(&error)).unwrap_or_default();
        if said != told && !said.is_empty() {
            tracing::warn!(error = said, "the container runtime or the balancer is not bounded");
        }
        told = said;
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
