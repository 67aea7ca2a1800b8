//! Connections of one service to its schema: one as owner (changes of shape), one with the service's narrow grants.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool};
use thiserror::Error;
use tokio::sync::watch;

use crate::migrate;

/// How long after its last use a connection needs no question.
pub(crate) const TRUSTED: Duration = Duration::from_millis(500);
/// How long the answer to that question may take.
const PING: Duration = Duration::from_secs(2);
/// When the database takes a client for gone that fell silent without a word, as one whose machine lost its power: its locks and leases
/// are free then. Without this it waits for hours. (Sessions over a socket file have no use for it, and ignore it.)
const SILENCE: [(&str, &str); 4] =
    [("tcp_keepalives_idle", "15"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3"), ("tcp_user_timeout", "60000")];
/// A transaction in which nobody does anything, as of a process that was stopped, holds up others no longer than this: in milliseconds,
/// of appends, and of everything else.
const IDLE_APPEND: &str = "30000";
const IDLE_WORK: &str = "300000";
/// One appends; the other comes in while the first is being replaced.
const WRITERS: u32 = 2;
/// A key is read in one round trip, and kept in memory then.
const KEYS: u32 = 2;

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`; the user must own the database or be allowed to create schemas.
    pub url: String,
    /// The service's schema: `[a-z][a-z0-9_]*`.
    pub schema: String,
    /// Connections under the service's role; 2 to 100.
    pub max_connections: u32,
}

#[derive(Debug, Error)]
pub enum DbError {
    #[error("`{0}` is not a schema name: a-z, 0-9 and '_', starting with a letter, at most 48")]
    SchemaName(String),
    #[error("the database address is not valid")]
    Url(#[source] sqlx::Error),
    #[error("the database refused")]
    Sql(#[from] sqlx::Error),
}

/// The database of one service. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    /// Queries of entities, under the service's role.
    pub orm: DatabaseConnection,
    /// The same connections, for SQL that the ORM has no words for.
    pub pool: PgPool,
    /// Appends only.
    pub(crate) writer: PgPool,
    /// Keys of subjects only: they are asked for in the middle of transactions, and would otherwise wait for a connection that may be free
    /// only when those end.
    pub(crate) keys: PgPool,
    /// Owner of the schema: migrations and rebuilds only.
    pub admin: PgPool,
    pub schema: String,
    /// Moves when work was added to the list, by whomever.
    todo_news: Arc<watch::Sender<()>>,
}

impl Db {
    /// Connects, creates schema, role and the log's own tables where missing, and applies `migrations` (name, SQL) in order.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses.
    pub async fn open(settings: &Settings, migrations: &[(&str, &str)]) -> Result<Self, DbError> {
        let schema = settings.schema.clone();
        let fits = schema.len() <= 48
            && schema.starts_with(|c: char| c.is_ascii_lowercase())
            && schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !fits {
            return Err(DbError::SchemaName(schema));
        }
        let options: PgConnectOptions = settings.url.parse().map_err(DbError::Url)?;
        let options = options.application_name(&format!("gantry {schema}")).options([("search_path", schema.as_str())]).options(SILENCE);
        // The relay's lease and the listener keep one each for good, a rebuild needs two; one is left for small work beside it.
        let admin = PgPoolOptions::new()
            .max_connections(5)
            .min_connections(0)
            .idle_timeout(Duration::from_secs(30))
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options.clone())
            .await?;
        migrate::run(&admin, &schema, migrations).await?;
        let role = role_of(&schema);
        let idle = "idle_in_transaction_session_timeout";
        let pool = working(&role, settings.max_connections.max(2)).min_connections(1).connect_with(options.clone().options([(idle, IDLE_WORK)])).await?;
        let keys = working(&role, KEYS).connect_lazy_with(options.clone().options([(idle, IDLE_WORK)]));
        // Of its own, so that an append neither waits behind queries nor is planned anew each time for the length of its arrays.
        let writer = working(&role, WRITERS).connect_lazy_with(options.options([("plan_cache_mode", "force_generic_plan"), (idle, IDLE_APPEND)]));
        let orm = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
        Ok(Self { orm, pool, writer, keys, admin, schema, todo_news: Arc::new(watch::Sender::new(())) })
    }

    /// An ORM view of the owner's connections, for rebuilds.
    pub fn admin_orm(&self) -> DatabaseConnection {
        SqlxPostgresConnector::from_sqlx_postgres_pool(self.admin.clone())
    }

    pub(crate) fn todo_news(&self) -> watch::Receiver<()> {
        self.todo_news.subscribe()
    }

    pub(crate) fn tell_todo_news(&self) {
        self.todo_news.send_replace(());
    }

    pub async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
        self.keys.close().await;
        self.admin.close().await;
    }
}

/// Connections under the service's role. One that lay idle is asked whether it still lives before it is used; one that was used
/// a moment ago is not, which would double the round trips of a busy service.
fn working(role: &str, most: u32) -> PgPoolOptions {
    let set = format!("set role {role}");
    PgPoolOptions::new()
        .max_connections(most)
        .min_connections(0)
        .idle_timeout(Duration::from_secs(120))
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .before_acquire(|connection, since| Box::pin(async move { Ok(since.idle_for < TRUSTED || lives(connection).await) }))
        .after_connect(move |connection, _| {
            let set = set.clone();
            Box::pin(async move {
                connection.execute(AssertSqlSafe(set)).await?;
                Ok(())
            })
        })
}

async fn lives(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(PING, connection.ping()).await, Ok(Ok(())))
}

/// The role that a service's statements run under.
pub(crate) fn role_of(schema: &str) -> String {
    format!("gantry_{schema}")
}
