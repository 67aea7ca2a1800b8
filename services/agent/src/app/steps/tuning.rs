//! What documents ask of the kernel's resource control and CRI has no word for, or does not say whether it was done.

use std::time::Duration;

use gantry_contract::proto::scheduler::WantedInstance;
use gantry_kernel::InstanceId;

use super::{StepError, Steps};
use crate::domain::{spec, tuning};

impl Steps {
    /// What the instance as a whole weighs against the others of the node. Its group is there once its pod is.
    pub(super) async fn weigh(&self, id: InstanceId, wanted: &WantedInstance) -> Result<(), StepError> {
        let shares = wanted.tuning.as_ref().map_or(0, |t| t.cpu_shares);
        if shares == 0 {
            return Ok(());
        }
        let group = spec::cgroup(id);
        let places = [
            (format!("/sys/fs/cgroup/cpu{group}/cpu.shares"), shares.clamp(2, 262_144)),
            (format!("/sys/fs/cgroup{group}/cpu.weight"), tuning::weight(shares)),
        ];
        let mut why = String::new();
        for (file, value) in places {
            match tokio::fs::write(&file, value.to_string()).await {
                Ok(()) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
        }
        Err(StepError::Tuning { reason: format!("its share of the processors (`cpu_shares`) cannot be set: {why}") })
    }

    /// A runtime that may not lower it says nothing of it. What was started so is ended.
    pub(super) async fn check_score(&self, container: &str, wanted: &WantedInstance) -> Result<(), StepError> {
        let asked = wanted.tuning.as_ref().map_or(0, |t| t.oom_score_adj);
        if asked == 0 {
            return Ok(());
        }
        let Some(pid) = self.cri.container_status(container).await?.pid else { return Ok(()) };
        let found = tokio::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).await.unwrap_or_default();
        if let Err(reason) = tuning::is_kept(asked, &found) {
            self.cri.stop_container(container, Duration::ZERO).await?;
            return Err(StepError::Tuning { reason });
        }
        Ok(())
    }
}
