//! Frees what nobody needs, now and then. What that means is in `app/care.rs`; every push renews the grace period of a blob
//! before it depends on it, so collection needs no pause of anything.

use std::time::Duration;

use crate::app::App;
use crate::app::care::TIMER;

/// Collects until shutdown.
pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(app.config.gc_interval_seconds)) => {}
        }
        // What was on its way at this machine: no other replica sees it.
        if let Err(error) = app.blobs.tidy(Duration::from_secs(app.config.upload_ttl_seconds)).await {
            tracing::warn!(error = %error, "what was left on its way could not be removed and will be");
        }
        match app.collect(Duration::from_secs(app.config.gc_grace_seconds), false, TIMER).await {
            Ok(Some(freed)) if freed.blobs + freed.uploads + freed.links > 0 => {
                tracing::info!(blobs = freed.blobs, bytes = freed.bytes, uploads = freed.uploads, links = freed.links, "unneeded content removed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = format!("{error:#}"), "garbage collection stopped and will try again"),
        }
    }
}
