//! Completes what caches took in, and removes by and by what nobody pulls.

use std::time::Duration;

use async_trait::async_trait;
use gantry_es_pg::{Lease, TodoHandler, TodoItem};

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
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = round(&app).await {
            tracing::warn!(error = format!("{error:#}"), "idle cached content could not be removed and will be looked at again");
        }
    }
}

/// One look at every cache; how many images went. 0 also when another replica is at it.
///
/// # Errors
/// Database.
pub async fn round(app: &App) -> anyhow::Result<usize> {
    let db = app.host.db();
    let Some(lease) = Lease::try_acquire(&db.pool, "registry-cache").await? else { return Ok(0) };
    let done = async {
        let mut gone = 0;
        for (_, project, settings) in settings::all(&db.orm).await? {
            for kept in settings.upstreams.values() {
                gone += app.evict(project.into(), &kept.upstream).await?;
            }
        }
        anyhow::Ok(gone)
    };
    let done = done.await;
    lease.release().await;
    done
}
