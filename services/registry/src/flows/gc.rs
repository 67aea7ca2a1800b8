//! Frees what nobody needs. A blob goes when no manifest needs it, no upload linked it, and nobody relied on it for the
//! grace period; every push renews that before it depends on a blob, so online collection cannot take it away.

use std::time::Duration;

use gantry_es_pg::{Lease, checkpoints};
use sea_orm::TransactionTrait;

use crate::app::App;
use crate::domain::digest::Digest;
use crate::store::blobs;

/// Blobs looked at in one go.
const BATCH: u64 = 500;

/// Collects now and then until shutdown.
pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(app.config.gc_interval_seconds)) => {}
        }
        match round(&app).await {
            Ok(Some(freed)) if freed.blobs + freed.uploads + freed.links > 0 => {
                tracing::info!(blobs = freed.blobs, uploads = freed.uploads, links = freed.links, "unneeded content removed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = format!("{error:#}"), "garbage collection stopped and will try again"),
        }
    }
}

/// What one round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    pub blobs: u64,
    pub uploads: u64,
    pub links: u64,
}

/// One round; `None` when another replica is at it, or when the read model does not show every manifest yet.
///
/// # Errors
/// Database or store.
pub async fn round(app: &App) -> anyhow::Result<Option<Freed>> {
    let db = app.host.db();
    let Some(lease) = Lease::try_acquire(&db.pool, "registry-gc").await? else { return Ok(None) };
    let done = collect(app).await;
    lease.release().await;
    done
}

async fn collect(app: &App) -> anyhow::Result<Option<Freed>> {
    let db = app.host.db();
    // A manifest that the read model has not taken in yet refers to blobs that would look unneeded.
    let head = app.host.log().head();
    let complete = checkpoints(db).await?.into_iter().any(|c| c.name == "images" && c.error.is_none() && c.position >= head);
    if !complete {
        return Ok(None);
    }
    let before = app.host.env.now() - Duration::from_secs(app.config.gc_grace_seconds);
    let mut freed = Freed {
        uploads: app.blobs.remove_stale_uploads(Duration::from_secs(app.config.upload_ttl_seconds)).await?,
        links: blobs::remove_old_links(&db.orm, before).await?,
        blobs: 0,
    };
    loop {
        let batch = blobs::collectable(&db.orm, before, BATCH).await?;
        if batch.is_empty() || app.host.cancel.is_cancelled() {
            return Ok(Some(freed));
        }
        for text in batch {
            let digest = Digest::parse(&text)?;
            // The row's lock is held until the file is gone: a push of the same content waits, then writes it anew.
            let tx = db.orm.begin().await?;
            if blobs::forget(&tx, &text, before).await? {
                app.blobs.remove(&digest).await?;
                freed.blobs += 1;
            }
            tx.commit().await?;
        }
    }
}
