//! What the agent keeps on disk, so that it goes on after a restart of its own and without the control plane.

use std::path::{Path, PathBuf};

use anyhow::Context;
use gantry_contract::proto::scheduler::WantedState;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

use super::memory::{self, Room};
use super::seal;

const WORD: &str = "wanted.pb";
/// Of the last word in memory: twice the longest that the scheduler sends, since the new one lies beside the old until it is whole.
const WORD_ROOM: Room = Room { bytes: 130 << 20, executable: false };

/// A folder of small files, each replaced as a whole and readable by the agent alone (they hold secrets).
#[derive(Clone)]
pub struct Disk {
    folder: PathBuf,
    /// Where the last word is: the same, or in memory.
    word: PathBuf,
}

impl Disk {
    /// # Errors
    /// When the folder cannot be made.
    pub async fn open(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folder = folder.into();
        tokio::fs::create_dir_all(&folder).await?;
        tokio::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).await?;
        Ok(Self { word: folder.clone(), folder })
    }

    /// The same, but with the last word, in which secrets are, in a folder in memory. One that lies on the disk moves there.
    ///
    /// # Errors
    /// When it cannot be mounted, or what lies on the disk cannot be moved.
    pub async fn with_word_in_memory(self, word: PathBuf) -> anyhow::Result<Self> {
        tokio::fs::create_dir_all(&word).await?;
        tokio::fs::set_permissions(&word, std::os::unix::fs::PermissionsExt::from_mode(0o700)).await?;
        memory::ensure(&word, WORD_ROOM)
            .await
            .context("the scheduler's last word cannot be kept in memory (`word_in_memory`), which needs the right to mount")?;
        let before = self.folder.join(WORD);
        match tokio::fs::read(&before).await {
            Ok(bytes) => {
                // What lies in memory is newer.
                if tokio::fs::metadata(word.join(WORD)).await.is_err() {
                    replace(&word.join(WORD), &bytes, 0o600).await?;
                }
                tokio::fs::remove_file(&before).await?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { word, ..self })
    }

    /// The last wanted state; `None` before the first one, or if the file is damaged (then the scheduler's next word counts, and until then
    /// nothing is changed: by half a word, or an empty file, what runs would be taken away with its volumes).
    pub async fn wanted(&self) -> Option<WantedState> {
        let path = self.word.join(WORD);
        let bytes = match tokio::fs::read(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(%error, "the saved wanted state cannot be read; the scheduler's next word is waited for");
                return None;
            }
        };
        let word = seal::opened(&bytes).and_then(|word| WantedState::decode(word).ok());
        if word.is_none() {
            tracing::error!(length = bytes.len(), "the saved wanted state is damaged; the scheduler's next word is waited for");
            let _ = tokio::fs::copy(&path, path.with_extension("damaged")).await;
        }
        word
    }

    /// # Errors
    /// When the disk refuses; the old state is whole then.
    pub async fn save_wanted(&self, state: &WantedState) -> std::io::Result<()> {
        self.save_word(&state.encode_to_vec()).await
    }

    /// The same of a state as it came, encoded.
    ///
    /// # Errors
    /// As [`Disk::save_wanted`].
    pub async fn save_word(&self, bytes: &[u8]) -> std::io::Result<()> {
        replace(&self.word.join(WORD), &seal::sealed(bytes), 0o600).await
    }

    /// A JSON file, or the default if it is absent or damaged.
    pub async fn load<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        self.recall(name).await.0
    }

    /// The same, and whether it is damaged: what it said is lost then. A copy is kept beside, for a person to look at.
    pub async fn recall<T: DeserializeOwned + Default>(&self, name: &str) -> (T, bool) {
        let path = self.folder.join(name);
        let bytes = match tokio::fs::read(&path).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let absent = error.kind() == std::io::ErrorKind::NotFound;
                if !absent {
                    tracing::error!(name, %error, "what the agent kept on disk cannot be read; it goes on without");
                }
                return (T::default(), !absent);
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => (value, false),
            Err(error) => {
                tracing::error!(name, %error, "what the agent kept on disk is damaged; it goes on without");
                // A copy: for some it counts that there was a file.
                let _ = tokio::fs::copy(&path, path.with_extension("damaged")).await;
                (T::default(), true)
            }
        }
    }

    /// # Errors
    /// When the disk refuses.
    pub async fn save<T: Serialize>(&self, name: &str, value: &T) -> std::io::Result<()> {
        replace(&self.folder.join(name), &serde_json::to_vec(value)?, 0o600).await
    }

    /// Whether there is such a file, also a damaged one.
    pub async fn holds(&self, name: &str) -> bool {
        tokio::fs::symlink_metadata(self.folder.join(name)).await.is_ok()
    }

    /// As [`Disk::save`], but not waited for the disk: what does not count any more when the machine has started anew.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn note<T: Serialize>(&self, name: &str, value: &T) -> std::io::Result<()> {
        put(&self.folder.join(name), &serde_json::to_vec(value)?, 0o600).await
    }
}

/// Writes beside, then renames: a reader, or we after a crash, see the old file or the new one.
///
/// # Errors
/// When the disk refuses; the old file is as it was then, and nothing is left of the new one.
pub async fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    exchange(path, bytes, mode, true).await
}

/// As [`replace`], but not waited for the disk: a crash of the machine, and that alone, may leave less than was written.
///
/// # Errors
/// As [`replace`].
pub async fn put(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    exchange(path, bytes, mode, false).await
}

async fn exchange(path: &Path, bytes: &[u8], mode: u32, lasting: bool) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let replaced = async {
        write(&beside, bytes, mode, lasting).await?;
        tokio::fs::rename(&beside, path).await
    };
    let replaced = replaced.await;
    if replaced.is_err() {
        // On a full disk it would take room for nothing.
        let _ = tokio::fs::remove_file(&beside).await;
    }
    replaced
}

async fn write(path: &Path, bytes: &[u8], mode: u32, lasting: bool) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(path).await?;
    file.write_all(bytes).await?;
    // What is written is handed to another thread: that the disk is full is said here, and not by `sync_data`.
    file.flush().await?;
    if lasting { file.sync_data().await } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_told_of_and_leaves_the_old_file_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        replace(&at("state.json"), b"old", 0o600).await.unwrap();
        std::os::unix::fs::symlink("/dev/full", at("state.new")).unwrap();
        let error = replace(&at("state.json"), &[b'x'; 100_000], 0o600).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(at("state.json")).unwrap(), b"old");
        assert!(std::fs::symlink_metadata(at("state.new")).is_err(), "what is half is not left");
        replace(&at("state.json"), b"new", 0o600).await.unwrap();
        assert_eq!(std::fs::read(at("state.json")).unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_of_and_kept_beside() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).await.unwrap();
        assert_eq!(disk.recall::<Vec<u32>>("list.json").await, (Vec::new(), false), "there was none yet");
        disk.note("list.json", &[1, 2]).await.unwrap();
        assert_eq!(disk.recall::<Vec<u32>>("list.json").await, (vec![1, 2], false));
        std::fs::write(folder.path().join("list.json"), "[1, 2").unwrap();
        assert_eq!(disk.recall::<Vec<u32>>("list.json").await, (Vec::new(), true));
        assert_eq!(std::fs::read_to_string(folder.path().join("list.damaged")).unwrap(), "[1, 2");
        disk.save("list.json", &[3]).await.unwrap();
        assert_eq!(disk.recall::<Vec<u32>>("list.json").await, (vec![3], false));
    }

    #[tokio::test]
    async fn an_empty_or_half_a_word_is_none_and_an_earlier_agents_is_one() {
        use gantry_contract::proto::scheduler::WantedInstance;
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).await.unwrap();
        let file = folder.path().join("wanted.pb");
        assert_eq!(disk.wanted().await, None, "there was none yet");
        let instance = |n: u32| WantedInstance { instance_id: n.to_string(), ..Default::default() };
        let word = WantedState { generation: 7, instances: vec![instance(1), instance(2)], ..Default::default() };
        disk.save_wanted(&word).await.unwrap();
        assert_eq!(disk.wanted().await.as_ref(), Some(&word));
        let whole = std::fs::read(&file).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(disk.wanted().await, None, "{length} bytes of {}", whole.len());
        }
        std::fs::write(&file, vec![0; whole.len()]).unwrap();
        assert_eq!(disk.wanted().await, None, "as a crash of the machine may leave it");
        assert!(folder.path().join("wanted.damaged").exists());
        // That nothing is wanted is a word, too.
        disk.save_wanted(&WantedState::default()).await.unwrap();
        assert_eq!(disk.wanted().await, Some(WantedState::default()));
        std::fs::write(&file, word.encode_to_vec()).unwrap();
        assert_eq!(disk.wanted().await, Some(word), "of an agent that did not seal it");
    }

    /// With the right to mount alone; says so where it is missing.
    #[tokio::test]
    async fn a_last_word_in_memory_leaves_the_disk_and_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let word = |generation: u64| WantedState { generation, ..Default::default() };
        let disk = Disk::open(at("state")).await.unwrap();
        disk.save_wanted(&word(1)).await.unwrap();
        let disk = match disk.with_word_in_memory(at("word")).await {
            Ok(disk) => disk,
            Err(error) => {
                assert!(at("state/wanted.pb").exists(), "what cannot be moved stays");
                eprintln!("skipped: nothing was mounted: {error:#}");
                return;
            }
        };
        assert!(!at("state/wanted.pb").exists());
        assert_eq!(disk.wanted().await, Some(word(1)));
        disk.save_wanted(&word(2)).await.unwrap();
        let next = Disk::open(at("state")).await.unwrap().with_word_in_memory(at("word")).await.unwrap();
        assert_eq!(next.wanted().await, Some(word(2)));
        memory::unmount_below(&at("word")).await.unwrap();
        assert_eq!(next.wanted().await, None, "nothing of it is left on the disk");
    }
}
