//! Images that nobody needs are removed when the disk they are on gets full: first those that are neither in use nor wanted, one
//! after the other, until there is room again.

use std::collections::BTreeSet;
use std::path::PathBuf;
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
    /// A folder of the disk in question.
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
        let mut removed = Vec::new();
        if self.used_percent() <= self.full_percent.into() {
            return Ok(removed);
        }
        let target = u64::from(self.full_percent).saturating_sub(BEYOND_PERCENT);
        for image in self.unneeded().await? {
            let done = self.cri.remove_image(&image).await;
            self.shared.acts.record(Act::of_image("engine.image-removed", &image, done.as_ref().err().map(|e| chain(e))));
            done?;
            removed.push(image);
            if self.used_percent() <= target {
                break;
            }
        }
        Ok(removed)
    }

    /// By name, those that no container was made from, no instance wants, and that are not the runtime's own.
    ///
    /// # Errors
    /// As every call of the runtime.
    pub async fn unneeded(&self) -> Result<Vec<String>, CriError> {
        let used: BTreeSet<String> = self.cri.list_containers(&Default::default()).await?.into_iter().map(|c| c.image_ref).collect();
        let own = self.cri.sandbox_image().await?;
        let wanted = self.shared.wanted.borrow().clone();
        let named: BTreeSet<String> = wanted
            .iter()
            .flat_map(|w| w.instances.values())
            .flat_map(|i| std::iter::once(&i.image).chain(i.init.iter().chain(&i.sidecars).map(|c| &c.image)))
            .cloned()
            .chain(self.shared.prepull.borrow().iter().map(|i| i.image.clone()))
            .collect();
        let mut out = Vec::new();
        for name in self.cri.list_images().await? {
            // By id as well: a container knows its image by that, and a wanted one may have other names here.
            let Some((id, digests)) = self.cri.image(&name).await? else { continue };
            let needed = used.contains(&id) || used.contains(&name) || named.contains(&name) || digests.iter().any(|d| named.contains(d) || used.contains(d));
            if !needed && Some(&name) != own.as_ref() && !name.contains("/pause") {
                out.push(name);
            }
        }
        Ok(out)
    }

    fn used_percent(&self) -> u64 {
        let Ok(stat) = statvfs(&self.home) else { return 0 };
        let (free, all) = (stat.f_bavail, stat.f_blocks.max(1));
        100 - free.min(all) * 100 / all
    }
}
