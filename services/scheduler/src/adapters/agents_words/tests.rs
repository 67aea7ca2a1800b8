use std::sync::Arc;

use gantry_kernel::{Name, OrgId, ProjectId, SpaceId, Uuid};

use super::*;
use crate::domain::model::{Hooks, Mount, Sharing};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// As a node is told of it.
fn told(spec: Workload) -> proto::WantedInstance {
    let uuid = Uuid::from_u128(7);
    let home = Home { org: OrgId(uuid), project: ProjectId(uuid), space: SpaceId(uuid), org_name: name("o"), project_name: name("p"), space_name: name("s") };
    let wanted = WantedInstance {
        id: InstanceId(uuid),
        name: "shop-web-0".into(),
        app: AppId(uuid),
        app_name: name("shop"),
        home,
        workload: name("web"),
        revision: 1,
        spec: Arc::new(spec),
        networks: BTreeMap::new(),
        stopping: false,
    };
    instance(&wanted, None, None)
}

fn header(name: &str, value: &str) -> proto::KeyValue {
    proto::KeyValue { name: name.into(), value: value.into() }
}

#[test]
fn what_is_asked_of_an_instance_is_told_whole() {
    let headers = BTreeMap::from([("X-Key".to_owned(), "1".to_owned())]);
    let probe = |check| Probe { purpose: Purpose::Ready, check, period_ms: 1, timeout_ms: 1, failure_threshold: 1, success_threshold: 1, initial_delay_ms: 0 };
    let hook = Hook::Http { path: "/drain".into(), port: 443, https: true, host: "shop.test".into(), headers: headers.clone() };
    let spec = Workload {
        probes: vec![
            probe(Check::Http { path: "/live".into(), port: 443, https: true, host: "shop.test".into(), headers }),
            probe(Check::Grpc { port: 50, service: "shop.Cart".into() }),
        ],
        hooks: Hooks { post_start: Vec::new(), pre_stop: vec![hook] },
        mounts: vec![Mount { sub_path: "a/b".into(), propagation: "HostToContainer".into(), ..Mount::new(MountKind::Scratch, "work", "/work") }],
        files: vec![File { path: "/x".into(), uid: Some(7), gid: Some(8), ..File::default() }],
        fs_group: Some(0),
        run_as_non_root: true,
        tuning: Tuning { cpu_shares: 512, cpuset: "0-1".into(), memory_swap_bytes: -1, oom_score_adj: 1000, ..Tuning::default() },
        sharing: Sharing { host_pid: true, ..Sharing::default() },
        ..Workload::default()
    };
    let told = told(spec);
    let (http, grpc) = (&told.probes[0], &told.probes[1]);
    assert_eq!((http.https, http.host.as_str(), http.headers.as_slice()), (true, "shop.test", &[header("X-Key", "1")][..]));
    assert_eq!((grpc.kind.as_str(), grpc.service.as_str()), ("grpc", "shop.Cart"));
    let hook = &told.pre_stop[0];
    assert_eq!((hook.kind.as_str(), hook.port, hook.https, hook.host.as_str(), hook.headers.len()), ("http", 443, true, "shop.test", 1));
    assert_eq!((told.mounts[0].sub_path.as_str(), told.mounts[0].propagation.as_str()), ("a/b", "slave"));
    assert_eq!((told.files[0].uid, told.files[0].gid, told.fs_group, told.run_as_non_root), (7, 8, Some(0), true));
    let tuned = told.tuning.clone().unwrap();
    assert_eq!((tuned.cpu_shares, tuned.cpuset.as_str(), tuned.memory_swap_bytes, tuned.oom_score_adj), (512, "0-1", -1, 1000));
    assert_eq!((told.host_pid, told.host_ipc), (true, false));
}

#[test]
fn further_containers_are_told_what_counts_for_the_whole_instance() {
    let facts = [("L", EnvFact::Label("tier".into())), ("A", EnvFact::ServiceAccount), ("H", EnvFact::NodeAddress)];
    let beside = Container { name: "side".into(), env_facts: facts.map(|(name, fact)| (name.to_owned(), fact)).into(), ..Container::default() };
    let labels = BTreeMap::from([("tier".to_owned(), "front".to_owned())]);
    let told = told(Workload { fs_group: Some(7), labels, sidecars: vec![beside], ..Workload::default() });
    let side = &told.sidecars[0];
    assert_eq!((side.name.as_str(), side.fs_group), ("side", Some(7)));
    assert_eq!(side.env, [header("A", "default"), header("L", "front")]);
    assert_eq!(side.env_facts, [proto::EnvFact { name: "H".into(), fact: "node_address".into() }]);
    assert!(told.tuning.is_none(), "nothing is asked");
}
