//! Given / when / then for runs, and properties over any history.

use gantry_es::spec::given;
use gantry_es::{Ctx, Decider, fold};
use gantry_kernel::{OffsetDateTime, Uuid};
use proptest::prelude::*;

use super::*;
use crate::domain::{Action, next, parse};

const FILE: &str = r"
stages:
  - name: test
    steps:
      - { name: unit, image: 'base:1', run: [./t] }
      - { name: lint, image: 'base:1', run: [./l] }
  - name: ship
    steps:
      - { name: docs, when: { branch: [docs] }, image: 'base:1', run: [./d] }
      - { name: image, build: { image: web } }
      - { name: sure, approval: Ship it? }
      - { name: release, needs: [image, sure], deploy: { file: c.yaml, space: test, app: web } }
";

fn id() -> RunId {
    RunId(Uuid::from_u128(7))
}

fn about() -> NewRun {
    let name = |n| Name::parse(n).unwrap();
    NewRun {
        run: id(),
        org: OrgId(Uuid::from_u128(1)),
        project: ProjectId(Uuid::from_u128(2)),
        org_name: name("acme"),
        project_name: name("shop"),
        repository: name("web"),
        reference: "refs/heads/main".into(),
        commit: "c0ffee".into(),
        message: "first".into(),
        trigger: "push".into(),
        number: 1,
        subject: "user:1".into(),
        pipeline: parse(FILE, &["GANTRY_SHORT_COMMIT"]).unwrap(),
    }
}

fn stage(step: &str) -> String {
    if matches!(step, "unit" | "lint") { "test".into() } else { "ship".into() }
}

fn started(step: &str) -> RunEvent {
    RunEvent::StepStarted { run: id(), stage: stage(step), step: step.into() }
}

fn ended(step: &str, ok: bool) -> RunEvent {
    RunEvent::StepFinished {
        run: id(),
        stage: stage(step),
        step: step.into(),
        ok,
        exit_code: i32::from(!ok),
        reason: if ok { "" } else { "exit code 1" }.into(),
        duration_ms: 5,
    }
}

fn outcome(ok: bool) -> Outcome {
    Outcome { ok, exit_code: i32::from(!ok), reason: if ok { "" } else { "exit code 1" }.into(), duration_ms: 5 }
}

fn history(more: impl IntoIterator<Item = RunEvent>) -> Vec<RunEvent> {
    [created(about(), true), RunEvent::Started { run: id() }].into_iter().chain(more).collect()
}

fn planned(events: &[RunEvent]) -> Vec<Action> {
    next(&fold::<RunDecider>(Run::default(), events))
}

fn start(step: &str) -> Action {
    Action::StartStep(step.into())
}

fn attend(step: &str) -> Action {
    Action::Attend(step.into())
}

#[test]
fn a_run_is_created_once_and_started_once() {
    given::<RunDecider>([]).when(RunCommand::Create(Box::new(about()))).then([created(about(), true)]);
    given::<RunDecider>([created(about(), true)]).when(RunCommand::Create(Box::new(about()))).then([]);
    given::<RunDecider>([created(about(), true)]).when(RunCommand::Start).then([RunEvent::Started { run: id() }]);
    given::<RunDecider>(history([])).when(RunCommand::Start).then([]);
    given::<RunDecider>([]).when(RunCommand::Start).then_refused(|r| *r == RunRefusal::NoSuchRun);
}

#[test]
fn a_broken_file_makes_a_run_that_is_over() {
    let state = given::<RunDecider>([])
        .when(RunCommand::CreateBroken { about: Box::new(about()), reason: "line 3: x".into() })
        .then([created(about(), false), RunEvent::Finished { run: id(), ok: false, reason: "line 3: x".into() }]);
    assert_eq!((state.status, next(&state)), (RunStatus::Failed, vec![]));
}

#[test]
fn steps_of_a_stage_run_side_by_side_and_the_next_stage_waits() {
    assert_eq!(planned(&[created(about(), true)]), []);
    assert_eq!(planned(&history([])), [start("unit"), start("lint")]);
    assert_eq!(planned(&history([started("unit"), started("lint"), ended("unit", true)])), [attend("lint")]);
    let tested = [started("unit"), started("lint"), ended("unit", true), ended("lint", true)];
    assert_eq!(planned(&history(tested)), [start("image"), start("sure")]);
}

#[test]
fn a_step_left_out_by_its_branch_holds_up_nobody() {
    let mut docs = about();
    docs.reference = "refs/heads/docs".into();
    let events = [created(docs, true), RunEvent::Started { run: id() }, started("unit"), ended("unit", true), started("lint"), ended("lint", true)];
    assert_eq!(planned(&events), [start("docs"), start("image"), start("sure")]);
    given::<RunDecider>(history([])).when(RunCommand::StartStep { step: "docs".into() }).then_refused(|r| matches!(r, RunRefusal::NotReady(_)));
}

#[test]
fn a_failure_stops_what_has_not_begun_and_lets_the_rest_end() {
    let failed = history([started("unit"), started("lint"), ended("unit", false)]);
    assert_eq!(planned(&failed), [attend("lint")]);
    given::<RunDecider>(failed.clone()).when(RunCommand::Finish { ok: false, reason: String::new() }).then_refused(|r| *r == RunRefusal::NotDone);
    let all = [failed, vec![ended("lint", true)]].concat();
    assert_eq!(planned(&all), [Action::Finish { ok: false, reason: "step `unit` failed: exit code 1".into() }]);
    given::<RunDecider>(all.clone()).when(RunCommand::StartStep { step: "image".into() }).then_refused(|r| matches!(r, RunRefusal::NotReady(_)));
    given::<RunDecider>(all.clone()).when(RunCommand::Finish { ok: true, reason: String::new() }).then_refused(|r| *r == RunRefusal::NotDone);
    given::<RunDecider>(all).when(RunCommand::Finish { ok: false, reason: "x".into() }).then([RunEvent::Finished { run: id(), ok: false, reason: "x".into() }]);
}

#[test]
fn an_approval_waits_for_a_person() {
    let tested = || history([started("unit"), ended("unit", true), started("lint"), ended("lint", true)]);
    let asked = RunEvent::ApprovalAsked { run: id(), stage: "ship".into(), step: "sure".into() };
    given::<RunDecider>(tested()).when(RunCommand::StartStep { step: "sure".into() }).then([asked.clone()]);
    let waiting = [tested(), vec![asked, started("image"), ended("image", true)]].concat();
    assert_eq!(planned(&waiting), []);
    given::<RunDecider>(waiting.clone()).when(RunCommand::Approve { step: "image".into() }).then_refused(|r| matches!(r, RunRefusal::NotWaiting(_)));
    given::<RunDecider>(waiting.clone()).when(RunCommand::Approve { step: "none".into() }).then_refused(|r| matches!(r, RunRefusal::NoSuchStep(_)));
    let approved = RunEvent::Approved { run: id(), stage: "ship".into(), step: "sure".into() };
    let state = given::<RunDecider>(waiting).when(RunCommand::Approve { step: "sure".into() }).then([approved]);
    assert_eq!(next(&state), [start("release")]);
}

#[test]
fn a_cancelled_run_takes_no_more_results() {
    let cancelled = RunEvent::Cancelled { run: id() };
    given::<RunDecider>(history([started("unit")])).when(RunCommand::Cancel).then([cancelled.clone()]);
    let events = history([started("unit"), cancelled]);
    assert_eq!(planned(&events), []);
    given::<RunDecider>(events.clone()).when(RunCommand::Cancel).then([]);
    given::<RunDecider>(events.clone())
        .when(RunCommand::FinishStep { step: "unit".into(), outcome: outcome(true) })
        .then_refused(|r| *r == RunRefusal::AlreadyOver);
    given::<RunDecider>(events.clone()).when(RunCommand::StartStep { step: "lint".into() }).then_refused(|r| *r == RunRefusal::AlreadyOver);
    given::<RunDecider>(events).when(RunCommand::Approve { step: "sure".into() }).then_refused(|r| *r == RunRefusal::AlreadyOver);
    let over = history([RunEvent::Finished { run: id(), ok: true, reason: String::new() }]);
    given::<RunDecider>(over).when(RunCommand::Cancel).then_refused(|r| *r == RunRefusal::AlreadyOver);
}

#[test]
fn a_step_ends_once_and_only_after_it_began() {
    let finish = || RunCommand::FinishStep { step: "unit".into(), outcome: outcome(true) };
    given::<RunDecider>(history([])).when(finish()).then_refused(|r| matches!(r, RunRefusal::NotStarted(_)));
    given::<RunDecider>([created(about(), true)]).when(finish()).then_refused(|r| *r == RunRefusal::NotRunning);
    given::<RunDecider>(history([started("unit")])).when(finish()).then([ended("unit", true)]);
    given::<RunDecider>(history([started("unit"), ended("unit", true)])).when(finish()).then([]);
    given::<RunDecider>(history([started("unit")])).when(RunCommand::StartStep { step: "unit".into() }).then([]);
}

#[test]
fn an_image_and_an_artifact_are_recorded_once() {
    let pushed = RunEvent::ImagePushed { run: id(), step: "image".into(), image: "r/a@sha256:1".into(), digest: "sha256:1".into() };
    let push = || RunCommand::ImagePushed { step: "image".into(), image: "r/a@sha256:1".into(), digest: "sha256:1".into() };
    given::<RunDecider>(history([])).when(push()).then([pushed.clone()]);
    given::<RunDecider>(history([pushed])).when(push()).then([]);
    let kept = RunEvent::ArtifactKept { run: id(), name: "a".into(), size_bytes: 1, digest: "sha256:2".into(), media_type: "text/plain".into() };
    let keep = || RunCommand::KeepArtifact { name: "a".into(), size_bytes: 1, digest: "sha256:2".into(), media_type: "text/plain".into() };
    given::<RunDecider>(history([])).when(keep()).then([kept.clone()]);
    given::<RunDecider>(history([kept])).when(keep()).then([]);
}

proptest! {
    /// Whatever the steps do and whenever it is cancelled or approved: the plan is always carried out without a
    /// refusal, no step begins before what it waits for, and the run always comes to an end.
    #[test]
    fn every_run_ends(results in proptest::collection::vec(any::<bool>(), 6), picks in proptest::collection::vec(0usize..6, 60), cancel_at in proptest::option::of(0usize..20)) {
        let ctx = Ctx { now: OffsetDateTime::UNIX_EPOCH, actor: "user:1".into() };
        let mut events = vec![created(about(), true)];
        let mut state = fold::<RunDecider>(Run::default(), &events);
        let mut execute = |state: &mut Run, command: RunCommand| {
            let new = RunDecider::decide(state, command, &ctx).map_err(|r| TestCaseError::fail(r.to_string()))?;
            for event in &new {
                *state = RunDecider::evolve(std::mem::take(state), event);
            }
            events.extend(new);
            Ok::<(), TestCaseError>(())
        };
        execute(&mut state, RunCommand::Start)?;
        for (turn, pick) in picks.into_iter().enumerate() {
            if cancel_at == Some(turn) && !state.status.is_over() {
                execute(&mut state, RunCommand::Cancel)?;
            }
            let actions = next(&state);
            if actions.is_empty() {
                if let Some(step) = state.steps.iter().find(|(_, s)| **s == StepStatus::Waiting && state.status == RunStatus::Running).map(|(n, _)| n.clone()) {
                    execute(&mut state, RunCommand::Approve { step })?;
                }
                continue;
            }
            match actions[pick % actions.len()].clone() {
                Action::StartStep(step) => {
                    let about = state.about.clone().expect("created");
                    let this = about.pipeline.step(&step).expect("planned steps exist").clone();
                    for other in about.pipeline.steps.iter().filter(|o| Pipeline::waits_for(&this, o) && !about.pipeline.skips(o, &about.reference)) {
                        prop_assert_eq!(state.steps.get(other.name.as_str()), Some(&StepStatus::Succeeded));
                    }
                    execute(&mut state, RunCommand::StartStep { step })?;
                }
                Action::Attend(step) => {
                    let index = about().pipeline.steps.iter().position(|s| s.name.as_str() == step).expect("known");
                    execute(&mut state, RunCommand::FinishStep { step, outcome: outcome(results[index]) })?;
                }
                Action::Finish { ok, reason } => execute(&mut state, RunCommand::Finish { ok, reason })?,
            }
        }
        prop_assert!(state.status.is_over(), "{:?} {:?}", state.status, state.steps);
        prop_assert_eq!(next(&state), vec![]);
    }
}
