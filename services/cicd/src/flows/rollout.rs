//! The deploy step: hands a document of the repository to the scheduler and waits until the new revision runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gantry_contract::proto::scheduler::{App, AppRef};

use super::patience::{self, Fault};
use super::steps::StepWork;
use crate::adapters::files;
use crate::adapters::peers::{Deployment, Peers};
use crate::adapters::step_log::StepLog;
use crate::domain::Deploy;

const MAX_DOCUMENT_BYTES: u64 = 1 << 20;
/// Between two tries to follow the rollout when the scheduler went away.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Rollout<'a> {
    pub work: &'a StepWork,
    pub deploy: &'a Deploy,
    pub values: BTreeMap<String, String>,
    /// The checked-out commit.
    pub tree: &'a Path,
}

/// # Errors
/// The scheduler's refusal, what became of the rollout instead, or that it took too long.
pub async fn carry_out(peers: &Peers, rollout: Rollout<'_>, log: &StepLog) -> Result<(), String> {
    let about = &rollout.work.about;
    let app = AppRef {
        org: about.org_name.to_string(),
        project: about.project_name.to_string(),
        space: rollout.deploy.space.to_string(),
        app: rollout.deploy.app.to_string(),
    };
    let document = files::text_inside(rollout.tree, &rollout.deploy.file, MAX_DOCUMENT_BYTES).map_err(|e| e.to_string())?;
    let deployment = Deployment {
        app: app.clone(),
        format: rollout.deploy.format.clone(),
        document,
        values: rollout.values.into_iter().collect(),
        reason: format!("run {} of {}: {}", about.number, about.repository, about.message),
        subject: about.subject.clone(),
        idempotency_key: format!("run:{}:{}", about.run, rollout.work.step.name),
    };
    let limit = Duration::from_secs(rollout.work.step.timeout_seconds);
    let deploy = || async { peers.deploy(deployment.clone()).await.map_err(Fault::from) };
    let revision = patience::wait(limit, log, &rollout.work.cancel, deploy).await?;
    log.line(&format!("[gantry] {}/{}/{}/{}: revision {revision} is accepted", app.org, app.project, app.space, app.app));
    tokio::select! {
        ended = tokio::time::timeout(limit, follow(peers, &app, revision, log)) => {
            ended.unwrap_or_else(|_| Err(format!("revision {revision} does not run after {} s", limit.as_secs())))
        }
        () = rollout.work.cancel.cancelled() => Err("cancelled".into()),
    }
}

async fn follow(peers: &Peers, app: &AppRef, revision: u64, log: &StepLog) -> Result<(), String> {
    let (mut told, mut begun) = (String::new(), false);
    loop {
        match peers.watch(app.clone()).await {
            Ok(mut states) => {
                while let Ok(Some(state)) = states.message().await {
                    let line = describe(&state);
                    if line != told {
                        log.line(&format!("[gantry] {line}"));
                        told = line;
                    }
                    if let Some(end) = verdict(&state, revision, begun) {
                        return end;
                    }
                    begun |= state.revision == revision;
                }
            }
            Err(problem) => log.line(&format!("[gantry] the scheduler cannot be asked right now: {}", problem.detail)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How the rollout of `revision` ended; `None`: not yet. `begun`: it was on its way already, so an older one now means that
/// the scheduler went back.
fn verdict(app: &App, revision: u64, begun: bool) -> Option<Result<(), String>> {
    if app.revision > revision {
        return Some(Err(format!("revision {} took its place", app.revision)));
    }
    if app.revision < revision && begun {
        return Some(Err(format!("back to revision {}: {}", app.revision, app.reason)));
    }
    match app.state.as_str() {
        "running" if app.revision == revision && app.instances.iter().all(|i| i.revision == revision || i.state != "running") => Some(Ok(())),
        "failed" | "stopped" | "deleting" | "deleted" if app.revision == revision => {
            let why = if app.reason.is_empty() { app.state.clone() } else { format!("{}: {}", app.state, app.reason) };
            Some(Err(why))
        }
        _ => None,
    }
}

fn describe(app: &App) -> String {
    let mut counts: BTreeMap<(u64, &str), u32> = BTreeMap::new();
    for instance in &app.instances {
        *counts.entry((instance.revision, instance.state.as_str())).or_default() += 1;
    }
    let instances: Vec<_> = counts.into_iter().map(|((revision, state), n)| format!("{n} {state} of revision {revision}")).collect();
    let reason = if app.reason.is_empty() { String::new() } else { format!(" ({})", app.reason) };
    format!("{}{reason}: {}", app.state, if instances.is_empty() { "no instances".to_owned() } else { instances.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_contract::proto::scheduler::Instance;

    fn app(revision: u64, state: &str, instances: &[(u64, &str)]) -> App {
        let instances = instances.iter().map(|(revision, state)| Instance { revision: *revision, state: (*state).into(), ..Instance::default() }).collect();
        App { revision, state: state.into(), instances, ..App::default() }
    }

    #[test]
    fn a_rollout_is_over_when_only_its_revision_runs() {
        assert_eq!(verdict(&app(1, "running", &[(1, "running")]), 2, false), None);
        assert_eq!(verdict(&app(2, "releasing", &[(1, "running")]), 2, false), None);
        assert_eq!(verdict(&app(2, "running", &[(1, "running"), (2, "running")]), 2, false), None);
        assert_eq!(verdict(&app(2, "running", &[(1, "stopping"), (2, "running")]), 2, false), Some(Ok(())));
        assert!(verdict(&app(2, "failed", &[]), 2, false).unwrap().is_err());
        assert!(verdict(&app(3, "running", &[]), 2, false).unwrap().is_err());
        assert!(verdict(&app(1, "running", &[]), 2, true).unwrap().is_err(), "the scheduler went back");
    }
}
