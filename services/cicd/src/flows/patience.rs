//! Waiting for somebody who is away for a moment: when the whole platform starts again, steps begin before all services are up.

use std::time::Duration;

use gantry_kernel::{Kind, Problem};
use tokio_util::sync::CancellationToken;

use crate::adapters::step_log::StepLog;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a call failed, and whether it may work later.
pub struct Fault {
    pub passing: bool,
    pub text: String,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { passing: matches!(problem.kind, Kind::Unavailable | Kind::TooMany), text: problem.detail }
    }
}

/// Calls until it works, fails for good, or `limit` is over.
///
/// # Errors
/// The last fault's text, or `cancelled`.
pub async fn wait<T, F: Future<Output = Result<T, Fault>>>(
    limit: Duration,
    log: &StepLog,
    cancel: &CancellationToken,
    call: impl Fn() -> F,
) -> Result<T, String> {
    let deadline = tokio::time::Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let fault = match call().await {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        if !fault.passing || tokio::time::Instant::now() + pause > deadline {
            return Err(fault.text);
        }
        if !told {
            log.line(&format!("[gantry] waiting: {}", fault.text));
            told = true;
        }
        tokio::select! {
            () = cancel.cancelled() => return Err("cancelled".into()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
