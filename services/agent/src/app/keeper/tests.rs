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
        folders,
        resolvers: Vec::new(),
        services: None,
        nics: Nics::new(at("nics"), shared.routes.clone()),
        isolating: Isolating::new(cri.clone(), shared.clone(), Tables::new(at("tables")), None, Vec::new()),
        checkpoints: Checkpoints::new(cri.clone(), "criu".into(), at("checkpoints")),
        default_pids: 100,
        wanted: shared.wanted.clone(),
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
