//! Puts the recorded security facts on the audit stream, in their order, and makes the record's partitions. One replica at a
//! time publishes; what a crash lets it publish twice has the same id, which whoever listens knows already.

use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use gantry_bus::streams::AUDIT;

use crate::app::App;
use crate::store::facts;

const BATCH: i64 = 500;
/// Publications under way at once.
const AT_ONCE: usize = 64;
/// How long facts are waited for that may go along: a round asks the database five times whatever it carries, and under load each sign-in
/// would make a round of its own.
const GATHER: Duration = Duration::from_millis(100);
/// Stands in for the words of other replicas, which nobody hears here.
const LOOK: Duration = Duration::from_secs(2);
/// Partitions exist for a month ahead.
const PARTITIONS: Duration = Duration::from_secs(6 * 3_600);

pub async fn run(app: App) {
    let mut stream_made = false;
    loop {
        match publish(&app, &mut stream_made).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                stream_made = false;
                tracing::warn!(error = format!("{error:#}"), "security facts wait to be published");
            }
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = gathered(&app) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn gathered(app: &App) {
    app.recorder.grown.notified().await;
    tokio::time::sleep(GATHER).await;
}

/// One batch; whether there may be more.
async fn publish(app: &App, stream_made: &mut bool) -> anyhow::Result<bool> {
    let bus = &app.host.bus;
    let mut tx = app.pool().begin().await?;
    let rows = facts::unpublished(&mut tx, BATCH).await?.unwrap_or_default();
    let Some((last, ..)) = rows.last() else {
        tx.rollback().await?;
        return Ok(false);
    };
    let (last, more) = (*last, rows.len() == usize::try_from(BATCH)?);
    if !*stream_made {
        bus.sample_stream(AUDIT).await?;
        *stream_made = true;
    }
    let all = stream::iter(rows).map(|(_, id, fact)| gantry_bus::publish(bus, AUDIT, app.host.name, id, fact)).buffered(AT_ONCE);
    tokio::time::timeout(Duration::from_secs(30), all.try_collect::<Vec<()>>()).await.context("the bus does not confirm in time")??;
    facts::published(&mut tx, last).await?;
    tx.commit().await?;
    Ok(more)
}

/// Partitions, ahead of time.
pub async fn partitions(app: App) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(PARTITIONS) => {}
        }
        if let Err(error) = facts::make_partitions(&app.host.db().admin, app.now()).await {
            // Rows go to the default partition meanwhile.
            tracing::error!(error = %error, "the partitions of the security facts could not be made");
        }
    }
}
