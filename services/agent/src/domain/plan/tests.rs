//! The planner against a small world that does what it is told, and sometimes fails.

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::Uuid;
use proptest::prelude::*;

use super::super::actual::Container;
use super::*;

fn id(n: u8) -> InstanceId {
    InstanceId(Uuid::from_u128(u128::from(n)))
}

fn instance(n: u8) -> wire::WantedInstance {
    wire::WantedInstance { instance_id: id(n).to_string(), name: format!("i{n}"), image: "x".into(), stop_grace_seconds: 5, ..Default::default() }
}

fn wanted(list: impl IntoIterator<Item = wire::WantedInstance>) -> Wanted {
    let (wanted, faults) = Wanted::parse(wire::WantedState { generation: 1, instances: list.into_iter().collect(), ..Default::default() });
    assert!(faults.is_empty());
    wanted
}

fn pod(n: u8, state: Option<ContainerState>) -> Pod {
    Pod {
        id: format!("pod-{n}"),
        instance: id(n),
        attempt: 0,
        ready: true,
        spec: fingerprint(&instance(n)),
        grace_seconds: 5,
        container: state.map(|state| Container { id: format!("c-{n}"), attempt: 0, state }),
        beside: Default::default(),
    }
}

fn exited(code: i32, at_ms: i64) -> Option<ContainerState> {
    Some(ContainerState::Exited { code, reason: String::new(), ran_ms: 10, at_ms })
}

fn only(plan: Plan) -> Action {
    assert_eq!(plan.actions.len(), 1, "{plan:?}");
    plan.actions.into_iter().next().unwrap()
}

#[test]
fn a_wanted_instance_is_made_and_an_unwanted_one_removed() {
    let made = plan(&wanted([instance(1)]), &[], &Facts::default());
    assert_eq!(only(made), Action::Create { instance: id(1), attempt: 0 });
    let removed = plan(&wanted([]), &[pod(1, Some(ContainerState::Running))], &Facts::default());
    assert!(matches!(only(removed), Action::Remove { container: Some(_), .. }));
}

#[test]
fn who_has_written_too_much_goes_as_a_whole_and_a_job_is_only_ended() {
    let runs = [pod(1, Some(ContainerState::Running))];
    let facts = Facts { evicted: BTreeSet::from([id(1)]), ..Facts::default() };
    assert!(matches!(only(plan(&wanted([instance(1)]), &runs, &facts)), Action::Remove { container: Some(_), .. }));
    let used = Facts { in_use: BTreeSet::from([id(1)]), ..facts.clone() };
    assert!(plan(&wanted([instance(1)]), &runs, &used).actions.is_empty(), "its answers are waited for");
    let job = wire::WantedInstance { restart_policy: "never".into(), ..instance(1) };
    let runs = [Pod { spec: fingerprint(&job), ..pod(1, Some(ContainerState::Running)) }];
    assert!(matches!(only(plan(&wanted([job.clone()]), &runs, &facts)), Action::Stop { .. }));
    let ended = [Pod { spec: fingerprint(&job), ..pod(1, exited(137, 0)) }];
    assert!(plan(&wanted([job]), &ended, &facts).actions.is_empty());
}

#[test]
fn when_the_machine_starts_an_instance_waits_for_those_it_depends_on_here_and_not_for_ever() {
    let labels = |workload: &str| Some(wire::Labels { app_id: "a".into(), workload: workload.into(), ..Default::default() });
    let web =
        |until: &str| wire::WantedInstance { labels: labels("web"), after: vec![wire::Await { workload: "db".into(), until: until.into() }], ..instance(1) };
    let db = wire::WantedInstance { labels: labels("db"), ..instance(2) };
    let facts = Facts { now_ms: 5, order_until_ms: 100, ..Facts::default() };
    let creates_web = |until: &str, pods: &[Pod], facts: &Facts| {
        plan(&wanted([web(until), db.clone()]), pods, facts).actions.contains(&Action::Create { instance: id(1), attempt: 0 })
    };
    let first = plan(&wanted([web("ready"), db.clone()]), &[], &facts);
    assert_eq!((first.wake_ms, only(first)), (Some(100), Action::Create { instance: id(2), attempt: 0 }));
    let mut running = pod(2, Some(ContainerState::Running));
    running.spec = fingerprint(&db);
    assert!(creates_web("started", std::slice::from_ref(&running), &facts));
    assert!(!creates_web("ready", std::slice::from_ref(&running), &facts));
    let ready = Facts { ready: BTreeSet::from([id(2)]), ..facts.clone() };
    assert!(creates_web("ready", std::slice::from_ref(&running), &ready) && !creates_web("completed", &[running], &ready));
    assert!(creates_web("completed", &[pod(2, exited(0, 0))], &facts));
    assert!(creates_web("ready", &[], &Facts { now_ms: 100, ..facts.clone() }), "not for ever");
    assert_eq!(only(plan(&wanted([web("ready")]), &[], &facts)), Action::Create { instance: id(1), attempt: 0 }, "what is elsewhere is not waited for");
}

#[test]
fn an_instance_that_still_answers_requests_is_not_stopped() {
    let facts = Facts { in_use: BTreeSet::from([id(1)]), ..Facts::default() };
    let running = [pod(1, Some(ContainerState::Running))];
    assert_eq!(plan(&wanted([]), &running, &facts), Plan::default());
    let stopping = wanted([wire::WantedInstance { stopping: true, ..instance(1) }]);
    assert_eq!(plan(&stopping, &running, &facts), Plan::default());
    assert!(matches!(only(plan(&stopping, &running, &Facts::default())), Action::Stop { grace_seconds: 5, .. }));
}

#[test]
fn a_crashed_container_is_started_again_after_its_delay() {
    let all = wanted([instance(1)]);
    let first = plan(&all, &[pod(1, exited(1, 1000))], &Facts { now_ms: 1000, ..Facts::default() });
    assert_eq!(only(first), Action::Start { instance: id(1), pod: "pod-1".into(), attempt: 1, old: Some("c-1".into()) });
    let third = Facts { now_ms: 1500, crashes: BTreeMap::from([(id(1), 2)]), ..Facts::default() };
    assert_eq!(plan(&all, &[pod(1, exited(1, 1000))], &third), Plan { actions: vec![], wake_ms: Some(2000) });
}

#[test]
fn a_job_that_ended_stays_ended_even_when_its_pod_dies() {
    let job = wanted([wire::WantedInstance { restart_policy: "on-failure".into(), ..instance(1) }]);
    let mut done = pod(1, exited(0, 0));
    assert_eq!(plan(&job, std::slice::from_ref(&done), &Facts::default()), Plan::default());
    done.ready = false;
    assert_eq!(plan(&job, &[done], &Facts::default()), Plan::default());
}

#[test]
fn a_dead_sandbox_and_a_changed_spec_are_remade() {
    let all = wanted([instance(1)]);
    let dead = Pod { ready: false, ..pod(1, Some(ContainerState::Running)) };
    assert!(matches!(only(plan(&all, &[dead], &Facts::default())), Action::Remove { container: None, .. }));
    let old = Pod { spec: "other".into(), ..pod(1, Some(ContainerState::Running)) };
    assert!(matches!(only(plan(&all, &[old], &Facts::default())), Action::Remove { container: Some(_), .. }));
}

#[test]
fn a_container_that_does_not_live_is_stopped() {
    let facts = Facts { dead: BTreeSet::from([id(1)]), ..Facts::default() };
    assert!(matches!(only(plan(&wanted([instance(1)]), &[pod(1, Some(ContainerState::Running))], &facts)), Action::Stop { .. }));
}

#[test]
fn a_sidecar_that_ended_is_started_again_and_one_without_a_main_container_is_not_kept() {
    let with = wire::WantedInstance { sidecars: vec![wire::WantedInstance { name: "log".into(), image: "y".into(), ..Default::default() }], ..instance(1) };
    let all = wanted(vec![with.clone()]);
    let seen = |state: ContainerState| Pod {
        spec: fingerprint(&with),
        beside: BTreeMap::from([("log".to_owned(), Container { id: "s".into(), attempt: 2, state })]),
        ..pod(1, Some(ContainerState::Running))
    };
    assert!(plan(&all, &[seen(ContainerState::Running)], &Facts::default()).actions.is_empty());
    let ended = seen(ContainerState::Exited { code: 1, reason: String::new(), ran_ms: 1, at_ms: 10_000 });
    let early = plan(&all, std::slice::from_ref(&ended), &Facts { now_ms: 10_001, ..Facts::default() });
    assert!(early.actions.is_empty() && early.wake_ms.is_some());
    let later = Facts { now_ms: 100_000, ..Facts::default() };
    assert!(matches!(only(plan(&all, &[ended], &later)), Action::Beside { attempt: 3, old: Some(_), .. }));
    let half = Pod { container: None, ..seen(ContainerState::Running) };
    assert!(matches!(only(plan(&all, &[half], &later)), Action::Remove { .. }), "what comes before is run anew");
    // A job that is done leaves nothing running.
    let job = wanted(vec![wire::WantedInstance { restart_policy: "never".into(), ..with.clone() }]);
    let done = Pod { container: pod(1, exited(0, 0)).container, ..seen(ContainerState::Running) };
    assert!(matches!(only(plan(&job, &[done], &later)), Action::StopBeside { container, .. } if container == "s"));
    // One that does not live is stopped alone.
    let dead = Facts { dead_beside: BTreeSet::from([(id(1), "log".to_owned())]), ..later };
    let stopped = only(plan(&all, &[seen(ContainerState::Running)], &dead));
    assert_eq!(stopped, Action::StopBeside { instance: id(1), name: "log".into(), container: "s".into(), grace_seconds: 5 });
}

#[test]
fn of_what_is_stopped_nothing_runs_on_until_the_scheduler_has_heard_it() {
    let sidecars = vec![wire::WantedInstance { name: "log".into(), image: "y".into(), ..Default::default() }];
    // As when the lease is almost over, and nobody hears it.
    let stopping = wire::WantedInstance { sidecars, stopping: true, stop_grace_seconds: 1, ..instance(1) };
    let all = wanted([stopping.clone()]);
    let seen = |main: Option<ContainerState>, beside: ContainerState| Pod {
        spec: fingerprint(&stopping),
        beside: BTreeMap::from([("log".to_owned(), Container { id: "s".into(), attempt: 0, state: beside })]),
        ..pod(1, main)
    };
    let next = |pod: Pod| plan(&all, &[pod], &Facts::default());
    let ended = only(next(seen(exited(0, 0), ContainerState::Running)));
    assert_eq!(ended, Action::StopBeside { instance: id(1), name: "log".into(), container: "s".into(), grace_seconds: 1 });
    assert!(next(seen(exited(0, 0), exited(0, 0).unwrap())).actions.is_empty(), "how it ended is not heard yet");
    assert!(matches!(only(next(seen(None, ContainerState::Running))), Action::Remove { grace_seconds: 1, .. }));
}

/// What the runtime would do with an action; `fail` = it breaks half-way.
fn apply(world: &mut Vec<Pod>, action: &Action, wanted: &Wanted, fail: bool, serial: &mut u32) {
    *serial += 1;
    match action {
        Action::Create { instance, attempt } => world.push(Pod {
            id: format!("pod-new-{serial}"),
            instance: *instance,
            attempt: *attempt,
            ready: true,
            spec: fingerprint(&wanted.instances[instance]),
            grace_seconds: 1,
            container: (!fail).then(|| Container { id: format!("c-new-{serial}"), attempt: *attempt, state: ContainerState::Running }),
            beside: Default::default(),
        }),
        Action::Beside { pod, name, attempt, .. } => {
            let pod = world.iter_mut().find(|p| p.id == *pod).expect("the planner names pods that are there");
            pod.beside.insert(name.clone(), Container { id: format!("c-new-{serial}"), attempt: *attempt, state: ContainerState::Running });
        }
        Action::Start { pod, attempt, .. } => {
            let pod = world.iter_mut().find(|p| p.id == *pod).expect("the planner names pods that are there");
            let state = if fail { ContainerState::Created } else { ContainerState::Running };
            pod.container = Some(Container { id: format!("c-new-{serial}"), attempt: *attempt, state });
        }
        Action::Stop { container, .. } => {
            for pod in world.iter_mut() {
                if let Some(c) = pod.container.as_mut().filter(|c| c.id == *container) {
                    c.state = ContainerState::Exited { code: 143, reason: String::new(), ran_ms: 1, at_ms: 0 };
                }
            }
        }
        Action::StopBeside { container, .. } => {
            for c in world.iter_mut().flat_map(|p| p.beside.values_mut()).filter(|c| c.id == *container) {
                c.state = ContainerState::Exited { code: 143, reason: String::new(), ran_ms: 1, at_ms: 0 };
            }
        }
        Action::Remove { pod, .. } if !fail => world.retain(|p| p.id != *pod),
        Action::Remove { pod, .. } => {
            // Stopped, not yet removed.
            let pod = world.iter_mut().find(|p| p.id == *pod).expect("the planner names pods that are there");
            pod.ready = false;
        }
    }
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let state = prop_oneof![Just(None), Just(Some(ContainerState::Created)), Just(Some(ContainerState::Running)), (0..3i32).prop_map(|code| exited(code, 0)),];
    (0..6u8, 0..4u32, any::<bool>(), any::<bool>(), state, any::<u32>()).prop_map(|(n, attempt, ready, current, state, serial)| {
        let mut made = pod(n, state);
        made.id = format!("pod-{n}-{serial}");
        if let Some(c) = made.container.as_mut() {
            c.id = format!("c-{n}-{serial}")
        }
        made.attempt = attempt;
        made.ready = ready;
        if !current {
            made.spec = "old".into()
        }
        made
    })
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let policy = prop_oneof![Just("always"), Just("on-failure"), Just("never")];
    proptest::collection::btree_map(0..6u8, (any::<bool>(), policy), 0..6)
        .prop_map(|all| wanted(all.into_iter().map(|(n, (stopping, policy))| wire::WantedInstance { stopping, restart_policy: policy.into(), ..instance(n) })))
}

proptest! {
    #[test]
    fn from_anywhere_the_world_becomes_as_wanted_and_then_nothing_is_done(
        wanted in any_wanted(),
        mut world in proptest::collection::vec(any_pod(), 0..10),
        failures in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let facts = Facts { now_ms: 1_000_000, ..Facts::default() };
        let mut serial = 0;
        let mut failures = failures.into_iter();
        for round in 0.. {
            prop_assert!(round < 60, "does not converge: {:?}", plan(&wanted, &world, &facts));
            let plan = plan(&wanted, &world, &facts);
            let mut seen = BTreeSet::new();
            for action in &plan.actions {
                prop_assert!(seen.insert(action.instance()), "two steps for one instance: {plan:?}");
                if let Action::Create { instance, .. } = action {
                    prop_assert!(!world.iter().any(|p| p.instance == *instance), "a second pod of one instance");
                }
                apply(&mut world, action, &wanted, failures.next().unwrap_or(false), &mut serial);
            }
            if plan.actions.is_empty() {
                break;
            }
        }
        for (id, instance) in &wanted.instances {
            let pods: Vec<_> = world.iter().filter(|p| p.instance == *id).collect();
            prop_assert!(pods.len() <= 1);
            let running = pods.iter().any(|p| p.running() && p.spec == fingerprint(instance));
            let ended = pods.iter().any(|p| matches!(&p.container, Some(c) if matches!(c.state, ContainerState::Exited { .. })));
            match (instance.stopping, Policy::parse(&instance.restart_policy)) {
                (true, _) => prop_assert!(!running),
                (false, Policy::Always) => prop_assert!(running),
                (false, _) => prop_assert!(running || ended),
            }
        }
        prop_assert!(world.iter().all(|p| wanted.instances.contains_key(&p.instance)));
    }

    #[test]
    fn an_instance_whose_step_is_under_way_gets_no_other(wanted in any_wanted(), world in proptest::collection::vec(any_pod(), 0..10)) {
        let busy: BTreeSet<_> = (0..3).map(id).collect();
        let facts = Facts { now_ms: 1_000_000, busy: busy.clone(), ..Facts::default() };
        prop_assert!(plan(&wanted, &world, &facts).actions.iter().all(|a| !busy.contains(&a.instance())));
    }
}
