//! Relay, subscriber and NATS go down at random under load; every event is applied exactly once, in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gantry_bus::{Bus, start_relay, subscribe};
use gantry_es::{Meta, NewEvent, Recorded, StreamId};
use gantry_es_pg::{Append, Db, Log, Projection, Settings};
use gantry_kernel::{Env, Uuid};
use gantry_servers::{Nats, Server, Signal, ensure_running};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long parts go down: `GANTRY_CHAOS_SECONDS`, else a minute. It waits most of the time, so other tests run beside it.
fn storm() -> Duration {
    let given = gantry_servers::number_from_env("GANTRY_CHAOS_SECONDS").unwrap();
    Duration::from_secs(given.unwrap_or(60).into())
}

struct Seen;

#[async_trait]
impl Projection for Seen {
    fn name(&self) -> &'static str {
        "seen"
    }
    fn ddl(&self) -> &'static str {
        // `nth` counts the order of application; no unique key hides a repetition.
        "create table seen (nth bigint generated always as identity, position bigint not null, stream text not null, version bigint not null)"
    }
    fn tables(&self) -> &'static [&'static str] {
        &["seen"]
    }
    async fn apply(&self, tx: &DatabaseTransaction, event: &Recorded) -> anyhow::Result<()> {
        let sql = "insert into seen (position, stream, version) values ($1, $2, $3)";
        let values = [event.position.into(), event.stream.to_string().into(), event.version.into()];
        tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
        Ok(())
    }
}

/// A part of the suite that can be dropped and started again.
struct Part {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Part {
    fn new() -> Self {
        Self { cancel: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// NATS on ports of its own, so that it can be killed.
struct Victim {
    root: PathBuf,
    port: u16,
    monitor: u16,
}

impl Victim {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), port: gantry_testkit::free_port(), monitor: gantry_testkit::free_port() }
    }

    fn server(&self) -> Nats {
        Nats::new(&self.root, self.port, self.monitor).unwrap()
    }

    async fn start(&self) {
        let server = self.server();
        tokio::task::spawn_blocking(move || ensure_running(&server, Duration::from_secs(60)).unwrap()).await.unwrap();
    }

    async fn kill(&self) {
        let server = self.server();
        tokio::task::spawn_blocking(move || server.pid_file().stop(Signal::Kill, Duration::from_secs(60)).unwrap()).await.unwrap();
    }
}

async fn open(settings: &Settings, part: &Part) -> Log {
    let db = Db::open(settings, &[]).await.unwrap();
    Log::open(db, "origin", Env::system(), &part.cancel, &part.tasks).await.unwrap()
}

async fn relay(settings: &Settings, url: &str, prefix: &str) -> Part {
    let part = Part::new();
    let log = open(settings, &part).await;
    let bus = Bus::connect(url, prefix, "relay").await.unwrap();
    start_relay(bus, log, part.cancel.clone(), &part.tasks);
    part
}

async fn subscriber(settings: &Settings, url: &str, prefix: &str) -> Part {
    let part = Part::new();
    let db = Db::open(settings, &[]).await.unwrap();
    let bus = Bus::connect(url, prefix, "subscriber").await.unwrap();
    subscribe(&bus, &db, "origin", Arc::new(Seen), &part.cancel, &part.tasks).await.unwrap();
    part
}

/// A small generator is enough to choose whom to hit next.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_applied_once_and_in_order_whatever_is_killed() {
    let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let nats = Victim::new(home.path());
    nats.start().await;
    let url = nats.server().url();
    let id = Env::system().uuid().simple().to_string();
    let settings = |of: &str| Settings { url: servers.database_url.clone(), schema: format!("bus_{}_{of}", &id[20..]), max_connections: 4 };
    let (origin, target) = (settings("origin"), settings("target"));

    let writing = Part::new();
    let log = open(&origin, &writing).await;
    let writer = {
        let (log, stop) = (log.clone(), writing.cancel.clone());
        tokio::spawn(async move {
            let mut written = 0i64;
            while !stop.is_cancelled() {
                let stream = StreamId::new("thing", written % 5);
                let event = NewEvent { kind: "thing.happened".into(), kind_version: 1, data: serde_json::json!({ "n": written }).into() };
                written = log.append(Append::one(stream, None, vec![event], Meta::system())).await.unwrap().position;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            written
        })
    };

    let (mut out, mut into) = (relay(&origin, &url, "chaos").await, subscriber(&target, &url, "chaos").await);
    let mut seed = Uuid::parse_str(&id).unwrap().as_u64_pair().1;
    println!("seed {seed}");
    let until = Instant::now() + storm();
    let mut emptied = 0;
    while Instant::now() < until {
        match next(&mut seed) % 4 {
            0 => {
                out.stop().await;
                out = relay(&origin, &url, "chaos").await;
            }
            1 => {
                into.stop().await;
                into = subscriber(&target, &url, "chaos").await;
            }
            2 => {
                nats.kill().await;
                nats.start().await;
            }
            _ if emptied < 2 => {
                // The store is lost altogether: it is only a copy.
                nats.kill().await;
                let store = home.path().join("nats/store");
                let store = if store.exists() { store } else { home.path().join("nats/jetstream") };
                assert!(store.exists(), "where does NATS keep its store? {:?}", std::fs::read_dir(home.path().join("nats")).unwrap().collect::<Vec<_>>());
                std::fs::remove_dir_all(store).unwrap();
                nats.start().await;
                emptied += 1;
            }
            _ => {}
        }
        // Faults come now and then, and what they did goes on meanwhile.
        tokio::time::sleep(Duration::from_millis(300 + next(&mut seed) % 700)).await;
    }
    writing.cancel.cancel();
    let written = writer.await.unwrap();
    assert!(written > 500, "there was load: {written}");

    let db = Db::open(&target, &[]).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let at: Option<i64> = sqlx::query_scalar("select max(position) from seen").fetch_one(&db.pool).await.unwrap();
        if at == Some(written) {
            break;
        }
        assert!(Instant::now() < deadline, "the subscriber is at {at:?} of {written}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen: Vec<i64> = sqlx::query_scalar("select position from seen order by nth").fetch_all(&db.pool).await.unwrap();
    assert_eq!(seen, (1..=written).collect::<Vec<_>>(), "each once, in order, none missing");
    out.stop().await;
    into.stop().await;
    nats.kill().await;
}
