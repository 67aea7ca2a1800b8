//! Files of a running container, packed and unpacked from the node. Every path is resolved inside of the container's own root,
//! whatever links are in it (openat2(2), RESOLVE_IN_ROOT), so that nothing of the node is ever read or written.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, mkdirat, open, openat, openat2, readlinkat, statat, symlinkat};

/// Between the content of one entry and that of the next: heads and long names, which are held in memory whole.
const HEADS: u64 = 1 << 20;
/// Each folder in a folder is held open, and takes of the stack.
pub(super) const DEEPEST: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{} in the container", path.display())]
    At {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the archive")]
    Archive(#[from] io::Error),
    #[error("the archive names {0}, which leaves the folder")]
    Leaves(String),
    #[error("the archive holds {0}: only files, folders and symbolic links are copied")]
    Kind(String),
    #[error("{0} is a device, a pipe or a socket, which has no content to copy")]
    Special(String),
    #[error("too many folders lie in each other to be copied: {0}")]
    Deep(String),
}

/// An archive whose names cannot be longer than memory is.
struct Metered<R> {
    from: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = to.len().min(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        if most == 0 && !to.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its names are too long"));
        }
        let count = self.from.read(&mut to[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

/// The root as the process sees it, mounts and all.
struct Root(OwnedFd);

impl Root {
    fn of(first: u32) -> Result<Self, CopyError> {
        Self::at(&PathBuf::from(format!("/proc/{first}/root")))
    }

    fn at(path: &Path) -> Result<Self, CopyError> {
        open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Self).map_err(|e| at(path, e))
    }

    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        // Special links of /proc would lead out of it.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.0, inside, flags | OFlags::CLOEXEC, mode, resolve)?)
    }

    /// The folder at `path`, with those above it.
    fn folder(&self, path: &Path, owner: (u32, u32)) -> Result<OwnedFd, CopyError> {
        let mut so_far = PathBuf::from("/");
        let mut held = self.open(&so_far, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(|e| at(path, e))?;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            so_far.push(name);
            held = match self.open(&so_far, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    mkdirat(&held, name, Mode::from_raw_mode(0o755)).map_err(|e| at(&so_far, e))?;
                    give(&held, Path::new(name), owner).map_err(|e| at(&so_far, e))?;
                    self.open(&so_far, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(|e| at(&so_far, e))?
                }
                Err(error) => return Err(at(&so_far, error)),
            };
        }
        Ok(held)
    }
}

pub(super) fn at(path: &Path, error: impl Into<io::Error>) -> CopyError {
    CopyError::At { path: path.to_owned(), source: error.into() }
}

fn give(folder: &OwnedFd, name: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    Ok(chownat(folder, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Writes `path`, with all below it, as a tar archive; its entries begin with the last part of the path.
///
/// # Errors
/// What cannot be read, or a receiver that has gone.
pub fn pack(first: u32, path: &str, to: impl Write) -> Result<(), CopyError> {
    packed(&Root::of(first)?, Path::new(path), to)
}

/// The same of a folder of the node: its content, without a name of its own.
///
/// # Errors
/// As [`pack`].
pub fn pack_folder(path: &Path, to: impl Write) -> Result<(), CopyError> {
    packed(&Root::at(path)?, Path::new("/"), to)
}

fn packed(root: &Root, path: &Path, to: impl Write) -> Result<(), CopyError> {
    let name = path.file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut archive = tar::Builder::new(to);
    let held = root.open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).map_err(|e| at(path, e))?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&held).map_err(|e| at(path, e))?.st_mode);
    // In a folder they are left out; whoever asks for one and gets nothing would take it for copied.
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Err(CopyError::Special(path.display().to_string()));
    }
    entry(&mut archive, held, &name)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

fn entry(archive: &mut tar::Builder<impl Write>, held: OwnedFd, name: &Path) -> Result<(), CopyError> {
    let file = File::from(held);
    let meta = file.metadata()?;
    let mut header = header(&meta);
    if name.components().count() > DEEPEST {
        return Err(CopyError::Deep(name.display().to_string()));
    }
    if meta.is_file() {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(meta.len());
        // A file that grows meanwhile ends where it ended, and one that shrinks is filled up: the header was sent.
        let whole = file.take(meta.len()).chain(io::repeat(0)).take(meta.len());
        archive.append_data(&mut header, name, whole)?;
    } else if meta.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        archive.append_data(&mut header, name, io::empty())?;
        let folder = OwnedFd::from(file);
        for inner in names(&folder, name)? {
            below(archive, &folder, &inner, &name.join(&inner))?;
        }
    }
    Ok(())
}

/// What is in a folder, in order.
pub(super) fn names(folder: impl AsFd, called: &Path) -> Result<Vec<PathBuf>, CopyError> {
    let mut names = Vec::new();
    for found in rustix::fs::Dir::read_from(folder).map_err(|e| at(called, e))? {
        let found = found.map_err(|e| at(called, e))?;
        let inner = found.file_name().to_bytes();
        if inner != b"." && inner != b".." {
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(inner)));
        }
    }
    names.sort();
    Ok(names)
}

fn below(archive: &mut tar::Builder<impl Write>, folder: &OwnedFd, inner: &Path, name: &Path) -> Result<(), CopyError> {
    // Gone in between: as if it had never been.
    let Ok(seen) = statat(folder, inner, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Symlink => {
            let target = readlinkat(folder, inner, Vec::new()).map_err(|e| at(name, e))?;
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            header.set_uid(seen.st_uid.into());
            header.set_gid(seen.st_gid.into());
            header.set_mtime(u64::try_from(seen.st_mtime).unwrap_or(0));
            archive.append_link(&mut header, name, Path::new(std::ffi::OsStr::from_bytes(target.to_bytes())))?;
            Ok(())
        }
        FileType::RegularFile | FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            match openat(folder, inner, flags, Mode::empty()) {
                Ok(held) => entry(archive, held, name),
                Err(error) if error == rustix::io::Errno::NOENT => Ok(()),
                Err(error) => Err(at(name, error)),
            }
        }
        // Sockets, pipes and devices have no content to copy.
        _ => Ok(()),
    }
}

fn header(meta: &std::fs::Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(meta.uid().into());
    header.set_gid(meta.gid().into());
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header
}

/// Unpacks an archive below `path`. What it makes belongs to the user the container runs as.
///
/// # Errors
/// What cannot be written, an archive that is none, or one that leaves the folder.
pub fn unpack(first: u32, path: &str, from: impl Read) -> Result<(), CopyError> {
    let root = Root::of(first)?;
    let status = procfs::process::Process::new(i32::try_from(first).unwrap_or(0)).and_then(|p| p.status());
    let owner = status.map(|s| (s.euid, s.egid)).map_err(|e| CopyError::Archive(io::Error::other(e)))?;
    unpacked(&root, Path::new(path), Some(owner), from)
}

/// The same into a folder of the node, which keeps the owners that the archive names.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_folder(path: &Path, from: impl Read) -> Result<(), CopyError> {
    unpacked(&Root::at(path)?, Path::new("/"), None, from)
}

fn unpacked(root: &Root, base: &Path, all_of: Option<(u32, u32)>, from: impl Read) -> Result<(), CopyError> {
    root.folder(base, all_of.unwrap_or((0, 0)))?;
    let left = Rc::new(Cell::new(HEADS));
    for entry in tar::Archive::new(Metered { from, left: left.clone() }).entries()? {
        let mut entry = entry?;
        left.set(u64::MAX);
        let name = entry.path()?.into_owned();
        if !name.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
            return Err(CopyError::Leaves(name.display().to_string()));
        }
        let whole = base.join(&name);
        let named = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        let owner = all_of.unwrap_or_else(|| (named(entry.header().uid()), named(entry.header().gid())));
        let mode = Mode::from_raw_mode(entry.header().mode().unwrap_or(0o644) & 0o777);
        match entry.header().entry_type() {
            tar::EntryType::Directory => {
                let folder = root.folder(&whole, owner)?;
                if all_of.is_none() {
                    rustix::fs::fchown(&folder, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1))).map_err(|e| at(&whole, e))?;
                    fchmod(&folder, mode).map_err(|e| at(&whole, e))?;
                }
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (folder, last) = parent(root, &whole, owner)?;
                // Made anew: written through, a link would lead elsewhere, and a running program would change under itself.
                remove(&folder, &last).map_err(|e| at(&whole, e))?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(&folder, &last, flags, Mode::from_raw_mode(0o600)).map_err(|e| at(&whole, e))?);
                io::copy(&mut entry, &mut file).map_err(|e| at(&whole, e))?;
                give(&folder, &last, owner).map_err(|e| at(&whole, e))?;
                fchmod(&file, mode).map_err(|e| at(&whole, e))?;
            }
            tar::EntryType::Symlink => {
                let (folder, last) = parent(root, &whole, owner)?;
                let target = entry.link_name()?.ok_or_else(|| CopyError::Kind("a link to nowhere".into()))?.into_owned();
                remove(&folder, &last).map_err(|e| at(&whole, e))?;
                symlinkat(&target, &folder, &last).map_err(|e| at(&whole, e))?;
                give(&folder, &last, owner).map_err(|e| at(&whole, e))?;
            }
            tar::EntryType::XGlobalHeader => {}
            other => return Err(CopyError::Kind(format!("{} ({other:?})", name.display()))),
        }
        left.set(HEADS);
    }
    Ok(())
}

fn parent(root: &Root, whole: &Path, owner: (u32, u32)) -> Result<(OwnedFd, PathBuf), CopyError> {
    let last = whole.file_name().map(PathBuf::from).ok_or_else(|| CopyError::Leaves(whole.display().to_string()))?;
    Ok((root.folder(whole.parent().unwrap_or(Path::new("/")), owner)?, last))
}

fn remove(folder: &OwnedFd, name: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the tests' own process sees its root: nothing but the paths is different.
    #[test]
    fn what_is_packed_comes_out_the_same_and_nothing_leaves_the_folder() {
        let own = std::process::id();
        let place = tempfile::tempdir().unwrap();
        let from = place.path().join("from");
        std::fs::create_dir_all(from.join("deep")).unwrap();
        std::fs::write(from.join("deep/file"), "content").unwrap();
        std::os::unix::fs::symlink("deep/file", from.join("link")).unwrap();
        let mut archive = Vec::new();
        pack(own, from.to_str().unwrap(), &mut archive).unwrap();
        let to = place.path().join("new/to");
        unpack(own, to.to_str().unwrap(), &archive[..]).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("from/link")).unwrap(), "content");
        assert!(std::fs::symlink_metadata(to.join("from/link")).unwrap().is_symlink());
        // Over what is there.
        unpack(own, to.to_str().unwrap(), &archive[..]).unwrap();

        let mut bad = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_entry_type(tar::EntryType::Regular);
        header.as_mut_bytes()[..10].copy_from_slice(b"../outside");
        header.set_cksum();
        bad.append(&header, &b"x"[..]).unwrap();
        assert!(matches!(unpack(own, to.to_str().unwrap(), &bad.into_inner().unwrap()[..]), Err(CopyError::Leaves(_))));
        assert!(!place.path().join("new/outside").exists());
        assert!(matches!(pack(own, "/no/such/file", Vec::new()), Err(CopyError::At { .. })));
        let pipe = from.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(pack(own, pipe.to_str().unwrap(), Vec::new()), Err(CopyError::Special(_))), "and nobody waits for who writes to it");
        pack(own, from.to_str().unwrap(), Vec::new()).unwrap();
    }
}
