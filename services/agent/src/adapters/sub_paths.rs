//! Folders and files inside of a volume that are shown alone. What is in a volume is its instances': a link that one of them puts there must
//! lead nobody out of it. So each part of the path is opened by itself and followed by none, and what was opened, and not its name, is what is
//! bound to a place apart, which containers are shown.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use tokio::fs;

use super::machine::{self, CommandError};
use super::memory;

/// Before the numbers of such places, which lie beside those of network file systems.
pub const AHEAD: &str = "sub-";

#[derive(Debug, thiserror::Error)]
pub enum SubPathError {
    #[error("opening it")]
    Open(#[source] io::Error),
    #[error("its place {}", path.display())]
    Place {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("showing it")]
    Bind(#[from] CommandError),
}

/// Where `sub_path` of a volume is shown, made in the volume if it is not there (a folder then). `below`: the container's own folder for mounts.
///
/// # Errors
/// When a part of the path is a link, or leads upwards; when the file system or the kernel refuses.
pub async fn shown(below: &Path, number: usize, volume: PathBuf, sub_path: &str) -> Result<PathBuf, SubPathError> {
    let path = sub_path.to_owned();
    let opened = tokio::task::spawn_blocking(move || inside(&volume, &path)).await;
    let (held, is_folder) = opened.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(SubPathError::Open)?;
    let at = below.join(format!("{AHEAD}{number}"));
    let text = at.display().to_string();
    if memory::is_mounted(&at).await {
        // Of a start before: what has that name in the volume may be another one by now.
        machine::run("umount", &["-l", &text]).await?;
    }
    place(&at, is_folder).await.map_err(|source| SubPathError::Place { path: at.clone(), source })?;
    // By its number here; looked up anew by its name it could be another one.
    let opened = format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd());
    machine::run("mount", &["--no-canonicalize", "--bind", &opened, &text]).await?;
    Ok(at)
}

/// Something of the same kind to bind it to.
async fn place(at: &Path, is_folder: bool) -> io::Result<()> {
    match fs::symlink_metadata(at).await {
        Ok(there) if there.is_dir() == is_folder => return Ok(()),
        Ok(there) if there.is_dir() => fs::remove_dir(at).await?,
        Ok(_) => fs::remove_file(at).await?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if is_folder {
        return fs::create_dir_all(at).await;
    }
    if let Some(above) = at.parent() {
        fs::create_dir_all(above).await?;
    }
    fs::write(at, b"").await
}

/// What lies there, held open, and whether it is a folder.
fn inside(volume: &Path, sub_path: &str) -> io::Result<(OwnedFd, bool)> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let mut held = open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let rights = Mode::from_raw_mode(fstat(&held)?.st_mode & 0o7777);
    let mut kind = FileType::Directory;
    for part in sub_path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return refused(format!("{sub_path} leads upwards"));
        }
        held = step(&held, part, rights)?;
        kind = FileType::from_raw_mode(fstat(&held)?.st_mode);
        if kind == FileType::Symlink {
            return refused(format!("{part} is a link, which is not followed"));
        }
    }
    match kind {
        FileType::Directory => Ok((held, true)),
        FileType::RegularFile => Ok((held, false)),
        _ => refused(format!("{sub_path} is neither a folder nor a file")),
    }
}

/// One part of the way. A folder that is not there is made with the volume's own rights.
fn step(folder: &OwnedFd, part: &str, rights: Mode) -> io::Result<OwnedFd> {
    let found = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, part, found, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return Ok(other?),
    }
    match mkdirat(folder, part, Mode::from_raw_mode(0o700)) {
        Ok(()) => {
            let made = openat(folder, part, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            fchmod(&made, rights)?;
            Ok(made)
        }
        // Somebody else has made it meanwhile.
        Err(Errno::EXIST) => Ok(openat(folder, part, found, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_is_inside_of_a_volume_is_found_or_made_and_no_link_leads_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let (volume, outside) = (root.path().join("volume"), root.path().join("outside"));
        std::fs::create_dir_all(volume.join("there")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::write(volume.join("there/file"), "x").unwrap();
        symlink(&outside, volume.join("out")).unwrap();
        symlink("there", volume.join("link")).unwrap();
        let number = |found: &OwnedFd| fstat(found).unwrap().st_ino;
        let of = |path: &Path| std::fs::metadata(path).unwrap().ino();
        let (held, folder) = inside(&volume, "there").unwrap();
        assert!(folder && number(&held) == of(&volume.join("there")));
        let (held, folder) = inside(&volume, "/there//./file").unwrap();
        assert!(!folder && number(&held) == of(&volume.join("there/file")));
        let (held, folder) = inside(&volume, "new/below/").unwrap();
        assert!(folder && number(&held) == of(&volume.join("new/below")));
        assert_eq!(std::fs::metadata(volume.join("new")).unwrap().mode() & 0o777, 0o777, "as the volume");
        for refused in ["out", "out/x", "link", "link/file", "there/../../outside", "..", "there/file/x"] {
            assert!(inside(&volume, refused).is_err(), "{refused}");
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing was made there");
    }

    #[tokio::test]
    async fn what_it_is_bound_to_is_of_its_kind() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("main/sub-0");
        place(&at, true).await.unwrap();
        assert!(at.is_dir());
        place(&at, false).await.unwrap();
        assert!(at.is_file());
        place(&at, false).await.unwrap();
        place(&at, true).await.unwrap();
        assert!(at.is_dir());
    }
}
