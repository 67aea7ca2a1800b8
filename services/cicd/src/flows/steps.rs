//! Carries out one step of a run. Every kind may be done again after a crash: a container is started anew, an image is built
//! and pushed to the same tags, a deployment repeats its idempotency key.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::adapters::buildah::{Buildah, Ended, Image};
use crate::adapters::containers::{Containers, StepContainer};
use crate::adapters::files;
use crate::adapters::peers::Peers;
use crate::adapters::step_log::StepLog;
use crate::app::Cicd;
use crate::domain::{Build, Container, NewRun, Step, Values, Work, branch_of, expand};

use super::patience::{self, Fault};
use super::rollout::{self, Rollout};

/// A service or the container runtime may be away this long before a step fails for it.
const AWAY: Duration = Duration::from_secs(60);

/// What steps are carried out with.
pub struct Tools {
    pub cicd: Arc<Cicd>,
    pub containers: Containers,
    pub buildah: Buildah,
    pub peers: Peers,
}

/// One step to carry out, with all it may know.
pub struct StepWork {
    pub about: NewRun,
    pub step: Step,
    /// Images pushed by build steps before.
    pub images: BTreeMap<String, String>,
    pub cancel: CancellationToken,
}

/// How a step ended: well if the exit code is 0 and there is no reason against it.
pub struct End {
    pub exit_code: i32,
    pub reason: String,
    /// What a build step has pushed: full reference and digest.
    pub image: Option<(String, String)>,
}

impl End {
    fn new(exit_code: i32, reason: impl Into<String>) -> Self {
        Self { exit_code, reason: reason.into(), image: None }
    }

    pub fn ok(&self) -> bool {
        self.exit_code == 0 && self.reason.is_empty()
    }
}

impl Tools {
    pub fn workspace(&self, about: &NewRun) -> PathBuf {
        self.cicd.home.join("workspaces").join(about.run.to_string())
    }

    /// Checks the commit out, once per run.
    async fn prepare(&self, about: &NewRun) -> Result<PathBuf, String> {
        let workspace = self.workspace(about);
        // Steps of one run may come here together.
        let lock = self.cicd.looking.at(about.project, &about.repository);
        let _one = lock.lock().await;
        let tree = workspace.join("tree");
        if tree.exists() {
            return Ok(workspace);
        }
        let making = workspace.join("making");
        let _ = tokio::fs::remove_dir_all(&making).await;
        tokio::fs::create_dir_all(&workspace).await.map_err(|e| format!("the workspace cannot be made: {e}"))?;
        let repository = self.cicd.git.path(about.project, &about.repository);
        self.cicd.git.checkout(&repository, &about.commit, &making).await.map_err(|e| format!("commit {} cannot be checked out: {e}", about.commit))?;
        tokio::fs::rename(&making, &tree).await.map_err(|e| format!("the workspace cannot be made: {e}"))?;
        Ok(workspace)
    }

    /// Does the step. Being unable to do it is an end as well; the reason then says why.
    pub async fn carry_out(&self, work: &StepWork, log: &StepLog) -> End {
        let done = async {
            let workspace = self.prepare(&work.about).await?;
            match &work.step.work {
                Work::Run(container) => self.container(work, container, &workspace, log).await,
                Work::Build(build) => self.build(work, build, &workspace, log).await,
                Work::Deploy(deploy) => {
                    let (values, tree) = (expand_all(&deploy.values, &self.values(work))?, workspace.join("tree"));
                    rollout::carry_out(&self.peers, Rollout { work, deploy, values, tree: &tree }, log).await.map(|()| End::new(0, ""))
                }
                Work::Approval { .. } => Err("an approval is not carried out".to_owned()),
            }
        };
        done.await.unwrap_or_else(|reason| End::new(-1, reason))
    }

    async fn container(&self, work: &StepWork, container: &Container, workspace: &Path, log: &StepLog) -> Result<End, String> {
        let values = self.values(work);
        let image = self.image_name(&work.about, &expand(&container.image, &values)?);
        let credential = self.credential(work, &["pull"], log).await?;
        log.line(&format!("[gantry] pulling {image}"));
        let pull = || async { self.containers.pull(&image, &credential).await.map_err(|e| Fault { passing: e.is_unavailable(), text: chain(&e) }) };
        let pulled = patience::wait(AWAY, log, &work.cancel, pull).await.map_err(|reason| format!("image {image} cannot be pulled: {reason}"))?;
        let mut env = work.about.pipeline.env.clone();
        env.extend(container.env.clone());
        env.extend(values.iter().filter(|(name, _)| !name.contains('.')).map(|(k, v)| (k.clone(), v.clone())));
        env.insert("CI".into(), "true".into());
        let step = StepContainer {
            run: work.about.run,
            step: work.step.name.as_str(),
            container,
            image: pulled,
            env,
            workspace: &workspace.join("tree"),
            scratch: workspace.join("steps").join(work.step.name.as_str()),
            timeout: Duration::from_secs(work.step.timeout_seconds),
        };
        let ended = self.containers.run(step, log, work.cancel.clone()).await.map_err(|e| chain(&e))?;
        let reason = if ended.timed_out {
            format!("it took longer than {} s", work.step.timeout_seconds)
        } else if ended.reason == "OOMKilled" {
            format!("it needed more than its {} MiB of memory", container.memory_bytes >> 20)
        } else if ended.exit_code != 0 {
            format!("exit code {}", ended.exit_code)
        } else {
            String::new()
        };
        Ok(End::new(ended.exit_code, reason))
    }

    async fn build(&self, work: &StepWork, build: &Build, workspace: &Path, log: &StepLog) -> Result<End, String> {
        let values = self.values(work);
        let tree = workspace.join("tree");
        let context = files::folder_inside(&tree, &build.context).map_err(|e| e.to_string())?;
        // Only to check it: buildah opens it again by its path.
        files::open_inside(&tree, &build.dockerfile).map_err(|e| format!("the Dockerfile cannot be read: {e}"))?;
        let tags = build.tags.iter().map(|t| expand(t, &values).and_then(|t| tag(&t))).collect::<Result<Vec<_>, _>>()?;
        let mut args = vec![("GANTRY_REGISTRY".to_owned(), self.cicd.registry.clone())];
        for (name, value) in &build.args {
            args.push((name.clone(), expand(value, &values)?));
        }
        let credential = self.credential(work, &["pull", "push"], log).await?;
        let auth = self.buildah.auth_file(&self.cicd.registry, &credential).map_err(|e| e.to_string())?;
        let local = format!("localhost/gantry-{}-{}", work.about.run, work.step.name);
        let image = Image { local: local.clone(), context: &context, dockerfile: &tree.join(&build.dockerfile), args };
        let timeout = Duration::from_secs(work.step.timeout_seconds);
        let result = tokio::time::timeout(timeout, async {
            let ended = self.buildah.build(image, auth.path(), log, &work.cancel).await.map_err(|e| format!("buildah cannot be started: {e}"))?;
            if let Some(end) = badly(ended, "the build") {
                return Ok(end);
            }
            let repository = format!("{}/{}/{}/{}", self.cicd.registry, work.about.org_name, work.about.project_name, build.image);
            let mut pushed = None;
            for tag in &tags {
                let reference = format!("{repository}:{tag}");
                log.line(&format!("[gantry] pushing {reference}"));
                let (ended, digest) =
                    self.buildah.push(&local, &reference, auth.path(), log, &work.cancel).await.map_err(|e| format!("the push failed: {e}"))?;
                if let Some(end) = badly(ended, "the push") {
                    return Ok(end);
                }
                log.line(&format!("[gantry] {reference} is {digest}"));
                pushed = Some((format!("{repository}@{digest}"), digest));
            }
            Ok(End { image: pushed, ..End::new(0, "") })
        });
        let result = result.await.unwrap_or_else(|_| Ok(End::new(137, format!("it took longer than {} s", work.step.timeout_seconds))));
        self.buildah.remove(&local).await;
        result
    }

    /// For the run's own project; images of others must be public.
    async fn credential(&self, work: &StepWork, actions: &[&str], log: &StepLog) -> Result<crate::adapters::peers::Credential, String> {
        let repositories = format!("{}/{}/*", work.about.org_name, work.about.project_name);
        let ask = || async { self.peers.registry_credential(repositories.clone(), actions, &work.about.subject).await.map_err(Fault::from) };
        let credential = patience::wait(AWAY, log, &work.cancel, ask).await.map_err(|reason| format!("no credential for the registry: {reason}"))?;
        log.hide([credential.password.expose()]);
        Ok(credential)
    }

    /// `base:1` is an image of the run's own project, `acme/shop/base:1` one of our registry; with a host it stays as it is.
    fn image_name(&self, about: &NewRun, image: &str) -> String {
        let registry = &self.cicd.registry;
        match image.split_once('/') {
            None => format!("{registry}/{}/{}/{image}", about.org_name, about.project_name),
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => image.to_owned(),
            Some(_) => format!("{registry}/{image}"),
        }
    }

    fn values(&self, work: &StepWork) -> Values {
        let about = &work.about;
        let short = about.commit.get(..12).unwrap_or(&about.commit);
        let mut values: Values = [
            ("GANTRY_REGISTRY", self.cicd.registry.clone()),
            ("GANTRY_ORG", about.org_name.to_string()),
            ("GANTRY_PROJECT", about.project_name.to_string()),
            ("GANTRY_REPOSITORY", about.repository.to_string()),
            ("GANTRY_COMMIT", about.commit.clone()),
            ("GANTRY_SHORT_COMMIT", short.to_owned()),
            ("GANTRY_BRANCH", branch_of(&about.reference).unwrap_or_default().to_owned()),
            ("GANTRY_RUN", about.run.to_string()),
            ("GANTRY_RUN_NUMBER", about.number.to_string()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        values.extend(work.images.iter().map(|(step, image)| (format!("steps.{step}.image"), image.clone())));
        values
    }
}

fn expand_all(texts: &BTreeMap<String, String>, values: &Values) -> Result<BTreeMap<String, String>, String> {
    texts.iter().map(|(name, text)| Ok((name.clone(), expand(text, values)?))).collect()
}

fn badly(ended: Ended, what: &str) -> Option<End> {
    match ended {
        Ended::Well => None,
        Ended::Badly(exit_code, last) => Some(End::new(exit_code, format!("{what} failed: {last}"))),
        Ended::Cancelled => Some(End::new(137, "cancelled")),
    }
}

/// The grammar of tags (OCI distribution 1.1): a branch name in a tag may hold `/`, which becomes `-`.
fn tag(text: &str) -> Result<String, String> {
    let tag: String = text.chars().map(|c| if c == '/' { '-' } else { c }).collect();
    let fits = tag.len() <= 128
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if fits { Ok(tag) } else { Err(format!("`{text}` is no tag for an image")) }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
