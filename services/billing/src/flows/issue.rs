//! Once a quarter of an hour, on one replica: invoices of months that are over, and partitions past their time.

use std::sync::Arc;
use std::time::Duration;

use gantry_es_pg::Lease;

use crate::App;
use crate::store::usage;

const EVERY: Duration = Duration::from_secs(900);

/// Runs until shutdown.
pub async fn run(app: Arc<App>, grace: time::Duration, keep: time::Duration) {
    let cancel = app.host.cancel.clone();
    let Some(mut lease) = Lease::acquire(&app.host.db().pool, "billing-issue", &cancel).await else { return };
    loop {
        if !lease.check().await {
            match Lease::acquire(&app.host.db().pool, "billing-issue", &cancel).await {
                Some(ours) => lease = ours,
                None => return,
            }
        }
        round(&app, grace).await;
        if let Err(error) = usage::drop_days(&app.host.db().admin, (app.host.env.now() - keep).date()).await {
            tracing::warn!(error = %error, "old samples could not be dropped");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// One look for months to bill.
pub async fn round(app: &App, grace: time::Duration) {
    match app.issue_due(grace).await {
        Ok(0) => {}
        Ok(issued) => tracing::info!(issued, "invoices were issued"),
        Err(error) => tracing::error!(error = error.chain(), "invoices could not be issued; the next round tries again"),
    }
}
