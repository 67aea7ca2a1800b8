//! How much room folders take on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::processes::blocking;

/// Bytes below each folder of `within` whose name begins so, by its name. What cannot be read, or goes meanwhile, counts nothing.
pub async fn of_folders(within: PathBuf, beginning: &'static str) -> BTreeMap<String, u64> {
    blocking(move || {
        let folders = std::fs::read_dir(within).into_iter().flatten().flatten();
        let named = folders.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
        named.filter(|(name, _)| name.starts_with(beginning)).map(|(name, path)| (name, below(&path))).collect()
    })
    .await
}

/// As `du` counts: blocks of 512 bytes, a file with several names once, no links followed, no other file system entered.
fn below(folder: &Path) -> u64 {
    let Ok(own) = folder.symlink_metadata() else { return 0 };
    let (mut sum, mut seen, mut todo) = (0u64, BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.dev() != own.dev() {
                continue;
            }
            if found.is_dir() {
                todo.push(entry.path());
            }
            if found.nlink() < 2 || found.is_dir() || seen.insert(found.ino()) {
                sum = sum.saturating_add(found.blocks().saturating_mul(512));
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_two_names_counts_once_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("scratch-a/deep")).unwrap();
        std::fs::create_dir_all(at("other")).unwrap();
        std::fs::write(at("scratch-a/deep/file"), vec![1; 1 << 20]).unwrap();
        std::fs::write(at("other/file"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(at("scratch-a/deep/file"), at("scratch-a/same")).unwrap();
        std::os::unix::fs::symlink(at("other"), at("scratch-a/link")).unwrap();
        let found = of_folders(folder.path().to_owned(), "scratch-").await;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["scratch-a"]);
        assert!(((1 << 20)..(3 << 19)).contains(&found["scratch-a"]), "{found:?}");
        assert!(of_folders(at("none"), "scratch-").await.is_empty());
    }
}
