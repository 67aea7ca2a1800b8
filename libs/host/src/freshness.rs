//! Whether the rights this service decides by are whole: it is connected to the bus, and has taken in all that was on
//! identity's stream a moment ago. `Auth` refuses changes when that was too long ago.

use std::time::{Duration, Instant};

use crate::context::Host;

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn watch(host: Host) {
    let limit = Duration::from_secs(host.platform.rights_stale_seconds.into());
    // A service that starts has that long to catch up.
    host.auth.heard(Instant::now(), limit);
    let mut before: Option<(Instant, u64)> = None;
    let mut told = false;
    loop {
        // What was on the stream at `when` must be in by now.
        if let Some((when, last)) = before
            && let Ok(taken) = taken_in(&host).await
            && taken >= last
        {
            host.auth.heard(when, limit);
        }
        let when = Instant::now();
        before = match tokio::time::timeout(PATIENCE, last_on_stream(&host)).await {
            Ok(Ok(last)) => Some((when, last)),
            Ok(Err(_)) | Err(_) => None,
        };
        let stale = host.auth.stale().is_some();
        if stale != told {
            told = stale;
            if stale {
                tracing::error!(service = host.name, "identity's events do not come through: changes are refused until they do");
            } else {
                tracing::info!(service = host.name, "identity's events come through again");
            }
        }
        tokio::select! {
            () = host.cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn last_on_stream(host: &Host) -> anyhow::Result<u64> {
    Ok(host.bus.last_of("identity").await?)
}

async fn taken_in(host: &Host) -> Result<u64, sqlx::Error> {
    let sequence: i64 = sqlx::query_scalar("select sequence from projections where name = 'auth-rights'").fetch_one(&host.db().pool).await?;
    Ok(u64::try_from(sequence).unwrap_or(0))
}
