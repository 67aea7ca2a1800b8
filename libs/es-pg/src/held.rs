//! The connection of the task that appends, kept from one transaction to the next. A pool asks each connection that comes back whether it
//! still lives, in a task of its own: one more round trip for every transaction of a busy log.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::time::Instant;

use crate::db::TRUSTED;

/// At most one connection, with when it was used last.
#[derive(Default)]
pub(crate) struct Held(Option<(PoolConnection<Postgres>, Instant)>);

impl Held {
    /// The one at hand, else one of the pool.
    ///
    /// # Errors
    /// When there is none.
    pub async fn take(&mut self, pool: &PgPool) -> Result<Used, sqlx::Error> {
        // One that is not trusted goes back before another is asked for.
        let trusted = self.0.take().filter(|(_, used)| used.elapsed() < TRUSTED && !pool.is_closed());
        match trusted {
            Some((connection, _)) => Ok(Used(Some(connection))),
            None => Ok(Used(Some(pool.acquire().await?))),
        }
    }

    /// Puts it back after use.
    pub fn put(&mut self, mut used: Used) {
        self.0 = used.0.take().map(|connection| (connection, Instant::now()));
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

/// A connection in use. Whoever meets an error with it, or gives up waiting for its answer, drops it, and it is closed: the pool would ask
/// it whether it lives, and keep its place for as long as it does not say.
pub(crate) struct Used(Option<PoolConnection<Postgres>>);

impl Deref for Used {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("it is there until it is put back")
    }
}

impl DerefMut for Used {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is there until it is put back")
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}
