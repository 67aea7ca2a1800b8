//! Reads everything that is kept once in a while and compares it with its digest, slowly enough to disturb nobody: a bit that
//! flips on the disk is found before somebody needs the content.

use std::time::Duration;

use super::rounds::alone;
use crate::app::App;
use crate::domain::digest::Digest;
use crate::error::is_away;
use crate::store::content;

const BATCH: i64 = 100;
const PAUSE: Duration = Duration::from_secs(60);

/// Checks until shutdown; `app.scrub` wakes it.
pub async fn run(app: App) {
    loop {
        match round(&app).await {
            // There may be more.
            Ok(checked) if checked > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the check of kept content stopped and will go on"),
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = app.scrub.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn round(app: &App) -> anyhow::Result<usize> {
    alone(app, "registry-scrub", check(app)).await
}

async fn check(app: &App) -> anyhow::Result<usize> {
    let due = content::unchecked(&app.host.db().pool, app.check_before(), BATCH).await?;
    let mut checked = 0;
    for (digest, size) in &due {
        let size = size.unsigned_abs();
        match app.check(&Digest::parse(digest)?, size).await {
            Ok(_) => checked += 1,
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(is_away) => return Err(error),
            // It stays due; the others are looked at all the same.
            Err(error) => tracing::warn!(blob = digest, error = format!("{error:#}"), "a blob could not be checked and will be"),
        }
        let pace = Duration::from_secs_f64(size as f64 / app.config.scrub_bytes_per_second as f64);
        tokio::select! {
            () = app.host.cancel.cancelled() => return Ok(0),
            () = tokio::time::sleep(pace) => {}
        }
    }
    // None of them: at the next look there would be the same.
    Ok(checked)
}
