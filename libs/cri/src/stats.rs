//! What containers use.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::client::{SHORT, bounded};
use crate::{Cri, CriError, wire};

/// Counters of one container since it started, gauges as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    pub id: String,
    pub labels: HashMap<String, String>,
    /// Processor time used, in nanoseconds of one core.
    pub cpu_nanos: u64,
    /// Memory that cannot be given back at once.
    pub memory_working_set_bytes: u64,
    /// Written into the container's own layer.
    pub disk_bytes: u64,
}

impl Cri {
    /// Usage of the running containers that carry all these labels.
    ///
    /// # Errors
    /// As every call.
    pub async fn usage(&self, labels: &BTreeMap<String, String>) -> Result<Vec<ContainerUsage>, CriError> {
        let filter = wire::ContainerStatsFilter { label_selector: labels.clone().into_iter().collect(), ..Default::default() };
        let request = wire::ListContainerStatsRequest { filter: Some(filter) };
        let stats = bounded("container stats", SHORT, self.runtime.clone().list_container_stats(request)).await?.stats;
        Ok(stats.into_iter().map(ContainerUsage::from).collect())
    }

    /// Folders of the file systems that the runtime keeps images on, as the runtime itself sees them; empty = it does not tell.
    ///
    /// # Errors
    /// As every call.
    pub async fn image_folders(&self) -> Result<Vec<PathBuf>, CriError> {
        let answer = bounded("image file systems", SHORT, self.images.clone().image_fs_info(wire::ImageFsInfoRequest {})).await?;
        let folders = answer.image_filesystems.into_iter().filter_map(|usage| usage.fs_id).map(|id| PathBuf::from(id.mountpoint));
        Ok(folders.filter(|folder| folder.is_absolute()).collect())
    }
}

impl From<wire::ContainerStats> for ContainerUsage {
    fn from(stats: wire::ContainerStats) -> Self {
        let attributes = stats.attributes.unwrap_or_default();
        let value = |v: Option<wire::UInt64Value>| v.map_or(0, |v| v.value);
        Self {
            id: attributes.id,
            labels: attributes.labels,
            cpu_nanos: stats.cpu.map_or(0, |c| value(c.usage_core_nano_seconds)),
            memory_working_set_bytes: stats.memory.map_or(0, |m| value(m.working_set_bytes)),
            disk_bytes: stats.writable_layer.map_or(0, |w| value(w.used_bytes)),
        }
    }
}
