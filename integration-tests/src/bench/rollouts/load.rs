//! Requests at a steady rate, whatever becomes of those before: half over the application's own port, half by its host's name; half on
//! kept connections, half on new ones.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that one client keeps.
const KEPT: usize = 32;

/// What became of all requests.
#[derive(Debug)]
pub struct Seen {
    pub good: usize,
    /// Each failed request in words.
    pub failures: Vec<String>,
    /// Requests sent in a second.
    pub rate: f64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests were answered, {} failed", self.good, self.failures.len())?;
        self.failures.first().map_or(Ok(()), |first| write!(f, ", the first so: {first}"))
    }
}

pub struct Load {
    cancel: CancellationToken,
    task: JoinHandle<(usize, f64)>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Load {
    /// `rate` a second from now on. `by_name`: a URL whose host is found at `door`, as DNS would tell it.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn start(rate: u32, by_port: &str, by_name: &str, door: SocketAddr) -> Result<Self> {
        let mut clients = Vec::new();
        for (url, kept) in [(by_port, KEPT), (by_port, 0), (by_name, KEPT), (by_name, 0)] {
            let host = url.trim_start_matches("http://").split([':', '/']).next().unwrap_or_default();
            let client = reqwest::Client::builder().resolve(host, door).pool_max_idle_per_host(kept).timeout(PATIENCE).no_proxy().build()?;
            clients.push((client, url.to_owned()));
        }
        let (cancel, failures) = (CancellationToken::new(), Arc::<Mutex<Vec<String>>>::default());
        let task = tokio::spawn(send(clients, rate, failures.clone(), cancel.clone()));
        Ok(Self { cancel, task, failures })
    }

    /// Ends it, and waits for every answer.
    pub async fn stop(self) -> Seen {
        self.cancel.cancel();
        // A panic of our own: nothing was sent then.
        let (sent, rate) = self.task.await.unwrap_or_default();
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        Seen { good: sent.saturating_sub(failures.len()), failures, rate }
    }
}

async fn send(clients: Vec<(reqwest::Client, String)>, rate: u32, failures: Arc<Mutex<Vec<String>>>, cancel: CancellationToken) -> (usize, f64) {
    // A tick that comes late is followed by those it kept waiting: the rate stays.
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    let (mut under_way, mut sent, began) = (JoinSet::new(), 0, Instant::now());
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = tick.tick() => {}
        }
        let (client, url) = &clients[sent % clients.len()];
        let (client, url, failures) = (client.clone(), url.clone(), failures.clone());
        under_way.spawn(async move {
            if let Err(error) = ask(&client, &url).await {
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{url}: {error:#}"));
            }
        });
        sent += 1;
        while under_way.try_join_next().is_some() {}
    }
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    while under_way.join_next().await.is_some() {}
    (sent, rate)
}

/// One request; whatever is no whole good answer of the application is a failure.
async fn ask(client: &reqwest::Client, url: &str) -> Result<()> {
    let answer = client.get(url).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    anyhow::ensure!(status.is_success() && text.trim().parse::<u64>().is_ok(), "{status}: {}", text.chars().take(100).collect::<String>());
    Ok(())
}
