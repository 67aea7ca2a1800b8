//! Steps in containers of the runtime (CRI), each with the workspace as its folder and nothing else of the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_cri::{Credential as CriCredential, Cri, CriError, Ended, Limits, Task};
use gantry_kernel::RunId;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::peers::Credential;
use super::step_log::StepLog;
use crate::domain::Container;

/// Where a step finds the repository.
pub const WORKSPACE: &str = "/workspace";
/// Marks pods of pipeline steps; its value is the run.
pub const RUN_LABEL: &str = "gantry.run";
const SCRIPT: &str = "/gantry-step.sh";

#[derive(Debug, Error)]
pub enum StepError {
    #[error("the step's script cannot be written")]
    Script(#[from] std::io::Error),
    #[error(transparent)]
    Runtime(#[from] CriError),
}

#[derive(Clone)]
pub struct Containers {
    cri: Cri,
}

/// One step to run.
pub struct StepContainer<'a> {
    pub run: RunId,
    pub step: &'a str,
    pub container: &'a Container,
    pub image: String,
    pub env: BTreeMap<String, String>,
    pub workspace: &'a Path,
    /// A folder of this step alone, for the script and the runtime's raw log.
    pub scratch: PathBuf,
    pub timeout: Duration,
}

impl Containers {
    pub fn new(socket: &Path) -> Self {
        Self { cri: Cri::lazy(socket) }
    }

    /// Pulls the image anew each time: the registry must see who asks, also when the node has it already.
    ///
    /// # Errors
    /// The runtime's words.
    pub async fn pull(&self, image: &str, credential: &Credential) -> Result<String, CriError> {
        let credential = CriCredential { username: credential.username.clone(), password: credential.password.expose().to_owned() };
        self.cri.pull_image(image, Some(&credential)).await
    }

    /// Runs the step to its end; its lines go to `log`.
    ///
    /// # Errors
    /// When it could not be started or the runtime went away.
    pub async fn run(&self, step: StepContainer<'_>, log: &StepLog, cancel: CancellationToken) -> Result<Ended, StepError> {
        let script = step.scratch.join("step.sh");
        write_script(&step.scratch, &script, &step.container.lines).await?;
        let labels = BTreeMap::from([(RUN_LABEL.to_owned(), step.run.to_string()), ("gantry.step".to_owned(), step.step.to_owned())]);
        let mut task = Task::new(format!("run-{}-{}", step.run, step.step), step.image, &step.scratch)
            .command(["/bin/sh", SCRIPT])
            .working_dir(WORKSPACE)
            .mount(step.workspace, WORKSPACE, false)
            .mount(script, SCRIPT, true)
            .labels(labels)
            .timeout(step.timeout)
            .limits(Limits {
                cpu_millis: step.container.cpu_millis.into(),
                cpu_request_millis: u64::from(step.container.cpu_millis) / 4,
                memory_bytes: step.container.memory_bytes,
                oom_score_adj: 500,
                ..Limits::default()
            });
        // Pulled a moment ago, with the right credential.
        task.pull = false;
        task.container.no_new_privileges = true;
        for (name, value) in step.env {
            task = task.env(name, value);
        }
        Ok(self.cri.run_to_completion(task, cancel, |line| log.line(&line.text)).await?)
    }

    /// Removes the pods of runs that are not among `alive`.
    ///
    /// # Errors
    /// As every call.
    pub async fn sweep(&self, alive: &[RunId]) -> Result<usize, CriError> {
        let mut removed = 0;
        for pod in self.cri.list_pods(&BTreeMap::new()).await? {
            let Some(run) = pod.labels.get(RUN_LABEL) else { continue };
            if alive.iter().any(|a| a.to_string() == *run) {
                continue;
            }
            self.cri.stop_pod(&pod.id).await?;
            self.cri.remove_pod(&pod.id).await?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// `-e`: the first line that fails ends the step.
async fn write_script(folder: &Path, script: &Path, lines: &[String]) -> std::io::Result<()> {
    let text = format!("set -e\n{}\n", lines.join("\n"));
    tokio::fs::create_dir_all(folder).await?;
    tokio::fs::write(script, text).await
}
