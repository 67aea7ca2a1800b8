//! A database that was restored while its stream was not: the stream has events that the log does not.

use std::time::Duration;

use gantry_bus::{Bus, start_relay};
use gantry_es::{Meta, NewEvent, StreamId};
use gantry_es_pg::{Append, Db, Log, Settings};
use gantry_kernel::Env;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A log of origin `origin`, and its relay.
pub(crate) struct Origin {
    pub log: Log,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Origin {
    /// With so many events more than it had.
    pub async fn with(events: usize, settings: &Settings, bus: &Bus) -> Self {
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let db = Db::open(settings, &[]).await.unwrap();
        let log = Log::open(db, "origin", Env::system(), &cancel, &tasks).await.unwrap();
        for n in 0..events {
            let event = NewEvent { kind: "thing.happened".into(), kind_version: 1, data: serde_json::json!({ "n": n }).into() };
            log.append(Append::one(StreamId::new("thing", n), None, vec![event], Meta::system())).await.unwrap();
        }
        start_relay(bus.clone(), log.clone(), cancel.clone(), &tasks);
        Self { log, cancel, tasks }
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

pub(crate) async fn until_messages(bus: &Bus, many: u64, patience: Duration) -> bool {
    let there = async {
        while bus.event_stream("origin").await.unwrap().get_info().await.unwrap().state.messages != many {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, there).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_restored_is_not_published_on_top_of_events_it_does_not_have() {
    let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
    let id = Env::system().uuid().simple().to_string();
    let bus = Bus::connect(&servers.nats_url, &format!("restored{}", &id[20..]), "test").await.unwrap();
    let settings = |of: &str| Settings { url: servers.database_url.clone(), schema: format!("bus_{}_{of}", &id[20..]), max_connections: 4 };
    let before = Origin::with(5, &settings("before"), &bus).await;
    assert!(until_messages(&bus, 5, Duration::from_secs(60)).await);
    before.stop().await;

    // The same log as an older backup had it, with other events since, and more of them.
    let after = Origin::with(7, &settings("after"), &bus).await;
    assert!(!until_messages(&bus, 7, Duration::from_secs(2)).await, "nothing is put behind what is not of this log");

    bus.js.delete_stream(bus.stream_name("origin")).await.unwrap();
    assert!(until_messages(&bus, 7, Duration::from_secs(60)).await, "filled anew");
    let stream = bus.event_stream("origin").await.unwrap();
    for event in after.log.read(0, 10).await.unwrap() {
        let message = stream.get_raw_message(u64::try_from(event.position).unwrap()).await.unwrap();
        assert_eq!(message.headers.get("ce-id").map(|id| id.as_str().to_owned()), Some(event.id.to_string()));
    }
    after.stop().await;
}
