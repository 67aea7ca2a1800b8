//! Ends the sessions whose time is over by a security policy, also those whose browser never comes back: the clients hear of it then, and
//! what came from the session ends with it. Every replica does it; ending a session twice does no harm.

use std::time::Duration;

use crate::app::App;

const EVERY: Duration = Duration::from_secs(60);

pub async fn run(app: App) {
    loop {
        if let Err(problem) = app.end_overdue_sessions().await {
            tracing::warn!(error = problem.chain(), "sessions whose time is over could not be ended");
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
