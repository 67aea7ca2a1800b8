//! The life of an application: create, revise, release, scale, restart, stop, start, roll back, delete.

use std::collections::BTreeMap;

use gantry_contract::scheduler::AppEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{AppId, Name, OrgId, ProjectId, SpaceId};
use serde_json::Value;
use thiserror::Error;

use super::model::MAX_REPLICAS;

/// Where an application lives, in ids and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    pub org: OrgId,
    pub project: ProjectId,
    pub space: SpaceId,
    pub org_name: Name,
    pub project_name: Name,
    pub space_name: Name,
}

/// What a deployment brings; `model` is what [`super::stored::Stored`] makes of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub format: String,
    pub model: Value,
    pub images: Vec<String>,
    /// Of each workload: may its replicas be set by hand?
    pub workloads: BTreeMap<Name, bool>,
}

#[derive(Clone, Debug)]
pub enum Command {
    Deploy {
        app: AppId,
        home: Home,
        name: Name,
        content: Content,
        reason: String,
        /// Why it has to wait for room in the quota, if it has to.
        queued: Option<String>,
    },
    /// There is room in the quota now.
    Admit {
        revision: u64,
    },
    Scale {
        workload: Name,
        replicas: u32,
    },
    /// All workloads if empty.
    Restart {
        workloads: Vec<Name>,
    },
    Stop,
    Start,
    Rollback {
        revision: u64,
    },
    FinishRelease {
        revision: u64,
    },
    /// Goes back to the revision before if `back`.
    FailRelease {
        revision: u64,
        reason: String,
        back: bool,
    },
    Delete,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no such application")]
    Missing,
    #[error("the application has no workload `{0}`")]
    NoWorkload(Name),
    #[error("the workload `{0}` runs once per node and cannot be scaled")]
    NotScalable(Name),
    #[error("replicas must be 0 to {MAX_REPLICAS}")]
    ReplicasOutOfRange,
    #[error("the application is stopped: start it first")]
    IsStopped,
    #[error("there is no revision {0}")]
    NoRevision(u64),
    #[error("a reason has at most 500 characters")]
    ReasonTooLong,
}

/// A release that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub revision: u64,
    pub from: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct App {
    pub id: Option<AppId>,
    pub home: Option<Home>,
    pub name: Option<Name>,
    pub deleted: bool,
    pub stopped: bool,
    pub revisions: BTreeMap<u64, Revision>,
    /// The revision that is, or shall be, at work.
    pub current: u64,
    /// The last one that was fully at work.
    pub finished: Option<u64>,
    pub release: Option<Release>,
    pub scale: BTreeMap<Name, u32>,
    pub failure: Option<String>,
    /// The revision that waits for room in the quota.
    pub queued: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub model: Value,
    pub images: Vec<String>,
    pub workloads: BTreeMap<Name, bool>,
}

impl App {
    fn exists(&self) -> bool {
        self.id.is_some() && !self.deleted
    }

    fn workloads(&self) -> Option<&BTreeMap<Name, bool>> {
        self.revisions.get(&self.current).map(|r| &r.workloads)
    }

    fn start_release(&self, app: AppId, revision: u64, strategy: &str) -> AppEvent {
        let from = self.finished.filter(|f| *f != revision);
        AppEvent::ReleaseStarted { app, revision, from, strategy: strategy.into() }
    }
}

impl Decider for App {
    type State = Self;
    type Command = Command;
    type Event = AppEvent;
    type Refusal = Refusal;

    fn decide(state: &Self, command: Command, _: &Ctx) -> Result<Vec<AppEvent>, Refusal> {
        if let Command::Deploy { app, home, name, content, reason, queued } = command {
            return deploy(state, app, home, name, content, reason, queued);
        }
        let Some(app) = state.id.filter(|_| state.exists()) else {
            return Err(Refusal::Missing);
        };
        match command {
            Command::Deploy { .. } => Ok(Vec::new()),
            Command::Admit { revision } if state.queued == Some(revision) => Ok(vec![AppEvent::Admitted { app, revision }]),
            Command::Admit { .. } => Ok(Vec::new()),
            Command::Scale { workload, replicas } => scale(state, app, workload, replicas),
            Command::Restart { workloads } => {
                if state.stopped {
                    return Err(Refusal::IsStopped);
                }
                let known = state.workloads().cloned().unwrap_or_default();
                if let Some(unknown) = workloads.iter().find(|w| !known.contains_key(w)) {
                    return Err(Refusal::NoWorkload(unknown.clone()));
                }
                let workloads = if workloads.is_empty() { known.into_keys().collect() } else { workloads };
                Ok(vec![AppEvent::Restarted { app, workloads }])
            }
            Command::Stop if state.stopped => Ok(Vec::new()),
            Command::Stop => Ok(vec![AppEvent::Stopped { app }]),
            Command::Start if !state.stopped => Ok(Vec::new()),
            Command::Start => Ok(vec![AppEvent::Started { app }]),
            Command::Rollback { revision } => {
                if !state.revisions.contains_key(&revision) {
                    return Err(Refusal::NoRevision(revision));
                }
                if revision == state.current {
                    return Ok(Vec::new());
                }
                Ok(vec![state.start_release(app, revision, "rollback")])
            }
            Command::FinishRelease { revision } => match &state.release {
                Some(release) if release.revision == revision => Ok(vec![AppEvent::ReleaseFinished { app, revision }]),
                // It had failed by taking too long, with nothing to go back to, and has come up after all.
                None if state.current == revision && state.finished != Some(revision) => Ok(vec![AppEvent::ReleaseFinished { app, revision }]),
                _ => Ok(Vec::new()),
            },
            Command::FailRelease { revision, reason, back } => match &state.release {
                Some(release) if release.revision == revision => {
                    let mut events = vec![AppEvent::ReleaseFailed { app, revision, reason }];
                    if let Some(from) = release.from.filter(|f| back && state.revisions.contains_key(f)) {
                        events.push(AppEvent::ReleaseStarted { app, revision: from, from: None, strategy: "rollback".into() });
                    }
                    Ok(events)
                }
                _ => Ok(Vec::new()),
            },
            Command::Delete => Ok(vec![AppEvent::Deleted { app }]),
        }
    }

    fn evolve(mut state: Self, event: &AppEvent) -> Self {
        match event {
            AppEvent::Created { app, org, project, space, name, org_name, project_name, space_name } => {
                state.id = Some(*app);
                state.name = Some(name.clone());
                state.home = Some(Home {
                    org: *org,
                    project: *project,
                    space: *space,
                    org_name: org_name.clone(),
                    project_name: project_name.clone(),
                    space_name: space_name.clone(),
                });
            }
            AppEvent::Revised { revision, model, images, .. } => {
                let revised = Revision { workloads: super::stored::workloads(model), model: model.clone(), images: images.clone() };
                state.revisions.insert(*revision, revised);
            }
            AppEvent::ReleaseStarted { revision, from, .. } => {
                state.current = *revision;
                state.release = Some(Release { revision: *revision, from: *from });
                // The replicas of a new revision are the document's again; those set by hand belonged to the one before.
                state.scale.clear();
                state.queued = None;
            }
            AppEvent::Queued { revision, .. } => state.queued = Some(*revision),
            AppEvent::Admitted { .. } => state.queued = None,
            AppEvent::ReleaseFinished { revision, .. } => {
                state.release = None;
                state.finished = Some(*revision);
                state.failure = None;
            }
            AppEvent::ReleaseFailed { reason, .. } => {
                state.release = None;
                state.failure = Some(reason.clone());
            }
            AppEvent::Scaled { workload, replicas, .. } => {
                state.scale.insert(workload.clone(), *replicas);
            }
            AppEvent::Restarted { .. } => {}
            AppEvent::Stopped { .. } => state.stopped = true,
            AppEvent::Started { .. } => state.stopped = false,
            AppEvent::Deleted { .. } => state.deleted = true,
        }
        state
    }
}

fn deploy(state: &App, app: AppId, home: Home, name: Name, content: Content, reason: String, queued: Option<String>) -> Result<Vec<AppEvent>, Refusal> {
    if state.deleted {
        return Err(Refusal::Missing);
    }
    if reason.chars().count() > 500 {
        return Err(Refusal::ReasonTooLong);
    }
    let mut events = Vec::new();
    if state.id.is_none() {
        let Home { org, project, space, org_name, project_name, space_name } = home;
        events.push(AppEvent::Created { app, org, project, space, name, org_name, project_name, space_name });
    }
    let revision = state.revisions.keys().next_back().copied().unwrap_or(0) + 1;
    events.push(AppEvent::Revised { app, revision, format: content.format, model: content.model, images: content.images, reason });
    events.push(state.start_release(app, revision, "rolling"));
    events.extend(queued.map(|reason| AppEvent::Queued { app, revision, reason }));
    if state.stopped {
        events.push(AppEvent::Started { app });
    }
    Ok(events)
}

fn scale(state: &App, app: AppId, workload: Name, replicas: u32) -> Result<Vec<AppEvent>, Refusal> {
    if replicas > MAX_REPLICAS {
        return Err(Refusal::ReplicasOutOfRange);
    }
    let revision = state.revisions.get(&state.current);
    match revision.and_then(|r| r.workloads.get(&workload)) {
        None => return Err(Refusal::NoWorkload(workload)),
        Some(false) => return Err(Refusal::NotScalable(workload)),
        Some(true) => {}
    }
    let from = state.scale.get(&workload).copied().or_else(|| super::stored::replicas(&revision?.model, &workload)).unwrap_or(0);
    if from == replicas {
        return Ok(Vec::new());
    }
    Ok(vec![AppEvent::Scaled { app, workload, replicas, from }])
}

#[cfg(test)]
mod tests;
