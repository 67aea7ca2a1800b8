//! Folders of network file systems (NFS) that instances see, and what is shown of a volume alone. Each is mounted for one instance, in a
//! folder apart from what the agent clears: what is on the server, or in the volume, must never be taken for something of the instance's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::fs;

use super::machine::{self, CommandError};
use super::memory;
use super::sub_paths::AHEAD;

/// A server that is away is asked for longer than this by some kernels, whatever is said of retries.
const MOUNTED_WITHIN: Duration = Duration::from_secs(60);

/// Arguments of mount(8). A server that does not answer is an error at once, not a container that waits; one that goes away later is waited
/// for, since an error in the middle of a write would be lost data.
fn arguments<'a>(source: &'a str, at: &'a str, read_only: bool) -> [&'a str; 6] {
    let options = if read_only { "hard,retry=0,nosuid,nodev,ro" } else { "hard,retry=0,nosuid,nodev" };
    ["-t", "nfs", "-o", options, source, at]
}

/// The folder, mounted if it was not. `below`: the instance's own folder for such mounts.
///
/// # Errors
/// When the kernel or the server refuses it.
pub async fn mounted(below: &Path, number: usize, source: &str, read_only: bool) -> Result<PathBuf, CommandError> {
    let at = below.join(number.to_string());
    if memory::is_mounted(&at).await {
        return Ok(at);
    }
    let text = at.display().to_string();
    machine::run("mkdir", &["-p", "-m", "0755", &text]).await?;
    machine::within(MOUNTED_WITHIN, "mount", &arguments(source, &text, read_only)).await?;
    Ok(at)
}

/// Lets all of an instance go. Folders are removed only when they are empty, so nothing of a server's is ever removed.
pub async fn let_go(below: &Path) {
    let Ok(mut entries) = fs::read_dir(below).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let at = entry.path();
        let text = at.display().to_string();
        if memory::is_mounted(&at).await
            && let Err(error) = machine::run("umount", &["-l", &text]).await
        {
            tracing::warn!(%error, "a network file system, or what was shown of a volume, stays mounted");
            continue;
        }
        // Where a single file was shown there is an empty one, of ours.
        let is_ours = entry.file_name().to_string_lossy().starts_with(AHEAD) && fs::symlink_metadata(&at).await.is_ok_and(|m| m.is_file() && m.len() == 0);
        let removed = if is_ours { fs::remove_file(&at).await } else { fs::remove_dir(&at).await };
        if let Err(error) = removed {
            tracing::warn!(path = %text, %error, "the folder of a network file system stays");
        }
    }
    let _ = fs::remove_dir(below).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_server_gives_no_rights_on_the_node() {
        assert_eq!(arguments("nas:/a", "/m", true), ["-t", "nfs", "-o", "hard,retry=0,nosuid,nodev,ro", "nas:/a", "/m"]);
        assert!(arguments("nas:/a", "/m", false)[3].contains("nosuid,nodev"));
    }

    #[tokio::test]
    async fn what_lies_in_such_a_folder_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("i");
        std::fs::create_dir_all(below.join("0")).unwrap();
        std::fs::create_dir_all(below.join("1")).unwrap();
        std::fs::write(below.join("1/theirs"), "x").unwrap();
        std::fs::write(below.join("sub-2"), "").unwrap();
        std::fs::write(below.join("sub-3"), "theirs").unwrap();
        let_go(&below).await;
        assert!(!below.join("0").exists() && below.join("1/theirs").exists());
        assert!(!below.join("sub-2").exists() && below.join("sub-3").exists());
    }
}
