//! Gives what is in a volume to a group, as `fsGroup` of Kubernetes does: everything becomes the group's, which may read and write it, and what
//! is made in its folders later is the group's, too. No link is followed, so nothing outside of the volume is ever touched, whatever its
//! instances put there meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, chownat, fchmod, fchown, fstat, open, openat, statat};
use rustix::io::Errno;

use super::copying::{DEEPEST, names};

const FILE: u32 = 0o660;
const FOLDER: u32 = 0o2770;

/// Nothing is done where the volume's own folder is the group's already (`OnRootMismatch`): it is given last, so what was cut off is done again.
/// True: something was done.
///
/// # Errors
/// When the file system refuses.
pub async fn hand_over(volume: PathBuf, group: u32) -> io::Result<bool> {
    tokio::task::spawn_blocking(move || over(&volume, group)).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}

fn over(volume: &Path, group: u32) -> io::Result<bool> {
    if group == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no such group"));
    }
    let top = open(volume, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let seen = fstat(&top)?;
    if seen.st_gid == group && seen.st_mode & FOLDER == FOLDER {
        return Ok(false);
    }
    let group = Gid::from_raw(group);
    below(&top, &seen, group, 0)?;
    give(&top, &seen, group, FOLDER)?;
    Ok(true)
}

/// `volume`: what was seen of its own folder.
fn below(folder: &OwnedFd, volume: &Stat, group: Gid, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other("its folders are too deep"));
    }
    for inner in names(folder, Path::new("")).map_err(io::Error::other)? {
        // Gone in between: as if it had never been.
        let Ok(seen) = statat(folder, &inner, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if !matches!(FileType::from_raw_mode(seen.st_mode), FileType::RegularFile | FileType::Directory) {
            // To open a pipe or a device does something; of a link the rights mean nothing.
            gone_is_fine(chownat(folder, &inner, None, Some(group), AtFlags::SYMLINK_NOFOLLOW))?;
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let held = match openat(folder, &inner, flags, Mode::empty()) {
            Ok(held) => held,
            // It is gone, or another thing by now.
            Err(Errno::NOENT | Errno::LOOP) => continue,
            Err(error) => return Err(error.into()),
        };
        // What was opened counts, and not what was seen under its name.
        let seen = fstat(&held)?;
        match FileType::from_raw_mode(seen.st_mode) {
            // Another file system that is mounted there is no part of the volume.
            _ if seen.st_dev != volume.st_dev => {}
            FileType::Directory => {
                below(&held, volume, group, depth + 1)?;
                give(&held, &seen, group, FOLDER)?;
            }
            FileType::RegularFile => give(&held, &seen, group, FILE)?,
            _ => {}
        }
    }
    Ok(())
}

fn give(held: &OwnedFd, seen: &Stat, group: Gid, rights: u32) -> io::Result<()> {
    if seen.st_gid != group.as_raw() {
        fchown(held, None, Some(group))?;
    }
    // Also where the rights were there: a new group takes some of them away.
    fchmod(held, Mode::from_raw_mode((seen.st_mode & 0o7777) | rights))?;
    Ok(())
}

fn gone_is_fine(done: Result<(), Errno>) -> io::Result<()> {
    match done {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// With a group that the user of the test has: another one needs the right to give files away.
    #[tokio::test]
    async fn everything_in_a_volume_becomes_the_groups_and_nothing_that_its_links_lead_to() {
        let root = tempfile::tempdir().unwrap();
        let (volume, outside) = (root.path().join("volume"), root.path().join("outside"));
        std::fs::create_dir_all(volume.join("a/b")).unwrap();
        for (path, mode) in [(volume.join("a/b/x"), 0o400), (volume.join("run"), 0o755), (outside.clone(), 0o600)] {
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        symlink(&outside, volume.join("link")).unwrap();
        symlink(root.path(), volume.join("a/up")).unwrap();
        let group = std::fs::metadata(&outside).unwrap().gid();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert!(hand_over(volume.clone(), group).await.unwrap());
        for (path, expected) in [("", 0o2775), ("a", 0o2775), ("a/b", 0o2775), ("a/b/x", 0o660), ("run", 0o775)] {
            assert_eq!(mode(&volume.join(path)) & 0o7770, expected & 0o7770, "{path}");
        }
        assert_eq!(mode(&outside), 0o600);
        // Once is enough, until somebody takes it back.
        std::fs::set_permissions(volume.join("run"), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(!hand_over(volume.clone(), group).await.unwrap());
        assert_eq!(mode(&volume.join("run")), 0o700);
        std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(hand_over(volume.clone(), group).await.unwrap());
        assert_eq!(mode(&volume.join("run")) & 0o770, 0o760);
        assert!(hand_over(volume, u32::MAX).await.is_err(), "which means: leave it");
    }
}
