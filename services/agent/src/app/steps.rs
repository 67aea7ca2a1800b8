//! Carries out one planned step. Each step may die half-way; the next plan starts from what is there then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use gantry_contract::proto::scheduler::{Hook, WantedInstance};
use gantry_cri::{ContainerState, Credential, Cri, CriError, Mount, PodSpec};
use gantry_kernel::InstanceId;
use tokio::sync::{Notify, watch};

pub mod fetching;
mod others;
mod tuning;

use self::fetching::Fetching;
use super::isolating::{Isolating, IsolationError};
use super::keeper::chain;
use super::lease::{self, Lease};
use crate::adapters::checkpoints::{CheckpointError, Checkpoints};
use crate::adapters::folders::{FolderError, Folders, Names, hosts_text};
use crate::adapters::machine::{CommandError, Sleep};
use crate::adapters::nics::{NicError, Nics};
use crate::adapters::{guarding, hooks, machine};
use crate::domain::guard::fence;
use crate::domain::plan::Action;
use crate::domain::root::not_root;
use crate::domain::spec;
use crate::domain::wanted::Wanted;

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error("image {image}")]
    Image {
        image: String,
        #[source]
        source: CriError,
    },
    #[error("runtime")]
    Runtime(#[from] CriError),
    #[error("network")]
    Nic(#[from] NicError),
    #[error("what it may reach cannot be set")]
    Fence(#[source] CommandError),
    #[error("network policies")]
    Isolation(#[from] IsolationError),
    #[error("files")]
    Folders(#[from] FolderError),
    #[error("the checkpoint it goes on from")]
    Checkpoint(#[from] CheckpointError),
    #[error("it could not go on from its checkpoint: {why}")]
    Restore {
        why: String,
        #[source]
        source: CriError,
    },
    #[error("init container {name} {how}")]
    Init { name: String, how: String },
    #[error("{reason}")]
    Root { reason: String },
    #[error("{reason}")]
    Tuning { reason: String },
    #[error("what was to be done after the start has failed: {reason}")]
    Hook { reason: String },
    #[error("the instance is not wanted any more")]
    Unwanted,
    #[error("the scheduler does not hear this node, and the instance must not run twice")]
    Fenced,
}

impl StepError {
    /// One line for the scheduler and the user: the chain without its repetitions.
    pub fn sentence(&self) -> String {
        let mut parts = vec![self.to_string()];
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            let text = error.to_string();
            if error.is::<tonic::Status>() {
                // Its message is in the error around it already.
                break;
            }
            if !parts.iter().any(|p| p.contains(&text)) {
                parts.push(text);
            }
            next = error.source();
        }
        parts.join(": ").chars().take(500).collect()
    }
}

/// What a step left to remember.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub address: Option<String>,
    pub image_digest: Option<String>,
}

/// Everything a step needs; shared by all of them.
#[derive(Clone)]
pub struct Steps {
    pub cri: Cri,
    pub node: String,
    /// The node's own; empty if it has none.
    pub address: String,
    pub folders: Folders,
    /// Resolvers written into pods that bring search names.
    pub resolvers: Vec<String>,
    /// The network of the node's balanced names, which every instance reaches.
    pub services: Option<Ipv4Addr>,
    pub nics: Nics,
    /// What its network policies have it send and take in.
    pub isolating: Isolating,
    /// Instances that were moved here go on from them.
    pub checkpoints: Checkpoints,
    /// The kernel's limits for processes that name none.
    pub default_pids: u32,
    /// The scheduler's word, for steps that wait.
    pub wanted: watch::Sender<Option<Arc<Wanted>>>,
    /// How long the scheduler takes the node for alive, for the same.
    pub lease: watch::Sender<Lease>,
    pub sleep: Sleep,
    /// Whom the scheduler is told of that waits long for an image, and who tells it.
    pub fetching: Fetching,
    pub wake: Arc<Notify>,
}

impl Steps {
    /// # Errors
    /// [`StepError`]; trying again later is always right.
    pub async fn take(&self, action: Action, instance: Option<WantedInstance>, names: Names) -> Result<Done, StepError> {
        match (action, instance) {
            (Action::Create { instance: id, attempt }, Some(wanted)) => {
                let (image, digest) = self.image(id, &wanted, &wanted).await?;
                let pod_spec = self.pod_spec(id, &wanted, attempt);
                // To fetch it may have taken longer than the word is good for.
                self.may_run(id, &wanted)?;
                // What containers see is made while the engine makes the pod; only in the hosts file the pod's address is missing.
                let hosts = hosts_text("", &pod_spec.hostname, &names);
                // At once: whoever dies before it has its interfaces leaves a pod that is of no use.
                let made = async {
                    let pod = self.cri.run_pod(&pod_spec).await?;
                    self.connect(&pod, &wanted).await?;
                    self.enclose(id, &pod, &wanted).await?;
                    Ok::<_, StepError>(pod)
                };
                let (pod, mounts) = tokio::join!(made, self.folders.prepare(id, &wanted, &hosts));
                let (pod, mounts) = (pod?, mounts?);
                // What goes on has had it before.
                if !self.checkpoints.waits(id).await {
                    self.before(id, &wanted, (&pod, &pod_spec), &names).await?;
                }
                self.start(id, &wanted, &pod, &pod_spec, attempt, (&image, digest), &names, Some(mounts)).await
            }
            (Action::Start { instance: id, pod, attempt, old }, Some(wanted)) => {
                if !self.nics.are_whole(&pod, &wanted.nics).await {
                    // Whoever made it died before it had its interfaces; the next step makes another one.
                    self.discard(&pod).await?;
                    return Ok(Done { address: Some(String::new()), image_digest: None });
                }
                let (image, digest) = self.image(id, &wanted, &wanted).await?;
                // The pod's own attempt is in its metadata already; only labels and the cgroup matter for its containers.
                let pod_spec = self.pod_spec(id, &wanted, attempt);
                self.enclose(id, &pod, &wanted).await?;
                let done = self.start(id, &wanted, &pod, &pod_spec, attempt, (&image, digest), &names, None).await?;
                if let Some(old) = old {
                    self.cri.remove_container(&old).await?;
                }
                Ok(done)
            }
            (Action::Stop { container, grace_seconds, .. }, wanted) => {
                self.stop(&container, grace_seconds, wanted.as_ref()).await?;
                Ok(Done::default())
            }
            (Action::StopBeside { name, container, grace_seconds, .. }, wanted) => {
                let of = wanted.as_ref().and_then(|w| w.init.iter().chain(&w.sidecars).find(|c| c.name == name));
                self.stop(&container, grace_seconds, of).await?;
                Ok(Done::default())
            }
            (Action::Beside { instance: id, pod, name, attempt, old }, Some(wanted)) => {
                let pod_spec = self.pod_spec(id, &wanted, attempt);
                if let Some(container) = wanted.init.iter().chain(&wanted.sidecars).find(|c| c.name == name) {
                    self.beside(id, &wanted, container, (&pod, &pod_spec), attempt, &names).await?;
                }
                if let Some(old) = old {
                    self.cri.remove_container(&old).await?;
                }
                Ok(Done::default())
            }
            (Action::Remove { instance: id, pod, container, grace_seconds }, wanted) => {
                if let Some(container) = container {
                    self.stop(&container, grace_seconds, wanted.as_ref()).await?;
                }
                let volumes = self.folders.volumes_of(id).await?;
                self.end_others(&pod, grace_seconds).await?;
                if self.nics.has(&pod).await {
                    self.nics.remove(&pod, self.cri.pod_pid(&pod).await.ok()).await;
                }
                self.cri.stop_pod(&pod).await?;
                self.cri.remove_pod(&pod).await?;
                self.folders.release(id).await;
                // One that is to stop does not go on from it any more.
                if wanted.as_ref().is_none_or(|w| w.stopping) {
                    self.checkpoints.forget(id).await;
                }
                self.let_go(id, wanted.as_ref(), &volumes).await;
                remove_cgroups(id).await;
                Ok(Done { address: Some(String::new()), image_digest: None })
            }
            (Action::Create { .. } | Action::Start { .. } | Action::Beside { .. }, None) => Ok(Done::default()),
        }
    }

    fn pod_spec(&self, id: InstanceId, wanted: &WantedInstance, attempt: u32) -> PodSpec {
        spec::pod(&self.node, id, wanted, attempt, &self.folders.logs_of(id), &self.resolvers)
    }

    /// Gives a new pod its further interfaces; without all of them it does not stay.
    async fn connect(&self, pod: &str, wanted: &WantedInstance) -> Result<(), StepError> {
        if wanted.nics.is_empty() {
            return Ok(());
        }
        let pid = self.cri.pod_pid(pod).await?;
        if let Err(error) = self.nics.add(pod, pid, &wanted.nics).await {
            self.discard(pod).await?;
            return Err(error.into());
        }
        Ok(())
    }

    /// A pod in which nothing runs, with what it has of its further interfaces.
    async fn discard(&self, pod: &str) -> Result<(), StepError> {
        if self.nics.has(pod).await {
            self.nics.remove(pod, self.cri.pod_pid(pod).await.ok()).await;
        }
        self.cri.stop_pod(pod).await?;
        Ok(self.cri.remove_pod(pod).await?)
    }

    /// A step may take long. What is not wanted any more, or may run elsewhere by now, is not started at its end: the scheduler has been told
    /// that it is not there, or will take it for gone.
    pub fn may_run(&self, id: InstanceId, instance: &WantedInstance) -> Result<(), StepError> {
        let is_wanted = self.wanted.borrow().as_ref().is_some_and(|w| w.instances.get(&id).is_some_and(|i| !i.stopping));
        if !is_wanted {
            return Err(StepError::Unwanted);
        }
        if instance.fenced && self.lease.borrow().is_over(self.sleep.total()) {
            return Err(StepError::Fenced);
        }
        Ok(())
    }

    /// Until [`Steps::may_run`] refuses it; gives why.
    async fn until_refused(&self, id: InstanceId, instance: &WantedInstance) -> StepError {
        let mut told = self.wanted.subscribe();
        loop {
            if let Err(refusal) = self.may_run(id, instance) {
                return refusal;
            }
            tokio::select! {
                // The sender is there as long as this is.
                _ = told.changed() => {}
                () = lease::over(&self.lease, &self.sleep), if instance.fenced => {}
            }
        }
    }

    /// Before anything runs in it: what an instance may reach is so from its first moment.
    async fn enclose(&self, id: InstanceId, pod: &str, wanted: &WantedInstance) -> Result<(), StepError> {
        if let Some(script) = fence(wanted.guard.as_ref(), self.services, &self.resolvers) {
            let pid = self.cri.pod_pid(pod).await?;
            guarding::filter(pid, &script).await.map_err(StepError::Fence)?;
        }
        Ok(self.isolating.enclose(id, pod).await?)
    }

    /// The runtime's id of the image of one of an instance's containers, and the digest it is known by. It may take very long to fetch it: as long
    /// as the instance may run. The scheduler hears of its end only when the step has ended.
    async fn image(&self, id: InstanceId, whole: &WantedInstance, of: &WantedInstance) -> Result<(String, String), StepError> {
        let found = tokio::select! {
            found = self.fetching.during(id, &of.image, &self.wake, self.fetched(of)) => found,
            refusal = self.until_refused(id, whole) => Err(refusal),
        }?;
        if of.run_as_non_root {
            not_root(&of.user, &self.cri.image_user(&found.0).await?).map_err(|reason| StepError::Root { reason })?;
        }
        Ok(found)
    }

    /// Fetched if the node does not have it.
    async fn fetched(&self, wanted: &WantedInstance) -> Result<(String, String), StepError> {
        let named = wanted.image.split_once('@').map_or(String::new(), |(_, digest)| digest.to_owned());
        let failed = |source| StepError::Image { image: wanted.image.clone(), source };
        if let Some((id, _)) = self.cri.image(&wanted.image).await.map_err(failed)? {
            return Ok((id, named));
        }
        let credential = wanted.credential.as_ref().map(|c| Credential { username: c.username.clone(), password: c.password.clone() });
        let id = self.cri.pull_image(&wanted.image, credential.as_ref()).await.map_err(failed)?;
        Ok((id, named))
    }

    #[allow(clippy::too_many_arguments, reason = "the one place where all of a container's parts meet")]
    async fn start(
        &self,
        id: InstanceId,
        wanted: &WantedInstance,
        pod: &str,
        pod_spec: &PodSpec,
        attempt: u32,
        (image, digest): (&str, String),
        names: &Names,
        prepared: Option<Vec<Mount>>,
    ) -> Result<Done, StepError> {
        let address = self.cri.pod_status(pod).await?.address;
        let hosts = hosts_text(&address, &pod_spec.hostname, names);
        let mounts = match prepared {
            Some(mounts) => {
                self.folders.write_hosts(id, &hosts).await?;
                mounts
            }
            None => self.folders.prepare(id, wanted, &hosts).await?,
        };
        let spec = spec::container(&self.node, id, &spec::with_facts(wanted, (self.node.as_str(), self.address.as_str()), &address), attempt, image, mounts);
        let (container, ()) = tokio::join!(self.cri.create_container(pod, pod_spec, &spec), self.limit_processes(id, wanted));
        let container = container?;
        self.weigh(id, wanted).await?;
        self.may_run(id, wanted)?;
        if self.checkpoints.lay(id, &container).await? {
            if let Err(source) = self.cri.start_container(&container).await {
                return Err(StepError::Restore { why: self.checkpoints.did_not(id, &container).await, source });
            }
            self.checkpoints.went_on(id, &container).await;
            self.limit_files(&container, wanted).await;
            // What is done after a start was done when it started.
            return Ok(Done { address: Some(address), image_digest: Some(digest) });
        }
        self.cri.start_container(&container).await?;
        self.limit_files(&container, wanted).await;
        self.check_score(&container, wanted).await?;
        if let Err(reason) = hooks::run(&self.cri, &container, &address, &wanted.post_start, hooks::POST_START).await {
            self.cri.stop_container(&container, Duration::ZERO).await?;
            return Err(StepError::Hook { reason });
        }
        Ok(Done { address: Some(address), image_digest: Some(digest) })
    }

    /// What an instance that is no more has left here, whose pod went without its removal: by hand, or with the engine's own state.
    ///
    /// # Errors
    /// When it is not known which volumes it had: then they stay.
    pub async fn clear(&self, id: InstanceId) -> Result<(), StepError> {
        let volumes = self.folders.volumes_of(id).await?;
        self.folders.release(id).await;
        self.let_go(id, None, &volumes).await;
        remove_cgroups(id).await;
        Ok(())
    }

    /// Volumes that nobody here uses now; those that are the instance's own go with it.
    async fn let_go(&self, id: InstanceId, wanted: Option<&WantedInstance>, volumes: &[String]) {
        for name in volumes {
            // Let go under another instance, it would be checked and grown while that one writes.
            if !self.folders.volumes.release(name, self.is_held(id, name)).await {
                continue;
            }
            if wanted.is_none()
                && name.starts_with(&format!("{id}."))
                && let Err(error) = self.folders.volumes.delete(name).await
            {
                tracing::warn!(instance.id = %id, %error, "an instance's own volume stays");
            }
        }
    }

    /// Whether an instance other than this one has a volume, or may have it.
    async fn is_held(&self, id: InstanceId, volume: &str) -> bool {
        // Also those that are not wanted any more and still stop.
        let mut others: BTreeSet<InstanceId> = self.folders.present().await;
        others.extend(self.wanted.borrow().iter().flat_map(|w| w.instances.keys().copied()));
        others.remove(&id);
        for other in others {
            match self.folders.volumes_of(other).await {
                Ok(volumes) if volumes.iter().any(|v| v == volume) => return true,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(instance.id = %other, error = chain(&error), "what was let go stays mounted");
                    return true;
                }
            }
        }
        false
    }

    async fn stop(&self, container: &str, grace_seconds: u32, wanted: Option<&WantedInstance>) -> Result<(), StepError> {
        let grace = Duration::from_secs(grace_seconds.into());
        let signal = wanted.map_or("", |w| w.stop_signal.as_str());
        let before = tokio::time::Instant::now();
        if let Some(wanted) = wanted
            && let Err(reason) = self.before_stop(container, &wanted.pre_stop, grace).await
        {
            tracing::warn!(instance.id = wanted.instance_id, reason, "what was to be done before the stop has failed; it is stopped all the same");
        }
        // What the hooks took is not there any more, but a moment always is.
        let grace = if grace.is_zero() { grace } else { grace.saturating_sub(before.elapsed()).max(Duration::from_secs(1)) };
        let known = signal.strip_prefix("SIG").unwrap_or(signal);
        if known.is_empty() || known == "TERM" || !known.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(self.cri.stop_container(container, grace).await?);
        }
        // CRI before 1.33 cannot name a signal, so it is sent from here.
        let status = self.cri.container_status(container).await?;
        if let Some(pid) = status.pid {
            if let Err(error) = machine::run("kill", &["-s", known, &pid.to_string()]).await {
                tracing::warn!(%error, "the stop signal could not be sent; the usual one follows");
                return Ok(self.cri.stop_container(container, grace).await?);
            }
            let end = tokio::time::Instant::now() + grace;
            while tokio::time::Instant::now() < end {
                if self.cri.container_status(container).await?.state != ContainerState::Running {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(self.cri.stop_container(container, Duration::ZERO).await?)
    }

    /// Requests go to the address that its pod has still.
    async fn before_stop(&self, container: &str, all: &[Hook], grace: Duration) -> Result<(), String> {
        let address = if all.iter().any(|h| h.kind == "http") { self.address_of(container).await.map_err(|e| e.to_string())? } else { String::new() };
        hooks::run(&self.cri, container, &address, all, grace).await
    }

    async fn address_of(&self, container: &str) -> Result<String, CriError> {
        let own = BTreeMap::from([(spec::label::NODE.to_owned(), self.node.clone())]);
        let found = self.cri.list_containers(&own).await?.into_iter().find(|c| c.id == container);
        match found {
            Some(found) => Ok(self.cri.pod_status(&found.pod).await?.address),
            None => Ok(String::new()),
        }
    }

    /// CRI has no word for it; the pod's cgroup is there once its sandbox runs.
    async fn limit_processes(&self, id: InstanceId, wanted: &WantedInstance) {
        let asked = wanted.limits.as_ref().map_or(0, |l| l.pids);
        let limit = if asked > 0 { asked } else { self.default_pids };
        let cgroup = spec::cgroup(id);
        for root in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let file = format!("{root}{cgroup}/pids.max");
            if tokio::fs::write(&file, limit.to_string()).await.is_ok() {
                return;
            }
        }
        tracing::warn!(instance.id = %id, "the limit of processes could not be set");
    }

    /// CRI has no word for ulimits either. Set right after the start: what the program forks in its first moments may miss them.
    async fn limit_files(&self, container: &str, wanted: &WantedInstance) {
        if wanted.ulimits.is_empty() {
            return;
        }
        let Ok(Some(pid)) = self.cri.container_status(container).await.map(|s| s.pid) else { return };
        for limit in wanted.ulimits.iter().filter(|l| l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'=' || b == b':')) {
            if let Err(error) = machine::run("prlimit", &["--pid", &pid.to_string(), &format!("--{limit}")]).await {
                tracing::warn!(%error, "a ulimit could not be set");
            }
        }
    }
}

/// The runtime removes the containers' groups, not the one above them that we named.
async fn remove_cgroups(id: InstanceId) {
    let cgroup = spec::cgroup(id);
    let mut roots = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    if let Ok(mut entries) = tokio::fs::read_dir("/sys/fs/cgroup").await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            roots.push(entry.path());
        }
    }
    for root in roots {
        // Not there under this controller, or not empty yet: nothing to do about either.
        let _ = tokio::fs::remove_dir(format!("{}{cgroup}", root.display())).await;
    }
}
