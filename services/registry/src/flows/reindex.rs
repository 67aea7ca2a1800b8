//! Images that were scanned before this program knew how to find them by what is in them: they are put on the list of images to scan
//! once, when a replica starts. What is kept of their layers is used again where it can be. They come a few at a time.

use std::time::Duration;

use gantry_es_pg::{Lease, Todo};

use super::scan::Job;
use crate::app::App;
use crate::app::scan::RESCAN;
use crate::store::search;

/// So many of them wait to be scanned, at most.
const WAITING: i64 = 50;
/// How often it is looked whether there is room for more.
const LOOK: Duration = Duration::from_secs(2);

/// After a fault.
const AGAIN: Duration = Duration::from_secs(60);

/// Until there is none left. One replica at a time: another one waits, and goes on where that ends before it is through.
pub async fn run(app: App) {
    while let Some(lease) = Lease::acquire(&app.host.db().pool, "registry-reindex", &app.host.cancel).await {
        let done = enqueue(&app).await;
        lease.release().await;
        let Err(error) = done else { return };
        tracing::warn!(error = format!("{error:#}"), "images scanned by an older program are not all found by their packages yet; it is tried again");
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn enqueue(app: &App) -> anyhow::Result<()> {
    let db = app.host.db();
    let (mut asked, mut after) = (0, (String::new(), String::new()));
    while !app.host.cancel.is_cancelled() {
        let room = WAITING - search::waiting(&db.pool, RESCAN).await?;
        if room > 0 {
            let images = search::not_indexed(&db.pool, (&after.0, &after.1), room).await?;
            let Some((.., repository, digest)) = images.last() else { break };
            after = (repository.clone(), digest.clone());
            asked += images.len();
            for (org, project, repository, digest) in images {
                let job = Job { org: org.into(), project: project.into(), repository, digest };
                Todo::enqueue(&db.orm, RESCAN, &job.key(), &serde_json::to_value(&job)?).await?;
            }
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if asked > 0 {
        tracing::info!(images = asked, "images are made findable by their packages");
    }
    Ok(())
}
