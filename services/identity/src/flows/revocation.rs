//! Keeps the authorities' lists of revoked certificates fresh. One replica at a time; what is due, the table says.

use std::time::Duration;

use gantry_es_pg::Lease;

use crate::app::App;

const EVERY: Duration = Duration::from_secs(60);

pub async fn run(app: App) {
    loop {
        match Lease::try_acquire(app.pool(), "revocation-lists").await {
            Ok(Some(lease)) => {
                if let Err(problem) = app.fetch_due_lists().await {
                    tracing::warn!(error = problem.chain(), "lists of revoked certificates could not be looked after");
                }
                lease.release().await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %error, "the lease of the lists of revoked certificates could not be had"),
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
