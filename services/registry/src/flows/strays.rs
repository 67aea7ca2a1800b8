//! Looks in the store for content that no row names: a process was killed after it had put it there and before it could write that down.
//! A 256th of the store at a time, all of it in a day.

use std::time::Duration;

use futures::{FutureExt, TryFutureExt};

use super::rounds::{alone, every};
use crate::app::App;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(24 * 3600 / 256);

/// Looks until shutdown.
pub async fn run(app: App) {
    every(app, LOOK, "content that nothing names could not be looked for and will be", |app| round(app).map_ok(drop).boxed()).await;
}

/// One look at the part whose turn it is by the clock, whichever replica does it; how much was found.
async fn round(app: &App) -> anyhow::Result<u64> {
    let turn = app.host.env.now().unix_timestamp() / i64::try_from(LOOK.as_secs()).unwrap_or(i64::MAX);
    let part = u8::try_from(turn.rem_euclid(256)).unwrap_or_default();
    alone(app, "registry-strays", app.take_in_strays(part)).await
}
