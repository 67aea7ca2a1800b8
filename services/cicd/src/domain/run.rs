//! One run of a pipeline: what has happened to it and what may happen next.

use std::collections::BTreeMap;

use gantry_contract::cicd::RunEvent;
use gantry_es::{Ctx, Decider};
use gantry_kernel::{Name, OrgId, ProjectId, RunId};
use thiserror::Error;

use super::{Pipeline, Report, Work};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunStatus {
    #[default]
    Missing,
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunStatus {
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A step that is not listed has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    Running,
    /// An approval step that somebody must confirm.
    Waiting,
    Succeeded,
    Failed,
}

/// The state folded from a run's events.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub status: RunStatus,
    pub about: Option<NewRun>,
    pub steps: BTreeMap<String, StepStatus>,
    /// Step → pushed image with digest.
    pub images: BTreeMap<String, String>,
    pub artifacts: BTreeMap<String, String>,
    /// Name of the first step that failed, and why.
    pub failure: Option<(String, String)>,
}

/// What a run is about; fixed when it is created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    pub run: RunId,
    pub org: OrgId,
    pub project: ProjectId,
    pub org_name: Name,
    pub project_name: Name,
    pub repository: Name,
    pub reference: String,
    pub commit: String,
    pub message: String,
    /// push | manual
    pub trigger: String,
    pub number: u64,
    /// On whose behalf it builds and deploys: "user:<uuid>".
    pub subject: String,
    pub pipeline: Pipeline,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub ok: bool,
    pub exit_code: i32,
    pub reason: String,
    pub duration_ms: u64,
}

#[derive(Clone, Debug)]
pub enum RunCommand {
    Create(Box<NewRun>),
    /// The file cannot be used: the run exists so that people see why, and is over at once.
    CreateBroken {
        about: Box<NewRun>,
        reason: String,
    },
    Start,
    StartStep {
        step: String,
    },
    FinishStep {
        step: String,
        outcome: Outcome,
    },
    ImagePushed {
        step: String,
        image: String,
        digest: String,
    },
    TestsReported {
        step: String,
        report: Report,
    },
    KeepArtifact {
        name: String,
        size_bytes: u64,
        digest: String,
        media_type: String,
    },
    Approve {
        step: String,
    },
    Finish {
        ok: bool,
        reason: String,
    },
    Cancel,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum RunRefusal {
    #[error("there is no such run")]
    NoSuchRun,
    #[error("the run has no step `{0}`")]
    NoSuchStep(String),
    #[error("step `{0}` does not wait for an approval")]
    NotWaiting(String),
    #[error("step `{0}` may not start: it waits for other steps, or a step before it failed")]
    NotReady(String),
    #[error("step `{0}` has not been started")]
    NotStarted(String),
    #[error("the run is already over")]
    AlreadyOver,
    #[error("the run has not been started")]
    NotRunning,
    #[error("the run still has steps to do")]
    NotDone,
}

pub struct RunDecider;

impl Decider for RunDecider {
    type State = Run;
    type Command = RunCommand;
    type Event = RunEvent;
    type Refusal = RunRefusal;

    fn decide(state: &Run, command: RunCommand, _: &Ctx) -> Result<Vec<RunEvent>, RunRefusal> {
        match command {
            RunCommand::Create(about) => Ok(if state.about.is_some() { Vec::new() } else { vec![created(*about, true)] }),
            RunCommand::CreateBroken { about, reason } => {
                let run = about.run;
                Ok(if state.about.is_some() { Vec::new() } else { vec![created(*about, false), RunEvent::Finished { run, ok: false, reason }] })
            }
            other => {
                let about = state.about.as_ref().ok_or(RunRefusal::NoSuchRun)?;
                state.decide_existing(about, other)
            }
        }
    }

    fn evolve(mut state: Run, event: &RunEvent) -> Run {
        state.apply(event);
        state
    }
}

fn created(about: NewRun, usable: bool) -> RunEvent {
    let pipeline = if usable { serde_json::to_value(&about.pipeline).unwrap_or_default() } else { serde_json::Value::Null };
    RunEvent::Created {
        run: about.run,
        org: about.org,
        project: about.project,
        org_name: about.org_name,
        project_name: about.project_name,
        repository: about.repository,
        reference: about.reference,
        commit: about.commit,
        trigger: about.trigger,
        number: about.number,
        subject: about.subject,
        message: about.message,
        pipeline,
    }
}

impl Run {
    fn decide_existing(&self, about: &NewRun, command: RunCommand) -> Result<Vec<RunEvent>, RunRefusal> {
        let run = about.run;
        match command {
            RunCommand::Create(_) | RunCommand::CreateBroken { .. } => Ok(Vec::new()),
            RunCommand::Start => match self.status {
                RunStatus::Queued => Ok(vec![RunEvent::Started { run }]),
                RunStatus::Running => Ok(Vec::new()),
                _ => Err(RunRefusal::AlreadyOver),
            },
            RunCommand::StartStep { step } => self.start_step(about, &step),
            RunCommand::FinishStep { step, outcome } => {
                self.running()?;
                let stage = self.stage_of(about, &step)?;
                match self.steps.get(&step) {
                    Some(StepStatus::Running) => {
                        let Outcome { ok, exit_code, reason, duration_ms } = outcome;
                        Ok(vec![RunEvent::StepFinished { run, stage, step, ok, exit_code, reason, duration_ms }])
                    }
                    Some(StepStatus::Succeeded | StepStatus::Failed) => Ok(Vec::new()),
                    Some(StepStatus::Waiting) | None => Err(RunRefusal::NotStarted(step)),
                }
            }
            RunCommand::ImagePushed { step, image, digest } => {
                self.running()?;
                Ok(if self.images.get(&step) == Some(&image) { Vec::new() } else { vec![RunEvent::ImagePushed { run, step, image, digest }] })
            }
            RunCommand::TestsReported { step, report } => {
                self.running()?;
                Ok(vec![RunEvent::TestsReported { run, step, tests: report.tests, failed: report.failed, skipped: report.skipped }])
            }
            RunCommand::KeepArtifact { name, size_bytes, digest, media_type } => {
                self.running()?;
                Ok(if self.artifacts.get(&name) == Some(&digest) {
                    Vec::new()
                } else {
                    vec![RunEvent::ArtifactKept { run, name, size_bytes, digest, media_type }]
                })
            }
            RunCommand::Approve { step } => {
                if self.status.is_over() {
                    return Err(RunRefusal::AlreadyOver);
                }
                let stage = self.stage_of(about, &step)?;
                match self.steps.get(&step) {
                    Some(StepStatus::Waiting) => Ok(vec![RunEvent::Approved { run, stage, step }]),
                    _ => Err(RunRefusal::NotWaiting(step)),
                }
            }
            RunCommand::Finish { ok, reason } => {
                self.running()?;
                match super::next(self).as_slice() {
                    [super::Action::Finish { ok: so, .. }] if *so == ok => Ok(vec![RunEvent::Finished { run, ok, reason }]),
                    _ => Err(RunRefusal::NotDone),
                }
            }
            RunCommand::Cancel => match self.status {
                RunStatus::Cancelled => Ok(Vec::new()),
                status if status.is_over() => Err(RunRefusal::AlreadyOver),
                _ => Ok(vec![RunEvent::Cancelled { run }]),
            },
        }
    }

    /// A step that runs already is no fault: after a restart the runner starts it once more.
    fn start_step(&self, about: &NewRun, step: &str) -> Result<Vec<RunEvent>, RunRefusal> {
        self.running()?;
        let stage = self.stage_of(about, step)?;
        if self.steps.contains_key(step) {
            return Ok(Vec::new());
        }
        if !super::plan::ready(self, about).any(|s| s.name.as_str() == step) {
            return Err(RunRefusal::NotReady(step.to_owned()));
        }
        let approval = about.pipeline.step(step).is_some_and(|s| matches!(s.work, Work::Approval { .. }));
        let (run, step) = (about.run, step.to_owned());
        Ok(vec![if approval { RunEvent::ApprovalAsked { run, stage, step } } else { RunEvent::StepStarted { run, stage, step } }])
    }

    fn running(&self) -> Result<(), RunRefusal> {
        match self.status {
            RunStatus::Running => Ok(()),
            RunStatus::Queued | RunStatus::Missing => Err(RunRefusal::NotRunning),
            RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => Err(RunRefusal::AlreadyOver),
        }
    }

    fn stage_of(&self, about: &NewRun, step: &str) -> Result<String, RunRefusal> {
        about.pipeline.step(step).map(|s| s.stage.to_string()).ok_or_else(|| RunRefusal::NoSuchStep(step.to_owned()))
    }

    fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Created { run, org, project, org_name, project_name, repository, reference, commit, trigger, number, subject, message, pipeline } => {
                self.status = RunStatus::Queued;
                self.about = Some(NewRun {
                    run: *run,
                    org: *org,
                    project: *project,
                    org_name: org_name.clone(),
                    project_name: project_name.clone(),
                    repository: repository.clone(),
                    reference: reference.clone(),
                    commit: commit.clone(),
                    message: message.clone(),
                    trigger: trigger.clone(),
                    number: *number,
                    subject: subject.clone(),
                    // Null (a file with faults) reads as no steps; such a run is over at once.
                    pipeline: serde_json::from_value(pipeline.clone()).unwrap_or_default(),
                });
            }
            RunEvent::Started { .. } => self.status = RunStatus::Running,
            RunEvent::StepStarted { step, .. } => self.set(step, StepStatus::Running),
            RunEvent::StepFinished { step, ok, reason, .. } => {
                self.set(step, if *ok { StepStatus::Succeeded } else { StepStatus::Failed });
                if !ok && self.failure.is_none() {
                    self.failure = Some((step.clone(), reason.clone()));
                }
            }
            RunEvent::ImagePushed { step, image, .. } => {
                self.images.insert(step.clone(), image.clone());
            }
            RunEvent::TestsReported { .. } => {}
            RunEvent::ArtifactKept { name, digest, .. } => {
                self.artifacts.insert(name.clone(), digest.clone());
            }
            RunEvent::ApprovalAsked { step, .. } => self.set(step, StepStatus::Waiting),
            RunEvent::Approved { step, .. } => self.set(step, StepStatus::Succeeded),
            RunEvent::Finished { ok, .. } => self.status = if *ok { RunStatus::Succeeded } else { RunStatus::Failed },
            RunEvent::Cancelled { .. } => self.status = RunStatus::Cancelled,
        }
    }

    fn set(&mut self, step: &str, status: StepStatus) {
        self.steps.insert(step.to_owned(), status);
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
