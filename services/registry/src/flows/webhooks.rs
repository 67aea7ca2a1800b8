//! Sends what webhooks are to be told, and finds what is due again.

use std::time::Duration;

use async_trait::async_trait;
use gantry_es_pg::{Todo, TodoHandler, TodoItem};
use gantry_kernel::Uuid;
use serde::Deserialize;
use serde_json::json;

use super::rounds::alone;
use crate::app::App;
use crate::app::webhooks::TELL;
use crate::store::webhooks;

/// How often what is due again is looked for: the first pause is five seconds.
const LOOK: Duration = Duration::from_secs(2);
const BATCH: i64 = 500;
/// How long what was delivered, and what was given up, can be looked at and told once more.
const DELIVERED: Duration = Duration::from_secs(7 * 24 * 3600);
const DEAD: Duration = Duration::from_secs(30 * 24 * 3600);

pub struct Teller(pub App);

#[derive(Deserialize)]
struct Work {
    delivery: Uuid,
}

#[async_trait]
impl TodoHandler for Teller {
    fn name(&self) -> &'static str {
        TELL
    }

    /// Most of the time is waiting for receivers, and a slow one must not hold up the others.
    fn concurrency(&self) -> usize {
        16
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let work: Work = serde_json::from_value(item.payload)?;
        Ok(self.0.deliver(work.delivery).await?)
    }
}

/// Looks until shutdown.
pub async fn run(app: App) {
    let mut rounds = 0_u32;
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        rounds = rounds.wrapping_add(1);
        if let Err(error) = round(&app, rounds.is_multiple_of(1_000)).await {
            tracing::warn!(error = format!("{error:#}"), "webhooks that are due could not be looked for and will be again");
        }
    }
}

async fn round(app: &App, clean: bool) -> anyhow::Result<()> {
    let db = app.host.db();
    let now = app.host.env.now();
    // Mostly nothing is due, and that is seen without a lease.
    let due = webhooks::due(&db.orm, now, BATCH).await?;
    if due.is_empty() && !clean {
        return Ok(());
    }
    let told = async {
        for id in due {
            Todo::enqueue(&db.orm, TELL, &id.to_string(), &json!({ "delivery": id })).await?;
        }
        if clean {
            webhooks::remove_old(&db.orm, now - DELIVERED, now - DEAD).await?;
        }
        anyhow::Ok(())
    };
    alone(app, "registry-webhooks", told).await
}
