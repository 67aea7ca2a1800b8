//! Run one container in a pod of its own to its end: a pipeline step, a job. Leaves nothing behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::log::{Line, Tail};
use crate::{ContainerSpec, ContainerState, ContainerStatus, Credential, Cri, CriError, Limits, Mount, PodSpec};

/// CRI has no call that waits for an end (and Debian's containerd no event stream), so we look this often.
const LOOK: Duration = Duration::from_millis(100);
const LOG_CHUNK: usize = 256 * 1024;

/// A container to run to its end. Build it with [`Task::new`] and the methods, or set the fields.
#[derive(Clone, Debug)]
pub struct Task {
    pub pod: PodSpec,
    pub container: ContainerSpec,
    /// Fetch the image first if the node does not have it; the credential may be `None` for public images.
    pub pull: bool,
    pub credential: Option<Credential>,
    /// Kill it after this long.
    pub timeout: Duration,
    /// Between the stop signal and the kill, when cancelled or out of time.
    pub grace: Duration,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// 137 when it was killed.
    pub exit_code: i32,
    /// The runtime's word: "Completed", "Error", "OOMKilled".
    pub reason: String,
    pub timed_out: bool,
    pub cancelled: bool,
}

impl Task {
    /// `name` must be unique among the pods of the node that run now (use the run's and the step's id); `log_directory` is a
    /// folder of the host for this task alone, the log file in it stays.
    pub fn new(name: impl Into<String>, image: impl Into<String>, log_directory: impl Into<PathBuf>) -> Self {
        let name = name.into();
        Self {
            pod: PodSpec {
                uid: name.clone(),
                namespace: "gantry-task".into(),
                log_directory: log_directory.into(),
                cgroup_parent: "/gantry-task".into(),
                name,
                ..PodSpec::default()
            },
            container: ContainerSpec { name: "task".into(), image: image.into(), log_path: "0.log".into(), ..ContainerSpec::default() },
            pull: true,
            credential: None,
            timeout: Duration::from_secs(3600),
            grace: Duration::from_secs(5),
        }
    }

    /// What to run instead of the image's entrypoint and command.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.container.command = words.into_iter().map(Into::into).collect();
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.container.env.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.container.working_dir = path.into();
        self
    }

    /// Shows a folder or file of the host in the container.
    #[must_use]
    pub fn mount(mut self, host: impl Into<PathBuf>, container: impl Into<String>, read_only: bool) -> Self {
        self.container.mounts.push(Mount { host: host.into(), container: container.into(), read_only, ..Mount::default() });
        self
    }

    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.container.limits = limits;
        self
    }

    /// Labels of the pod and the container.
    #[must_use]
    pub fn labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.pod.labels.clone_from(&labels);
        self.container.labels = labels;
        self
    }

    /// Run on the host's network, e.g. to reach services on the host's loopback.
    #[must_use]
    pub fn host_network(mut self) -> Self {
        self.pod.host_network = true;
        self
    }

    /// All devices and capabilities of the host.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.pod.privileged = true;
        self.container.privileged = true;
        self
    }

    #[must_use]
    pub fn timeout(mut self, after: Duration) -> Self {
        self.timeout = after;
        self
    }
}

impl Cri {
    /// Runs a task to its end and calls `on_line` for every line it prints, in order. `cancel` stops it early. The pod is
    /// removed in every case, also one of the same name that a killed caller left; only a drop of this future leaves it, and
    /// the next run of the same name cleans up.
    ///
    /// # Errors
    /// [`CriError`] if the task could not be started or the runtime went away; a command that fails is no error.
    pub async fn run_to_completion(&self, task: Task, cancel: CancellationToken, mut on_line: impl FnMut(Line)) -> Result<Ended, CriError> {
        self.remove_leftovers(&task.pod).await?;
        let image = self.image_for(&task).await?;
        let spec = ContainerSpec { image, ..task.container.clone() };
        let pod = self.run_pod(&task.pod).await?;
        let ended = self.run_in(&pod, &task, &spec, &cancel, &mut on_line).await;
        // The outcome matters more than the clean-up; what stays is found by its name next time.
        if let Err(error) = async {
            self.stop_pod(&pod).await?;
            self.remove_pod(&pod).await
        }
        .await
        {
            tracing::warn!(pod, %error, "the pod of a finished task could not be removed");
        }
        ended
    }

    async fn image_for(&self, task: &Task) -> Result<String, CriError> {
        if let Some((id, _)) = self.image(&task.container.image).await? {
            return Ok(id);
        }
        if !task.pull {
            let detail = format!("image {} is not on this node", task.container.image);
            return Err(CriError::status("find image", tonic::Status::not_found(detail)));
        }
        self.pull_image(&task.container.image, task.credential.as_ref()).await
    }

    async fn remove_leftovers(&self, spec: &PodSpec) -> Result<(), CriError> {
        for pod in self.list_pods(&spec.labels).await? {
            if pod.name == spec.name && pod.namespace == spec.namespace {
                self.stop_pod(&pod.id).await?;
                self.remove_pod(&pod.id).await?;
            }
        }
        Ok(())
    }

    async fn run_in(
        &self,
        pod: &str,
        task: &Task,
        spec: &ContainerSpec,
        cancel: &CancellationToken,
        on_line: &mut impl FnMut(Line),
    ) -> Result<Ended, CriError> {
        let log = task.pod.log_directory.join(&spec.log_path);
        // A file of an earlier run of the same name would be told again.
        let _ = tokio::fs::remove_file(&log).await;
        let container = self.create_container(pod, &task.pod, spec).await?;
        self.start_container(&container).await?;
        let mut tail = Tail::new(log, 0);
        let deadline = tokio::time::Instant::now() + task.timeout;
        let (mut cancelled, mut timed_out) = (false, false);
        let status = loop {
            let status = self.container_status(&container).await?;
            if status.state == ContainerState::Exited {
                break status;
            }
            drain(&mut tail, on_line).await;
            tokio::select! {
                () = cancel.cancelled() => cancelled = true,
                () = tokio::time::sleep_until(deadline) => timed_out = true,
                () = tokio::time::sleep(LOOK) => continue,
            }
            self.stop_container(&container, task.grace).await?;
            break self.container_status(&container).await?;
        };
        drain(&mut tail, on_line).await;
        tail.finish().into_iter().for_each(on_line);
        Ok(ended(status, timed_out, cancelled))
    }
}

fn ended(status: ContainerStatus, timed_out: bool, cancelled: bool) -> Ended {
    Ended { exit_code: status.exit_code, reason: status.reason, timed_out, cancelled }
}

/// Everything the file has now. A log that cannot be read must not fail the task.
async fn drain(tail: &mut Tail, on_line: &mut impl FnMut(Line)) {
    loop {
        let before = tail.resume_at();
        match tail.read(LOG_CHUNK).await {
            Ok(lines) if lines.is_empty() && tail.resume_at() == before => return,
            Ok(lines) => lines.into_iter().for_each(&mut *on_line),
            Err(error) => {
                tracing::warn!(path = %tail.path().display(), %error, "a log file cannot be read");
                return;
            }
        }
    }
}
