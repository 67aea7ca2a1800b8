//! Completes what caches took in, and removes by and by what nobody pulls.

use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, TryFutureExt};
use gantry_es_pg::{TodoHandler, TodoItem};

use super::rounds::{alone, every};
use crate::app::App;
use crate::app::fill::{FILL, Fill};
use crate::store::settings;

/// How often idle content is looked for.
const LOOK: Duration = Duration::from_secs(600);
/// With pauses of a minute, an upstream may be away for two hours; what a client asks for later is fetched then.
const MOST_TRIES: i32 = 120;

pub struct Filler(pub App);

#[async_trait]
impl TodoHandler for Filler {
    fn name(&self) -> &'static str {
        FILL
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let fill: Fill = serde_json::from_value(item.payload)?;
        match self.0.fill(&fill).await {
            Err(error) if item.attempts >= MOST_TRIES => {
                tracing::warn!(repository = fill.repository, image.digest = fill.digest, error = %error, "a cached image stays without some of its parts until somebody pulls them");
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// Looks until shutdown.
pub async fn run(app: App) {
    every(app, LOOK, "idle cached content could not be removed and will be looked at again", |app| round(app).map_ok(drop).boxed()).await;
}

/// One look at every cache; how many images went. 0 also when another replica is at it.
///
/// # Errors
/// Database.
pub async fn round(app: &App) -> anyhow::Result<usize> {
    alone(app, "registry-cache", evict(app)).await
}

async fn evict(app: &App) -> anyhow::Result<usize> {
    let mut gone = 0;
    for (_, project, settings) in settings::all(&app.host.db().orm).await? {
        for kept in settings.upstreams.values() {
            gone += app.evict(project.into(), &kept.upstream).await?;
        }
    }
    Ok(gone)
}
