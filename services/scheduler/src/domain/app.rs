//! The life of an application: create, revise, release, scale, restart, stop, start, roll back, delete.

use std::collections::{BTreeMap, BTreeSet};

use gantry_contract::scheduler::AppEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{AppId, Name, OrgId, ProjectId, SpaceId};
use serde_json::Value;

use super::model::{MAX_REPLICAS, ReleaseStrategy};

mod refusal;

pub use refusal::Refusal;

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
    /// By what was measured.
    Autoscale {
        workload: Name,
        replicas: u32,
        reason: String,
    },
    PauseScaling {
        workload: Name,
        reason: String,
    },
    ResumeScaling {
        workload: Name,
    },
    /// The next step of a release that goes step by step.
    AdvanceRelease {
        revision: u64,
        step: u32,
        /// Of the requests, that go to the new revision from now on.
        percent: u32,
        reason: String,
    },
    /// What is waited for need not be waited for any more; with `full` nothing is.
    Promote {
        full: bool,
    },
    PauseRelease {
        reason: String,
    },
    ResumeRelease,
    /// Back to the revision that is being replaced.
    AbortRelease {
        reason: String,
    },
    /// Goes back to the revision before if `back`.
    FailRelease {
        revision: u64,
        reason: String,
        back: bool,
    },
    Delete,
}

/// A release that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub revision: u64,
    pub from: Option<u64>,
    pub strategy: String,
    pub step: u32,
    /// Of the requests, that go to it.
    pub percent: u32,
    pub paused: bool,
}

impl Release {
    fn exchanges(&self) -> bool {
        ReleaseStrategy::exchanges(&self.strategy)
    }
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
    /// That of the revision which is being replaced.
    pub base_scale: BTreeMap<Name, u32>,
    /// What measures or schedules said last, or a hand while they are held. It stays over revisions, unlike what was set by hand of
    /// workloads that follow nothing.
    pub autoscale: BTreeMap<Name, u32>,
    pub scaling_paused: BTreeSet<Name>,
    pub failure: Option<String>,
    /// The revision that waits for room in the quota.
    pub queued: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub model: Value,
    pub images: Vec<String>,
    /// `None`: the model cannot be read.
    pub workloads: Option<BTreeMap<Name, bool>>,
}

impl App {
    /// The revision that has the requests: what a next one replaces.
    fn base(&self) -> Option<u64> {
        let switched = self.release.as_ref().filter(|r| r.exchanges() && r.percent >= 100).map(|r| r.revision);
        switched.or(self.finished)
    }

    fn exists(&self) -> bool {
        self.id.is_some() && !self.deleted
    }

    fn unreadable(&self) -> Refusal {
        Refusal::Unreadable(self.current)
    }

    /// Of the current revision; none before the first.
    fn workloads(&self) -> Result<BTreeMap<Name, bool>, Refusal> {
        match self.revisions.get(&self.current) {
            Some(revision) => revision.workloads.clone().ok_or_else(|| self.unreadable()),
            None => Ok(BTreeMap::new()),
        }
    }

    /// These, and those that are restarted with one of them.
    fn with_followers(&self, mut workloads: Vec<Name>) -> Result<Vec<Name>, Refusal> {
        let Some(revision) = self.revisions.get(&self.current) else { return Ok(workloads) };
        let all = super::stored::restart_with(&revision.model).map_err(|_| self.unreadable())?;
        let mut at = 0;
        while let Some(restarted) = workloads.get(at) {
            let follows = |(name, with): &(&Name, &BTreeSet<Name>)| with.contains(restarted) && !workloads.contains(*name);
            let more: Vec<Name> = all.iter().filter(follows).map(|(name, _)| name.clone()).collect();
            workloads.extend(more);
            at += 1;
        }
        Ok(workloads)
    }

    fn scales_itself(&self, workload: &Name) -> Result<bool, Refusal> {
        match self.revisions.get(&self.current) {
            Some(revision) => Ok(super::stored::scaled(&revision.model).map_err(|_| self.unreadable())?.contains(workload)),
            None => Ok(false),
        }
    }

    fn has_scaling(&self, workload: &Name) -> Result<(), Refusal> {
        match self.workloads()?.contains_key(workload) {
            false => Err(Refusal::NoWorkload(workload.clone())),
            true if self.scales_itself(workload)? => Ok(()),
            true => Err(Refusal::NoScaling(workload.clone())),
        }
    }

    /// How many a workload has now.
    fn number(&self, workload: &Name) -> Result<u32, Refusal> {
        if let Some(number) = self.scale.get(workload) {
            return Ok(*number);
        }
        match self.revisions.get(&self.current) {
            Some(revision) => Ok(super::stored::replicas(&revision.model, workload).map_err(|_| self.unreadable())?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    fn go_back(&self, app: AppId, revision: u64, reason: String, to: Option<u64>) -> Vec<AppEvent> {
        let back = to.map(|to| AppEvent::ReleaseStarted { app, revision: to, from: None, strategy: "rollback".into() });
        std::iter::once(AppEvent::ReleaseFailed { app, revision, reason }).chain(back).collect()
    }

    fn start_release(&self, app: AppId, revision: u64, strategy: &str) -> AppEvent {
        let from = self.base().filter(|f| *f != revision);
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
            Command::Autoscale { workload, replicas, reason } => {
                let from = state.number(&workload)?;
                let follows = state.scales_itself(&workload)? && !state.scaling_paused.contains(&workload);
                Ok(if follows && from != replicas { vec![AppEvent::Autoscaled { app, workload, replicas, from, reason }] } else { Vec::new() })
            }
            Command::PauseScaling { workload, reason } => {
                if reason.chars().count() > 500 {
                    return Err(Refusal::ReasonTooLong);
                }
                state.has_scaling(&workload)?;
                Ok(if state.scaling_paused.contains(&workload) { Vec::new() } else { vec![AppEvent::ScalingPaused { app, workload, reason }] })
            }
            Command::ResumeScaling { workload } => {
                state.has_scaling(&workload)?;
                Ok(if state.scaling_paused.contains(&workload) { vec![AppEvent::ScalingResumed { app, workload }] } else { Vec::new() })
            }
            Command::Restart { workloads } => {
                if state.stopped {
                    return Err(Refusal::IsStopped);
                }
                let known = state.workloads()?;
                if let Some(unknown) = workloads.iter().find(|w| !known.contains_key(w)) {
                    return Err(Refusal::NoWorkload(unknown.clone()));
                }
                let workloads = if workloads.is_empty() { known.into_keys().collect() } else { state.with_followers(workloads)? };
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
                if state.revisions.get(&revision).is_some_and(|r| r.workloads.is_none()) {
                    return Err(Refusal::Unreadable(revision));
                }
                Ok(vec![state.start_release(app, revision, "rollback")])
            }
            Command::AdvanceRelease { revision, step, percent, reason } => match &state.release {
                Some(r) if r.revision == revision && r.exchanges() && step > r.step => {
                    Ok(vec![AppEvent::ReleaseAdvanced { app, revision, step, percent, reason }])
                }
                _ => Ok(Vec::new()),
            },
            Command::Promote { full } => {
                let release = state.release.as_ref().ok_or(Refusal::NoRelease)?;
                let revision = release.revision;
                if !release.exchanges() && !release.paused {
                    return Err(Refusal::NoSteps);
                }
                let mut events = Vec::new();
                if release.paused {
                    events.push(AppEvent::ReleaseResumed { app, revision });
                }
                if release.exchanges() {
                    let step = if full { super::rollout::ALL } else { u64::from(release.step) + 1 };
                    events.push(AppEvent::ReleasePromoted { app, revision, step });
                }
                Ok(events)
            }
            Command::PauseRelease { reason } => {
                if reason.chars().count() > 500 {
                    return Err(Refusal::ReasonTooLong);
                }
                let release = state.release.as_ref().ok_or(Refusal::NoRelease)?;
                let revision = release.revision;
                Ok(if release.paused { Vec::new() } else { vec![AppEvent::ReleasePaused { app, revision, reason }] })
            }
            Command::ResumeRelease => {
                let release = state.release.as_ref().ok_or(Refusal::NoRelease)?;
                let revision = release.revision;
                Ok(if release.paused { vec![AppEvent::ReleaseResumed { app, revision }] } else { Vec::new() })
            }
            Command::AbortRelease { reason } => {
                if reason.chars().count() > 500 {
                    return Err(Refusal::ReasonTooLong);
                }
                let release = state.release.as_ref().ok_or(Refusal::NoRelease)?;
                let from = release.from.filter(|f| state.revisions.contains_key(f)).ok_or(Refusal::NothingBefore)?;
                if state.revisions.get(&from).is_some_and(|r| r.workloads.is_none()) {
                    return Err(Refusal::Unreadable(from));
                }
                Ok(state.go_back(app, release.revision, reason, Some(from)))
            }
            Command::FinishRelease { revision } => match &state.release {
                Some(release) if release.revision == revision => Ok(vec![AppEvent::ReleaseFinished { app, revision }]),
                // It had failed by taking too long, with nothing to go back to, and has come up after all.
                None if state.current == revision && state.finished != Some(revision) => Ok(vec![AppEvent::ReleaseFinished { app, revision }]),
                _ => Ok(Vec::new()),
            },
            Command::FailRelease { revision, reason, back } => match &state.release {
                Some(release) if release.revision == revision => {
                    // One that cannot be read could not be put back: what stands would be left without anything that looks after it.
                    let is_readable = |f: &u64| state.revisions.get(f).is_some_and(|r| r.workloads.is_some());
                    Ok(state.go_back(app, revision, reason, release.from.filter(|f| back && is_readable(f))))
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
                let revised = Revision { workloads: super::stored::workloads(model).ok(), model: model.clone(), images: images.clone() };
                // Of one that cannot be read it is not known what follows something: what was measured stays.
                if let Ok(scaled) = super::stored::scaled(model) {
                    state.autoscale.retain(|name, _| scaled.contains(name));
                }
                state.revisions.insert(*revision, revised);
            }
            AppEvent::ReleaseStarted { revision, from, strategy, .. } => {
                state.current = *revision;
                let before = state.release.take();
                // The replicas of a new revision are the document's again, or what was measured last; those set by hand belonged to
                // the one before, and are as they were when it comes back. What follows something has meanwhile gone on.
                let same_base = before.as_ref().is_some_and(|r| r.from.is_some() && r.from == *from);
                let returns = before.as_ref().is_some_and(|r| r.from == Some(*revision));
                let gone_back = before.is_none() && from.is_none() && strategy == "rollback";
                let mut scale = if returns || gone_back { state.base_scale.clone() } else { BTreeMap::new() };
                let follow = state.revisions.get(revision).and_then(|r| super::stored::scaled(&r.model).ok());
                let follows = |name: &Name| follow.as_ref().is_none_or(|all| all.contains(name));
                scale.extend(state.autoscale.iter().filter(|(name, _)| follows(name)).map(|(name, n)| (name.clone(), *n)));
                if !same_base {
                    state.base_scale = std::mem::take(&mut state.scale);
                }
                state.scale = scale;
                state.release = Some(Release { revision: *revision, from: *from, strategy: strategy.clone(), step: 0, percent: 0, paused: false });
                state.queued = None;
            }
            AppEvent::Queued { revision, .. } => state.queued = Some(*revision),
            AppEvent::Admitted { .. } => state.queued = None,
            AppEvent::ReleaseFinished { revision, .. } => {
                state.release = None;
                state.finished = Some(*revision);
                state.failure = None;
            }
            AppEvent::ReleaseAdvanced { step, percent, .. } => {
                if let Some(release) = &mut state.release {
                    (release.step, release.percent) = (*step, *percent);
                }
            }
            AppEvent::ReleasePaused { .. } | AppEvent::ReleaseResumed { .. } => {
                if let Some(release) = &mut state.release {
                    release.paused = matches!(event, AppEvent::ReleasePaused { .. });
                }
            }
            AppEvent::ReleasePromoted { .. } => {}
            AppEvent::ReleaseFailed { reason, .. } => {
                state.release = None;
                state.failure = Some(reason.clone());
            }
            AppEvent::Scaled { workload, replicas, .. } => {
                state.scale.insert(workload.clone(), *replicas);
                if state.scaling_paused.contains(workload) {
                    state.autoscale.insert(workload.clone(), *replicas);
                }
            }
            AppEvent::Autoscaled { workload, replicas, .. } => {
                state.scale.insert(workload.clone(), *replicas);
                state.autoscale.insert(workload.clone(), *replicas);
            }
            AppEvent::ScalingPaused { workload, .. } => {
                state.scaling_paused.insert(workload.clone());
            }
            AppEvent::ScalingResumed { workload, .. } => {
                state.scaling_paused.remove(workload);
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
    let model = content.model;
    events.push(AppEvent::Revised { app, revision, format: content.format, model: model.clone(), images: content.images, reason });
    // Where nothing runs there is nothing that could be exchanged.
    let said = super::stored::strategy(&model).map_err(|_| Refusal::Unreadable(revision))?;
    let strategy = if state.stopped || state.base().is_none() { ReleaseStrategy::Rolling } else { said };
    events.push(state.start_release(app, revision, strategy.as_str()));
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
    match state.workloads()?.get(&workload) {
        None => return Err(Refusal::NoWorkload(workload)),
        Some(false) => return Err(Refusal::NotScalable(workload)),
        Some(true) => {}
    }
    if state.scales_itself(&workload)? && !state.scaling_paused.contains(&workload) {
        return Err(Refusal::ScalesItself(workload));
    }
    let from = state.number(&workload)?;
    if from == replicas {
        return Ok(Vec::new());
    }
    Ok(vec![AppEvent::Scaled { app, workload, replicas, from }])
}

#[cfg(test)]
mod tests;
