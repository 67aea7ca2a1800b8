//! Images that were scanned before this program knew how to find them by what is in them: they are put on the list of images to scan
//! once, when a replica starts. What is kept of their layers is used again where it can be.

use gantry_es_pg::{Lease, Todo};

use super::projections::SCAN_TODO;
use super::scan::Job;
use crate::app::App;
use crate::store::search;

/// Images put on the list at once.
const PAGE: i64 = 1_000;

/// One look. A fault is told and the next start looks again.
pub async fn run(app: App) {
    if let Err(error) = round(&app).await {
        tracing::warn!(error = format!("{error:#}"), "images scanned by an older program are not all found by their packages yet; the next start tries again");
    }
}

async fn round(app: &App) -> anyhow::Result<()> {
    let db = app.host.db();
    let Some(lease) = Lease::try_acquire(&db.pool, "registry-reindex").await? else { return Ok(()) };
    let done = enqueue(app).await;
    lease.release().await;
    done
}

async fn enqueue(app: &App) -> anyhow::Result<()> {
    let db = app.host.db();
    let (mut asked, mut after) = (0, (String::new(), String::new()));
    loop {
        let images = search::not_indexed(&db.pool, (&after.0, &after.1), PAGE).await?;
        let Some((.., repository, digest)) = images.last() else { break };
        after = (repository.clone(), digest.clone());
        asked += images.len();
        for (org, project, repository, digest) in images {
            let job = Job { org: org.into(), project: project.into(), repository, digest };
            Todo::enqueue(&db.orm, SCAN_TODO, &job.key(), &serde_json::to_value(&job)?).await?;
        }
    }
    if asked > 0 {
        tracing::info!(images = asked, "images are made findable by their packages");
    }
    Ok(())
}
