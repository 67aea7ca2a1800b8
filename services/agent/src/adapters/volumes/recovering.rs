//! What an agent has left of volumes that was killed in the middle: mended before anything else is done with them.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::fs;

use super::image::mounts;
use super::{HALVES, Volumes, exists, inside};
use crate::adapters::machine;

impl Volumes {
    /// Mends what an agent left that was killed in the middle: file systems that are frozen, volumes and snapshots that are mounted to be
    /// read, content that was not whole yet. `given`: volumes that instances have; nothing if that is not known. Before anything else is done
    /// with them.
    pub async fn recover(&self, given: Option<&BTreeSet<String>>) {
        let mounts = match mounts().await {
            Ok(mounts) => mounts,
            Err(error) => {
                tracing::warn!(%error, "what an earlier agent left of volumes is not mended");
                return;
            }
        };
        for (_, path) in mounts {
            let path = Path::new(&path);
            let at = path.display().to_string();
            if path.starts_with(self.root.join(HALVES)) {
                if let Err(error) = machine::work("umount", &[&at]).await {
                    tracing::warn!(%error, "content of a volume that broke off stays mounted");
                }
            } else if path.starts_with(&self.root) {
                // Refused by one that is not frozen, which is well.
                let _ = machine::run("fsfreeze", &["-u", &at]).await;
                if self.is_left(path, given).await
                    && let Err(error) = machine::work("umount", &[&at]).await
                {
                    tracing::warn!(%error, "a volume that nobody has stays mounted");
                }
            } else if path.starts_with(&self.state) {
                match machine::work("umount", &[&at]).await {
                    // It is empty now and of no use.
                    Ok(_) => drop(fs::remove_dir(path).await),
                    Err(error) => tracing::warn!(%error, "a snapshot stays mounted"),
                }
            }
        }
        self.clear_halves().await;
        self.clear_snapshots().await;
    }

    /// Whether a volume is mounted here that no instance has: for somebody who read it. Of what is mounted by others, and of what nobody knows,
    /// it is not said.
    async fn is_left(&self, path: &Path, given: Option<&BTreeSet<String>>) -> bool {
        let name = path.strip_prefix(&self.root).ok().and_then(Path::to_str).filter(|name| inside(name).is_ok());
        let Some((name, given)) = name.zip(given) else { return false };
        !given.contains(name) && exists(&self.at(name, "img")).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::Owner;
    use super::*;

    #[tokio::test]
    async fn only_a_volume_of_ours_that_no_instance_has_was_left_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().join("volumes"), folder.path().join("state"));
        volumes.prepare("a/v", &Owner { app_id: "a".into(), ..Owner::default() }).await.unwrap();
        std::fs::write(folder.path().join("state/a%2Fv.img"), "").unwrap();
        let at = |name: &str| folder.path().join("volumes").join(name);
        let given = BTreeSet::from(["b/v".to_owned()]);
        assert!(volumes.is_left(&at("a/v"), Some(&given)).await);
        assert!(!volumes.is_left(&at("a/v"), Some(&BTreeSet::from(["a/v".to_owned()]))).await);
        assert!(!volumes.is_left(&at("a/v"), None).await, "it is not known who has which");
        // A disk of the machine, mounted there by somebody.
        for others in ["", "plain", "a"] {
            assert!(!volumes.is_left(&at(others), Some(&given)).await, "{others}");
        }
    }
}
