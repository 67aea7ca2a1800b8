//! Checkpoints that have come from elsewhere: each comes whole or not at all, waits for its instance, and is laid where its container begins.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gantry_cri::ContainerState;
use gantry_kernel::InstanceId;
use tokio::fs;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::{ABOUT, CheckpointError, Checkpoints};
use crate::adapters::disk::replace;
use crate::adapters::machine;
use crate::domain::checkpoint::{About, faults, obstacle};

/// What nobody made an instance of is not kept for longer.
const KEPT: Duration = Duration::from_secs(3600);
/// Behind the name of what has not come whole.
const COMING: &str = ".coming";
/// In what waits: the container that was to go on from it.
const LAID: &str = "laid";

impl Checkpoints {
    pub(super) fn waiting(&self, instance: InstanceId) -> PathBuf {
        self.folder.join("waiting").join(instance.to_string())
    }

    /// Until the whole of it is there.
    pub(super) fn coming(&self, instance: InstanceId) -> PathBuf {
        self.folder.join("waiting").join(format!("{instance}{COMING}"))
    }

    /// Takes what was taken elsewhere from its standard input; then [`Checkpoints::taken`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn unpacking(&self, instance: InstanceId) -> Result<Child, CheckpointError> {
        self.sweep(false).await;
        self.make_folder().await?;
        let folder = self.coming(instance);
        // Of an attempt before this one, whose files must not be among these.
        clear(&folder).await?;
        fs::create_dir_all(&folder).await?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&folder).args(["--no-same-owner", "-xf", "-"]);
        let unpacking = tar.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        self.arriving().insert(instance);
        Ok(unpacking)
    }

    /// Takes away what waits here in vain. `parts`: what has come only in part, too.
    pub(super) async fn sweep(&self, parts: bool) {
        let Ok(mut all) = fs::read_dir(self.folder.join("waiting")).await else { return };
        while let Ok(Some(entry)) = all.next_entry().await {
            let age = entry.metadata().await.ok().and_then(|m| m.modified().ok()?.elapsed().ok()).unwrap_or_default();
            let part = entry.file_name().to_str().and_then(|name| name.strip_suffix(COMING)).map(str::to_owned);
            let arrives = part.as_ref().and_then(|id| id.parse::<InstanceId>().ok()).is_some_and(|id| self.arriving().contains(&id));
            if (age > KEPT && !arrives) || (parts && part.is_some()) {
                let _ = fs::remove_dir_all(entry.path()).await;
            }
        }
    }

    /// Nobody sends the rest: what has come holds what somebody's processes had in memory.
    pub async fn broken_off(&self, instance: InstanceId, mut unpacking: Child) {
        // Only fails when it has ended.
        let _ = unpacking.kill().await;
        self.arriving().remove(&instance);
        let _ = fs::remove_dir_all(self.coming(instance)).await;
    }

    /// The whole of it has come: the instance goes on from it when it is made.
    ///
    /// # Errors
    /// [`CheckpointError::Unable`] if it cannot go on from it on this machine.
    pub async fn taken(&self, instance: InstanceId, mut unpacking: Child) -> Result<(), CheckpointError> {
        drop(unpacking.stdin.take());
        let mut said = String::new();
        if let Some(mut errors) = unpacking.stderr.take() {
            let _ = errors.read_to_string(&mut said).await;
        }
        let folder = self.coming(instance);
        let checked = async {
            if !unpacking.wait().await?.success() {
                return Err(CheckpointError::Unable(format!("what came is no checkpoint: {}", said.trim())));
            }
            let taken: About = serde_json::from_slice(&fs::read(folder.join(ABOUT)).await?).map_err(std::io::Error::other)?;
            match obstacle(&taken, &self.tools("").await?.about) {
                Some(why) => Err(CheckpointError::Unable(why)),
                None => {
                    // It waits from now on, however long it took to come.
                    machine::run("touch", &[&folder.display().to_string()]).await?;
                    // What came earlier is older.
                    clear(&self.waiting(instance)).await?;
                    Ok(fs::rename(&folder, self.waiting(instance)).await?)
                }
            }
        }
        .await;
        self.arriving().remove(&instance);
        if checked.is_err() {
            let _ = fs::remove_dir_all(&folder).await;
        }
        checked
    }

    /// Whether the instance is to go on from a checkpoint. One from which a container has gone on, under an agent that ended in that moment,
    /// is removed: what has happened since then would be undone.
    pub async fn waits(&self, instance: InstanceId) -> bool {
        let waiting = self.waiting(instance);
        if !fs::try_exists(&waiting).await.unwrap_or(false) {
            return false;
        }
        let Ok(container) = fs::read_to_string(waiting.join(LAID)).await else { return true };
        let used = match self.cri.container_status(&container).await {
            Ok(status) => status.state != ContainerState::Created,
            Err(error) => error.is_not_found(),
        };
        if used {
            tracing::info!(instance.id = %instance, container, "the instance has gone on from its checkpoint already");
            self.forget(instance).await;
        }
        !used
    }

    /// Before a container of the instance starts: true if it goes on from a checkpoint. Followed by [`Checkpoints::went_on`] or
    /// [`Checkpoints::did_not`].
    ///
    /// # Errors
    /// When there is one, and it cannot be put in place.
    pub async fn lay(&self, instance: InstanceId, container: &str) -> Result<bool, CheckpointError> {
        if !self.waits(instance).await {
            return Ok(false);
        }
        let waiting = self.waiting(instance);
        let tools = self.tools("").await?;
        fs::create_dir_all(waiting.join("work")).await?;
        // First: an agent that ends in between finds out by it what became of the container.
        replace(&waiting.join(LAID), container.as_bytes(), 0o600).await?;
        forget_dangling(&tools.restore).await;
        fs::symlink(&waiting, tools.restore.join(container)).await?;
        Ok(true)
    }

    /// It runs: what it went on from is of no use any more.
    pub async fn went_on(&self, instance: InstanceId, container: &str) {
        self.unlay(container).await;
        self.forget(instance).await;
    }

    /// It does not run, and this is why. The checkpoint stays for another try.
    pub async fn did_not(&self, instance: InstanceId, container: &str) -> String {
        self.unlay(container).await;
        let _ = fs::remove_file(self.waiting(instance).join(LAID)).await;
        faults(&fs::read_to_string(self.waiting(instance).join("work/restore.log")).await.unwrap_or_default())
    }

    async fn unlay(&self, container: &str) {
        if let Ok(tools) = self.tools("").await {
            let _ = fs::remove_file(tools.restore.join(container)).await;
        }
    }

    /// The instance is no more, or has gone on.
    pub async fn forget(&self, instance: InstanceId) {
        let _ = fs::remove_dir_all(self.waiting(instance)).await;
    }
}

/// A folder with all that is in it, whether it is there or not.
async fn clear(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Links that an agent before this one had laid, to what was used up since.
async fn forget_dangling(folder: &Path) {
    let Ok(mut entries) = fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let is_link = entry.file_type().await.is_ok_and(|kind| kind.is_symlink());
        if is_link && fs::try_exists(entry.path()).await.is_ok_and(|there| !there) {
            let _ = fs::remove_file(entry.path()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_cri::Cri;
    use gantry_kernel::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_takes_long_to_come_is_not_swept_away_under_it() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(Cri::lazy("/nowhere"), "criu".into(), root.path().join("checkpoints"));
        let id = InstanceId(Uuid::from_u128(1));
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let grow_old = || std::fs::File::open(checkpoints.coming(id)).unwrap().set_modified(old).unwrap();
        let unpacking = checkpoints.unpacking(id).await.unwrap();
        grow_old();
        checkpoints.sweep(false).await;
        assert!(checkpoints.coming(id).exists());
        checkpoints.broken_off(id, unpacking).await;
        std::fs::create_dir_all(checkpoints.coming(id)).unwrap();
        grow_old();
        checkpoints.sweep(false).await;
        assert!(!checkpoints.coming(id).exists(), "nothing comes any more");
    }

    #[tokio::test]
    async fn what_a_broken_attempt_has_left_is_not_among_what_comes_next_and_used_links_go() {
        let root = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(Cri::lazy("/nowhere"), "criu".into(), root.path().join("checkpoints"));
        let id = InstanceId(Uuid::from_u128(1));
        std::fs::create_dir_all(checkpoints.coming(id)).unwrap();
        std::fs::write(checkpoints.coming(id).join("old"), "x").unwrap();
        let unpacking = checkpoints.unpacking(id).await.unwrap();
        assert!(checkpoints.coming(id).exists() && !checkpoints.coming(id).join("old").exists());
        checkpoints.broken_off(id, unpacking).await;
        let links = root.path().join("restore");
        std::fs::create_dir_all(links.join("bin")).unwrap();
        std::os::unix::fs::symlink(root.path(), links.join("good")).unwrap();
        std::os::unix::fs::symlink(root.path().join("gone"), links.join("used")).unwrap();
        forget_dangling(&links).await;
        let left = |name: &str| std::fs::symlink_metadata(links.join(name)).is_ok();
        assert!(left("bin") && left("good") && !left("used"));
    }
}
