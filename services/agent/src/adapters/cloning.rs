//! A folder of the node copied as it is, while a container may write to it. Nothing is opened by a path that the container can
//! change: each entry is held first (openat(2), O_PATH and O_NOFOLLOW), then looked at, then read through what is held, so that
//! a link put in the place of a folder leads nowhere. Archives of folders are in `copying`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fgetxattr,
    flistxattr, flistxattr_query, fsetxattr, futimens, ioctl_ficlone, linkat, mkdirat, mknodat, open, openat, openat2, readlinkat, seek, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::copying::{CopyError, DEEPEST, at, names};

/// The most that the kernel gives for the names, or for one value (xattr(7)).
const LONGEST_ATTRIBUTE: usize = 64 << 10;
const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the folder `name` below `base` to `to`, which must not be there: owners, modes, times, extended attributes, symbolic
/// and hard links, pipes and holes are kept; sockets and devices are left out. No link on the way to `name` is followed.
///
/// # Errors
/// What cannot be read or written, or folders that lie too deep in each other.
pub fn clone_folder(base: &Path, name: &Path, to: &Path) -> Result<(), CopyError> {
    let held = open(base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|e| at(base, e))?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let from = openat2(&held, name, READ_FOLDER, Mode::empty(), resolve).map_err(|e| at(name, e))?;
    std::fs::create_dir(to).map_err(|e| at(to, e))?;
    let root = open(to, READ_FOLDER, Mode::empty()).map_err(|e| at(to, e))?;
    let from = File::from(from);
    let mut walk = Walk { root: &root, links: BTreeMap::new() };
    walk.content(&from, &root, Path::new(""), 0)?;
    let meta = from.metadata().map_err(|e| at(name, e))?;
    dress(&from, &root, &meta).map_err(|e| at(name, e))
}

struct Walk<'a> {
    root: &'a OwnedFd,
    /// By device and number the first name, below the root, of a file that has several.
    links: BTreeMap<(u64, u64), PathBuf>,
}

impl Walk<'_> {
    fn content(&mut self, from: &File, to: &OwnedFd, so_far: &Path, depth: usize) -> Result<(), CopyError> {
        if depth > DEEPEST {
            return Err(CopyError::Deep(so_far.display().to_string()));
        }
        for inner in names(from, so_far)? {
            let whole = so_far.join(&inner);
            let held = match openat(from, &inner, HOLD, Mode::empty()) {
                Ok(held) => File::from(held),
                // Gone in between: as if it had never been.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(at(&whole, error)),
            };
            self.entry(&held, to, &inner, &whole, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, held: &File, to: &OwnedFd, inner: &Path, whole: &Path, depth: usize) -> Result<(), CopyError> {
        let failed = |e: io::Error| at(whole, e);
        let meta = held.metadata().map_err(failed)?;
        let kind = FileType::from_raw_mode(meta.mode());
        let key = (meta.dev(), meta.ino());
        if kind != FileType::Directory && meta.nlink() > 1 {
            if let Some(first) = self.links.get(&key) {
                return linkat(self.root, first, to, inner, AtFlags::empty()).map_err(|e| at(whole, e));
            }
            self.links.insert(key, whole.to_owned());
        }
        match kind {
            FileType::Directory => {
                let from = reopened(held, OFlags::DIRECTORY).map_err(failed)?;
                mkdirat(to, inner, Mode::RWXU).map_err(|e| at(whole, e))?;
                let made = openat(to, inner, READ_FOLDER, Mode::empty()).map_err(|e| at(whole, e))?;
                self.content(&from, &made, whole, depth + 1)?;
                // At the end: what is made in it changes its time.
                dress(&from, &made, &meta).map_err(failed)
            }
            FileType::RegularFile => {
                let from = reopened(held, OFlags::empty()).map_err(failed)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = File::from(openat(to, inner, flags, Mode::RUSR | Mode::WUSR).map_err(|e| at(whole, e))?);
                bytes(&from, &made, meta.size()).map_err(failed)?;
                dress(&from, &made, &meta).map_err(failed)
            }
            FileType::Symlink => {
                let target = readlinkat(held, "", Vec::new()).map_err(|e| at(whole, e))?;
                symlinkat(target.as_c_str(), to, inner).map_err(|e| at(whole, e))?;
                dress_name(to, inner, &meta).map_err(failed)
            }
            FileType::Fifo => {
                mknodat(to, inner, FileType::Fifo, Mode::empty(), 0).map_err(|e| at(whole, e))?;
                // Apart, since the process's mask does not count here.
                chmodat(to, inner, Mode::from_raw_mode(meta.mode() & 0o7777), AtFlags::empty()).map_err(|e| at(whole, e))?;
                dress_name(to, inner, &meta).map_err(failed)
            }
            // A socket is of the process that listens there, a device would be the node's.
            _ => {
                self.links.remove(&key);
                Ok(())
            }
        }
    }
}

/// The same file, whatever its name leads to by now, to be read.
fn reopened(held: &File, flags: OFlags) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok(File::from(open(path, OFlags::RDONLY | OFlags::CLOEXEC | flags, Mode::empty())?))
}

/// Blocks are shared where the file system can, and holes stay holes. One that shrinks meanwhile ends with a hole.
fn bytes(from: &File, mut to: &File, size: u64) -> io::Result<()> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    to.set_len(size)?;
    let mut done = 0;
    while done < size {
        let data = match seek(from, SeekFrom::Data(done)) {
            Ok(data) if data < size => data,
            // Nothing but a hole is left.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = match seek(from, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(size),
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        seek(from, SeekFrom::Start(data))?;
        seek(to, SeekFrom::Start(data))?;
        io::copy(&mut from.take(end - data), &mut to)?;
        done = end;
    }
    Ok(())
}

/// Owner, mode, attributes and times of an open file or folder. In this order: a new owner takes away the set-user-id bit and
/// capabilities.
fn dress(from: &File, to: impl std::os::fd::AsFd, meta: &std::fs::Metadata) -> io::Result<()> {
    fchown(&to, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())))?;
    fchmod(&to, Mode::from_raw_mode(meta.mode() & 0o7777))?;
    attributes(from, &to)?;
    Ok(futimens(&to, &times(meta))?)
}

/// The same of what cannot be opened.
fn dress_name(folder: &OwnedFd, name: &Path, meta: &std::fs::Metadata) -> io::Result<()> {
    chownat(folder, name, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(folder, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(meta: &std::fs::Metadata) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: meta.atime(), tv_nsec: meta.atime_nsec() },
        last_modification: Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() },
    }
}

fn attributes(from: &File, to: impl std::os::fd::AsFd) -> io::Result<()> {
    match flistxattr_query(from) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let (mut list, mut value) = (vec![0_u8; LONGEST_ATTRIBUTE], vec![0_u8; LONGEST_ATTRIBUTE]);
    let length = flistxattr(from, &mut list[..])?;
    for name in list[..length].split(|b| *b == 0).filter(|n| !n.is_empty()).map(OsStr::from_bytes) {
        let length = match fgetxattr(from, name, &mut value[..]) {
            Ok(length) => length,
            // Taken away meanwhile.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        };
        match fsetxattr(&to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_copy_has_links_modes_times_and_holes_of_the_original() {
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        std::fs::create_dir_all(from.join("deep")).unwrap();
        std::fs::write(from.join("deep/file"), "content").unwrap();
        std::fs::set_permissions(from.join("deep/file"), PermissionsExt::from_mode(0o4751)).unwrap();
        std::fs::hard_link(from.join("deep/file"), from.join("same")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_at(&sparse, b"end", 8 << 20).unwrap();
        let _listens = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
        File::open(from.join("deep")).unwrap().set_modified(old).unwrap();
        std::fs::set_permissions(&from, PermissionsExt::from_mode(0o1777)).unwrap();

        let to = place.path().join("to");
        clone_folder(place.path(), Path::new("from"), &to).unwrap();
        let meta = |name: &str| std::fs::symlink_metadata(to.join(name)).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("deep/file")).unwrap(), "content");
        assert_eq!((meta("deep/file").mode() & 0o7777, meta("").mode() & 0o7777), (0o4751, 0o1777));
        assert_eq!((meta("deep/file").ino(), meta("deep/file").nlink()), (meta("same").ino(), 2));
        assert_eq!(meta("deep").modified().unwrap(), old);
        assert!(meta("link").is_symlink() && std::fs::read_link(to.join("link")).unwrap() == Path::new("/etc/passwd"));
        assert_eq!(meta("sparse").size(), (8 << 20) + 3);
        assert_eq!(std::fs::read(to.join("sparse")).unwrap(), std::fs::read(from.join("sparse")).unwrap());
        assert!(meta("sparse").blocks() * 512 < 4 << 20, "the hole was filled");
        assert!(!to.join("socket").exists());
        assert!(clone_folder(place.path(), Path::new("from"), &to).is_err(), "over what is there");
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_meanwhile_leads_nowhere() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("key"), "of the node").unwrap();
        let base = place.path().join("base");
        std::fs::create_dir_all(base.join("v/real")).unwrap();
        std::fs::write(base.join("v/real/key"), "own").unwrap();
        symlink(&secret, base.join("v/link")).unwrap();
        symlink("v", base.join("other")).unwrap();
        assert!(clone_folder(&base, Path::new("other/real"), &place.path().join("x")).is_err(), "a link on the way");

        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let at = |name: &str| base.join("v").join(name);
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(rustix::fs::CWD, at("real"), rustix::fs::CWD, at("link"), rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            for round in 0..200 {
                let to = place.path().join(format!("to-{round}"));
                let copied = clone_folder(&base, Path::new("v"), &to);
                let keys = ["real", "link"].map(|n| to.join(n)).into_iter().filter(|p| std::fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()));
                let leaked = keys.map(|p| std::fs::read_to_string(p.join("key")).unwrap_or_default()).any(|text| text != "own");
                if leaked || copied.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                copied.unwrap();
                assert!(!leaked);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
