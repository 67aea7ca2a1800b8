//! Volumes of this node. One with a size is an ext4 file system in a file, mounted while an instance uses it, so that its limit is
//! the kernel's; one without is a plain folder. What a volume is and whose is written down next to it, so that the node alone can
//! say what it keeps, also of applications that are gone.

mod filling;
mod image;
mod reading;
mod recovering;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::fs;
use tokio::sync::OwnedMutexGuard;

pub use image::may_grow_mounted;
use image::{attach, grow_mounted, let_go, mounted};
use reading::Readers;
pub use reading::Reading;
pub use snapshots::Snapshot;

use super::copying::CopyError;
use super::machine::CommandError;
use super::turns::Turns;

/// Beside the volumes, on their file system: content that is not whole yet. No volume is called so.
const HALVES: &str = ".halves";

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("the volume's {what} at {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the volume's file system")]
    Command(#[from] CommandError),
    #[error("the volume's file system is damaged: stop its application and mend it on its node (`e2fsck -f {}`), or go back to a snapshot (`gantry volume rollback`)", image.display())]
    Damaged {
        image: PathBuf,
        #[source]
        source: CommandError,
    },
    #[error("the volume's content")]
    Copy(#[from] CopyError),
    #[error("there is no volume {0} on this node")]
    Missing(String),
    #[error("there is no snapshot {0} of it; `gantry volume show` lists them")]
    NoSnapshot(String),
    #[error("there is a snapshot {0} of it already")]
    Taken(String),
    #[error("the content of {0} is being replaced, or that broke off in the middle; restore or copy it again")]
    Unfilled(String),
    #[error("{0} is no name: letters, digits, - and . are allowed")]
    Name(String),
}

/// Whose it is and how large.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
    pub app_id: String,
    pub workload: String,
    /// 0: not limited.
    pub size_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    pub name: String,
    #[serde(flatten)]
    pub owner: Owner,
    /// What it takes of the node's disk.
    pub used_bytes: u64,
    pub snapshots: Vec<Snapshot>,
}

#[derive(Clone, Debug)]
pub struct Volumes {
    /// Where instances see them.
    root: PathBuf,
    /// Images, snapshots and owners.
    state: PathBuf,
    /// Of each volume one change at a time: mounting, growing and copying the same file must not meet. A large copy holds up nobody else's.
    turns: Arc<Turns>,
    /// Who reads where.
    read: Arc<std::sync::Mutex<BTreeMap<PathBuf, Readers>>>,
    /// Those that are just being filled.
    filling: Arc<std::sync::Mutex<BTreeSet<String>>>,
}

impl Volumes {
    pub fn new(root: PathBuf, state: PathBuf) -> Self {
        Self { root, state, turns: Arc::default(), read: Arc::default(), filling: Arc::default() }
    }

    async fn turn(&self, name: &str) -> OwnedMutexGuard<()> {
        self.turns.take(name).await
    }

    fn at(&self, name: &str, kind: &str) -> PathBuf {
        // A name may hold a slash, and a file's may not.
        self.state.join(format!("{}.{kind}", name.replace('/', "%2F")))
    }

    fn filled_now(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self, name: &str) -> PathBuf {
        self.at(name, "snapshots")
    }

    /// The folder of a volume, made if it is not there, grown if it shall be larger. It does not shrink.
    ///
    /// # Errors
    /// [`VolumeError`] naming what could not be done.
    pub async fn prepare(&self, name: &str, owner: &Owner) -> Result<PathBuf, VolumeError> {
        let _turn = self.turn(name).await;
        if exists(&self.at(name, "filling")).await {
            return Err(VolumeError::Unfilled(name.to_owned()));
        }
        let path = self.open(name, owner).await?;
        // From now on it is an instance's, whoever reads it besides.
        if let Some(readers) = self.readers().get_mut(&path) {
            readers.last_lets_go = false;
        }
        Ok(path)
    }

    async fn open(&self, name: &str, owner: &Owner) -> Result<PathBuf, VolumeError> {
        inside(name)?;
        self.no_links(name).await?;
        let (path, image) = (self.root.join(name), self.at(name, "img"));
        let plain = !exists(&image).await && exists(&path).await;
        make(&self.state, 0o700).await?;
        self.record(name, owner).await?;
        // One that began without a limit goes on without: its content is not moved behind anybody's back.
        if owner.size_bytes == 0 && !exists(&image).await || plain {
            make(&path, 0o777).await?;
            return Ok(path);
        }
        if mounted(&path).await? {
            grow_mounted(&image, &path, owner.size_bytes).await?;
        } else {
            attach(&image, &self.at(name, "new"), &path, owner.size_bytes).await?;
        }
        Ok(path)
    }

    async fn no_links(&self, name: &str) -> Result<(), VolumeError> {
        let mut at = self.root.clone();
        for part in name.split('/') {
            at.push(part);
            // Put there by an instance that has a folder above it, it would lead into the node.
            if fs::symlink_metadata(&at).await.is_ok_and(|m| m.is_symlink()) {
                return Err(VolumeError::Name(name.to_owned()));
            }
        }
        Ok(())
    }

    async fn record(&self, name: &str, owner: &Owner) -> Result<(), VolumeError> {
        if self.owner(name).await.as_ref() != Some(owner) && !owner.app_id.is_empty() {
            let file = self.at(name, "json");
            // Under another name until it is whole: one that is none hides the volume.
            let half = self.at(name, "json-new");
            fs::write(&half, serde_json::to_vec(owner).expect("texts and a number")).await.map_err(|e| failed("record", &half, e))?;
            fs::rename(&half, &file).await.map_err(|e| failed("record", &file, e))?;
        }
        Ok(())
    }

    /// An instance has gone that had it: its file system is let go unless another has it (`used`; then false). That is asked when it is this
    /// one's turn: who is given it meanwhile has written that down before, and is seen.
    pub async fn release(&self, name: &str, used: impl Future<Output = bool>) -> bool {
        let _turn = self.turn(name).await;
        if used.await {
            return false;
        }
        if let Some(readers) = self.readers().get_mut(&self.root.join(name)) {
            readers.last_lets_go = true;
            return true;
        }
        if let Err(error) = self.unmount(name).await {
            tracing::warn!(volume = name, %error, "a volume stays mounted");
        }
        true
    }

    async fn unmount(&self, name: &str) -> Result<(), VolumeError> {
        inside(name)?;
        let_go(&self.root.join(name)).await
    }

    async fn owner(&self, name: &str) -> Option<Owner> {
        serde_json::from_slice(&fs::read(self.at(name, "json")).await.ok()?).ok()
    }

    /// All that `takes` says yes to, by name.
    pub async fn list(&self, takes: impl Fn(&Owner) -> bool) -> Vec<Found> {
        let mut found = Vec::new();
        let Ok(mut entries) = fs::read_dir(&self.state).await else { return found };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = file.strip_suffix(".json").map(|n| n.replace("%2F", "/")) else { continue };
            let Some(owner) = self.owner(&name).await.filter(|o| takes(o)) else { continue };
            let image = self.at(&name, "img");
            let content = if exists(&image).await { image } else { self.root.join(&name) };
            found.push(Found { used_bytes: taken(content).await, snapshots: self.snapshots_of(&name).await, owner, name });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Takes it away, with its snapshots. Nobody may use it.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub async fn delete(&self, name: &str) -> Result<(), VolumeError> {
        let _turn = self.turn(name).await;
        self.known(name).await?;
        self.unmount(name).await?;
        self.drop_half(name).await?;
        self.filled_now().remove(name);
        for path in [self.root.join(name), self.at(name, "img"), self.at(name, "new"), self.snapshots(name), self.at(name, "filling"), self.at(name, "json")] {
            remove(&path).await?;
        }
        Ok(())
    }

    /// There is content, or nothing that had to come.
    async fn whole(&self, name: &str) -> Result<(), VolumeError> {
        let broken = exists(&self.at(name, "filling")).await && !self.has_content(name).await;
        if broken { Err(VolumeError::Unfilled(name.to_owned())) } else { Ok(()) }
    }

    async fn known(&self, name: &str) -> Result<Owner, VolumeError> {
        inside(name)?;
        self.owner(name).await.ok_or_else(|| VolumeError::Missing(name.to_owned()))
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> VolumeError {
    VolumeError::Io { what, path: path.to_owned(), source }
}

/// Names are written by people: none may lead out of the folder of volumes.
fn inside(name: &str) -> Result<(), VolumeError> {
    // Lists of them have one a line.
    let good = name.split('/').next() != Some(HALVES);
    let good = good && name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains(char::is_control);
    if good { Ok(()) } else { Err(VolumeError::Name(name.to_owned())) }
}

async fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).await.is_ok()
}

async fn make(path: &Path, mode: u32) -> Result<(), VolumeError> {
    if exists(path).await {
        return Ok(());
    }
    fs::create_dir_all(path).await.map_err(|e| failed("folder", path, e))?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).await.map_err(|e| failed("folder", path, e))
}

async fn remove(path: &Path) -> Result<(), VolumeError> {
    let done = match fs::symlink_metadata(path).await {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).await,
        Ok(_) => fs::remove_file(path).await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    done.map_err(|e| failed("content", path, e))
}

/// Blocks, not lengths: a sparse file takes what it holds.
async fn taken(path: PathBuf) -> u64 {
    tokio::task::spawn_blocking(move || blocks(&path)).await.unwrap_or(0)
}

fn blocks(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    let below = if meta.is_dir() { std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| blocks(&e.path())).sum() } else { 0 };
    meta.blocks() * 512 + below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(size_bytes: u64) -> Owner {
        Owner { app_id: "a".into(), space: "test".into(), size_bytes, ..Owner::default() }
    }

    #[tokio::test]
    async fn a_plain_volume_is_kept_snapshotted_and_brought_back() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let path = volumes.prepare("v", &owner(0)).await.unwrap();
        std::fs::write(path.join("x"), "before").unwrap();
        volumes.snapshot("v", "one").await.unwrap();
        std::fs::write(path.join("x"), "after").unwrap();
        assert!(matches!(volumes.snapshot("v", "one").await, Err(VolumeError::Taken(_))));
        assert!(matches!(volumes.snapshot("v", "../x").await, Err(VolumeError::Name(_))));
        for outside in ["x/../../y", "..", "/etc", "x/", "", "x\ny", ".halves/x"] {
            assert!(matches!(volumes.prepare(outside, &owner(0)).await, Err(VolumeError::Name(_))), "{outside}");
        }
        assert!(matches!(volumes.snapshot("w", "one").await, Err(VolumeError::Missing(_))));
        let found = volumes.list(|o| o.space == "test").await;
        assert_eq!((found.len(), found[0].name.as_str(), found[0].snapshots[0].name.as_str()), (1, "v", "one"));
        assert!(volumes.list(|o| o.space == "other").await.is_empty());
        volumes.roll_back("v", "one").await.unwrap();
        assert_eq!(std::fs::read_to_string(path.join("x")).unwrap(), "before");
        assert!(matches!(volumes.roll_back("v", "two").await, Err(VolumeError::NoSnapshot(_))));
        volumes.remove_snapshot("v", "one").await.unwrap();
        volumes.delete("v").await.unwrap();
        assert!(!path.exists() && volumes.list(|_| true).await.is_empty());
    }

    #[tokio::test]
    async fn a_volume_that_is_copied_for_long_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let turn = volumes.turn("a/v").await;
        let own = owner(0);
        let waits = volumes.prepare("a/v", &own);
        tokio::pin!(waits);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut waits).await.is_err(), "its own");
        tokio::time::timeout(std::time::Duration::from_secs(10), volumes.prepare("b/v", &own)).await.expect("another's").unwrap();
        drop(turn);
        waits.await.unwrap();
    }

    #[tokio::test]
    async fn whether_a_volume_is_used_is_asked_when_nobody_is_given_it_in_that_moment() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let asked = AtomicBool::new(false);
        let turn = volumes.turn("v").await;
        let let_go = volumes.release("v", async {
            asked.store(true, Ordering::Relaxed);
            true
        });
        tokio::pin!(let_go);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut let_go).await.is_err());
        assert!(!asked.load(Ordering::Relaxed));
        drop(turn);
        assert!(!let_go.await && asked.load(Ordering::Relaxed));
        assert!(volumes.release("v", async { false }).await);
    }
}
