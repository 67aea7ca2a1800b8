//! The connection of the task that appends, kept from one transaction to the next. A pool asks each connection that comes back whether it
//! still lives, in a task of its own: one more round trip for every transaction of a busy log.

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::Instant;

use crate::db::TRUSTED;

/// At most one connection, with when it was used last.
#[derive(Default)]
pub(crate) struct Held(Option<(PoolConnection<Postgres>, Instant)>);

impl Held {
    /// The one at hand, else one of the pool. Whoever meets an error with it drops it, and the pool looks what is the matter.
    ///
    /// # Errors
    /// When there is none.
    pub async fn take(&mut self, pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        // One that is not trusted goes back before another is asked for.
        let trusted = self.0.take().filter(|(_, used)| used.elapsed() < TRUSTED && !pool.is_closed());
        match trusted {
            Some((connection, _)) => Ok(connection),
            None => pool.acquire().await,
        }
    }

    /// Puts it back after use.
    pub fn put(&mut self, connection: PoolConnection<Postgres>) {
        self.0 = Some((connection, Instant::now()));
    }

    /// When it will have lain here for so long that it would have to be asked.
    pub fn until(&self) -> Option<Instant> {
        self.0.as_ref().map(|(_, used)| *used + TRUSTED)
    }

    /// Gives it back to the pool.
    pub fn give_back(&mut self) {
        self.0 = None;
    }
}
