use std::net::Ipv4Addr;
use std::path::Path;

use gantry_contract::proto::scheduler::{Nic, WantedInstance};
use gantry_kernel::Uuid;
use prost::Message;

use super::*;
use crate::adapters::checkpoints::Checkpoints;
use crate::adapters::folders::Folders;
use crate::adapters::haproxy::Haproxy;
use crate::adapters::nics::Nics;
use crate::adapters::tables::Tables;
use crate::adapters::volumes::Volumes;
use crate::app::balancer::Listen;
use crate::app::isolating::Isolating;

/// One whose container runtime is away.
async fn keeper(folder: &Path) -> Keeper {
    let at = |name: &str| folder.join(name);
    let (shared, cri) = (Shared::new(None), Cri::lazy("/nowhere"));
    let disk = Disk::open(at("state")).await.unwrap();
    let folders = Folders {
        volumes: Volumes::new(at("volumes"), at("kept")),
        instances: at("instances"),
        logs: at("logs"),
        bind_allowed: Vec::new(),
        files_on_disk: true,
    };
    let steps = Steps {
        cri: cri.clone(),
        node: "n1".into(),
        address: String::new(),
        folders,
        resolvers: Vec::new(),
        services: None,
        nics: Nics::new(at("nics"), shared.routes.clone()),
        isolating: Isolating::new(cri.clone(), shared.clone(), Tables::new(at("tables")), None, Vec::new()),
        checkpoints: Checkpoints::new(cri.clone(), "criu".into(), at("checkpoints")),
        default_pids: 100,
        wanted: shared.wanted.clone(),
        lease: shared.lease.clone(),
        sleep: shared.sleep,
        fetching: shared.fetching.clone(),
        wake: shared.wake.clone(),
    };
    let haproxy = Haproxy::new("/nowhere/haproxy".into(), at("haproxy"), at("haproxy.log"), "127.0.0.1:0".into());
    let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
    let balancer = Balancer::open(Arc::new(haproxy), disk.clone(), listen, "a-test").await;
    let (tracker, cancel) = (TaskTracker::new(), CancellationToken::new());
    Keeper::new(Parts { env: Env::system(), shared, cri, steps, balancer, disk, tracker, cancel }).await
}

#[tokio::test]
async fn after_a_step_the_engine_is_asked_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    let id = InstanceId(Uuid::from_u128(1));
    keeper.facts.busy.insert(id);
    keeper.seen = Some((Vec::new(), Instant::now()));
    keeper.take_in((Action::Create { instance: id, attempt: 0 }, Ok(Done::default())));
    assert!(keeper.facts.busy.is_empty());
    assert!(keeper.seen.is_none(), "by what it had before, the instance would be made a second time");
}

#[tokio::test]
async fn a_node_that_is_removed_leads_nowhere_any_more() {
    let shared = Shared::new(None);
    assert!(shared.routes.borrow().is_none());
    shared.part();
    assert_eq!(*shared.routes.borrow(), Some(Routes::new()), "also those that are only on the disk are to go");
    assert!(shared.wanted.borrow().as_ref().is_some_and(|wanted| wanted.instances.is_empty()));
}

#[tokio::test]
async fn interfaces_of_a_pod_that_somebody_took_away_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    let note = folder.path().join("nics/gone");
    std::fs::create_dir_all(folder.path().join("nics/leases")).unwrap();
    // A driver that nobody has: nothing of this machine is touched.
    let kept = WantedInstance { nics: vec![Nic { driver: "nobodys".into(), ..Default::default() }], ..Default::default() };
    std::fs::write(&note, kept.encode_to_vec()).unwrap();
    keeper.facts.busy.insert(InstanceId(Uuid::from_u128(1)));
    keeper.let_go_of_interfaces(&[]).await;
    assert!(keeper.connected.is_none(), "a pod may just have been made");
    keeper.facts.busy.clear();
    keeper.let_go_of_interfaces(&[]).await;
    keeper.tracker.close();
    tokio::time::timeout(Duration::from_secs(10), keeper.tracker.wait()).await.expect("they go");
    assert!(!note.exists() && folder.path().join("nics/leases").exists());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_holds_up_no_requests() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    // Connections come in, and nobody answers.
    let socket = folder.path().join("sock");
    let _deaf = tokio::net::UnixListener::bind(&socket).unwrap();
    keeper.steps.cri = Cri::lazy(&socket);
    keeper.runtime = Runtime::new(keeper.steps.cri.clone(), "n1".into());
    keeper.shared.wanted.send_replace(Some(Arc::default()));
    keeper.ready.insert(InstanceId(Uuid::from_u128(1)), "container".into());
    let began = Instant::now();
    assert!(keeper.look().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(120), "every call has its limit");
    assert_eq!(keeper.ready.len(), 1, "nothing is known yet: what the agent before has left stays");
    keeper.looked = true;
    assert!(keeper.look().await.is_err());
    assert!(keeper.ready.is_empty(), "what is not ready any more gets no requests, whatever the engine does");
}

#[tokio::test]
async fn no_step_begins_before_its_word_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    keeper.shared.saving();
    // Of one that is not wanted, there is nothing to make.
    let id = InstanceId(Uuid::from_u128(1));
    keeper.begin(Action::Create { instance: id, attempt: 0 }, &Wanted::default());
    tokio::task::yield_now().await;
    assert!(keeper.finished.1.try_recv().is_err() && keeper.facts.busy.contains(&id));
    keeper.shared.has_saved(1);
    let (action, result) = tokio::time::timeout(Duration::from_secs(30), keeper.finished.1.recv()).await.expect("it begins").unwrap();
    assert!(action.instance() == id && result.is_ok());
}

#[tokio::test]
async fn words_that_come_faster_than_the_disk_takes_them_hold_up_no_step() {
    let shared = Shared::new(None);
    shared.saving();
    let step = shared.until_saved(false);
    tokio::pin!(step);
    tokio::select! {
        biased;
        () = &mut step => panic!("its word is not on disk"),
        () = tokio::task::yield_now() => {}
    }
    shared.has_saved(1);
    // The next one comes in the same moment.
    shared.saving();
    tokio::time::timeout(Duration::from_secs(30), step).await.expect("its own is on disk");
}

#[tokio::test]
async fn what_must_not_run_twice_is_stopped_in_time_also_when_the_disk_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    keeper.shared.saving();
    let ids = [1, 2].map(|n| InstanceId(Uuid::from_u128(n)));
    let instance = |n: usize| WantedInstance { instance_id: ids[n].to_string(), image: "x".into(), fenced: n == 0, ..Default::default() };
    let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![instance(0), instance(1)], ..Default::default() });
    for id in ids {
        keeper.begin(Action::Stop { instance: id, container: "c".into(), grace_seconds: 1 }, &wanted);
    }
    keeper.shared.lease.send_replace(Lease::over());
    let (action, _) = tokio::time::timeout(Duration::from_secs(30), keeper.finished.1.recv()).await.expect("it begins").unwrap();
    assert_eq!(action.instance(), ids[0]);
    tokio::task::yield_now().await;
    assert!(keeper.finished.1.try_recv().is_err(), "the other one waits for its word");
}

#[tokio::test]
async fn what_must_not_run_twice_is_stopped_before_the_balancer_is_waited_for() {
    use crate::domain::actual::{Container, ContainerState};
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    let ids = [1, 2].map(|n| InstanceId(Uuid::from_u128(n)));
    let instance = |n: usize| WantedInstance { instance_id: ids[n].to_string(), image: "x".into(), fenced: n == 0, ..Default::default() };
    let (word, _) = Wanted::parse(wire::WantedState { instances: vec![instance(0), instance(1)], ..Default::default() });
    let word = Arc::new(word);
    let pods = ids.map(|id| Pod {
        id: format!("pod of {id}"),
        instance: id,
        attempt: 0,
        ready: true,
        spec: String::new(),
        grace_seconds: 1,
        container: Some(Container { id: format!("container of {id}"), attempt: 0, state: ContainerState::Running }),
        beside: BTreeMap::new(),
    });
    // Both answer requests, and the engine has not got the second one as it is wanted.
    keeper.facts.in_use = ids.into();
    keeper.shared.lease.send_replace(Lease::new(Instant::now(), Duration::from_secs(3600)));
    let within = keeper.within_lease(&word);
    keeper.end_fenced(&within, &pods);
    assert!(keeper.facts.busy.is_empty(), "as long as there is a lease");
    keeper.shared.lease.send_replace(Lease::over());
    let within = keeper.within_lease(&word);
    keeper.end_fenced(&within, &pods);
    assert_eq!(keeper.facts.busy, BTreeSet::from([ids[0]]), "the other one has its turn in the round");
}

#[tokio::test]
async fn what_is_not_wanted_any_more_or_may_run_elsewhere_is_not_started_at_the_end_of_a_long_step() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = keeper(folder.path()).await;
    let id = InstanceId(Uuid::from_u128(1));
    keeper.shared.lease.send_replace(Lease::new(Instant::now(), Duration::from_secs(3600)));
    let said = |stopping, fenced| WantedInstance { instance_id: id.to_string(), image: "x".into(), stopping, fenced, ..Default::default() };
    let may = |now: WantedInstance| {
        let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![now.clone()], ..Default::default() });
        keeper.shared.wanted.send_replace(Some(Arc::new(wanted)));
        // The step began by the word before.
        keeper.steps.may_run(id, &WantedInstance { stopping: false, ..now })
    };
    assert!(may(said(false, true)).is_ok() && matches!(may(said(true, true)), Err(StepError::Unwanted)));
    keeper.shared.lease.send_replace(Lease::over());
    assert!(may(said(false, false)).is_ok() && matches!(may(said(false, true)), Err(StepError::Fenced)));
    keeper.shared.wanted.send_replace(Some(Arc::default()));
    assert!(matches!(keeper.steps.may_run(id, &said(false, false)), Err(StepError::Unwanted)));
}

#[tokio::test]
async fn a_step_that_waits_for_an_image_ends_when_the_instance_may_not_run_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    // Connections come in, and nobody answers.
    let socket = folder.path().join("sock");
    let _deaf = tokio::net::UnixListener::bind(&socket).unwrap();
    keeper.steps.cri = Cri::lazy(&socket);
    let id = InstanceId(Uuid::from_u128(1));
    let instance = WantedInstance { instance_id: id.to_string(), image: "x".into(), fenced: true, ..Default::default() };
    let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![instance.clone()], ..Default::default() });
    let wanted = Arc::new(wanted);
    let (steps, shared) = (keeper.steps.clone(), keeper.shared.clone());
    let refused = async |refuse: &dyn Fn()| {
        shared.lease.send_replace(Lease::new(Instant::now(), Duration::from_secs(3600)));
        shared.wanted.send_replace(Some(wanted.clone()));
        let step = steps.take(Action::Create { instance: id, attempt: 0 }, Some(instance.clone()), BTreeMap::new());
        let meanwhile = async {
            tokio::task::yield_now().await;
            refuse();
        };
        tokio::join!(step, meanwhile).0
    };
    let unwanted = refused(&|| {
        shared.wanted.send_replace(Some(Arc::default()));
    })
    .await;
    assert!(matches!(unwanted, Err(StepError::Unwanted)), "{unwanted:?}");
    let fenced = refused(&|| {
        shared.lease.send_replace(Lease::over());
    })
    .await;
    assert!(matches!(fenced, Err(StepError::Fenced)), "{fenced:?}");
}

#[tokio::test]
async fn a_step_that_is_refused_is_no_failure_of_its_instance() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    let id = InstanceId(Uuid::from_u128(1));
    for refusal in [StepError::Unwanted, StepError::Fenced] {
        keeper.facts.busy.insert(id);
        keeper.take_in((Action::Create { instance: id, attempt: 0 }, Err(refusal)));
        assert!(keeper.facts.busy.is_empty() && keeper.facts.not_before_ms.is_empty(), "nobody has to wait when it may run");
        assert_eq!(keeper.memory[&id].failure, "", "the scheduler would take it for its end");
    }
    let failed = StepError::Init { name: "first".into(), how: "ended".into() };
    keeper.take_in((Action::Create { instance: id, attempt: 0 }, Err(failed)));
    assert!(keeper.facts.not_before_ms.contains_key(&id) && !keeper.memory[&id].failure.is_empty());
}

#[tokio::test]
async fn what_was_given_up_is_not_started_again_by_the_next_agent() {
    use crate::domain::actual::{Container, ContainerState};
    let folder = tempfile::tempdir().unwrap();
    let id = InstanceId(Uuid::from_u128(1));
    let instance = WantedInstance { instance_id: id.to_string(), image: "x".into(), restarts_and_one: 2, ..Default::default() };
    let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![instance], ..Default::default() });
    let ended = |container: &str| Pod {
        id: "p".into(),
        instance: id,
        attempt: 0,
        // So that nobody is asked for its address.
        ready: false,
        spec: String::new(),
        grace_seconds: 1,
        container: Some(Container { id: container.into(), attempt: 0, state: ContainerState::Exited { code: 1, reason: String::new(), ran_ms: 10, at_ms: 0 } }),
        beside: BTreeMap::new(),
    };
    let mut first = keeper(folder.path()).await;
    first.remember(&wanted, &[ended("a")]).await;
    assert!(!first.memory[&id].given_up);
    first.remember(&wanted, &[ended("b")]).await;
    assert!(first.memory[&id].given_up);
    drop(first);
    let mut next = keeper(folder.path()).await;
    next.remember(&wanted, &[ended("b")]).await;
    assert!(next.memory[&id].given_up && next.facts.crashes[&id] == 2, "an end is counted once");
}

#[tokio::test]
async fn nothing_is_taken_away_by_a_word_that_is_not_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    let left = folder.path().join("instances").join(InstanceId(Uuid::from_u128(1)).to_string());
    std::fs::create_dir_all(&left).unwrap();
    keeper.shared.saving();
    keeper.let_go_of_others(&Wanted::default(), &[]).await;
    assert!(keeper.shared.held.borrow().contains(&InstanceId(Uuid::from_u128(1))), "it is held meanwhile");
    tokio::task::yield_now().await;
    assert!(left.exists());
    keeper.shared.has_saved(1);
    keeper.tracker.close();
    tokio::time::timeout(Duration::from_secs(30), keeper.tracker.wait()).await.expect("it goes");
    assert!(!left.exists() && keeper.shared.held.borrow().is_empty());
}

#[tokio::test]
async fn what_could_not_be_let_go_is_looked_for_again_though_nothing_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path()).await;
    keeper.let_go_of_others(&Wanted::default(), &[]).await;
    // It was busy, and is let go now.
    let left = folder.path().join("instances").join(InstanceId(Uuid::from_u128(1)).to_string());
    std::fs::create_dir_all(&left).unwrap();
    keeper.let_go_of_others(&Wanted::default(), &[]).await;
    assert!(keeper.shared.held.borrow().is_empty(), "not in each round");
    if let Some((_, at)) = &mut keeper.kept_for {
        *at = at.checked_sub(Duration::from_secs(61)).expect("the machine has run for longer");
    }
    keeper.let_go_of_others(&Wanted::default(), &[]).await;
    keeper.tracker.close();
    tokio::time::timeout(Duration::from_secs(30), keeper.tracker.wait()).await.expect("it goes");
    assert!(!left.exists());
}
