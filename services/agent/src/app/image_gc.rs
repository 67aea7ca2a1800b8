//! Images that nobody needs are removed when the disk they are on gets full: first those that are neither in use nor wanted, one
//! after the other, until there is room again.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_cri::{Cri, CriError};
use rustix::fs::statvfs;
use tokio_util::sync::CancellationToken;

use super::keeper::{Shared, chain};
use crate::domain::acts::Act;

const PERIOD: Duration = Duration::from_secs(300);
/// So much of the disk is to be free afterwards, beyond the bound, or the next pull would fill it again.
const BEYOND_PERCENT: u64 = 5;

pub struct ImageGc {
    pub cri: Cri,
    pub shared: Shared,
    /// Where the agent's own things lie: looked at where the runtime does not say on which file systems its images are.
    pub home: PathBuf,
    /// Above this the disk is full; 0: never look.
    pub full_percent: u8,
}

impl ImageGc {
    /// Until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        while self.full_percent > 0 {
            match self.round().await {
                Ok(removed) if !removed.is_empty() => {
                    tracing::info!(count = removed.len(), images = removed.join(" "), "the disk is nearly full: images that nobody needs are removed")
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "images that nobody needs cannot be removed"),
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// One look; gives what was removed.
    ///
    /// # Errors
    /// As every call of the runtime.
    pub async fn round(&self) -> Result<Vec<String>, CriError> {
        let disks = self.disks().await;
        if used_percent(&disks) <= self.full_percent.into() {
            return Ok(Vec::new());
        }
        let target = u64::from(self.full_percent).saturating_sub(BEYOND_PERCENT);
        let here = self.here().await?;
        let unneeded = unneeded(&here, &self.needed().await?);
        Ok(remove_until(|| used_percent(&disks) <= target, unneeded, |image| self.remove(&here, image)).await)
    }

    /// A folder on each file system in question.
    async fn disks(&self) -> Vec<PathBuf> {
        let told = match self.cri.image_folders().await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the runtime does not tell where its images are");
                Vec::new()
            }
        };
        measured(told, &self.home)
    }

    /// False if it stays.
    async fn remove(&self, here: &[Here], image: String) -> bool {
        // It may be wanted since it was found, also by another of its names.
        if !unneeded(here, &self.named()).contains(&image) {
            return false;
        }
        let done = self.cri.remove_image(&image).await;
        self.shared.acts.record(Act::of_image("engine.image-removed", &image, done.as_ref().err().map(|e| chain(e))));
        if let Err(error) = &done {
            tracing::warn!(image, error = %chain(error), "an image that nobody needs cannot be removed; the others are");
        }
        done.is_ok()
    }

    /// By name, those that no container was made from, no instance wants, and that are not the runtime's own.
    ///
    /// # Errors
    /// As every call of the runtime.
    pub async fn unneeded(&self) -> Result<Vec<String>, CriError> {
        Ok(unneeded(&self.here().await?, &self.needed().await?))
    }

    /// All images of this node, by each of their names.
    async fn here(&self) -> Result<Vec<Here>, CriError> {
        let mut here = Vec::new();
        for name in self.cri.list_images().await? {
            if let Some((id, digests)) = self.cri.image(&name).await? {
                here.push(Here { name, id, digests });
            }
        }
        Ok(here)
    }

    /// Names, digests and ids of those that containers were made from, that somebody wants, or that the runtime needs itself. Asked after
    /// [`ImageGc::here`]: what is used between the two is not missed.
    async fn needed(&self) -> Result<BTreeSet<String>, CriError> {
        let mut needed: BTreeSet<String> = self.cri.list_containers(&Default::default()).await?.into_iter().map(|c| c.image_ref).collect();
        needed.extend(self.cri.sandbox_image().await?);
        needed.extend(self.named());
        Ok(needed)
    }

    /// By those who want them.
    fn named(&self) -> BTreeSet<String> {
        let wanted = self.shared.wanted.borrow().clone();
        let instances = wanted.iter().flat_map(|w| w.instances.values());
        let images = instances.flat_map(|i| std::iter::once(&i.image).chain(i.init.iter().chain(&i.sidecars).map(|c| &c.image)));
        images.cloned().chain(self.shared.prepull.borrow().iter().map(|i| i.image.clone())).collect()
    }
}

/// An image under one of its names.
struct Here {
    name: String,
    id: String,
    digests: Vec<String>,
}

/// By name, those that nobody needs by any of their names: the runtime removes an image with all of them.
fn unneeded(here: &[Here], needed: &BTreeSet<String>) -> Vec<String> {
    let is_needed = |i: &&Here| needed.contains(&i.id) || needed.contains(&i.name) || i.digests.iter().any(|d| needed.contains(d)) || i.name.contains("/pause");
    let ids: BTreeSet<&str> = here.iter().filter(is_needed).map(|i| i.id.as_str()).collect();
    here.iter().filter(|i| !ids.contains(i.id.as_str())).map(|i| i.name.clone()).collect()
}

/// Of what the runtime tells, that which can be looked at from here; otherwise the agent's own folder.
fn measured(told: Vec<PathBuf>, home: &Path) -> Vec<PathBuf> {
    let there: Vec<PathBuf> = told.into_iter().filter(|folder| statvfs(folder).is_ok()).collect();
    if there.is_empty() { vec![home.to_owned()] } else { there }
}

/// Of the fullest.
fn used_percent(disks: &[PathBuf]) -> u64 {
    let of = |folder: &PathBuf| {
        let Ok(stat) = statvfs(folder) else { return 0 };
        let (free, all) = (stat.f_bavail, stat.f_blocks.max(1));
        100 - free.min(all) * 100 / all
    };
    disks.iter().map(of).max().unwrap_or(0)
}

/// One after the other; gives those that are gone. One that stays is no reason to keep the others.
async fn remove_until<F>(has_room: impl Fn() -> bool, images: Vec<String>, mut remove: impl FnMut(String) -> F) -> Vec<String>
where
    F: Future<Output = bool>,
{
    let mut removed = Vec::new();
    for image in images {
        if remove(image.clone()).await {
            removed.push(image);
            if has_room() {
                break;
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_disk_with_the_images_is_measured_and_the_agents_own_where_nobody_tells() {
        let root = tempfile::tempdir().unwrap();
        let (images, home) = (root.path().join("images"), root.path().join("home"));
        std::fs::create_dir(&images).unwrap();
        assert_eq!(measured(vec![images.clone(), "/nowhere/images".into()], &home), [images]);
        assert_eq!(measured(vec!["/nowhere/images".into()], &home), [home.clone()], "it may be another machine's folder");
        assert_eq!(measured(Vec::new(), &home), [home]);
        // A file system without blocks is not full, one that cannot be looked at neither.
        assert_eq!(used_percent(&["/nowhere".into()]), 0);
        assert!(used_percent(&["/nowhere".into(), root.path().to_owned()]) <= 100);
    }

    #[test]
    fn an_image_that_is_needed_by_one_of_its_names_stays_under_all_of_them() {
        let image = |name: &str, id: &str, digest: &str| Here { name: name.into(), id: id.into(), digests: vec![digest.into()] };
        let here = [
            image("shop/web:1", "a", "shop/web@1"),
            image("shop/web:latest", "a", "shop/web@1"),
            image("shop/old:1", "b", "shop/old@1"),
            image("registry/pause:3", "c", "registry/pause@3"),
            image("registry/other:3", "c", "registry/pause@3"),
        ];
        let left = |needed: &[&str]| unneeded(&here, &needed.iter().map(|n| (*n).to_owned()).collect());
        for by in ["a", "shop/web:1", "shop/web:latest", "shop/web@1"] {
            assert_eq!(left(&[by]), ["shop/old:1"], "{by}");
        }
        assert_eq!(left(&[]), ["shop/web:1", "shop/web:latest", "shop/old:1"]);
        assert!(left(&["a", "b"]).is_empty());
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_removed_keeps_no_other() {
        let images = ["a", "held", "b", "c"].map(str::to_owned).to_vec();
        let gone = Cell::new(0);
        let remove = |image: String| {
            let goes = image != "held";
            gone.set(gone.get() + u32::from(goes));
            async move { goes }
        };
        assert_eq!(remove_until(|| gone.get() == 2, images, remove).await, ["a", "b"], "and no more than has to");
    }
}
