//! Once an hour, on one replica: log days past their time are dropped.

use std::time::Duration;

use gantry_es_pg::Lease;
use gantry_host::Host;

use crate::store::logs;

/// Runs until shutdown.
pub async fn run(host: Host, keep: time::Duration) {
    while let Some(mut lease) = Lease::acquire(&host.db().pool, "monitoring-retention", &host.cancel).await {
        while lease.check().await {
            match logs::drop_days(&host.db().admin, (host.env.now() - keep).date()).await {
                Ok(0) => {}
                Ok(days) => tracing::info!(days, "old log days were dropped"),
                Err(error) => tracing::warn!(error = %error, "old log days could not be dropped"),
            }
            tokio::select! {
                () = host.cancel.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(3_600)) => {}
            }
        }
    }
}
