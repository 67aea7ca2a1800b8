//! Begins replications when their time comes, one replica at a time, and works on those that were begun.

use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, TryFutureExt};
use gantry_es_pg::{Todo, TodoHandler, TodoItem};
use gantry_kernel::{ProjectId, Uuid};
use serde::Deserialize;
use serde_json::json;

use super::rounds::{alone, every};
use crate::app::App;
use crate::app::replicate::{REPLICATE, new_run};
use crate::domain::cron::Cron;
use crate::store::{replications, settings};

/// How often the schedules are looked at; they are by the minute.
const LOOK: Duration = Duration::from_secs(20);

pub struct Replicator(pub App);

#[derive(Deserialize)]
struct Work {
    run: Uuid,
    /// Where the event that asks for it stands in the log.
    #[serde(default)]
    after: i64,
}

#[async_trait]
impl TodoHandler for Replicator {
    fn name(&self) -> &'static str {
        REPLICATE
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let work: Work = serde_json::from_value(item.payload)?;
        // The plan is made from the images' read model, which another projection keeps: before the event it would show nothing to do.
        anyhow::ensure!(self.0.sees_manifests_until(work.after).await, "the images of the event at {} are not in the read model yet", work.after);
        self.0.replicate(work.run).await
    }
}

/// Looks at the schedules until shutdown.
pub async fn run(app: App) {
    every(app, LOOK, "the schedules of replications could not be looked at and will be again", |app| round(app).map_ok(drop).boxed()).await;
}

/// One look at every schedule; how many runs were begun. 0 also when another replica is at it.
///
/// # Errors
/// Database.
pub async fn round(app: &App) -> anyhow::Result<usize> {
    alone(app, "registry-replication", due(app)).await
}

async fn due(app: &App) -> anyhow::Result<usize> {
    let db = &app.host.db().orm;
    let mut begun = 0;
    for (org, project, settings) in settings::all(db).await? {
        for rule in settings.replications.values().filter(|r| r.enabled) {
            let Some(cron) = rule.schedule.as_deref().and_then(|s| Cron::parse(s).ok()) else { continue };
            let now = app.host.env.now();
            let looked = replications::looked(db, project, &rule.name, now).await?;
            if cron.next(looked).is_none_or(|next| next > now) {
                continue;
            }
            let run = new_run(app.host.env.uuid(), (org.into(), ProjectId(project)), rule, "schedule", false, "system", now);
            // One that is not over yet goes on; its successor waits for the next time.
            if replications::begin(db, &run).await? {
                Todo::enqueue(db, REPLICATE, &run.id.to_string(), &json!({ "run": run.id })).await?;
                begun += 1;
            }
            replications::look_again(db, project, &rule.name, now).await?;
        }
    }
    Ok(begun)
}
