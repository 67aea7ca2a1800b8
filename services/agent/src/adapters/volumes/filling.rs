//! Content that comes from elsewhere: it is gathered beside the volume and takes its place when it is whole, so that one that
//! breaks off takes nothing away. Used by restore and copy, and by the return to a snapshot.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use tokio::fs;

use super::image::{attach, let_go};
use super::{HALVES, Owner, Reading, VolumeError, Volumes, exists, failed, inside, make, remove};

impl Volumes {
    /// A folder for content that comes from elsewhere. Nobody may use the volume, and no instance gets it before
    /// [`Volumes::filled`] or [`Volumes::given_up`]; a crash in the middle is as the latter.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub async fn fresh(&self, name: &str, owner: &Owner) -> Result<Reading, VolumeError> {
        inside(name)?;
        let _turn = self.turn(name).await;
        if !self.filled_now().insert(name.to_owned()) {
            return Err(VolumeError::Unfilled(name.to_owned()));
        }
        let made = self.half(name, owner).await;
        if made.is_err() {
            self.filled_now().remove(name);
            // The first of the two errors says why.
            let _ = self.clear(name).await;
        }
        made
    }

    async fn half(&self, name: &str, owner: &Owner) -> Result<Reading, VolumeError> {
        make(&self.state, 0o700).await?;
        self.drop_half(name).await?;
        if self.owner(name).await.is_none() {
            // One that is new is listed, and can be deleted, also when it breaks off.
            self.record(name, owner).await?;
        }
        let mark = self.at(name, "filling");
        fs::write(&mark, serde_json::to_vec(owner).unwrap_or_default()).await.map_err(|e| failed("mark", &mark, e))?;
        let path = self.half_folder(name);
        make(&self.root.join(HALVES), 0o700).await?;
        make(&path, 0o777).await?;
        if owner.size_bytes > 0 {
            attach(&self.at(name, "half"), &self.at(name, "new"), &path, owner.size_bytes).await?;
        }
        Ok(self.reading(name, path, owner.size_bytes > 0))
    }

    /// Its content is whole and takes the place of what was there.
    ///
    /// # Errors
    /// [`VolumeError`]; then the old content is still there.
    pub async fn filled(&self, name: &str) -> Result<(), VolumeError> {
        inside(name)?;
        let _turn = self.turn(name).await;
        let taken = self.take_in(name).await;
        self.filled_now().remove(name);
        if taken.is_err() {
            // The first of the two errors says why.
            let _ = self.clear(name).await;
        }
        taken
    }

    async fn take_in(&self, name: &str) -> Result<(), VolumeError> {
        let (half, mark, path) = (self.half_folder(name), self.at(name, "filling"), self.root.join(name));
        let (half_image, image) = (self.at(name, "half"), self.at(name, "img"));
        if !exists(&half).await {
            return Err(VolumeError::Unfilled(name.to_owned()));
        }
        self.no_links(name).await?;
        self.unmount(name).await?;
        let_go(&half).await?;
        settle(&half).await?;
        if exists(&half_image).await {
            settle(&half_image).await?;
            fs::rename(&half_image, &image).await.map_err(|e| failed("image", &image, e))?;
            // It is mounted here; what was a plain folder until now would lie below unseen.
            remove(&path).await?;
        } else {
            place(&half, &path).await?;
            remove(&image).await?;
        }
        let owner = fs::read(&mark).await.ok().and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
        if let Some(owner) = owner {
            self.record(name, &owner).await?;
        }
        remove(&mark).await?;
        if let Err(error) = self.drop_half(name).await {
            tracing::warn!(volume = name, %error, "the old content of a volume stays until the next start");
        }
        Ok(())
    }

    /// Its content has broken off: what was there before is there again.
    ///
    /// # Errors
    /// [`VolumeError`]: what has come so far cannot be taken away, and nobody gets the volume.
    pub async fn given_up(&self, name: &str) -> Result<(), VolumeError> {
        inside(name)?;
        let _turn = self.turn(name).await;
        self.filled_now().remove(name);
        self.clear(name).await
    }

    async fn clear(&self, name: &str) -> Result<(), VolumeError> {
        self.drop_half(name).await?;
        let mark = self.at(name, "filling");
        // An older agent emptied the volume first and wrote its name alone; and without content there is nothing to be had.
        let whole = fs::read(&mark).await.is_ok_and(|text| serde_json::from_slice::<Owner>(&text).is_ok());
        if whole && self.has_content(name).await { remove(&mark).await } else { Ok(()) }
    }

    /// Old folders that were to make room for new ones when an agent was killed, on a file system that cannot exchange the two.
    async fn bring_back(&self) {
        let Ok(mut entries) = fs::read_dir(self.root.join(HALVES)).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = file.strip_suffix(ASIDE) else { continue };
            let at = self.root.join(name.replace("%2F", "/"));
            if !exists(&at).await
                && let Err(error) = fs::rename(entry.path(), &at).await
            {
                tracing::error!(volume = name, %error, "the content of a volume cannot be brought back; it lies at {}", entry.path().display());
            }
        }
    }

    /// What an agent left that was killed in the middle.
    pub(super) async fn clear_halves(&self) {
        self.bring_back().await;
        let Ok(mut entries) = fs::read_dir(&self.state).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let file = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = file.strip_suffix(".filling").or_else(|| file.strip_suffix(".half")) else { continue };
            let name = name.replace("%2F", "/");
            if let Err(error) = self.clear(&name).await {
                tracing::warn!(volume = name, %error, "content of a volume that broke off stays");
            }
        }
        if let Err(error) = remove(&self.root.join(HALVES)).await {
            tracing::warn!(%error, "content of volumes that broke off stays");
        }
    }

    pub(super) fn half_folder(&self, name: &str) -> PathBuf {
        self.root.join(HALVES).join(name.replace('/', "%2F"))
    }

    pub(super) async fn drop_half(&self, name: &str) -> Result<(), VolumeError> {
        let half = self.half_folder(name);
        let_go(&half).await?;
        remove(&half).await?;
        remove(&self.at(name, "half")).await
    }

    pub(super) async fn has_content(&self, name: &str) -> bool {
        exists(&self.at(name, "img")).await || exists(&self.root.join(name)).await
    }
}

/// Behind the name of a folder that is to come back, or to go.
const ASIDE: &str = "%aside";

/// NFS and some others do not know it (renameat2(2)).
fn cannot_exchange(error: &io::Error) -> bool {
    let known = [rustix::io::Errno::INVAL, rustix::io::Errno::NOSYS, rustix::io::Errno::OPNOTSUPP];
    known.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// One after the other. Of an agent that is killed in between the next one brings the old folder back ([`Volumes::bring_back`]).
async fn by_turns(new: &Path, at: &Path) -> Result<(), VolumeError> {
    let mut aside = new.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    remove(&aside).await?;
    let moved = |from: PathBuf, to: PathBuf| async move { fs::rename(&from, &to).await.map_err(|e| failed("folder", &from, e)) };
    moved(at.to_owned(), aside.clone()).await?;
    if let Err(error) = moved(new.to_owned(), at.to_owned()).await {
        moved(aside, at.to_owned()).await?;
        return Err(error);
    }
    moved(aside, new.to_owned()).await
}

/// Puts a folder where another may be, which is gone afterwards. Where the file system can exchange two there is no moment without one
/// of them.
pub(super) async fn place(new: &Path, at: &Path) -> Result<(), VolumeError> {
    if exists(at).await {
        let (from, to) = (new.to_owned(), at.to_owned());
        match blocking(move || Ok(renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE)?)).await {
            Ok(()) => {}
            Err(error) if cannot_exchange(&error) => by_turns(new, at).await?,
            Err(error) => return Err(failed("folder", at, error)),
        }
        return remove(new).await;
    }
    if let Some(above) = at.parent() {
        make(above, 0o755).await?;
    }
    fs::rename(new, at).await.map_err(|e| failed("folder", at, e))
}

/// On the disk before the old content goes, or somebody relies on it.
pub(super) async fn settle(path: &Path) -> Result<(), VolumeError> {
    let own = path.to_owned();
    blocking(move || Ok(syncfs(File::open(own)?)?)).await.map_err(|e| failed("content", path, e))
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { app_id: "a".into(), space: "test".into(), ..Owner::default() }
    }

    #[tokio::test]
    async fn content_that_breaks_off_takes_nothing_away_and_whole_content_replaces_all() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let path = volumes.prepare("a/v", &owner()).await.unwrap();
        std::fs::write(path.join("old"), "before").unwrap();

        let filling = volumes.fresh("a/v", &owner()).await.unwrap();
        std::fs::write(filling.path.join("new"), "half").unwrap();
        assert_eq!(std::fs::read_to_string(path.join("old")).unwrap(), "before");
        assert!(matches!(volumes.prepare("a/v", &owner()).await, Err(VolumeError::Unfilled(_))), "while it is filled");
        assert!(matches!(volumes.fresh("a/v", &owner()).await, Err(VolumeError::Unfilled(_))), "by two at once");
        volumes.done(filling).await;
        volumes.given_up("a/v").await.unwrap();
        volumes.prepare("a/v", &owner()).await.unwrap();
        assert!(path.join("old").exists() && !path.join("new").exists());

        let filling = volumes.fresh("a/v", &owner()).await.unwrap();
        assert!(!filling.path.join("new").exists(), "the half of before");
        std::fs::write(filling.path.join("new"), "whole").unwrap();
        volumes.done(filling).await;
        volumes.filled("a/v").await.unwrap();
        volumes.prepare("a/v", &owner()).await.unwrap();
        assert!(path.join("new").exists() && !path.join("old").exists());
        assert!(matches!(volumes.filled("a/v").await, Err(VolumeError::Unfilled(_))), "twice");
        assert!(path.join("new").exists());
    }

    #[tokio::test]
    async fn an_agent_that_was_killed_while_it_filled_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let killed = Volumes::new(at("volumes"), at("state"));
        let path = killed.prepare("old", &owner()).await.unwrap();
        std::fs::write(path.join("x"), "kept").unwrap();
        for name in ["old", "new"] {
            let filling = killed.fresh(name, &owner()).await.unwrap();
            std::fs::write(filling.path.join("half"), "half").unwrap();
        }
        let next = Volumes::new(at("volumes"), at("state"));
        next.recover(None).await;
        assert_eq!(next.prepare("old", &owner()).await.unwrap(), path);
        assert!(path.join("x").exists() && !path.join("half").exists() && !at("volumes").join(HALVES).exists());
        // What never was whole is nobody's, also not as an empty one; it is listed and can be filled again.
        for _ in 0..2 {
            assert!(matches!(next.prepare("new", &owner()).await, Err(VolumeError::Unfilled(_))));
            assert!(matches!(next.read("new", "").await, Err(VolumeError::Unfilled(_))));
            next.recover(None).await;
        }
        assert_eq!(next.list(|_| true).await.len(), 2);
        let filling = next.fresh("new", &owner()).await.unwrap();
        std::fs::write(filling.path.join("y"), "whole").unwrap();
        next.done(filling).await;
        next.filled("new").await.unwrap();
        assert!(next.prepare("new", &owner()).await.unwrap().join("y").exists());
    }

    #[tokio::test]
    async fn where_folders_cannot_be_exchanged_they_change_places_by_turns() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        let path = volumes.prepare("a/v", &owner()).await.unwrap();
        std::fs::write(path.join("old"), "").unwrap();
        let filling = volumes.fresh("a/v", &owner()).await.unwrap();
        std::fs::write(filling.path.join("new"), "").unwrap();
        by_turns(&filling.path, &path).await.unwrap();
        assert!(path.join("new").exists() && filling.path.join("old").exists());
        assert!(cannot_exchange(&io::Error::from_raw_os_error(22)) && !cannot_exchange(&io::Error::from_raw_os_error(2)));

        // Killed when the old one had gone and the new one was not there yet.
        let aside = volumes.half_folder("a/v%aside");
        std::fs::rename(&path, &aside).unwrap();
        volumes.bring_back().await;
        assert!(path.join("new").exists() && !aside.exists());
    }

    #[tokio::test]
    async fn what_an_older_agent_left_half_filled_is_not_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        volumes.prepare("v", &owner()).await.unwrap();
        std::fs::write(folder.path().join("state/v.filling"), "v").unwrap();
        volumes.recover(None).await;
        assert!(matches!(volumes.prepare("v", &owner()).await, Err(VolumeError::Unfilled(_))));
    }
}
