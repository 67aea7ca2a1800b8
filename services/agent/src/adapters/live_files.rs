//! Files of a container that change while it runs. In a folder of their own all of them change at one moment, as Kubernetes does
//! it: the files lie in a folder named after what is in them, `..data` leads to it, and each name leads through `..data`. A file
//! shown by itself is overwritten: the container holds on to the file that it was started with.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

const DATA: &str = "..data";
const NEXT: &str = "..next";

/// One file below the folder.
pub struct Below<'a> {
    /// Without the folder; may lie in folders of its own.
    pub path: &'a str,
    pub content: &'a [u8],
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

/// Makes the folder hold these files. True: something was another before.
///
/// # Errors
/// When the disk refuses; what was shown before is shown still.
pub async fn folder(at: &Path, files: &[Below<'_>]) -> io::Result<bool> {
    let stamp = stamp(files);
    let data = at.join(&stamp);
    let shown = fs::read_link(at.join(DATA)).await.ok();
    if shown.as_deref() == Some(Path::new(&stamp)) && fs::metadata(&data).await.is_ok() {
        return Ok(false);
    }
    open_folder(at).await?;
    // From an attempt that was cut off.
    if fs::metadata(&data).await.is_ok() {
        fs::remove_dir_all(&data).await?;
    }
    open_folder(&data).await?;
    let mut tops = BTreeSet::new();
    for file in files {
        let path = data.join(file.path);
        let mut parent = data.clone();
        for part in Path::new(file.path).parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            open_folder(&parent).await?;
        }
        fs::write(&path, file.content).await?;
        fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode)).await?;
        give(&path, file.owner)?;
        tops.extend(file.path.split('/').next().map(str::to_owned));
    }
    link(at, Path::new(&stamp), DATA).await?;
    for top in &tops {
        let leads = Path::new(DATA).join(top);
        if fs::read_link(at.join(top)).await.ok().as_deref() != Some(leads.as_path()) {
            link(at, &leads, top).await?;
        }
    }
    let mut entries = fs::read_dir(at).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == DATA || name == stamp || tops.contains(&name) {
            continue;
        }
        if entry.file_type().await?.is_dir() {
            fs::remove_dir_all(entry.path()).await?;
        } else {
            fs::remove_file(entry.path()).await?;
        }
    }
    Ok(true)
}

/// Gives a file, which is root's, to whom it is to belong.
///
/// # Errors
/// When the file system refuses.
pub fn give(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    if owner == (0, 0) { Ok(()) } else { std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1)) }
}

/// Overwrites a file that is shown by itself, so that no reader finds it empty. True: it was another before.
///
/// # Errors
/// When the disk refuses, or the file is not there; its content is the old one then.
pub async fn overwrite(path: &Path, content: &[u8]) -> io::Result<bool> {
    let Some(file) = in_place(path, content).await? else { return Ok(false) };
    file.sync_data().await?;
    Ok(true)
}

/// The same for what need not outlive the machine's run: the disk is not waited for. Gives the file if it was another before.
///
/// # Errors
/// As [`overwrite`].
pub async fn in_place(path: &Path, content: &[u8]) -> io::Result<Option<fs::File>> {
    let before = fs::read(path).await?;
    if before == content {
        return Ok(None);
    }
    let mut file = fs::OpenOptions::new().write(true).open(path).await?;
    match put(&mut file, content).await {
        Ok(()) => Ok(Some(file)),
        Err(error) => {
            // On a full disk there still is the room that it had.
            put(&mut file, &before).await?;
            Err(error)
        }
    }
}

async fn put(file: &mut fs::File, content: &[u8]) -> io::Result<()> {
    file.rewind().await?;
    file.write_all(content).await?;
    file.flush().await?;
    file.set_len(content.len() as u64).await
}

/// A name takes its new place in one step.
async fn link(at: &Path, leads: &Path, name: &str) -> io::Result<()> {
    let next = at.join(NEXT);
    match fs::remove_file(&next).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::symlink(leads, &next).await?;
    fs::rename(&next, at.join(name)).await
}

/// Readable for all users of the container; nobody else reaches it, since the folder above is closed.
async fn open_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).await?;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).await
}

fn stamp(files: &[Below<'_>]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.path.len() as u64).to_le_bytes());
        hash.update(file.path);
        hash.update(file.mode.to_le_bytes());
        hash.update((file.content.len() as u64).to_le_bytes());
        hash.update(file.content);
        if file.owner != (0, 0) {
            hash.update(format!("{}:{}", file.owner.0, file.owner.1));
        }
    }
    format!("..{}", hex::encode(&hash.finalize()[..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below<'a>(path: &'a str, content: &'a str) -> Below<'a> {
        Below { path, content: content.as_bytes(), mode: 0o400, owner: (0, 0) }
    }

    #[tokio::test]
    async fn all_files_of_a_folder_change_at_once_and_old_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("secrets");
        let read = |name: &str| std::fs::read_to_string(at.join(name));
        assert!(folder(&at, &[below("user", "a"), below("password", "1"), below("deep/x", "d")]).await.unwrap());
        assert_eq!((read("user").unwrap(), read("password").unwrap(), read("deep/x").unwrap()), ("a".into(), "1".into(), "d".into()));
        assert_eq!(std::fs::read_link(at.join("password")).unwrap(), Path::new("..data/password"), "no path of the host");
        let before = std::fs::read_link(at.join(DATA)).unwrap();
        assert!(!folder(&at, &[below("user", "a"), below("password", "1"), below("deep/x", "d")]).await.unwrap());
        assert!(folder(&at, &[below("user", "a"), below("password", "2"), below("new", "n")]).await.unwrap());
        assert_eq!((read("user").unwrap(), read("password").unwrap(), read("new").unwrap()), ("a".into(), "2".into(), "n".into()));
        assert!(!at.join("deep").exists() && !at.join(before).exists());
        assert_eq!(std::fs::metadata(at.join("password")).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(std::fs::read_dir(&at).unwrap().count(), 5, "..data, its folder, and three names");
    }

    #[tokio::test]
    async fn another_owner_is_another_content() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("secrets");
        assert!(folder(&at, &[below("a", "1")]).await.unwrap());
        let own = std::fs::metadata(at.join("a")).unwrap();
        // Whose it is without a word: what anybody may give.
        let owner = if own.uid() == 0 { (1000, 50) } else { (own.uid(), own.gid()) };
        assert!(folder(&at, &[Below { owner, ..below("a", "1") }]).await.unwrap());
        let now = std::fs::metadata(at.join("a")).unwrap();
        assert_eq!((now.uid(), now.gid()), owner);
    }

    #[tokio::test]
    async fn a_cut_off_attempt_is_made_good() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("secrets");
        let files = [below("a", "1")];
        std::fs::create_dir_all(at.join(stamp(&files))).unwrap();
        std::fs::write(at.join("a"), "left over").unwrap();
        assert!(folder(&at, &files).await.unwrap());
        assert_eq!(std::fs::read_to_string(at.join("a")).unwrap(), "1");
    }

    #[tokio::test]
    async fn a_single_file_stays_the_same_file() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("app.conf");
        std::fs::write(&path, "a long content").unwrap();
        let before = std::fs::metadata(&path).unwrap().ino();
        assert!(overwrite(&path, b"short").await.unwrap());
        assert!(!overwrite(&path, b"short").await.unwrap());
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), std::fs::metadata(&path).unwrap().ino()), ("short", before));
    }

    /// With the right to mount alone; says so where it is missing.
    #[tokio::test]
    async fn on_a_full_disk_a_single_file_keeps_its_old_content() {
        use crate::adapters::memory::{Room, ensure, unmount_below};
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("hosts");
        if let Err(error) = ensure(root.path(), Room { bytes: 8192, executable: false }).await {
            eprintln!("skipped: nothing was mounted: {error}");
            return;
        }
        let old = "a".repeat(5000);
        std::fs::write(&path, &old).unwrap();
        let refused = overwrite(&path, &[b'b'; 40_000]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
        assert!(in_place(&path, b"short").await.unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
        unmount_below(root.path()).await.unwrap();
    }
}
