//! What makes files and their names durable, and what is done when the disk says that it could not.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

/// The disk did not take what was written. It says that once: what is still in memory passes for written from then on, the next sync says nothing, and
/// after a power cut the bytes are gone. So whoever hears it does not go on with the file.
#[derive(Debug, Error)]
#[error("the disk did not take what was written")]
struct Unwritten(#[source] io::Error);

/// Whether an error says that bytes which were taken may be lost.
pub(super) fn lost(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Unwritten>())
}

/// The disk of one store. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Disk {
    /// Folders whose own names are durable, as far as this process knows.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
    #[cfg(test)]
    pub told: Arc<tests::Told>,
}

impl Disk {
    /// Waits until a file's bytes and length are on the disk.
    ///
    /// # Errors
    /// One that is [`lost`].
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.outcome(file.sync_all())
    }

    /// The same without what is not needed to read the bytes back.
    ///
    /// # Errors
    /// One that is [`lost`].
    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        self.outcome(file.sync_data())
    }

    fn outcome(&self, synced: io::Result<()>) -> io::Result<()> {
        #[cfg(test)]
        let synced = synced.and_then(|()| self.told.refuse());
        // Its kind stays: a disk that is full is answered as one.
        synced.map_err(|error| io::Error::new(error.kind(), Unwritten(error)))
    }

    /// A new name in a folder survives a power cut only once the folder itself is written.
    ///
    /// # Errors
    /// I/O.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.told.note(path);
        File::open(path)?.sync_all()
    }

    /// Makes a folder whose name is durable. One that is there already need not be: whoever made it may have been killed before it was written, or is
    /// about to write it.
    ///
    /// # Errors
    /// I/O.
    pub fn folder(&self, path: &Path) -> io::Result<()> {
        let is_known = self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(path);
        if is_known && path.exists() {
            return Ok(());
        }
        fs::create_dir_all(path)?;
        if let Some(above) = path.parent() {
            self.sync_dir(above)?;
        }
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// What a test's disk is to do, and what it was asked for.
    #[derive(Default)]
    pub struct Told {
        /// So many syncs of files fail from now on.
        pub refusals: AtomicUsize,
        folders: Mutex<Vec<PathBuf>>,
    }

    impl Told {
        pub fn refuse(&self) -> io::Result<()> {
            let left = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            // EIO.
            left.map_or(Ok(()), |_| Err(io::Error::from_raw_os_error(5)))
        }

        pub fn note(&self, path: &Path) {
            self.folders.lock().unwrap().push(path.to_owned());
        }

        /// Folders that were written since this was asked last.
        pub fn folders(&self) -> Vec<PathBuf> {
            std::mem::take(&mut self.folders.lock().unwrap())
        }
    }

    #[test]
    fn a_disk_that_did_not_take_what_was_written_is_told_from_one_that_takes_no_more() {
        let (disk, file) = (Disk::default(), tempfile::tempfile().unwrap());
        disk.sync(&file).unwrap();
        disk.told.refusals.store(2, Ordering::SeqCst);
        assert!(lost(&disk.sync(&file).unwrap_err()) && lost(&disk.sync_data(&file).unwrap_err()));
        disk.sync(&file).unwrap();
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(!lost(&full));
        assert_eq!(disk.outcome(Err(full)).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
