//! A log in a schema of its own, and a small aggregate.

use gantry_es::{Ctx, Decider, EventData, Meta, StreamId};
use gantry_es_pg::{Append, Db, Log, Settings};
use gantry_kernel::Env;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data")]
pub enum Counted {
    #[serde(rename = "counter.raised")]
    Raised { by: u32 },
}

impl EventData for Counted {
    const AGGREGATE: &'static str = "counter";
}

pub struct Counter;

#[derive(Debug, thiserror::Error)]
#[error("zero raises nothing")]
pub struct Zero;

impl Decider for Counter {
    type State = u64;
    type Command = u32;
    type Event = Counted;
    type Refusal = Zero;

    fn decide(_: &u64, by: u32, _: &Ctx) -> Result<Vec<Counted>, Zero> {
        if by == 0 { Err(Zero) } else { Ok(vec![Counted::Raised { by }]) }
    }

    fn evolve(state: u64, event: &Counted) -> u64 {
        let Counted::Raised { by } = event;
        state + u64::from(*by)
    }
}

pub struct Fixture {
    pub log: Log,
    pub settings: Settings,
    pub cancel: CancellationToken,
    pub tasks: TaskTracker,
}

impl Fixture {
    pub async fn new() -> Self {
        let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
        let id = Env::system().uuid().simple().to_string();
        Self::open(Settings { url: servers.database_url.clone(), schema: format!("es_{}", &id[20..]), max_connections: 8 }).await
    }

    /// Another handle on the same log, as a second replica has it.
    pub async fn again(&self) -> Self {
        Self::open(self.settings.clone()).await
    }

    pub async fn open(settings: Settings) -> Self {
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let db = Db::open(&settings, &[]).await.unwrap();
        let log = Log::open(db, "test", Env::system(), &cancel, &tasks).await.unwrap();
        Self { log, settings, cancel, tasks }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub fn stream(id: impl std::fmt::Display) -> StreamId {
    StreamId::of::<Counted>(id)
}

pub fn raise(id: impl std::fmt::Display, expected: Option<i64>, by: u32) -> Append {
    Append::one(stream(id), expected, vec![Counted::Raised { by }.encode()], Meta::system())
}
