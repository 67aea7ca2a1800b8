//! Has images scanned by scanners outside, and again when their reports are old.

use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, TryFutureExt};
use gantry_es_pg::{TodoHandler, TodoItem};

use super::rounds::{alone, every};
use super::scan::Job;
use crate::app::App;
use crate::app::scanners::{Again, Ask, EXTERNAL};
use crate::store::{scanner_reports, settings};

/// How often old reports are looked for, and how many are renewed at once.
const LOOK: Duration = Duration::from_secs(300);
const BATCH: i64 = 200;

pub struct Outside(pub App);

#[async_trait]
impl TodoHandler for Outside {
    fn name(&self) -> &'static str {
        EXTERNAL
    }

    /// Questions and looks, no waiting: what is not ready is looked at again later. How much a scanner does at once is its own affair.
    fn concurrency(&self) -> usize {
        8
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let ask: Ask = serde_json::from_value(item.payload)?;
        self.0.external_scan(&ask, item.attempts).await
    }
}

/// Renews old reports until shutdown.
pub async fn run(app: App) {
    every(app, LOOK, "old reports of scanners could not be renewed and will be", |app| round(app).map_ok(drop).boxed()).await;
}

/// One look at every project's scanners; how many images are to be scanned again. 0 also when another replica is at it.
///
/// # Errors
/// Database.
pub async fn round(app: &App) -> anyhow::Result<usize> {
    alone(app, "registry-scanners", renew(app)).await
}

async fn renew(app: &App) -> anyhow::Result<usize> {
    let mut renewed = 0;
    for (org, project, settings) in settings::all(&app.host.db().orm).await? {
        for known in app.scanners(&settings) {
            let scanner = known.scanner;
            let Some(hours) = scanner.rescan_hours.filter(|_| scanner.enabled) else { continue };
            let before = app.host.env.now() - Duration::from_secs(u64::from(hours) * 3600);
            for (repository, digest) in scanner_reports::stale(&app.host.db().pool, project, &scanner.name, before, BATCH).await? {
                let job = Job { org: org.into(), project: project.into(), repository, digest };
                renewed += app.ask_scanners(&job, &settings, Again::Only(&scanner.name)).await?;
            }
        }
    }
    Ok(renewed)
}
