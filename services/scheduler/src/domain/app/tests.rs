use gantry_es::spec::given;
use gantry_kernel::Uuid;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn id() -> AppId {
    AppId(Uuid::from_u128(1))
}

fn home() -> Home {
    let uuid = Uuid::from_u128(2);
    Home { org: OrgId(uuid), project: ProjectId(uuid), space: SpaceId(uuid), org_name: name("o"), project_name: name("p"), space_name: name("s") }
}

fn model() -> Value {
    json!({"outline": {"workloads": {"web": {"image": "i", "replicas": 2}, "each": {"kind": "global"}}}, "sealed": "x"})
}

fn created() -> AppEvent {
    let Home { org, project, space, org_name, project_name, space_name } = home();
    AppEvent::Created { app: id(), org, project, space, name: name("shop"), org_name, project_name, space_name }
}

fn revised(revision: u64) -> AppEvent {
    AppEvent::Revised { app: id(), revision, format: "compose".into(), model: model(), images: vec!["i".into()], reason: "why".into() }
}

fn started(revision: u64, from: Option<u64>) -> AppEvent {
    AppEvent::ReleaseStarted { app: id(), revision, from, strategy: "rolling".into() }
}

fn finished(revision: u64) -> AppEvent {
    AppEvent::ReleaseFinished { app: id(), revision }
}

fn running() -> Vec<AppEvent> {
    vec![created(), revised(1), started(1, None), finished(1)]
}

fn deploy_command() -> Command {
    let content = Content { format: "compose".into(), model: model(), images: vec!["i".into()], workloads: BTreeMap::new() };
    Command::Deploy { app: id(), home: home(), name: name("shop"), content, reason: "why".into(), queued: None }
}

#[test]
fn the_first_deployment_creates_revises_and_releases() {
    given::<App>([]).when(deploy_command()).then([created(), revised(1), started(1, None)]);
}

#[test]
fn the_next_one_is_released_from_the_last_finished_revision() {
    given::<App>(running()).when(deploy_command()).then([revised(2), started(2, Some(1))]);
    let mut history = running();
    history.extend([revised(2), started(2, Some(1))]);
    given::<App>(history).when(deploy_command()).then([revised(3), started(3, Some(1))]);
}

#[test]
fn a_queued_revision_is_admitted_once() {
    let Command::Deploy { app, home, name, content, reason, .. } = deploy_command() else { unreachable!() };
    let queued = AppEvent::Queued { app: id(), revision: 1, reason: "full".into() };
    let deploy = Command::Deploy { app, home, name, content, reason, queued: Some("full".into()) };
    given::<App>([]).when(deploy).then([created(), revised(1), started(1, None), queued.clone()]);
    let history = [created(), revised(1), started(1, None), queued];
    let admitted = AppEvent::Admitted { app: id(), revision: 1 };
    let state = given::<App>(history.clone()).when(Command::Admit { revision: 1 }).then([admitted.clone()]);
    assert_eq!(state.queued, None);
    given::<App>(history.clone()).when(Command::Admit { revision: 2 }).then([]);
    given::<App>(history.into_iter().chain([admitted])).when(Command::Admit { revision: 1 }).then([]);
}

#[test]
fn a_stopped_application_starts_with_its_next_revision() {
    let mut history = running();
    history.push(AppEvent::Stopped { app: id() });
    let state = given::<App>(history).when(deploy_command()).then([revised(2), started(2, Some(1)), AppEvent::Started { app: id() }]);
    assert!(!state.stopped);
}

#[test]
fn scaling_names_both_numbers_and_the_same_number_is_nothing() {
    let scaled = |from, replicas| AppEvent::Scaled { app: id(), workload: name("web"), replicas, from };
    given::<App>(running()).when(Command::Scale { workload: name("web"), replicas: 5 }).then([scaled(2, 5)]);
    given::<App>(running()).when(Command::Scale { workload: name("web"), replicas: 2 }).then([]);
    let mut history = running();
    history.push(scaled(2, 5));
    given::<App>(history).when(Command::Scale { workload: name("web"), replicas: 3 }).then([scaled(5, 3)]);
}

#[test]
fn scaling_refuses_unknown_and_global_workloads_and_wild_numbers() {
    let scale = |workload, replicas| Command::Scale { workload: name(workload), replicas };
    given::<App>(running()).when(scale("db", 1)).then_refused(|r| *r == Refusal::NoWorkload(name("db")));
    given::<App>(running()).when(scale("each", 1)).then_refused(|r| *r == Refusal::NotScalable(name("each")));
    given::<App>(running()).when(scale("web", 1001)).then_refused(|r| *r == Refusal::ReplicasOutOfRange);
}

#[test]
fn a_failed_release_goes_back_once() {
    let mut history = running();
    history.extend([revised(2), started(2, Some(1))]);
    let fail = Command::FailRelease { revision: 2, reason: "no progress".into(), back: true };
    let failed = AppEvent::ReleaseFailed { app: id(), revision: 2, reason: "no progress".into() };
    let back = AppEvent::ReleaseStarted { app: id(), revision: 1, from: None, strategy: "rollback".into() };
    let state = given::<App>(history.clone()).when(fail.clone()).then([failed.clone(), back.clone()]);
    assert_eq!((state.current, state.failure.as_deref()), (1, Some("no progress")));
    history.extend([failed, back]);
    given::<App>(history.clone()).when(fail).then([]);
    let again = Command::FailRelease { revision: 1, reason: "also".into(), back: true };
    given::<App>(history).when(again).then([AppEvent::ReleaseFailed { app: id(), revision: 1, reason: "also".into() }]);
}

#[test]
fn a_rollback_needs_the_revision() {
    given::<App>(running()).when(Command::Rollback { revision: 9 }).then_refused(|r| *r == Refusal::NoRevision(9));
    given::<App>(running()).when(Command::Rollback { revision: 1 }).then([]);
    let mut history = running();
    history.extend([revised(2), started(2, Some(1)), finished(2)]);
    given::<App>(history).when(Command::Rollback { revision: 1 }).then([AppEvent::ReleaseStarted {
        app: id(),
        revision: 1,
        from: Some(2),
        strategy: "rollback".into(),
    }]);
}

#[test]
fn stop_start_and_restart() {
    given::<App>(running()).when(Command::Stop).then([AppEvent::Stopped { app: id() }]);
    given::<App>(running()).when(Command::Start).then([]);
    given::<App>(running()).when(Command::Restart { workloads: vec![] }).then([AppEvent::Restarted { app: id(), workloads: vec![name("each"), name("web")] }]);
    let followed = json!({"outline": {"workloads": {
        "db": {"image": "i"}, "api": {"image": "i", "restart_with": ["db"]}, "web": {"image": "i", "restart_with": ["api"]}, "apart": {"image": "i"}
    }}, "sealed": "x"});
    let revised = AppEvent::Revised { app: id(), revision: 1, format: "compose".into(), model: followed, images: vec!["i".into()], reason: String::new() };
    let history = [created(), revised, started(1, None), finished(1)];
    given::<App>(history.clone())
        .when(Command::Restart { workloads: vec![name("db")] })
        .then([AppEvent::Restarted { app: id(), workloads: vec![name("db"), name("api"), name("web")] }]);
    given::<App>(history).when(Command::Restart { workloads: vec![name("web")] }).then([AppEvent::Restarted { app: id(), workloads: vec![name("web")] }]);
    given::<App>(running()).when(Command::Restart { workloads: vec![name("db")] }).then_refused(|r| *r == Refusal::NoWorkload(name("db")));
    let mut history = running();
    history.push(AppEvent::Stopped { app: id() });
    given::<App>(history.clone()).when(Command::Stop).then([]);
    given::<App>(history.clone()).when(Command::Start).then([AppEvent::Started { app: id() }]);
    given::<App>(history).when(Command::Restart { workloads: vec![] }).then_refused(|r| *r == Refusal::IsStopped);
}

#[test]
fn nothing_happens_to_a_missing_or_deleted_application() {
    given::<App>([]).when(Command::Stop).then_refused(|r| *r == Refusal::Missing);
    given::<App>(running()).when(Command::Delete).then([AppEvent::Deleted { app: id() }]);
    let mut history = running();
    history.push(AppEvent::Deleted { app: id() });
    given::<App>(history.clone()).when(Command::Delete).then_refused(|r| *r == Refusal::Missing);
    given::<App>(history).when(deploy_command()).then_refused(|r| *r == Refusal::Missing);
}

#[test]
fn only_the_release_under_way_finishes() {
    given::<App>(running()).when(Command::FinishRelease { revision: 1 }).then([]);
    let history = [created(), revised(1), started(1, None)];
    given::<App>(history).when(Command::FinishRelease { revision: 1 }).then([finished(1)]);
    let late = [created(), revised(1), started(1, None), AppEvent::ReleaseFailed { app: id(), revision: 1, reason: "slow".into() }];
    let state = given::<App>(late).when(Command::FinishRelease { revision: 1 }).then([finished(1)]);
    assert_eq!(state.failure, None);
}

#[test]
fn a_reason_is_not_a_novel() {
    let Command::Deploy { app, home, name, content, .. } = deploy_command() else { unreachable!() };
    let long = Command::Deploy { app, home, name, content, reason: "x".repeat(501), queued: None };
    given::<App>([]).when(long).then_refused(|r| *r == Refusal::ReasonTooLong);
}

fn canary(revision: u64, from: Option<u64>) -> AppEvent {
    AppEvent::ReleaseStarted { app: id(), revision, from, strategy: "canary".into() }
}

fn advanced(revision: u64, step: u32, percent: u32) -> AppEvent {
    AppEvent::ReleaseAdvanced { app: id(), revision, step, percent, reason: "on".into() }
}

fn advance(revision: u64, step: u32, percent: u32) -> Command {
    Command::AdvanceRelease { revision, step, percent, reason: "on".into() }
}

fn in_canary() -> Vec<AppEvent> {
    let mut history = running();
    history.extend([revised(2), canary(2, Some(1))]);
    history
}

fn deploy_exchanging() -> Command {
    let Command::Deploy { app, home, name, mut content, reason, queued } = deploy_command() else { unreachable!() };
    content.model["outline"]["release"] = json!({"strategy": "canary", "steps": [{"weight": 10}]});
    Command::Deploy { app, home, name, content, reason, queued }
}

#[test]
fn a_first_revision_and_one_of_a_stopped_application_have_nothing_to_be_exchanged_for() {
    let strategies = |history: Vec<AppEvent>| {
        let decided = <App as Decider>::decide(
            &history.iter().fold(App::default(), App::evolve),
            deploy_exchanging(),
            &gantry_es::Ctx { now: gantry_kernel::OffsetDateTime::UNIX_EPOCH, actor: "user:test".into() },
        )
        .unwrap();
        decided.into_iter().find_map(|e| if let AppEvent::ReleaseStarted { strategy, .. } = e { Some(strategy) } else { None }).unwrap()
    };
    assert_eq!(strategies(vec![]), "rolling");
    assert_eq!(strategies(running()), "canary");
    let mut stopped = running();
    stopped.push(AppEvent::Stopped { app: id() });
    assert_eq!(strategies(stopped), "rolling");
}

#[test]
fn a_release_advances_only_forwards_and_only_if_it_exchanges() {
    given::<App>(in_canary()).when(advance(2, 1, 10)).then([advanced(2, 1, 10)]);
    given::<App>(in_canary().into_iter().chain([advanced(2, 1, 10)])).when(advance(2, 1, 10)).then([]);
    given::<App>(in_canary()).when(advance(3, 1, 10)).then([]);
    let rolling = [created(), revised(1), started(1, None)];
    given::<App>(rolling).when(advance(1, 1, 10)).then([]);
}

#[test]
fn promoting_opens_the_present_step_or_all_and_resumes() {
    let promoted = |step| AppEvent::ReleasePromoted { app: id(), revision: 2, step };
    let (paused, resumed) = (AppEvent::ReleasePaused { app: id(), revision: 2, reason: "look".into() }, AppEvent::ReleaseResumed { app: id(), revision: 2 });
    given::<App>(in_canary().into_iter().chain([advanced(2, 1, 10)])).when(Command::Promote { full: false }).then([promoted(2)]);
    given::<App>(in_canary()).when(Command::Promote { full: true }).then([promoted(crate::domain::rollout::ALL)]);
    given::<App>(in_canary().into_iter().chain([paused.clone()])).when(Command::Promote { full: false }).then([resumed.clone(), promoted(1)]);
    given::<App>(in_canary()).when(Command::PauseRelease { reason: "look".into() }).then([paused.clone()]);
    given::<App>(in_canary().into_iter().chain([paused.clone()])).when(Command::PauseRelease { reason: "again".into() }).then([]);
    given::<App>(in_canary().into_iter().chain([paused])).when(Command::ResumeRelease).then([resumed]);
    given::<App>(in_canary()).when(Command::ResumeRelease).then([]);
}

#[test]
fn without_a_release_nothing_is_promoted_paused_or_given_up() {
    let abort = || Command::AbortRelease { reason: "no".into() };
    for command in [Command::Promote { full: true }, Command::PauseRelease { reason: String::new() }, Command::ResumeRelease, abort()] {
        given::<App>(running()).when(command).then_refused(|r| *r == Refusal::NoRelease);
    }
    let first = [created(), revised(1), started(1, None)];
    given::<App>(first.clone()).when(abort()).then_refused(|r| *r == Refusal::NothingBefore);
    given::<App>(first).when(Command::Promote { full: false }).then_refused(|r| *r == Refusal::NoSteps);
    let long = || "x".repeat(501);
    given::<App>(in_canary()).when(Command::AbortRelease { reason: long() }).then_refused(|r| *r == Refusal::ReasonTooLong);
    given::<App>(in_canary()).when(Command::PauseRelease { reason: long() }).then_refused(|r| *r == Refusal::ReasonTooLong);
}

#[test]
fn a_release_that_is_given_up_brings_the_replicas_back_that_were_set_by_hand() {
    let mut history = running();
    history.push(AppEvent::Scaled { app: id(), workload: name("web"), replicas: 7, from: 2 });
    history.extend([revised(2), canary(2, Some(1))]);
    let back = AppEvent::ReleaseStarted { app: id(), revision: 1, from: None, strategy: "rollback".into() };
    let failed = AppEvent::ReleaseFailed { app: id(), revision: 2, reason: "no".into() };
    let state = given::<App>(history.clone()).when(Command::AbortRelease { reason: "no".into() }).then([failed, back]);
    assert_eq!(state.scale, BTreeMap::from([(name("web"), 7)]));
    history.extend([revised(3), canary(3, Some(1))]);
    let state = given::<App>(history).when(Command::Rollback { revision: 1 }).then([AppEvent::ReleaseStarted {
        app: id(),
        revision: 1,
        from: None,
        strategy: "rollback".into(),
    }]);
    assert_eq!(state.scale, BTreeMap::from([(name("web"), 7)]));
}

fn follows(revision: u64) -> AppEvent {
    let mut model = model();
    model["outline"]["workloads"]["web"]["scaling"] = json!({"min": 1, "max": 9});
    AppEvent::Revised { app: id(), revision, format: "compose".into(), model, images: vec!["i".into()], reason: "why".into() }
}

fn scaled_by(hand: bool, replicas: u32, from: u32) -> AppEvent {
    let (app, workload) = (id(), name("web"));
    if hand { AppEvent::Scaled { app, workload, replicas, from } } else { AppEvent::Autoscaled { app, workload, replicas, from, reason: "why".into() } }
}

#[test]
fn a_number_set_while_scaling_is_held_stays_over_revisions() {
    let paused = AppEvent::ScalingPaused { app: id(), workload: name("web"), reason: String::new() };
    let mut history = vec![created(), follows(1), started(1, None), finished(1), scaled_by(false, 4, 2), paused, scaled_by(true, 6, 4)];
    history.extend([follows(2), started(2, Some(1))]);
    let state = history.iter().fold(App::default(), App::evolve);
    assert_eq!(state.scale, BTreeMap::from([(name("web"), 6)]));
    // Without scaling the number is the document's again.
    let plain = history.iter().chain(&[finished(2), revised(3), started(3, Some(2))]).fold(App::default(), App::evolve);
    assert_eq!(plain.scale, BTreeMap::new());
}

#[test]
fn what_follows_measures_goes_back_with_as_many_as_it_has() {
    let mut history = vec![created(), follows(1), started(1, None), finished(1), scaled_by(false, 4, 2)];
    history.extend([follows(2), canary(2, Some(1)), scaled_by(false, 9, 4)]);
    let back = AppEvent::ReleaseStarted { app: id(), revision: 1, from: None, strategy: "rollback".into() };
    let failed = AppEvent::ReleaseFailed { app: id(), revision: 2, reason: "no".into() };
    let state = given::<App>(history.clone()).when(Command::AbortRelease { reason: "no".into() }).then([failed.clone(), back.clone()]);
    assert_eq!(state.scale, BTreeMap::from([(name("web"), 9)]));
    // One that follows nothing has what it had.
    history[1] = revised(1);
    history[4] = scaled_by(true, 3, 2);
    let state = given::<App>(history).when(Command::AbortRelease { reason: "no".into() }).then([failed, back]);
    assert_eq!(state.scale, BTreeMap::from([(name("web"), 3)]));
}

#[test]
fn the_next_release_starts_from_the_revision_that_has_the_requests() {
    let mut history = in_canary();
    history.push(advanced(2, 3, 100));
    given::<App>(history).when(deploy_command()).then([revised(3), started(3, Some(2))]);
}

/// As a newer version might have stored it.
fn unreadable(revision: u64) -> AppEvent {
    let model = json!({"outline": {"workloads": {"web": {"image": 7}}}, "sealed": "x"});
    AppEvent::Revised { app: id(), revision, format: "compose".into(), model, images: vec!["i".into()], reason: "why".into() }
}

#[test]
fn nothing_is_decided_by_a_revision_that_cannot_be_read_as_if_it_said_nothing() {
    let history = vec![created(), follows(1), started(1, None), finished(1), scaled_by(false, 4, 2), unreadable(2), started(2, Some(1))];
    let state = history.iter().fold(App::default(), App::evolve);
    assert_eq!(state.autoscale, BTreeMap::from([(name("web"), 4)]), "what was measured is not forgotten");
    let commands = [
        Command::Scale { workload: name("web"), replicas: 3 },
        Command::Autoscale { workload: name("db"), replicas: 3, reason: "why".into() },
        Command::PauseScaling { workload: name("web"), reason: String::new() },
        Command::ResumeScaling { workload: name("web") },
        Command::Restart { workloads: vec![] },
    ];
    for command in commands {
        given::<App>(history.clone()).when(command).then_refused(|r| *r == Refusal::Unreadable(2));
    }
    let mut back = vec![created(), unreadable(1), started(1, None), finished(1), revised(2), canary(2, Some(1))];
    given::<App>(back.clone()).when(Command::Rollback { revision: 1 }).then_refused(|r| *r == Refusal::Unreadable(1));
    given::<App>(back.clone()).when(Command::AbortRelease { reason: String::new() }).then_refused(|r| *r == Refusal::Unreadable(1));
    let fail = Command::FailRelease { revision: 2, reason: "no".into(), back: true };
    given::<App>(back.clone()).when(fail).then([AppEvent::ReleaseFailed { app: id(), revision: 2, reason: "no".into() }]);
    // The ways out of it.
    back.push(AppEvent::Stopped { app: id() });
    given::<App>(back).when(Command::Delete).then([AppEvent::Deleted { app: id() }]);
    given::<App>(history).when(Command::Stop).then([AppEvent::Stopped { app: id() }]);
}

proptest! {
    #[test]
    fn replaying_any_history_never_panics(picks in proptest::collection::vec(0..10usize, 0..30)) {
        let all = [created(), revised(1), started(1, None), finished(1), started(7, Some(3)), AppEvent::Stopped { app: id() }, AppEvent::Started { app: id() },
            AppEvent::Deleted { app: id() }, AppEvent::Scaled { app: id(), workload: name("web"), replicas: 3, from: 1 }, unreadable(2)];
        let history: Vec<_> = picks.into_iter().map(|p| all[p].clone()).collect();
        let _ = given::<App>(history).when(Command::Scale { workload: name("web"), replicas: 1 });
    }
}
