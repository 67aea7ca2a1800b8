//! What a run needs next. Pure: the runner asks again after each event.

use super::run::NewRun;
use super::{Pipeline, Run, RunStatus, Step, StepStatus};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the step, or ask for its approval.
    StartStep(String),
    /// Carry on with a step that is marked as running; the runner knows whether it still does.
    Attend(String),
    Finish {
        ok: bool,
        reason: String,
    },
}

/// The next actions of a running run; none while it waits for a person, and none when it is over.
pub fn next(run: &Run) -> Vec<Action> {
    let Some(about) = run.about.as_ref().filter(|_| run.status == RunStatus::Running) else { return Vec::new() };
    let active: Vec<_> = run.steps.iter().filter(|(_, s)| **s == StepStatus::Running).map(|(name, _)| Action::Attend(name.clone())).collect();
    if let Some((step, reason)) = &run.failure {
        // Steps that run may end; none begins after a failure.
        return if active.is_empty() { vec![Action::Finish { ok: false, reason: format!("step `{step}` failed: {reason}") }] } else { active };
    }
    let mut actions = active;
    actions.extend(ready(run, about).map(|s| Action::StartStep(s.name.to_string())));
    let waits = run.steps.values().any(|s| *s == StepStatus::Waiting);
    if actions.is_empty() && !waits {
        actions.push(Action::Finish { ok: true, reason: String::new() });
    }
    actions
}

/// Steps that may begin now.
pub(super) fn ready<'a>(run: &'a Run, about: &'a NewRun) -> impl Iterator<Item = &'a Step> {
    let settled = settled(run, about);
    about.pipeline.steps.iter().filter(move |step| {
        run.failure.is_none()
            && !run.steps.contains_key(step.name.as_str())
            && !about.pipeline.skips(step, &about.reference)
            && may_begin(about, step, &settled)
    })
}

fn may_begin(about: &NewRun, step: &Step, settled: &[&str]) -> bool {
    about.pipeline.steps.iter().filter(|other| Pipeline::waits_for(step, other)).all(|other| settled.contains(&other.name.as_str()))
}

/// Steps nobody has to wait for any more: ended well, or left out once everything before them has settled.
fn settled<'a>(run: &'a Run, about: &'a NewRun) -> Vec<&'a str> {
    let mut settled: Vec<&str> = run.steps.iter().filter(|(_, s)| **s == StepStatus::Succeeded).map(|(name, _)| name.as_str()).collect();
    loop {
        let more: Vec<_> = about
            .pipeline
            .steps
            .iter()
            .filter(|s| !settled.contains(&s.name.as_str()) && about.pipeline.skips(s, &about.reference) && may_begin(about, s, &settled))
            .map(|s| s.name.as_str())
            .collect();
        if more.is_empty() {
            return settled;
        }
        settled.extend(more);
    }
}
