//! Callers of the ledger: each waits for its answer before it asks again, as a service does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use gantry_host::Channel;

use crate::bench::ledger::proto::ledger_client::LedgerClient;
use crate::bench::ledger::proto::{AppendRequest, Entry};

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
        let appended = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let running = self.versions.drain(..).map(|(account, mut version)| {
            let (mut client, appended) = (self.client.clone(), appended.clone());
            tokio::spawn(async move {
                while started.elapsed() < how_long {
                    let entries = vec![Entry { amount: 1, note: NOTE.to_owned() }; entries];
                    let count = entries.len() as u64;
                    let request = AppendRequest { account: account.clone(), expected: version, entries };
                    version = client.append(request).await?.into_inner().version;
                    appended.fetch_add(count, Ordering::Relaxed);
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
