//! What is done again and again until shutdown, and what one replica does at a time.

use std::time::Duration;

use futures::future::BoxFuture;
use gantry_es_pg::Lease;

use crate::app::App;

/// One round of something.
pub type Round = fn(&App) -> BoxFuture<'_, anyhow::Result<()>>;

/// A round after each `pause`, until shutdown. One that goes wrong is told of with `fault`, and the next comes all the same.
pub async fn every(app: App, pause: Duration, fault: &'static str, round: Round) {
    loop {
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = round(&app).await {
            tracing::warn!(error = format!("{error:#}"), "{fault}");
        }
    }
}

/// Does `work` while no other replica can; what is nothing, when another one is at it.
///
/// # Errors
/// Those of the work, and the database.
pub async fn alone<T: Default>(app: &App, lease: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let Some(lease) = Lease::try_acquire(&app.host.db().pool, lease).await? else { return Ok(T::default()) };
    let done = work.await;
    lease.release().await;
    done
}
