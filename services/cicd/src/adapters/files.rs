//! Files of a workspace, read without being led out of it: a repository and its steps may leave symbolic links anywhere.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Opens `path` below `root`; what was really opened is checked after the fact, so that no race helps.
///
/// # Errors
/// When it is not there, is no plain file, or lies outside.
pub fn open_inside(root: &Path, path: &str) -> io::Result<File> {
    let root = root.canonicalize()?;
    // Without O_NONBLOCK a named pipe left by a step would hold us for ever.
    let file = {
        use std::os::unix::fs::OpenOptionsExt;
        const O_NONBLOCK: i32 = 0o4000;
        std::fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(root.join(path))?
    };
    let real = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if !real.starts_with(&root) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("`{path}` leads out of the repository")));
    }
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` is no plain file")));
    }
    Ok(file)
}

/// The text of a file below `root`.
///
/// # Errors
/// As [`open_inside`]; also when it is larger than `limit` or no UTF-8.
pub fn text_inside(root: &Path, path: &str, limit: u64) -> io::Result<String> {
    let file = open_inside(root, path)?;
    if file.metadata()?.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{path}` is larger than {limit} bytes")));
    }
    let mut text = String::new();
    file.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// A folder below `root` by its real path.
///
/// # Errors
/// When it is not there or lies outside.
pub fn folder_inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let root = root.canonicalize()?;
    let real = root.join(path).canonicalize()?;
    if !real.starts_with(&root) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("`{path}` leads out of the repository")));
    }
    if !real.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("`{path}` is no folder")));
    }
    Ok(real)
}

/// Paths below `root` that fit `pattern`: a plain path, or one whose last part holds `*`.
pub fn matching(root: &Path, pattern: &str) -> Vec<String> {
    let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if !last.contains('*') {
        return vec![pattern.to_owned()];
    }
    let Ok(entries) = folder_inside(root, if folder.is_empty() { "." } else { folder }).and_then(std::fs::read_dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| crate::domain::matches(last, n));
    let mut paths: Vec<_> = names.map(|n| if folder.is_empty() { n } else { format!("{folder}/{n}") }).collect();
    paths.sort();
    paths
}

/// A kept file.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    pub size_bytes: u64,
    /// `sha256:<hex>`; also its name below `artifacts/`.
    pub digest: String,
}

/// Copies `file` into the folder of artifacts, by content: the same bytes are kept once.
///
/// # Errors
/// When the disk refuses or the file is larger than `limit`.
pub fn keep(mut file: File, folder: &Path, limit: u64) -> io::Result<Kept> {
    std::fs::create_dir_all(folder)?;
    let mut to = tempfile::NamedTempFile::new_in(folder)?;
    let mut hasher = Sha256::new();
    let (mut size_bytes, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        size_bytes += read as u64;
        if size_bytes > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {limit} bytes")));
        }
        hasher.update(&buffer[..read]);
        io::Write::write_all(&mut to, &buffer[..read])?;
    }
    to.as_file().sync_all()?;
    let hex = hex::encode(hasher.finalize());
    to.persist(folder.join(&hex)).map_err(|e| e.error)?;
    Ok(Kept { size_bytes, digest: format!("sha256:{hex}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_do_not_lead_out_of_the_workspace() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("ws");
        std::fs::create_dir_all(root.join("out")).unwrap();
        std::fs::write(home.path().join("secret"), "x").unwrap();
        std::fs::write(root.join("out/a.xml"), "hello").unwrap();
        symlink(home.path().join("secret"), root.join("out/b.xml")).unwrap();
        symlink(home.path(), root.join("up")).unwrap();
        symlink("out/a.xml", root.join("inside")).unwrap();
        assert_eq!(text_inside(&root, "out/a.xml", 10).unwrap(), "hello");
        assert_eq!(text_inside(&root, "inside", 10).unwrap(), "hello");
        for bad in ["out/b.xml", "up/secret", "out", "none"] {
            assert!(open_inside(&root, bad).is_err(), "{bad}");
        }
        assert!(text_inside(&root, "out/a.xml", 4).is_err());
        assert!(folder_inside(&root, "up").is_err() && folder_inside(&root, ".").is_ok());
        assert_eq!(matching(&root, "out/*.xml"), ["out/a.xml", "out/b.xml"]);
        assert_eq!(matching(&root, "up/*"), Vec::<String>::new());
    }

    #[test]
    fn a_kept_file_is_named_by_its_content() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), "hello").unwrap();
        let kept = keep(File::open(home.path().join("a")).unwrap(), &home.path().join("kept"), 100).unwrap();
        assert_eq!(kept.digest, "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert!(home.path().join("kept").join(&kept.digest[7..]).exists());
        assert!(keep(File::open(home.path().join("a")).unwrap(), &home.path().join("kept"), 4).is_err());
        assert_eq!(std::fs::read_dir(home.path().join("kept")).unwrap().count(), 1);
    }
}
