//! Copies of volumes, beside them on their node: taken while one is used, and brought back when it is not.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Serialize;
use tokio::fs;

use super::filling::{place, settle};
use super::image::{copy, mounted};
use super::{HALVES, VolumeError, Volumes, exists, failed, make, remove, taken};
use crate::adapters::cloning;
use crate::adapters::copying::CopyError;
use crate::adapters::machine;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub name: String,
    /// Seconds since 1970.
    pub at_unix: u64,
    pub used_bytes: u64,
}

impl Volumes {
    pub(super) async fn snapshots_of(&self, name: &str) -> Vec<Snapshot> {
        let mut all = Vec::new();
        let Ok(mut entries) = fs::read_dir(self.snapshots(name)).await else { return all };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(meta) = entry.metadata().await else { continue };
            if name.ends_with(".new") {
                continue;
            }
            let at = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            all.push(Snapshot { name, at_unix: at.map_or(0, |d| d.as_secs()), used_bytes: taken(entry.path()).await });
        }
        all.sort_by(|a, b| (a.at_unix, &a.name).cmp(&(b.at_unix, &b.name)));
        all
    }

    /// A copy of what is in it now. While one with a size is copied, writes to it wait; of a plain folder files are copied one by one.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub async fn snapshot(&self, name: &str, snapshot: &str) -> Result<(), VolumeError> {
        let _turn = self.turn(name).await;
        self.known(name).await?;
        self.whole(name).await?;
        let folder = self.snapshots(name);
        let target = folder.join(checked(snapshot)?);
        if exists(&target).await {
            return Err(VolumeError::Taken(snapshot.to_owned()));
        }
        make(&folder, 0o700).await?;
        let half = folder.join(format!("{snapshot}.new"));
        remove(&half).await?;
        let taken = async {
            self.copy_of(name, &half).await?;
            // Its age is that of the copy, not of the file it is of.
            machine::run("touch", &[&half.display().to_string()]).await?;
            settle(&half).await?;
            fs::rename(&half, &target).await.map_err(|e| failed("snapshot", &target, e))
        };
        let taken = taken.await;
        if taken.is_err() {
            // On a full disk it would take room for nothing; the first of the two errors says why.
            let _ = remove(&half).await;
        }
        taken
    }

    async fn copy_of(&self, name: &str, to: &Path) -> Result<(), VolumeError> {
        let (image, path) = (self.at(name, "img"), self.root.join(name));
        if !exists(&image).await {
            return clone(&self.root, Path::new(name), to).await;
        }
        if !mounted(&path).await? {
            return copy(&image, to).await;
        }
        let still = Still::of(&path).await?;
        let copied = copy(&image, to).await;
        still.thaw().await?;
        copied
    }

    /// Copies that an agent had begun that was killed.
    pub(super) async fn clear_snapshots(&self) {
        let Ok(mut entries) = fs::read_dir(&self.state).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if !entry.file_name().to_string_lossy().ends_with(".snapshots") {
                continue;
            }
            let Ok(mut copies) = fs::read_dir(entry.path()).await else { continue };
            while let Ok(Some(half)) = copies.next_entry().await {
                if half.file_name().to_string_lossy().ends_with(".new")
                    && let Err(error) = remove(&half.path()).await
                {
                    tracing::warn!(%error, "a snapshot that broke off stays");
                }
            }
        }
    }

    /// # Errors
    /// [`VolumeError`].
    pub async fn remove_snapshot(&self, name: &str, snapshot: &str) -> Result<(), VolumeError> {
        let _turn = self.turn(name).await;
        remove(&self.existing(name, snapshot).await?).await
    }

    pub(super) async fn existing(&self, name: &str, snapshot: &str) -> Result<PathBuf, VolumeError> {
        self.known(name).await?;
        let path = self.snapshots(name).join(checked(snapshot)?);
        if exists(&path).await { Ok(path) } else { Err(VolumeError::NoSnapshot(snapshot.to_owned())) }
    }

    /// Brings the content of a snapshot back. Nobody may use the volume.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub async fn roll_back(&self, name: &str, snapshot: &str) -> Result<(), VolumeError> {
        let _turn = self.turn(name).await;
        let from = self.existing(name, snapshot).await?;
        if self.filled_now().contains(name) {
            return Err(VolumeError::Unfilled(name.to_owned()));
        }
        self.no_links(name).await?;
        self.unmount(name).await?;
        let (image, path) = (self.at(name, "img"), self.root.join(name));
        // As the volume was then: it may have been written anew since, with a size or without one.
        if fs::metadata(&from).await.is_ok_and(|m| m.is_file()) {
            let half = self.at(name, "new");
            // Of an agent that was killed, somebody may still write to it.
            remove(&half).await?;
            let copied = async {
                copy(&from, &half).await?;
                settle(&half).await
            };
            if let Err(error) = copied.await {
                let _ = remove(&half).await;
                return Err(error);
            }
            fs::rename(&half, &image).await.map_err(|e| failed("image", &image, e))?;
            // Where it is mounted next; a plain folder would lie below unseen.
            remove(&path).await?;
        } else {
            self.drop_half(name).await?;
            make(&self.root.join(HALVES), 0o700).await?;
            let half = self.half_folder(name);
            let copied = async {
                clone(&self.snapshots(name), Path::new(snapshot), &half).await?;
                settle(&half).await
            };
            if let Err(error) = copied.await {
                let _ = self.drop_half(name).await;
                return Err(error);
            }
            place(&half, &path).await?;
            remove(&image).await?;
        }
        // Whatever had broken off before.
        remove(&self.at(name, "filling")).await
    }
}

/// A file system that stands still until it is thawed, also if whoever copies it is cut off in the middle: a container that writes there would
/// wait for the next agent.
struct Still {
    /// Nothing once it is thawed.
    at: Option<String>,
}

impl Still {
    async fn of(path: &Path) -> Result<Self, VolumeError> {
        let at = path.display().to_string();
        machine::work("fsfreeze", &["-f", &at]).await?;
        Ok(Self { at: Some(at) })
    }

    async fn thaw(mut self) -> Result<(), VolumeError> {
        if let Some(at) = &self.at {
            machine::work("fsfreeze", &["-u", at]).await?;
        }
        self.at = None;
        Ok(())
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            let thawed = std::process::Command::new("fsfreeze").args(["-u", &at]).stdin(Stdio::null()).stderr(Stdio::null()).status();
            tracing::warn!(path = at, thawed = thawed.is_ok_and(|status| status.success()), "a snapshot of a volume was cut off in the middle");
        }
    }
}

fn checked(name: &str) -> Result<&str, VolumeError> {
    let good = !name.is_empty() && name.len() < 100 && !name.starts_with('.') && !name.ends_with(".new");
    let good = good && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if good { Ok(name) } else { Err(VolumeError::Name(name.to_owned())) }
}

/// A plain folder, while a container may write to it.
async fn clone(base: &Path, name: &Path, to: &Path) -> Result<(), VolumeError> {
    let (base, name, to) = (base.to_owned(), name.to_owned(), to.to_owned());
    let done = tokio::task::spawn_blocking(move || cloning::clone_folder(&base, &name, &to)).await;
    Ok(done.unwrap_or_else(|e| Err(CopyError::Archive(io::Error::other(e))))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::volumes::Owner;

    #[tokio::test]
    async fn a_snapshot_brings_back_the_kind_of_volume_it_was_of() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let volumes = Volumes::new(at("volumes"), at("state"));
        let path = volumes.prepare("v", &Owner { app_id: "a".into(), ..Owner::default() }).await.unwrap();
        std::fs::write(path.join("x"), "plain").unwrap();
        volumes.snapshot("v", "folder").await.unwrap();
        std::fs::write(at("state/v.snapshots/image"), "an image").unwrap();
        volumes.roll_back("v", "image").await.unwrap();
        assert!(std::fs::read_to_string(at("state/v.img")).unwrap() == "an image" && !path.exists());
        volumes.roll_back("v", "folder").await.unwrap();
        assert!(std::fs::read_to_string(path.join("x")).unwrap() == "plain" && !at("state/v.img").exists());
    }

    #[tokio::test]
    async fn a_snapshot_that_breaks_off_takes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let volumes = Volumes::new(at("volumes"), at("state"));
        let path = volumes.prepare("a/v", &Owner { app_id: "a".into(), ..Owner::default() }).await.unwrap();
        volumes.snapshot("a/v", "whole").await.unwrap();
        std::fs::create_dir_all(path.join(vec!["d"; 220].join("/"))).unwrap();
        assert!(matches!(volumes.snapshot("a/v", "deep").await, Err(VolumeError::Copy(CopyError::Deep(_)))));
        let there = || std::fs::read_dir(at("state/a%2Fv.snapshots")).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(there(), ["whole"]);
        // Killed in the middle.
        std::fs::create_dir(at("state/a%2Fv.snapshots/half.new")).unwrap();
        volumes.recover(None).await;
        assert_eq!(there(), ["whole"]);
    }

    /// With the right to mount alone; says so where it is missing.
    #[tokio::test]
    async fn a_file_system_whose_copy_is_cut_off_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let path = match volumes.prepare("v", &Owner { app_id: "a".into(), size_bytes: 16 << 20, ..Owner::default() }).await {
            Ok(path) => path,
            Err(error) => {
                eprintln!("skipped: nothing was mounted: {error}");
                return;
            }
        };
        drop(Still::of(&path).await.unwrap());
        assert!(machine::run("fsfreeze", &["-u", &path.display().to_string()]).await.is_err(), "it stood still");
        assert!(volumes.release("v", async { false }).await);
        assert!(!mounted(&path).await.unwrap());
    }
}
