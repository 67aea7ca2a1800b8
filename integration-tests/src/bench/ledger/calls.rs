//! Callers of the ledger: each waits for its answer before it asks again, as a service does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use gantry_host::Channel;
use tokio::sync::watch;

use crate::bench::ledger::proto::ledger_client::LedgerClient;
use crate::bench::ledger::proto::{AppendRequest, Entry, LoadRequest};
use crate::bench::rounds::quantile_ms;

/// With it an entry is stored as 500 bytes of JSON.
pub const NOTE: &str = const {
    const BYTES: [u8; 478] = [b'n'; 478];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("ASCII is UTF-8"),
    }
};

/// Accounts of their own, with the version each is at.
pub struct Callers {
    client: LedgerClient<Channel>,
    versions: Vec<(String, i64)>,
}

impl Callers {
    pub fn new(channel: Channel, name: &str, callers: usize) -> Self {
        let versions = (0..callers).map(|n| (format!("{name}-{n}"), 0)).collect();
        Self { client: LedgerClient::new(channel), versions }
    }

    /// Appends `entries` events a call, every caller for itself, for `how_long`. Events per second.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn append(&mut self, entries: usize, how_long: Duration) -> Result<f64> {
        self.append_while(entries, how_long, None).await
    }

    /// The same, never more than so many events ahead of a reader.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn append_while(&mut self, entries: usize, how_long: Duration, behind: Option<(watch::Receiver<i64>, i64)>) -> Result<f64> {
        let appended = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let running = self.versions.drain(..).map(|(account, mut version)| {
            let (mut client, appended, mut behind) = (self.client.clone(), appended.clone(), behind.clone());
            tokio::spawn(async move {
                let mut position = 0;
                while started.elapsed() < how_long {
                    if let Some((reached, ahead)) = &mut behind {
                        reached.wait_for(|at| *at >= position - *ahead).await?;
                    }
                    let answer = client.append(request(&account, version, entries)).await?.into_inner();
                    (version, position) = (answer.version, answer.position);
                    appended.fetch_add(entries as u64, Ordering::Relaxed);
                }
                anyhow::Ok((account, version))
            })
        });
        let ended = try_join_all(running.collect::<Vec<_>>()).await?;
        let took = started.elapsed();
        self.versions = ended.into_iter().collect::<Result<_>>()?;
        #[allow(clippy::cast_precision_loss, reason = "a count of some seconds")]
        let appended = appended.load(Ordering::Relaxed) as f64;
        Ok(appended / took.as_secs_f64())
    }

    /// One call by every caller.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn append_once(&mut self, entries: usize) -> Result<()> {
        for (account, version) in &mut self.versions {
            *version = self.client.append(request(account, *version, entries)).await?.into_inner().version;
        }
        Ok(())
    }

    /// A call every `period` seconds, whether or not those before have been answered; the callers take turns. The position of
    /// each call's last event, and when the call was due.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn steadily(&mut self, entries: usize, period: f64, how_long: Duration) -> Result<Vec<(i64, Instant)>> {
        let started = Instant::now();
        let turns = self.versions.len();
        #[allow(clippy::cast_precision_loss, reason = "a handful of callers")]
        let due = move |nth: usize| started + Duration::from_secs_f64(period * nth as f64);
        let running = self.versions.drain(..).enumerate().map(|(first, (account, mut version))| {
            let mut client = self.client.clone();
            tokio::spawn(async move {
                let mut calls = Vec::new();
                for nth in (first..).step_by(turns) {
                    let due = due(nth);
                    if due.duration_since(started) > how_long {
                        break;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let answer = client.append(request(&account, version, entries)).await?.into_inner();
                    version = answer.version;
                    calls.push((answer.position, due));
                }
                anyhow::Ok(((account, version), calls))
            })
        });
        let ended: Vec<_> = try_join_all(running.collect::<Vec<_>>()).await?.into_iter().collect::<Result<_>>()?;
        let (versions, calls): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
        self.versions = versions;
        Ok(calls.into_iter().flatten().collect())
    }

    /// Loads the first caller's account again and again: the time that one of a hundred loads exceeds.
    ///
    /// # Errors
    /// When a call fails, or the account is not what was appended.
    pub async fn load_p99_ms(&mut self, how_long: Duration) -> Result<f64> {
        let (account, version) = self.versions.first().context("there is a caller")?.clone();
        let (started, mut times) = (Instant::now(), Vec::new());
        while started.elapsed() < how_long {
            let asked = Instant::now();
            let loaded = self.client.load(LoadRequest { account: account.clone() }).await?.into_inner();
            times.push(asked.elapsed());
            anyhow::ensure!((loaded.version, loaded.balance) == (version, version), "{account} was not loaded as it was written");
        }
        Ok(quantile_ms(times, 0.99))
    }
}

fn request(account: &str, expected: i64, entries: usize) -> AppendRequest {
    AppendRequest { account: account.to_owned(), expected, entries: vec![Entry { amount: 1, note: NOTE.to_owned() }; entries] }
}

#[cfg(test)]
mod tests {
    use gantry_es::EventData;

    use super::NOTE;
    use crate::bench::ledger::entered;

    #[test]
    fn an_entry_is_stored_as_five_hundred_bytes() {
        assert_eq!(entered(1, NOTE).encode().data.to_string().len(), 500);
    }
}
