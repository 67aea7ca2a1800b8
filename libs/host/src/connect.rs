//! Patience at the start: servers that were started at the same moment are waited for, and what will never work is said at once.

use std::time::Duration;

use anyhow::Context;
use gantry_bus::BusError;
use gantry_es_pg::DbError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Somebody who watches the log is told again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Why a connection was not made, and whether waiting may help.
pub trait Passing: std::error::Error + Send + Sync + 'static {
    fn passes(&self) -> bool;
}

impl Passing for BusError {
    fn passes(&self) -> bool {
        match self {
            // A wrong password stays wrong.
            Self::Connect(error) => {
                !matches!(error.kind(), async_nats::ConnectErrorKind::AuthorizationViolation | async_nats::ConnectErrorKind::Authentication)
            }
            Self::JetStream(_) => true,
            Self::TooOld(_) => false,
        }
    }
}

impl Passing for DbError {
    fn passes(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            sqlx::Error::Database(error) => error.code().is_some_and(|code| passes(&code)),
            _ => false,
        }
    }
}

/// Of Postgres: shutting down, starting up, in recovery; the database is being created right now; out of connections, memory or room on the disk.
fn passes(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("53") || code == "3D000"
}

impl Passing for redis::RedisError {
    fn passes(&self) -> bool {
        self.is_io_error() || self.is_connection_refusal() || self.is_timeout() || matches!(self.code(), Some("LOADING"))
    }
}

/// Calls `connect` until it succeeds, its error will not pass, or `patience` is over. `server`: "Postgres at 127.0.0.1:5432".
///
/// # Errors
/// The last error, with the server's name.
pub async fn patiently<T, E, F>(server: &str, patience: Duration, cancel: &CancellationToken, mut connect: impl FnMut() -> F) -> anyhow::Result<T>
where
    E: Passing,
    F: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let (mut pause, mut said) = (FIRST_PAUSE, None::<Instant>);
    loop {
        let error = match connect().await {
            Ok(connection) => {
                if said.is_some() {
                    tracing::info!(server, waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "the server is there now");
                }
                return Ok(connection);
            }
            Err(error) => error,
        };
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() || !error.passes() {
            let waited = if error.passes() { format!(", after waiting {} s", began.elapsed().as_secs()) } else { String::new() };
            return Err(error).with_context(|| format!("cannot use {server}{waited}"));
        }
        if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
            said = Some(Instant::now());
            tracing::warn!(server, error = format!("{:#}", anyhow::anyhow!(error)), give_up_in_s = left.as_secs(), "the server is not there yet; trying again");
        }
        tokio::select! {
            () = cancel.cancelled() => anyhow::bail!("stopped while waiting for {server}"),
            () = tokio::time::sleep(pause.min(left)) => {}
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Host and port of a server's address, without what logs must not hold.
pub fn place(kind: &str, url: &str) -> String {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = after.rsplit_once('@').map_or(after, |(_, host)| host);
    format!("{kind} at {}", host.split(['/', '?']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct No(bool);

    impl Passing for No {
        fn passes(&self) -> bool {
            self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_late_is_waited_for_and_a_wrong_password_is_not() {
        let (cancel, tries) = (CancellationToken::new(), AtomicUsize::new(0));
        let late = || {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            async move { if tried < 5 { Err(No(true)) } else { Ok(tried) } }
        };
        assert_eq!(patiently("x", Duration::from_secs(30), &cancel, late).await.unwrap(), 5);
        let began = Instant::now();
        let wrong = patiently::<(), _, _>("x at y", Duration::from_secs(30), &cancel, || async { Err(No(false)) }).await.unwrap_err();
        assert_eq!((format!("{wrong:#}").as_str(), began.elapsed()), ("cannot use x at y: no", Duration::ZERO));
        let never = patiently::<(), _, _>("x", Duration::from_secs(30), &cancel, || async { Err(No(true)) }).await.unwrap_err();
        assert!(format!("{never:#}").contains("after waiting 30 s"), "{never:#}");
        cancel.cancel();
        assert!(patiently::<(), _, _>("x", Duration::from_secs(30), &cancel, || async { Err(No(true)) }).await.is_err());
    }

    #[test]
    fn a_database_that_has_no_room_for_one_more_is_waited_for() {
        for code in ["53300", "53100", "57P03", "3D000"] {
            assert!(passes(code), "{code}");
        }
        for code in ["28P01", "42501", "22021"] {
            assert!(!passes(code), "{code}");
        }
    }

    #[test]
    fn a_servers_place_holds_no_password() {
        assert_eq!(place("Postgres", "postgres://gantry:pa%40ss@127.0.0.1:5432/gantry?x=1"), "Postgres at 127.0.0.1:5432");
        assert_eq!(place("Redis", "redis://:secret@h:1/0"), "Redis at h:1");
        assert_eq!(place("NATS", "h:1"), "NATS at h:1");
    }
}
