//! The further containers of an instance: those before the main one, each to its end, and those beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use gantry_contract::proto::scheduler::WantedInstance;
use gantry_cri::{ContainerState, PodSpec};
use gantry_kernel::InstanceId;

use super::{StepError, Steps};
use crate::adapters::folders::{Names, hosts_text};
use crate::adapters::hooks;
use crate::adapters::probe::ask;
use crate::domain::health::{Health, Probe, Purpose, probes};
use crate::domain::spec;

/// How often it is looked whether an init container has ended.
const LOOK: Duration = Duration::from_millis(100);

impl Steps {
    /// Runs the init containers in their order, and starts the sidecars. A new pod runs all of them, a container that is started
    /// again in its pod none.
    pub(super) async fn before(&self, id: InstanceId, wanted: &WantedInstance, (pod, pod_spec): (&str, &PodSpec), names: &Names) -> Result<(), StepError> {
        for container in &wanted.init {
            let started = self.beside(id, wanted, container, (pod, pod_spec), 0, names).await?;
            if container.keeps_running {
                self.until_started(id, wanted, container, &started, pod).await?;
            } else {
                self.to_its_end(id, wanted, container, &started).await?;
            }
        }
        for container in &wanted.sidecars {
            self.beside(id, wanted, container, (pod, pod_spec), 0, names).await?;
        }
        Ok(())
    }

    /// Start-up probes of one that stays: what comes after it relies on it.
    async fn until_started(&self, id: InstanceId, whole: &WantedInstance, container: &WantedInstance, started: &str, pod: &str) -> Result<(), StepError> {
        let own: Vec<Probe> = probes(&container.probes, &BTreeSet::new()).into_iter().filter(|p| p.purpose == Purpose::Startup).collect();
        let Some(pause) = own.iter().map(|p| p.period).min() else { return Ok(()) };
        let failed = |how: String| StepError::Init { name: container.name.clone(), how };
        let address = self.cri.pod_status(pod).await?.address;
        tokio::select! {
            () = tokio::time::sleep(own.iter().map(|p| p.initial_delay).max().unwrap_or_default()) => {}
            refusal = self.until_refused(id, whole) => return Err(refusal),
        }
        let mut health = Health::new(own.clone(), false);
        loop {
            for (index, probe) in own.iter().enumerate().filter(|(index, _)| health.due(*index)).collect::<Vec<_>>() {
                let answer = ask(&self.cri, started, &address, &probe.check, probe.timeout).await;
                health.answer(index, answer);
            }
            if health.started() {
                return Ok(());
            }
            if !health.alive() {
                return Err(failed(format!("did not start: {}", health.reason)));
            }
            self.may_run(id, whole)?;
            tokio::time::sleep(pause).await;
        }
    }

    async fn to_its_end(&self, id: InstanceId, whole: &WantedInstance, container: &WantedInstance, started: &str) -> Result<(), StepError> {
        let failed = |how: String| StepError::Init { name: container.name.clone(), how };
        loop {
            let status = self.cri.container_status(started).await?;
            if status.state == ContainerState::Exited {
                return if status.exit_code == 0 { Ok(()) } else { Err(failed(format!("ended with exit code {} ({})", status.exit_code, status.reason))) };
            }
            // It takes as long as it takes, and must not run twice either.
            self.may_run(id, whole)?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts one; gives its id.
    pub(super) async fn beside(
        &self,
        id: InstanceId,
        wanted: &WantedInstance,
        container: &WantedInstance,
        (pod, pod_spec): (&str, &PodSpec),
        attempt: u32,
        names: &Names,
    ) -> Result<String, StepError> {
        let (image, _) = self.image(id, wanted, container).await?;
        let address = self.cri.pod_status(pod).await?.address;
        let mounts = self.folders.prepare_for(id, wanted, container, &hosts_text(&address, &pod_spec.hostname, names)).await?;
        // What only the node knows is told of the instance, with the container's own limits.
        let about = WantedInstance { name: wanted.name.clone(), instance_id: wanted.instance_id.clone(), labels: wanted.labels.clone(), ..container.clone() };
        let filled = WantedInstance { name: container.name.clone(), ..spec::with_facts(&about, (self.node.as_str(), self.address.as_str()), &address) };
        let made = self.cri.create_container(pod, pod_spec, &spec::beside(&self.node, id, wanted, &filled, attempt, &image, mounts)).await?;
        self.limit_processes(id, wanted).await;
        self.may_run(id, wanted)?;
        self.cri.start_container(&made).await?;
        if let Err(reason) = hooks::run(&self.cri, &made, &address, &container.post_start, hooks::POST_START).await {
            self.cri.stop_container(&made, Duration::ZERO).await?;
            return Err(StepError::Hook { reason });
        }
        Ok(made)
    }

    /// Those of a pod that still run when the main one has ended, all at once.
    pub(super) async fn end_others(&self, pod: &str, grace_seconds: u32) -> Result<(), StepError> {
        let own = BTreeMap::from([(spec::label::NODE.to_owned(), self.node.clone())]);
        let all = self.cri.list_containers(&own).await?;
        let running = all.iter().filter(|c| c.pod == pod && c.state == ContainerState::Running && c.labels.contains_key(spec::label::BESIDE));
        let grace = Duration::from_secs(grace_seconds.into());
        for ended in join_all(running.map(|c| self.cri.stop_container(&c.id, grace))).await {
            ended?;
        }
        Ok(())
    }
}
