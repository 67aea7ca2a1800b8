//! What the agent keeps on disk, so that it goes on after a restart of its own and without the control plane.

use std::path::{Path, PathBuf};

use gantry_contract::proto::scheduler::WantedState;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

/// A folder of small files, each replaced as a whole and readable by the agent alone (they hold secrets).
#[derive(Clone)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// # Errors
    /// When the folder cannot be made.
    pub async fn open(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folder = folder.into();
        tokio::fs::create_dir_all(&folder).await?;
        tokio::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).await?;
        Ok(Self { folder })
    }

    /// The last wanted state; `None` before the first one, or if the file is damaged (then the scheduler's next word counts).
    pub async fn wanted(&self) -> Option<WantedState> {
        let bytes = tokio::fs::read(self.folder.join("wanted.pb")).await.ok()?;
        WantedState::decode(&bytes[..]).inspect_err(|error| tracing::error!(%error, "the saved wanted state is damaged")).ok()
    }

    /// # Errors
    /// When the disk refuses; the old state is whole then.
    pub async fn save_wanted(&self, state: &WantedState) -> std::io::Result<()> {
        replace(&self.folder.join("wanted.pb"), &state.encode_to_vec(), 0o600).await
    }

    /// A JSON file, or the default if it is absent or damaged.
    pub async fn load<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        let bytes = tokio::fs::read(self.folder.join(name)).await.unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
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
        let path = self.folder.join(name);
        let beside = path.with_extension("new");
        tokio::fs::write(&beside, serde_json::to_vec(value)?).await?;
        tokio::fs::rename(&beside, &path).await
    }
}

/// Writes beside, then renames: a reader, or we after a crash, see the old file or the new one.
///
/// # Errors
/// When the disk refuses.
pub async fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = tokio::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&beside).await?;
    file.write_all(bytes).await?;
    file.sync_data().await?;
    drop(file);
    tokio::fs::rename(&beside, path).await
}
