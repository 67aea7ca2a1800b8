use gantry_kernel::Uuid;
use serde_json::json;

use super::*;

fn node(name: &str, cpu: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": {}, "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "10" }, "conditions": [{ "type": "Ready", "status": "True" }] } })
}

fn uid(n: u128) -> String {
    Uuid::from_u128(n).to_string()
}

fn at(n: u128) -> At {
    ("x".into(), format!("p{n}"))
}

fn pod(n: u128, cpu: &str, priority: i32, on: &str) -> Value {
    json!({
        "metadata": { "name": format!("p{n}"), "namespace": "x", "uid": uid(n), "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "schedulerName": "gantry", "priority": priority, "nodeName": on, "containers": [{ "resources": { "requests": { "cpu": cpu } } }] },
    })
}

impl Desk {
    fn waiting(&self) -> usize {
        self.queue.len() + self.stuck.len() + self.resting.len()
    }

    fn looked(&mut self) -> Vec<Decision> {
        self.decide(10, Instant::now())
    }

    /// Where it is bound to by the next decision, which is about it.
    fn binds(&mut self, n: u128) -> String {
        match &self.looked()[..] {
            [Decision::Bind { pod, node, .. }] if *pod == at(n) => node.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn held_back(&mut self, n: u128) -> String {
        match &self.looked()[..] {
            [Decision::Wait { pod, reason, .. }] if *pod == at(n) => reason.clone(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pods_go_where_there_is_room_and_others_are_told_why_not() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.pod(&pod(1, "1500m", 0, ""));
    desk.pod(&pod(2, "1", 0, ""));
    let mut other = pod(3, "100m", 0, "");
    other["spec"]["schedulerName"] = "default-scheduler".into();
    desk.pod(&other);
    let decided = desk.looked();
    assert!(matches!(&decided[0], Decision::Bind { pod, node, .. } if *pod == at(1) && node == "n1"), "{decided:?}");
    assert!(matches!(&decided[1], Decision::Wait { pod, reason, .. } if *pod == at(2) && reason.starts_with("0/1 nodes")), "{decided:?}");
    assert!(desk.looked().is_empty());
    desk.node(&node("n2", "2"));
    assert_eq!(desk.binds(2), "n2");
}

#[test]
fn a_refused_binding_is_tried_again_after_a_while_and_later_every_time() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.pod(&pod(1, "1", 0, ""));
    let mut now = Instant::now();
    for pause in [1, 2, 4, 8, 10, 10] {
        assert_eq!(desk.decide(10, now).len(), 1);
        desk.failed(&at(1), &uid(1), now);
        desk.again();
        assert!(desk.decide(10, now).is_empty());
        assert_eq!(desk.next(), Some(now + Duration::from_secs(pause)));
        now += Duration::from_secs(pause);
    }
    // Another pod of that name was meant.
    assert_eq!(desk.decide(10, now).len(), 1);
    desk.failed(&at(1), &uid(2), now);
    assert_eq!((desk.waiting(), desk.next()), (0, None));
}

#[test]
fn an_older_word_changes_nothing_about_what_was_bound() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.pod(&pod(1, "2", 0, ""));
    desk.binds(1);
    desk.all_pods(&[pod(1, "2", 0, "")]);
    desk.pod(&pod(2, "2", 0, ""));
    desk.held_back(2);
    // It is bound elsewhere after all: somebody else was faster.
    desk.pod(&pod(1, "2", 0, "n9"));
    assert_eq!(desk.binds(2), "n1");
}

#[test]
fn a_node_that_a_new_list_lacks_gets_no_pod() {
    let mut desk = Desk::new("gantry");
    desk.all_nodes(&[node("n1", "8"), node("n2", "1")]);
    desk.all_nodes(&[node("n2", "1")]);
    desk.pod(&pod(1, "500m", 0, ""));
    assert_eq!(desk.binds(1), "n2");
}

#[test]
fn what_others_bound_takes_its_room_whatever_it_asked_for() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    let mut other = pod(1, "1500m", 0, "n1");
    other["spec"]["schedulerName"] = "default-scheduler".into();
    other["spec"]["resourceClaims"] = json!([{ "name": "gpu" }]);
    other["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }]);
    desk.pod(&other);
    desk.pod(&pod(2, "1", 0, ""));
    assert!(desk.held_back(2).contains("1 Insufficient cpu"));
    // It is made smaller where it stands.
    other["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "500m".into();
    desk.pod(&other);
    desk.again();
    assert_eq!(desk.binds(2), "n1");
}

#[test]
fn room_is_made_once_and_kept_for_whom_it_was_made() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.pod(&pod(1, "2", 0, "n1"));
    desk.pod(&pod(2, "1", 100, ""));
    let decided = desk.looked();
    let victims = [Victim { pod: at(1), uid: uid(1) }];
    assert!(matches!(&decided[..], [Decision::Evict { pod, victims: v, node, .. }] if *pod == at(2) && *v == victims && node == "n1"), "{decided:?}");
    // It takes its time to end; meanwhile nobody else is displaced, and nobody else takes what becomes free.
    let mut leaving = pod(1, "2", 0, "n1");
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
    desk.pod(&leaving);
    let mut told = pod(2, "1", 100, "");
    told["status"]["nominatedNodeName"] = "n1".into();
    desk.pod(&told);
    desk.again();
    assert!(desk.looked().is_empty());
    desk.pod(&pod(3, "1500m", 50, ""));
    desk.pod_gone(&at(1));
    let decided = desk.looked();
    assert!(matches!(&decided[0], Decision::Bind { pod, .. } if *pod == at(2)), "{decided:?}");
    assert!(matches!(&decided[1], Decision::Wait { pod, .. } if *pod == at(3)), "{decided:?}");
}

#[test]
fn one_that_stays_is_asked_again_after_a_while() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.pod(&pod(1, "2", 0, "n1"));
    desk.pod(&pod(2, "1", 100, ""));
    assert_eq!(desk.looked().len(), 1);
    let now = Instant::now();
    desk.stays(&at(2), now);
    desk.again();
    assert!(desk.decide(10, now).is_empty());
    assert!(matches!(&desk.decide(10, now + Duration::from_secs(1))[..], [Decision::Evict { .. }]));
}

#[test]
fn a_new_lead_displaces_nobody_while_those_before_are_on_their_way_out() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.node(&node("n2", "2"));
    let mut leaving = pod(1, "2", 0, "n1");
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z".into();
    desk.pod(&leaving);
    desk.pod(&pod(2, "2", 0, "n2"));
    let mut nominated = pod(3, "2", 100, "");
    nominated["status"]["nominatedNodeName"] = "n1".into();
    desk.pod(&nominated);
    desk.held_back(3);
    desk.pod_gone(&at(1));
    assert_eq!(desk.binds(3), "n1");
}

#[test]
fn a_budget_that_allows_none_protects_its_pods_while_anybody_else_can_go() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.node(&node("n2", "2"));
    desk.pod(&pod(3, "2", 0, "n2"));
    let mut kept = pod(1, "2", 0, "n1");
    kept["metadata"]["labels"] = json!({ "app": "db" });
    desk.pod(&kept);
    let budget = |allowed: u32| json!({ "metadata": { "namespace": "x", "name": "b" }, "spec": { "selector": { "matchLabels": { "app": "db" } } }, "status": { "disruptionsAllowed": allowed } });
    desk.budget(&budget(0));
    desk.pod(&pod(2, "2", 100, ""));
    let decided = desk.looked();
    assert!(matches!(&decided[..], [Decision::Evict { victims, despite: false, .. }] if victims[0].pod == at(3)), "{decided:?}");
    // Nobody else is left, and the one that is has too high a priority for the next.
    desk.pod_gone(&at(3));
    assert_eq!(desk.binds(2), "n2");
    desk.pod(&pod(4, "2", 50, ""));
    let decided = desk.looked();
    assert!(matches!(&decided[..], [Decision::Evict { victims, despite: true, .. }] if victims[0].pod == at(1)), "{decided:?}");
    desk.stays(&at(4), Instant::now());
    desk.budget(&budget(1));
    desk.again();
    assert!(matches!(&desk.decide(10, Instant::now() + Duration::from_secs(60))[..], [Decision::Evict { despite: false, .. }]));
}

#[test]
fn a_gated_pod_waits_until_its_gates_are_open() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    let mut gated = pod(1, "1", 0, "");
    gated["spec"]["schedulingGates"] = json!([{ "name": "quota" }]);
    desk.pod(&gated);
    assert!(desk.looked().is_empty());
    desk.pod(&pod(1, "1", 0, ""));
    desk.binds(1);
}

#[test]
fn an_affinity_over_namespaces_follows_their_labels() {
    let mut desk = Desk::new("gantry");
    let mut first = node("n1", "2");
    first["metadata"]["labels"] = json!({ "kubernetes.io/hostname": "n1" });
    desk.node(&first);
    desk.namespace(&json!({ "metadata": { "name": "x" } }));
    desk.namespace(&json!({ "metadata": { "name": "y" } }));
    let mut other = pod(1, "1", 0, "n1");
    other["metadata"]["namespace"] = "y".into();
    desk.pod(&other);
    let mut near = pod(2, "1", 0, "");
    near["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!([{ "topologyKey": "kubernetes.io/hostname", "labelSelector": {}, "namespaceSelector": { "matchLabels": { "team": "a" } } }]);
    desk.pod(&near);
    desk.held_back(2);
    desk.namespace(&json!({ "metadata": { "name": "y", "labels": { "team": "a" } } }));
    assert_eq!(desk.binds(2), "n1");
}

#[test]
fn a_pod_waits_for_its_claim_and_its_volume_is_made_where_it_goes() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.class(&json!({ "metadata": { "name": "late" }, "provisioner": "csi.example.org", "volumeBindingMode": "WaitForFirstConsumer" }));
    let mut stored = pod(1, "1", 0, "");
    stored["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }]);
    desk.pod(&stored);
    assert!(desk.held_back(1).contains("\"data\" not found"));
    desk.claim(&json!({ "metadata": { "namespace": "x", "name": "data", "uid": "c" }, "spec": { "storageClassName": "late" } }));
    let step = Step::Make { claim: ("x".into(), "data".into()) };
    assert!(matches!(&desk.looked()[..], [Decision::Bind { volumes, .. }] if volumes.as_slice() == std::slice::from_ref(&step)));
}

#[test]
fn a_claim_that_is_one_pods_alone_is_not_used_by_two_and_volumes_count_where_they_are_attached() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "4"));
    desk.limit(&json!({ "metadata": { "name": "n1" }, "spec": { "drivers": [{ "name": "csi.example.org", "allocatable": { "count": 1 } }] } }));
    let claim = |name: &str, mode: &str| {
        json!({
            "metadata": { "namespace": "x", "name": name, "uid": name, "annotations": { "pv.kubernetes.io/bind-completed": "yes" } },
            "spec": { "volumeName": format!("pv-{name}"), "accessModes": [mode] },
        })
    };
    let using = |n: u128, claim: &str, on: &str| {
        let mut pod = pod(n, "1", 0, on);
        pod["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": claim } }]);
        pod
    };
    desk.claim(&claim("one", "ReadWriteOncePod"));
    desk.claim(&claim("two", "ReadWriteOnce"));
    for name in ["pv-one", "pv-two"] {
        desk.volume(&json!({ "metadata": { "name": name }, "spec": { "csi": { "driver": "csi.example.org" } }, "status": { "phase": "Bound" } }));
    }
    desk.pod(&using(1, "one", "n1"));
    desk.pod(&using(2, "one", ""));
    assert!(desk.held_back(2).contains("one pod's alone"));
    desk.pod(&using(3, "two", ""));
    assert!(desk.held_back(3).contains("volumes of csi.example.org"));
    desk.pod_gone(&at(1));
    assert_eq!(desk.binds(2), "n1");
}

#[test]
fn groups_that_are_nobodys_are_forgotten_and_what_stands_is_not() {
    let mut desk = Desk::new("gantry");
    desk.node(&node("n1", "2"));
    desk.pod(&pod(1, "1500m", 0, "n1"));
    for n in 2..5_000 {
        desk.pod(&pod(n, "1m", 0, "n1"));
        desk.pod_gone(&at(n));
    }
    desk.pod(&pod(5_000, "1", 0, ""));
    desk.held_back(5_000);
    assert!(desk.groups < 10, "{}", desk.groups);
}
