//! File systems in files: made, grown, mounted and let go. Whose they are is the volume's to know.

use std::path::Path;

use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{VolumeError, exists, failed, make, remove};
use crate::adapters::machine;
use crate::adapters::memory::as_text;

/// A file system smaller than this is more bookkeeping than room.
const SMALLEST: u64 = 16 << 20;
/// A last group of blocks that would hold little but bookkeeping is left out by mkfs.ext4 and resize2fs.
const LEFT_OUT: u64 = 8 << 20;

/// Mounts an image at `path`, made if it is not there, grown if it shall be larger. `new`: its name until it is whole.
pub async fn attach(image: &Path, new: &Path, path: &Path, size_bytes: u64) -> Result<(), VolumeError> {
    let size = size_bytes.max(SMALLEST);
    let text = image.display().to_string();
    if !exists(image).await {
        // A crash in the middle leaves no half file system.
        if let Err(error) = create(image, new, size).await {
            // On a full disk it would take room for nothing; the first of the two errors says why.
            let _ = remove(new).await;
            return Err(error);
        }
    } else if too_small(image, size).await? {
        grow(image, size).await?;
    }
    // Not before: a folder without an image is a volume without a limit.
    make(path, 0o777).await?;
    machine::work("mount", &["-o", "loop,nosuid,nodev", &text, &path.display().to_string()]).await?;
    // Of a new file system alone: whom the folder is for afterwards is the application's to say.
    let lost = path.join("lost+found");
    if exists(&lost).await {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).await.map_err(|e| failed("folder", path, e))?;
        let _ = fs::remove_dir(&lost).await;
    }
    Ok(())
}

async fn create(image: &Path, new: &Path, size: u64) -> Result<(), VolumeError> {
    // Of an agent that was killed: it may be larger, and somebody may still write to it.
    remove(new).await?;
    sized(new, size).await?;
    let text = new.display().to_string();
    machine::work("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", &text]).await?;
    fs::rename(new, image).await.map_err(|e| failed("image", image, e))
}

async fn grow(image: &Path, size: u64) -> Result<(), VolumeError> {
    let text = image.display().to_string();
    match machine::work("e2fsck", &["-f", "-p", &text]).await {
        Ok(_) => {}
        // It has mended something (e2fsck(8)), which is well.
        Err(error) if matches!(error.code(), Some(1..=3)) => {}
        Err(source) => return Err(VolumeError::Damaged { image: image.to_owned(), source }),
    }
    extend(image, size).await?;
    machine::work("resize2fs", &[&text]).await?;
    Ok(())
}

/// The same while it is mounted at `path` and used, where this process may; elsewhere it has its size when it is mounted next.
pub async fn grow_mounted(image: &Path, path: &Path, size_bytes: u64) -> Result<(), VolumeError> {
    let size = size_bytes.max(SMALLEST);
    if size_bytes == 0 || !too_small(image, size).await? {
        return Ok(());
    }
    let Some((device, _)) = mounts().await?.into_iter().rfind(|(_, at)| Path::new(at) == path) else { return Ok(()) };
    if !may_grow_mounted().await {
        tracing::warn!(volume = %path.display(), size_bytes = size, "a file system in use grows only for a process with CAP_SYS_RESOURCE: stop its application and start it again");
        return Ok(());
    }
    extend(image, size).await?;
    machine::run("losetup", &["-c", &device]).await?;
    machine::work("resize2fs", &[&device]).await?;
    Ok(())
}

/// Whether the kernel lets this process resize a file system in use: ext4 asks for CAP_SYS_RESOURCE in each of its calls for that
/// (`ext4_resize_begin`), and there is no other way while it is mounted; making the loop device larger alone needs nothing.
pub async fn may_grow_mounted() -> bool {
    const SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").await.unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:")).and_then(|c| u64::from_str_radix(c.trim(), 16).ok());
    effective.is_some_and(|c| c >> SYS_RESOURCE & 1 == 1)
}

/// Also one whose file was made longer by an agent that was killed before its file system was.
async fn too_small(image: &Path, size: u64) -> Result<bool, VolumeError> {
    let length = fs::metadata(image).await.map_err(|e| failed("image", image, e))?.len();
    Ok(length < size || within(image).await.map_err(|e| failed("image", image, e))? + LEFT_OUT < length)
}

/// Bytes of the file system, from its superblock (ext4, "Super Block" of the kernel's documentation); 0 if there is none.
async fn within(image: &Path) -> std::io::Result<u64> {
    let mut file = fs::File::open(image).await?;
    file.seek(std::io::SeekFrom::Start(1024)).await?;
    let mut block = [0_u8; 1024];
    file.read_exact(&mut block).await?;
    let number = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    if block[0x38..0x3a] != [0x53, 0xef] {
        return Ok(0);
    }
    let blocks = (u64::from(number(0x150)) << 32) | u64::from(number(0x4));
    // Block sizes are 1 to 64 KiB.
    Ok(blocks.saturating_mul(1024 << number(0x18).min(6)))
}

/// Never shorter.
async fn extend(image: &Path, size: u64) -> Result<(), VolumeError> {
    let length = fs::metadata(image).await.map_err(|e| failed("image", image, e))?.len();
    if length < size { sized(image, size).await } else { Ok(()) }
}

async fn sized(path: &Path, size: u64) -> Result<(), VolumeError> {
    let file = fs::OpenOptions::new().create(true).write(true).truncate(false).open(path).await.map_err(|e| failed("image", path, e))?;
    file.set_len(size).await.map_err(|e| failed("image", path, e))
}

/// Holes stay holes, and where the file system can share blocks it does. No container sees an image.
pub async fn copy(from: &Path, to: &Path) -> Result<(), VolumeError> {
    machine::work("cp", &["-a", "--reflink=auto", "--sparse=always", &from.display().to_string(), &to.display().to_string()]).await?;
    Ok(())
}

pub async fn let_go(path: &Path) -> Result<(), VolumeError> {
    if mounted(path).await? {
        machine::work("umount", &[&path.display().to_string()]).await?;
    }
    Ok(())
}

pub async fn mounted(path: &Path) -> Result<bool, VolumeError> {
    Ok(mounts().await?.iter().any(|(_, at)| Path::new(at) == path))
}

/// Of the whole machine: what is mounted, and where. Not to be read is not to be empty: what is mounted would be mounted twice, or
/// let go while it is written.
pub async fn mounts() -> Result<Vec<(String, String)>, VolumeError> {
    let table = Path::new("/proc/self/mounts");
    let mounts = as_text(&fs::read(table).await.map_err(|e| failed("mount", table, e))?);
    // Spaces are written as \040 there (fstab(5)).
    let parts = |line: &str| line.split_once(' ').and_then(|(what, rest)| Some((what.to_owned(), rest.split(' ').next()?.replace("\\040", " "))));
    Ok(mounts.lines().filter_map(parts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    async fn made(folder: &Path) -> std::path::PathBuf {
        let image = folder.join("x.img");
        sized(&image, 16 * MIB).await.unwrap();
        machine::work("mkfs.ext4", &["-q", "-F", &image.display().to_string()]).await.unwrap();
        image
    }

    #[tokio::test]
    async fn a_file_system_grows_also_when_an_agent_was_killed_over_it() {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path()).await;
        assert_eq!(within(&image).await.unwrap(), 16 * MIB);
        assert!(!too_small(&image, 16 * MIB).await.unwrap() && too_small(&image, 48 * MIB).await.unwrap());
        sized(&image, 48 * MIB).await.unwrap();
        assert!(too_small(&image, 48 * MIB).await.unwrap(), "its file alone is longer");
        grow(&image, 48 * MIB).await.unwrap();
        assert!(within(&image).await.unwrap() + LEFT_OUT >= 48 * MIB);
        assert!(!too_small(&image, 48 * MIB).await.unwrap());
    }

    #[tokio::test]
    async fn what_a_killed_agent_left_of_a_new_file_system_is_no_part_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        sized(&at("x.new"), 64 * MIB).await.unwrap();
        let earlier = std::fs::File::open(at("x.new")).unwrap();
        create(&at("x.img"), &at("x.new"), 16 * MIB).await.unwrap();
        assert_eq!(std::fs::metadata(at("x.img")).unwrap().len(), 16 * MIB, "no larger than it may be");
        assert_eq!(earlier.metadata().unwrap().len(), 64 * MIB, "whoever writes to that one does not write to this one");
        assert!(!at("x.new").exists());
    }

    #[tokio::test]
    async fn a_damaged_file_system_is_left_alone_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let image = made(folder.path()).await;
        // With the copies of its superblock.
        std::os::unix::fs::FileExt::write_at(&std::fs::OpenOptions::new().write(true).open(&image).unwrap(), &vec![0; 15 << 20], 0).unwrap();
        let error = attach(&image, &folder.path().join("x.new"), &folder.path().join("at"), 48 * MIB).await.unwrap_err();
        assert!(matches!(error, VolumeError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("e2fsck"), "{error}");
        assert_eq!(std::fs::metadata(&image).unwrap().len(), 16 * MIB, "it was made longer");
        assert!(!folder.path().join("at").exists());
    }
}
