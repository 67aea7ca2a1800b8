//! A client that never stops asking, and remembers every answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::task::JoinSet;

use super::story::Door;

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(5);
const CLIENTS: usize = 4;

#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub ok: u64,
    /// Each failed request in words.
    pub failed: Vec<String>,
    /// Answers by version, and by instance.
    pub versions: BTreeMap<String, u64>,
    pub instances: BTreeMap<String, u64>,
}

pub struct Traffic {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    clients: JoinSet<()>,
}

/// One request through the balancer.
///
/// # Errors
/// When it fails in any way.
pub async fn ask(client: &reqwest::Client, door: &Door) -> Result<Value> {
    let answer = client.get(format!("{}/cgi-bin/who", door.url)).send().await.context("no answer")?;
    let status = answer.status();
    let text = answer.text().await.context("the answer breaks off")?;
    anyhow::ensure!(status.is_success(), "{status}: {}", text.chars().take(100).collect::<String>());
    serde_json::from_str(&text).with_context(|| format!("an answer that the application never gives: {text:?}"))
}

/// A client that finds the application's name at the balancer, as DNS would tell it.
///
/// # Errors
/// When it cannot be made.
pub fn client(door: &Door) -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().resolve(&door.host, door.address).timeout(Duration::from_secs(10)).no_proxy().build()?)
}

impl Traffic {
    /// # Errors
    /// When a client cannot be made.
    pub fn start(door: &Door) -> Result<Self> {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (client, door, stop, seen) = (client(door)?, door.clone(), stop.clone(), seen.clone());
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(&client, &door).await;
                    seen.lock().unwrap_or_else(PoisonError::into_inner).take_in(answer);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Ok(Self { stop, seen, clients })
    }

    pub fn so_far(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.so_far()
    }
}

impl Seen {
    fn take_in(&mut self, answer: Result<Value>) {
        match answer {
            Ok(answer) => {
                self.ok += 1;
                let count = |of: &mut BTreeMap<String, u64>, key: &str| *of.entry(answer[key].as_str().unwrap_or("?").to_owned()).or_default() += 1;
                count(&mut self.versions, "version");
                count(&mut self.instances, "instance");
            }
            Err(error) => self.failed.push(format!("{error:#}")),
        }
    }
}
