//! Work that must be single: whoever holds the lease does it. A session lock of Postgres, so it ends with its holder.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio_util::sync::CancellationToken;

/// Held as long as this lives and [`Lease::check`] succeeds.
pub struct Lease {
    connection: PoolConnection<Postgres>,
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
    /// When the database refuses.
    pub async fn try_acquire(pool: &PgPool, name: &str) -> Result<Option<Self>, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        let ours: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended(current_schema() || $1, 0))").bind(name).fetch_one(&mut *connection).await?;
        Ok(ours.then(|| Self { connection, name: name.to_owned() }))
    }

    /// Whether it is still ours: the lock lives exactly as long as this connection.
    pub async fn check(&mut self) -> bool {
        sqlx::query_scalar::<_, i32>("select 1").fetch_one(&mut *self.connection).await.is_ok()
    }

    /// Gives it back at once.
    pub async fn release(mut self) {
        let _ = sqlx::query("select pg_advisory_unlock(hashtextextended(current_schema() || $1, 0))").bind(&self.name).execute(&mut *self.connection).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Back in the pool the connection would keep the lock: close it instead.
        self.connection.close_on_drop();
    }
}
