//! The database's memory is lost while manifests are pushed, and appends under way find it again when it is back: whatever is left of the
//! log, the bytes of every manifest in it are there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_es::{Meta, NewEvent, StreamId};
use gantry_es_pg::{Append, Db, Log, Settings};
use gantry_kernel::Env;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::sums::Sums;
use gantry_registry::store::content::{Arrived, keep};
use gantry_registry::store::migrations::MIGRATIONS;
use gantry_servers::{Need, Postgres, Server, Signal, ensure_running, install, remove_folder, stop};
use gantry_testkit::free_port;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const WRITERS: usize = 4;

/// What blocks, on a thread that is no runtime's.
fn apart<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> T {
    std::thread::spawn(work).join().unwrap().unwrap()
}

/// A server of the test's own, gone with the value.
struct Own {
    folder: tempfile::TempDir,
    server: Arc<Postgres>,
}

impl Own {
    fn new() -> Self {
        apart(|| install::ensure(&[Need::Postgres], &mut |line| println!("{line}")));
        let folder = tempfile::tempdir().unwrap();
        let server = Arc::new(Postgres::new(folder.path(), free_port(), true).unwrap());
        Self { folder, server }
    }

    async fn open(&self, cancel: &CancellationToken) -> Log {
        let server = self.server.clone();
        apart(move || ensure_running(&*server, Duration::from_secs(90)));
        let settings = Settings { url: self.server.url(), schema: "registry".into(), max_connections: 8 };
        let db = Db::open(&settings, MIGRATIONS).await.unwrap();
        Log::open(db, "registry", Env::system(), cancel, &TaskTracker::new()).await.unwrap()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let (server, place) = (self.server.clone(), self.folder.path().join("pg"));
        let _ = std::thread::spawn(move || stop(&*server).and_then(|_| remove_folder(&place))).join();
    }
}

/// Pushes one manifest after the other until the database is gone; says each that was acknowledged.
async fn push(log: Log, name: String, acknowledged: Arc<Mutex<Vec<String>>>) {
    for n in 0.. {
        let bytes = format!("manifest {n} of {name}").into_bytes();
        let (digest, sums) = (Digest::of(Algorithm::Sha256, &bytes), Sums::of(&bytes));
        let arrived = Arrived { repository: None, digest: &digest, size: bytes.len() as u64, sums: &sums, bytes: Some(&bytes) };
        if keep(&log.db().pool, &[arrived], log.env.now()).await.is_err() {
            return;
        }
        let data = json!({ "digest": digest.as_str() }).into();
        let event = NewEvent { kind: "repository.manifest-pushed".into(), kind_version: 1, data };
        if log.append(Append::one(StreamId::new("repository", &name), None, vec![event], Meta::system())).await.is_err() {
            return;
        }
        acknowledged.lock().unwrap().push(digest.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifests_bytes_are_there_whenever_its_event_is() {
    let own = Own::new();
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..5u64 {
        let cancel = CancellationToken::new();
        let log = own.open(&cancel).await;
        let named = log.read(0, 10_000_000).await.unwrap();
        let named: HashSet<String> = named.iter().map(|e| e.data.value()["digest"].as_str().unwrap().to_owned()).collect();
        let kept: Vec<String> = sqlx::query_scalar("select digest from small_content").fetch_all(&log.db().pool).await.unwrap();
        let kept: HashSet<String> = kept.into_iter().collect();
        assert!(named.is_subset(&kept), "round {round}: {:?} have an event and no bytes", named.difference(&kept).collect::<Vec<_>>());
        assert!(acknowledged.lock().unwrap().iter().all(|digest| named.contains(digest)), "round {round}: an acknowledged event is gone");

        let pushing: Vec<_> = (0..WRITERS).map(|w| tokio::spawn(push(log.clone(), format!("{round}-{w}"), acknowledged.clone()))).collect();
        let (before, began) = (acknowledged.lock().unwrap().len(), std::time::Instant::now());
        while acknowledged.lock().unwrap().len() < before + 5 {
            assert!(began.elapsed() < Duration::from_secs(60), "round {round}: nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Each time at another moment.
        tokio::time::sleep(Duration::from_millis(200 + round * 61)).await;
        let server = own.server.clone();
        apart(move || server.pid_file().stop(Signal::Kill, Duration::from_secs(60)));
        // Those who push meet the loss, and some try again.
        tokio::time::sleep(Duration::from_millis(200)).await;
        pushing.iter().for_each(tokio::task::JoinHandle::abort);
        cancel.cancel();
    }
    assert!(acknowledged.lock().unwrap().len() > 20, "the pushes got somewhere");
}
