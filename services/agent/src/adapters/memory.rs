//! Memory shown as a folder (tmpfs): for what must not lie on the node's disk, the contents of configs and secrets. A mount outlives
//! the agent and is found again by its place; the machine's end takes it along.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gantry_contract::proto::scheduler::{FileContent, WantedInstance};
use tokio::fs;

use super::machine::{self, CommandError};

/// What the mount table calls such a mount.
const NAME: &str = "gantry-files";
/// Of the smallest file.
const PAGE: u64 = 4096;
/// For folders, links and names.
const SLACK: u64 = 1 << 20;

/// What a folder in memory is to have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    /// Programs in it may be run: only if one of its files is said to be one.
    pub executable: bool,
}

impl Room {
    /// For the files of all containers of an instance: twice, since new contents lie beside the old until they take their place.
    pub fn of(instance: &WantedInstance) -> Self {
        let files = || std::iter::once(instance).chain(&instance.init).chain(&instance.sidecars).flat_map(|c| &c.files);
        let pages = |file: &FileContent| (file.content.len() as u64).div_ceil(PAGE).max(1) * PAGE;
        Self { bytes: 2 * files().map(pages).sum::<u64>() + SLACK, executable: files().any(|f| f.mode & 0o111 != 0) }
    }
}

/// A mount as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    bytes: u64,
    executable: bool,
    /// Never written to a swap device.
    unswapped: bool,
}

/// Makes the folder `at`, which is there, one in memory with this room at least. What is in one that is mounted already stays.
///
/// # Errors
/// When it cannot be mounted: without the right to it (`CAP_SYS_ADMIN`), above all.
pub async fn ensure(at: &Path, room: Room) -> Result<(), CommandError> {
    match held(&table().await, at) {
        Some(there) => enlarge(at, there, room).await,
        None => {
            let options = options(room);
            let place = at.display().to_string();
            // Linux 6.4; older ones refuse the word.
            match machine::run("mount", &["-t", "tmpfs", "-o", &format!("{options},noswap"), NAME, &place]).await {
                Ok(_) => Ok(()),
                Err(_) => machine::run("mount", &["-t", "tmpfs", "-o", &options, NAME, &place]).await.map(drop),
            }
        }
    }
}

/// Gives a folder that is in memory more room if it needs it; nothing for one that is not.
///
/// # Errors
/// When the kernel refuses.
pub async fn grow(at: &Path, room: Room) -> Result<(), CommandError> {
    match held(&table().await, at) {
        Some(there) => enlarge(at, there, room).await,
        None => Ok(()),
    }
}

async fn enlarge(at: &Path, there: Held, room: Room) -> Result<(), CommandError> {
    if there.bytes >= room.bytes && (there.executable || !room.executable) {
        return Ok(());
    }
    let wanted = Room { bytes: room.bytes.max(there.bytes), executable: room.executable || there.executable };
    // What is not said is taken for the opposite by some kernels.
    let swap = if there.unswapped { ",noswap" } else { "" };
    machine::run("mount", &["-o", &format!("remount,{}{swap}", options(wanted)), &at.display().to_string()]).await.map(drop)
}

fn options(room: Room) -> String {
    format!("size={},mode=0700,nosuid,nodev,{}", room.bytes, if room.executable { "exec" } else { "noexec" })
}

/// Ends what is mounted at a folder or below it, the innermost first. What containers were shown of it they keep until they end.
///
/// # Errors
/// When the kernel refuses; the rest stays mounted.
pub async fn unmount_below(at: &Path) -> Result<(), CommandError> {
    for point in points(&table().await, at) {
        machine::run("umount", &["-l", &point.display().to_string()]).await?;
    }
    Ok(())
}

/// Whether something is mounted right there. The kernel's table is asked and not the place: a server that is away would not answer.
pub async fn is_mounted(at: &Path) -> bool {
    let place = match (at.parent(), at.file_name()) {
        // Links on the way there are not in the table.
        (Some(above), Some(name)) => fs::canonicalize(above).await.unwrap_or_else(|_| above.to_owned()).join(name),
        _ => at.to_owned(),
    };
    points(&table().await, &place).contains(&place)
}

/// Folders directly below `all` whose `name` is mounted.
pub async fn mounted_as(all: &Path, name: &str) -> BTreeSet<PathBuf> {
    let is = |point: &PathBuf| point.file_name().is_some_and(|n| n == name) && point.parent().and_then(Path::parent) == Some(all);
    points(&table().await, all).into_iter().filter(is).filter_map(|p| p.parent().map(Path::to_owned)).collect()
}

async fn table() -> String {
    fs::read("/proc/self/mounts").await.map(|bytes| as_text(&bytes)).unwrap_or_default()
}

/// The kernel's table of mounts. Somebody's mount may have a name that is no text; of the others nothing less is known for that.
pub fn as_text(table: &[u8]) -> String {
    String::from_utf8_lossy(table).into_owned()
}

/// The tmpfs at a place; of several on top of each other the uppermost counts (fstab(5) tells the fields).
fn held(table: &str, at: &Path) -> Option<Held> {
    let line = table.lines().rfind(|line| line.split(' ').nth(1).is_some_and(|point| Path::new(&plain(point)) == at))?;
    let mut fields = line.split(' ').skip(2);
    let (kind, options) = (fields.next()?, fields.next()?);
    if kind != "tmpfs" {
        return None;
    }
    let has = |name: &str| options.split(',').any(|o| o == name);
    let size = options.split(',').find_map(|o| o.strip_prefix("size=")).and_then(bytes);
    // Without a size it is half of the machine's memory.
    Some(Held { bytes: size.unwrap_or(u64::MAX), executable: !has("noexec"), unswapped: has("noswap") })
}

/// A size as the kernel writes it: `1040k`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Mount points at a folder or below it, the innermost and latest first.
fn points(table: &str, at: &Path) -> Vec<PathBuf> {
    let all = table.lines().rev().filter_map(|line| line.split(' ').nth(1)).map(|point| PathBuf::from(plain(point)));
    all.filter(|point| point.starts_with(at)).collect()
}

/// Without the escapes of the mount table.
fn plain(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "/dev/sda1 / ext4 rw 0 0
gantry-files /h/a\\040b/1/memory tmpfs rw,nosuid,nodev,noexec,relatime,size=1040k,mode=700,inode64,noswap 0 0
gantry /h/a\\040b/1/tmpfs-0 tmpfs rw,size=65536k,mode=777 0 0
gantry-files /h/a\\040b/12/memory tmpfs rw,nosuid,nodev 0 0
/dev/loop0 /h/a\\040b/3/memory ext4 rw 0 0
";

    #[test]
    fn what_is_mounted_is_read_from_the_kernels_table() {
        let held_at = |at: &str| held(TABLE, Path::new(at));
        assert_eq!(held_at("/h/a b/1/memory"), Some(Held { bytes: 1040 << 10, executable: false, unswapped: true }));
        assert_eq!(held_at("/h/a b/12/memory"), Some(Held { bytes: u64::MAX, executable: true, unswapped: false }));
        assert_eq!((held_at("/h/a b/3/memory"), held_at("/h/a b/1"), held_at("/")), (None, None, None));
        let below = |at: &str| points(TABLE, Path::new(at)).len();
        assert_eq!((below("/h/a b/1"), below("/h/a b"), below("/h/a")), (2, 4, 0), "no other instance's");
        assert_eq!(
            (bytes("1m"), bytes("7"), bytes("3g"), bytes("x"), bytes("1q"), bytes("99999999999999999999k")),
            (Some(1 << 20), Some(7), Some(3 << 30), None, None, None)
        );
    }

    #[test]
    fn a_mount_whose_name_is_no_text_hides_no_other() {
        let bytes = [TABLE.as_bytes(), b"/dev/sdb1 /media/caf\xe9 vfat rw 0 0\n"].concat();
        assert!(held(&as_text(&bytes), Path::new("/h/a b/1/memory")).is_some());
    }

    #[test]
    fn there_is_room_for_old_and_new_contents_of_all_containers() {
        let file = |bytes: usize, mode: u32| FileContent { content: vec![0; bytes], mode, ..Default::default() };
        let beside = WantedInstance { files: vec![file(0, 0o400)], ..Default::default() };
        let one = WantedInstance { files: vec![file(4097, 0o444), file(1, 0)], sidecars: vec![beside], ..Default::default() };
        assert_eq!(Room::of(&one), Room { bytes: 2 * 4 * PAGE + SLACK, executable: false });
        let program = WantedInstance { init: vec![WantedInstance { files: vec![file(1, 0o555)], ..Default::default() }], ..Default::default() };
        assert!(Room::of(&program).executable);
        assert_eq!(options(Room::of(&program)), format!("size={},mode=0700,nosuid,nodev,exec", 2 * PAGE + SLACK));
    }

    /// With the right to mount alone; says so where it is missing.
    #[tokio::test]
    async fn it_is_found_again_grows_with_what_is_in_it_and_goes_at_once() {
        let root = tempfile::tempdir().unwrap();
        let (all, at) = (root.path().join("all"), root.path().join("all/one/memory"));
        std::fs::create_dir_all(&at).unwrap();
        let room = |bytes: u64, executable: bool| Room { bytes, executable };
        if let Err(error) = ensure(&at, room(1 << 20, false)).await {
            eprintln!("skipped: nothing was mounted: {error}");
            return;
        }
        std::fs::write(at.join("secret"), "x").unwrap();
        ensure(&at, room(1 << 20, false)).await.unwrap();
        let now = || held(&std::fs::read_to_string("/proc/self/mounts").unwrap(), &at).unwrap();
        assert_eq!((now().bytes, now().executable), (1 << 20, false));
        grow(&at, room(2 << 20, true)).await.unwrap();
        assert_eq!((now().bytes, now().executable), (2 << 20, true));
        grow(&at, room(1 << 20, false)).await.unwrap();
        assert_eq!(now().bytes, 2 << 20, "it does not shrink under what is in it");
        assert_eq!(std::fs::read_to_string(at.join("secret")).unwrap(), "x");
        assert_eq!(points(&table().await, &all).len(), 1, "mounted once");
        assert!(is_mounted(&at).await && !is_mounted(&all).await);
        assert_eq!(mounted_as(&all, "memory").await, BTreeSet::from([all.join("one")]));
        unmount_below(&all).await.unwrap();
        assert!(!at.join("secret").exists() && mounted_as(&all, "memory").await.is_empty());
        grow(&at, room(1 << 20, false)).await.unwrap();
        assert!(points(&table().await, &all).is_empty(), "what is not in memory is left as it is");
    }
}
