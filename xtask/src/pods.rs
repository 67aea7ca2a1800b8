//! Stops and removes the containers of a suite's own containerd, so that `down` leaves none running and `clean-data` no
//! network or mount behind.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use gantry_cri::Cri;

/// Stops every pod, and removes them all when `remove`. Returns how many there were.
///
/// # Errors
/// When containerd does not answer or refuses.
pub fn stop(socket: &Path, remove: bool) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cri = Cri::connect(socket).await.context("containerd does not answer")?;
        let pods = cri.list_pods(&BTreeMap::new()).await?;
        for pod in &pods {
            cri.stop_pod(&pod.id).await?;
            if remove {
                cri.remove_pod(&pod.id).await?;
            }
        }
        Ok(pods.len())
    })
}
