//! Applies retention by schedule, one replica at a time, and writes down pulls in batches.

use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, TryFutureExt};
use gantry_es::Meta;
use gantry_es_pg::{TodoHandler, TodoItem};

use super::rounds::{alone, every};
use crate::app::App;
use crate::app::retention::{LEFT, Left};
use crate::store::{pulls, settings};

/// How often the schedules are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How long a pull may be known in memory only.
const WRITE: Duration = Duration::from_secs(5);

/// Deletes what runs have left that were killed.
pub struct Leftovers(pub App);

#[async_trait]
impl TodoHandler for Leftovers {
    fn name(&self) -> &'static str {
        LEFT
    }

    fn concurrency(&self) -> usize {
        1
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let left: Left = serde_json::from_value(item.payload)?;
        Ok(self.0.delete_left(&left).await?)
    }
}

/// Writes pulls until shutdown, and once more then.
pub async fn write_pulls(app: App) {
    let mut last = false;
    while !last {
        tokio::select! {
            () = app.host.cancel.cancelled() => last = true,
            () = tokio::time::sleep(WRITE) => {}
        }
        match app.pulls.write(&app.host.db().orm).await {
            Ok(pulls) => app.announce_pulls(&pulls).await,
            Err(error) => tracing::warn!(error = %error, "pulls could not be written down and will be tried again"),
        }
    }
}

/// Applies what is due until shutdown.
pub async fn run(app: App) {
    every(app, LOOK, "retention stopped and will try again", |app| round(app).map_ok(drop).boxed()).await;
}

/// One look at every project's schedule; how many were due. 0 also when another replica is at it.
///
/// # Errors
/// Database.
pub async fn round(app: &App) -> anyhow::Result<usize> {
    alone(app, "registry-retention", due(app)).await
}

async fn due(app: &App) -> anyhow::Result<usize> {
    let db = &app.host.db().orm;
    let mut applied = 0;
    for (org, project, settings) in settings::all(db).await? {
        let asks = !settings.retention.rules.is_empty() || settings.retention.untagged_days.is_some();
        let Some(hours) = settings.retention.every_hours.filter(|_| asks) else { continue };
        let now = app.host.env.now();
        if pulls::last_retention(db, project).await?.is_some_and(|last| last + Duration::from_secs(u64::from(hours) * 3600) > now) {
            continue;
        }
        // A project that is gone has nothing to keep.
        let Some(place) = app.host.auth.read(|r| r.projects().find(|p| p.id.0 == project).map(|p| (p.org.name.to_string(), p.name.to_string()))) else {
            continue;
        };
        let meta = Meta::system().tenant(org.into());
        let verdicts = match app.retain((&place.0, &place.1), project.into(), &meta).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                // The others have their turn all the same.
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(tenant.id = %org, project = format!("{}/{}", place.0, place.1), error, "retention stopped in a project and will try again");
                continue;
            }
        };
        let kept = verdicts.iter().filter(|v| v.keep).count();
        pulls::retained(db, project, now, kept, verdicts.len() - kept).await?;
        tracing::info!(tenant.id = %org, project = format!("{}/{}", place.0, place.1), kept, removed = verdicts.len() - kept, "retention applied");
        applied += 1;
    }
    Ok(applied)
}
