//! Work that must be single: whoever holds the lease does it. A session lock of Postgres, so it ends with its holder.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the holder waits for a word of the database before it takes the lease for lost. Long, because what stands still may go on,
/// and so does the work then.
const ANSWER: Duration = Duration::from_secs(60);
/// How long giving it back may take: closing the connection does it, too.
const FAREWELL: Duration = Duration::from_secs(5);

/// Held as long as this lives and [`Lease::check`] succeeds.
pub struct Lease {
    /// There until it is dropped, or found to be without the lock.
    connection: Option<PoolConnection<Postgres>>,
    name: String,
}

impl Lease {
    /// Waits until the lease is ours; `None` when cancelled first.
    pub async fn acquire(pool: &PgPool, name: &str, cancel: &CancellationToken) -> Option<Self> {
        while !cancel.is_cancelled() {
            match Self::try_acquire(pool, name).await {
                Ok(Some(lease)) => return Some(lease),
                Ok(None) => {}
                Err(error) => tracing::warn!(lease = name, error = %error, "the lease cannot be asked for"),
            }
            tokio::select! {
                () = cancel.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        None
    }

    /// # Errors
    /// When the database refuses, or does not answer in time.
    pub async fn try_acquire(pool: &PgPool, name: &str) -> Result<Option<Self>, sqlx::Error> {
        let sql = "select pg_try_advisory_lock(hashtextextended(current_schema() || $1, 0))";
        // A lease before it is known to be one: if nobody waits for the answer any more, the connection may have the lock all the same.
        let mut asked = Self { connection: None, name: name.to_owned() };
        let connection = asked.connection.insert(pool.acquire().await?);
        let ours: bool = match timeout(ANSWER, sqlx::query_scalar(sql).bind(name).fetch_one(&mut **connection)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        };
        if !ours {
            // Without the lock it is as good as any other.
            asked.connection = None;
        }
        Ok(ours.then_some(asked))
    }

    /// Whether it is still ours: the lock lives exactly as long as this connection.
    pub async fn check(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        timeout(ANSWER, sqlx::query_scalar::<_, i32>("select 1").fetch_one(&mut **connection)).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Gives it back at once.
    pub async fn release(mut self) {
        let Some(connection) = &mut self.connection else { return };
        let unlock = sqlx::query("select pg_advisory_unlock(hashtextextended(current_schema() || $1, 0))").bind(&self.name).execute(&mut **connection);
        let _ = timeout(FAREWELL, unlock).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Back in the pool the connection would keep the lock: close it instead.
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}
