//! Clients that ask at a steady rate through every node's balancer: with kept and fresh connections, for quick and slow answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bed::LONG;
use crate::network::spawn;

/// What is asked through each node, and whether over a kept connection.
const CLIENTS: [(&str, bool); 3] = [("/", true), ("/", false), ("/cgi-bin/slow", false)];
/// So many answers may break off when what gives them is killed: nobody can ask again for the rest of an answer. Each client of three
/// nodes waits for one at most, and on a busy machine all of them may.
pub const BEGUN: usize = 3 * CLIENTS.len();
const PAUSE: Duration = Duration::from_millis(25);

/// What came back through one node.
#[derive(Default)]
struct Seen {
    good: usize,
    bad: Vec<String>,
    /// Answers that broke off.
    begun: Vec<String>,
    slowest: Duration,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    seen: BTreeMap<String, Arc<Mutex<Seen>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// By node the address of its balancer.
    pub fn start(nodes: impl IntoIterator<Item = (String, String)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut seen, mut clients) = (BTreeMap::new(), Vec::new());
        for (node, url) in nodes {
            let of_node: Arc<Mutex<Seen>> = Arc::default();
            for (path, keep) in CLIENTS {
                clients.push(spawn(ask(format!("{url}{path}"), keep, stop.clone(), of_node.clone())));
            }
            seen.insert(node, of_node);
        }
        Self { stop, seen, clients }
    }

    fn of(&self, node: &str) -> MutexGuard<'_, Seen> {
        self.seen[node].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until so many more requests were answered through each of these nodes.
    pub async fn more(&self, nodes: &[String], answers: usize) {
        let before: Vec<usize> = nodes.iter().map(|n| self.of(n).good).collect();
        let end = Instant::now() + LONG;
        while nodes.iter().zip(&before).any(|(node, before)| self.of(node).good < before + answers) {
            assert!(Instant::now() < end, "no answers any more: {:?}", nodes.iter().map(|n| (n, self.of(n).bad.len())).collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// No request through these nodes has failed, but for at most `begun` whose answers had begun. Says how many there were, and
    /// how long the slowest took.
    pub fn none_failed(&self, nodes: &[String], after: &str, begun: usize) {
        let mut broken = Vec::new();
        let mut slowest = Duration::ZERO;
        let mut good = 0;
        for node in nodes {
            let mut seen = self.of(node);
            assert!(
                seen.bad.is_empty(),
                "{} of {} requests through {node} failed by {after}: {:#?}",
                seen.bad.len(),
                seen.good,
                &seen.bad[..seen.bad.len().min(6)]
            );
            slowest = slowest.max(std::mem::take(&mut seen.slowest));
            good += seen.good;
            broken.append(&mut seen.begun);
        }
        assert!(broken.len() <= begun, "answers broke off by {after}: {broken:#?}");
        eprintln!("{after}: {good} requests so far, none failed, {} broke off; the slowest took {slowest:?}", broken.len());
    }

    /// What failed through a node that was off or away does not count.
    pub fn forgive(&self, node: &str) {
        let mut seen = self.of(node);
        *seen = Seen { good: seen.good, ..Seen::default() };
    }

    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

async fn ask(url: String, keep: bool, stop: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    let idle = if keep { 2 } else { 0 };
    let client =
        reqwest::Client::builder().pool_max_idle_per_host(idle).connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(20)).build().unwrap();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = async { client.get(&url).header("host", "shop.test").send().await?.error_for_status()?.text().await }.await;
        let took = began.elapsed();
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(_) => {
                    seen.good += 1;
                    seen.slowest = seen.slowest.max(took);
                }
                Err(error) if error.is_body() || error.is_decode() => seen.begun.push(format!("{url} keep={keep} after {took:?}: {error:?}")),
                Err(error) => seen.bad.push(format!("{url} keep={keep} after {took:?}: {error:?}")),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
