//! Once an hour, one replica at a time: log days past their time are dropped, and the audit trail gets the pieces that it will need.

use std::time::Duration;

use gantry_es_pg::Lease;
use gantry_host::Host;

use crate::store::{audit, logs};

/// Runs until shutdown.
pub async fn run(host: Host, keep: time::Duration) {
    while let Some(lease) = Lease::acquire(&host.db().pool, "monitoring-retention", &host.cancel).await {
        match logs::drop_days(&host.db().admin, (host.env.now() - keep).date()).await {
            Ok(0) => {}
            Ok(days) => tracing::info!(days, "old log days were dropped"),
            Err(error) => tracing::warn!(error = %error, "old log days could not be dropped"),
        }
        if let Err(error) = audit::make_pieces(&host.db().admin).await {
            tracing::warn!(error = %error, "the audit trail's next pieces could not be made: records go to the last one meanwhile");
        }
        // Not kept for the hour: with the lease of the alerts it would take both connections of a service that has two. What another replica
        // does once more is done already.
        lease.release().await;
        tokio::select! {
            () = host.cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(3_600)) => {}
        }
    }
}
