//! What the scheduler says is written to disk beside the stream that it comes on: a disk that is slow, or hangs, holds up neither the node's
//! lease nor the next word. Of words that come faster than the disk takes them only the last is written.

use std::sync::Arc;

use tokio::sync::watch;

use crate::adapters::disk::Disk;
use crate::adapters::machine::Sleep;
use crate::app::keeper::Shared;
use crate::app::lease::{Kept, Lease};

/// The way of words to the disk.
pub struct Words(watch::Sender<Option<Arc<Word>>>);

/// One that waits to be written.
pub struct Word {
    number: u64,
    /// As it came, encoded.
    bytes: Vec<u8>,
}

pub fn words() -> (Words, watch::Receiver<Option<Arc<Word>>>) {
    let (words, waiting) = watch::channel(None);
    (Words(words), waiting)
}

impl Words {
    /// To be called before the word is followed: steps begin by it when it is on disk.
    pub fn save(&self, shared: &Shared, bytes: Vec<u8>) {
        let number = shared.saving();
        self.0.send_replace(Some(Arc::new(Word { number, bytes })));
    }
}

/// Writes until no more can come, the last one too.
pub async fn write(mut waiting: watch::Receiver<Option<Arc<Word>>>, disk: Disk, shared: Shared) {
    while waiting.changed().await.is_ok() {
        let word = waiting.borrow_and_update().clone();
        let Some(word) = word else { continue };
        if let Err(error) = disk.save_word(&word.bytes).await {
            tracing::error!(%error, "the wanted state cannot be saved; it is followed, but a restart would not know it");
        }
        shared.has_saved(word.number);
    }
}

/// Keeps each lease for the next agent.
pub async fn leases(mut told: watch::Receiver<Lease>, disk: Disk, sleep: Sleep) {
    let mut kept = Kept::new(disk);
    while told.changed().await.is_ok() {
        let lease = told.borrow_and_update().awake(sleep.total());
        kept.keep(lease).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantry_contract::proto::scheduler::WantedState;
    use prost::Message;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_no_word_and_the_last_of_them_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).await.unwrap();
        let shared = Shared::new(None);
        // Whoever opens it to write waits until somebody reads.
        let beside = folder.path().join("wanted.new");
        assert!(std::process::Command::new("mkfifo").arg(&beside).status().unwrap().success());
        let (words, waiting) = words();
        let say = |generation: u64| words.save(&shared, WantedState { generation, ..Default::default() }.encode_to_vec());
        let writing = write(waiting, disk.clone(), shared.clone());
        tokio::pin!(writing);
        say(1);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut writing).await.is_err(), "it hangs");
        say(2);
        say(3);
        let saved = shared.until_saved(false);
        tokio::pin!(saved);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut saved).await.is_err(), "nothing begins by them meanwhile");
        let reading = tokio::task::spawn_blocking(move || std::fs::read(beside));
        let both = async { tokio::join!(saved, async { drop(words) }) };
        let all = async { tokio::join!(both, &mut writing) };
        tokio::time::timeout(LONG, all).await.expect("it goes on, and ends when no more can come");
        assert!(reading.await.unwrap().is_ok());
        assert_eq!(disk.wanted().await.map(|w| w.generation), Some(3));
    }

    #[tokio::test]
    async fn a_lease_is_kept_for_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).await.unwrap();
        let told = watch::Sender::new(Lease::over());
        let keeping = leases(told.subscribe(), disk.clone(), Sleep::new());
        told.send_replace(Lease::new(tokio::time::Instant::now(), Duration::from_secs(3600)));
        drop(told);
        tokio::time::timeout(LONG, keeping).await.expect("it ends with who tells");
        let left = Lease::resume(&disk).await.stop_at().saturating_duration_since(tokio::time::Instant::now());
        assert!(left > Duration::from_secs(1800));
    }
}
