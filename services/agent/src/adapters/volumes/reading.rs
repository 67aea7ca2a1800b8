//! Volumes and snapshots that the agent itself reads or fills: what is mounted for that is let go by the last who reads there, unless an
//! instance was given the volume meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use tokio::fs;

use super::image::mounted;
use super::{VolumeError, Volumes, make};
use crate::adapters::machine;

/// A volume that is read, or filled, by the agent itself.
#[derive(Debug)]
pub struct Reading {
    name: String,
    pub path: PathBuf,
}

/// Those who read at one place.
#[derive(Debug, Default)]
pub(super) struct Readers {
    count: usize,
    /// What is mounted there is nobody's besides.
    pub(super) last_lets_go: bool,
}

impl Volumes {
    /// The folder whose content is to be read: the volume's own, or that of a snapshot. To be given back with [`Volumes::read`]'s end.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub async fn read(&self, name: &str, snapshot: &str) -> Result<Reading, VolumeError> {
        let _turn = self.turn(name).await;
        let owner = self.known(name).await?;
        if snapshot.is_empty() {
            self.whole(name).await?;
            let was = mounted(&self.root.join(name)).await?;
            let path = self.open(name, &owner).await?;
            let here = !was && mounted(&path).await?;
            return Ok(self.reading(name, path, here));
        }
        let from = self.existing(name, snapshot).await?;
        if !fs::metadata(&from).await.is_ok_and(|m| m.is_file()) {
            return Ok(self.reading(name, from, false));
        }
        let path = self.at(name, &format!("read-{snapshot}"));
        make(&path, 0o700).await?;
        if !mounted(&path).await? {
            // It was frozen when it was copied: its journal needs no replay that could not be done read-only.
            machine::work("mount", &["-o", "loop,ro,noload,nosuid,nodev", &from.display().to_string(), &path.display().to_string()]).await?;
        }
        Ok(self.reading(name, path, true))
    }

    /// Nothing more is read there. An instance that was given the volume meanwhile keeps what is mounted: without it, snapshots would not know
    /// that there is something to freeze.
    pub async fn done(&self, reading: Reading) {
        let _turn = self.turn(&reading.name).await;
        if self.is_last(&reading.path) && mounted(&reading.path).await.unwrap_or(true) {
            if let Err(error) = machine::work("umount", &[&reading.path.display().to_string()]).await {
                tracing::warn!(%error, "a volume stays mounted");
            }
            // Only that of a snapshot is empty now and of no use.
            if reading.path.starts_with(&self.state) {
                let _ = fs::remove_dir(&reading.path).await;
            }
        }
    }

    pub(super) fn readers(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Readers>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `mounted_here`: for it alone, so that the last who reads there lets it go.
    pub(super) fn reading(&self, name: &str, path: PathBuf, mounted_here: bool) -> Reading {
        let mut all = self.readers();
        let readers = all.entry(path.clone()).or_default();
        readers.count += 1;
        readers.last_lets_go |= mounted_here;
        Reading { name: name.to_owned(), path }
    }

    /// True for the last one, if it is to let go what is mounted there.
    fn is_last(&self, path: &Path) -> bool {
        let mut all = self.readers();
        let Some(readers) = all.get_mut(path) else { return false };
        readers.count = readers.count.saturating_sub(1);
        if readers.count > 0 {
            return false;
        }
        let lets_go = readers.last_lets_go;
        all.remove(path);
        lets_go
    }
}

#[cfg(test)]
mod tests {
    use super::super::Owner;
    use super::*;

    #[tokio::test]
    async fn what_was_mounted_to_be_read_is_let_go_by_the_last_who_reads() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let path = volumes.prepare("v", &Owner { app_id: "a".into(), ..Owner::default() }).await.unwrap();
        let read = |mounted_here: bool| volumes.reading("v", path.clone(), mounted_here).path;
        let (first, second) = (read(true), read(false));
        assert!(!volumes.is_last(&first) && volumes.is_last(&second));
        let first = read(true);
        volumes.prepare("v", &Owner { app_id: "a".into(), ..Owner::default() }).await.unwrap();
        assert!(!volumes.is_last(&first), "it is an instance's meanwhile");
        let first = read(false);
        assert!(volumes.release("v", async { false }).await);
        assert!(volumes.is_last(&first), "the instance has gone meanwhile");
        assert!(volumes.readers().is_empty() && !volumes.is_last(&first));
    }
}
