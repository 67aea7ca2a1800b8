//! The scheduler against an API server as it is documented: what it writes, and how it lives through refusals and losses.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::time::Duration;

use gantry_kernel::Env;
use gantry_kube_scheduler::{Options, run};
use gantry_kubernetes::{Access, Client, Credential};
use gantry_testkit::kubernetes::{ApiServer, Fault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(90);

/// With the rights that its account has where it runs in a cluster, and no others.
fn start(server: &ApiServer) -> CancellationToken {
    let account = format!("{}/../../k8s/components/kube-scheduler/account.yaml", env!("CARGO_MANIFEST_DIR"));
    server.account("good", &std::fs::read_to_string(account).unwrap());
    let credential = Credential::Token { token: "good".into() };
    let access = Access { server: server.url.clone(), ca_pem: None, tls_server_name: None, insecure: false, credential };
    let client = Client::new(access, gantry_kubernetes::Options::new(Env::system())).unwrap();
    let (cancel, options) = (CancellationToken::new(), Options { scheduler: "gantry".into(), namespace: "gantry-system".into(), env: Env::system() });
    tokio::spawn(run(client, options, cancel.clone()));
    cancel
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn node(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } }, "spec": {},
        "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110" }, "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "x" },
        "spec": { "schedulerName": "gantry", "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": cpu } } }] },
    })
}

fn node_of(server: &ApiServer, name: &str) -> String {
    server.object(&format!("pods/x/{name}")).and_then(|p| p["spec"]["nodeName"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn condition(server: &ApiServer, name: &str) -> Value {
    let pod = server.object(&format!("pods/x/{name}")).unwrap_or_default();
    pod["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "PodScheduled").cloned().unwrap_or_default()
}

fn events(server: &ApiServer, name: &str) -> Vec<String> {
    let of = server.all("events").into_iter().filter(|e| e["regarding"]["name"] == name);
    of.map(|e| e["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_bound_or_told_why_not_and_events_say_so() {
    gantry_testkit::clause("6.2.1.k");
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "2"));
    server.put("pods", pod("fits", "1"));
    server.put("pods", pod("large", "4"));
    let mut other = pod("other", "1");
    other["spec"]["schedulerName"] = "default-scheduler".into();
    server.put("pods", other);
    let cancel = start(&server);
    until("it is bound", || node_of(&server, "fits") == "n1").await;
    until("it is told", || condition(&server, "large")["reason"] == "Unschedulable").await;
    let told = condition(&server, "large");
    assert!(told["status"] == "False" && told["message"].as_str().unwrap().starts_with("0/1 nodes are available: 1 Insufficient cpu"), "{told}");
    assert!(told["lastTransitionTime"].as_str().unwrap().ends_with('Z') && told["observedGeneration"] == 1, "{told}");
    until("it is shown", || events(&server, "fits") == ["Scheduled"] && events(&server, "large") == ["FailedScheduling"]).await;
    assert_eq!(node_of(&server, "other"), "");
    // A node that comes is used at once; nothing is written again and again meanwhile.
    server.put("nodes", node("n2", "8"));
    until("it is bound, too", || node_of(&server, "large") == "n2").await;
    assert_eq!(condition(&server, "large")["status"], "True");
    let tells = server.requests().iter().filter(|r| r.method == "PATCH" && r.path.contains("large/status")).count();
    assert_eq!(tells, 1);
    cancel.cancel();
    until("the lease is given back", || server.object("leases/gantry-system/gantry").is_some_and(|l| l["spec"]["holderIdentity"] == "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_binding_and_a_lost_watch_are_lived_through() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "8"));
    let body = json!({ "message": "Operation cannot be fulfilled on pods/binding: the object has been modified" }).to_string();
    server.fault(Fault { method: "POST", path: "/binding", status: 409, retry_after: None, body });
    let cancel = start(&server);
    server.put("pods", pod("first", "1"));
    until("it is bound at the second try", || node_of(&server, "first") == "n1").await;
    // The server starts anew: old versions are gone, watches end.
    server.forget_history();
    server.put("pods", pod("second", "1"));
    until("it goes on", || node_of(&server, "second") == "n1").await;
    cancel.cancel();
}

/// A pod of low priority on a node, by whose label a budget that allows none chooses it.
fn kept(server: &ApiServer) {
    let mut low = pod("low", "2");
    low["metadata"]["labels"] = json!({ "app": "low" });
    low["spec"]["nodeName"] = "n1".into();
    server.put("pods", low);
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b", "namespace": "x" },
        "spec": { "selector": { "matchLabels": { "app": "low" } } }, "status": { "disruptionsAllowed": 0 },
    });
    server.put("poddisruptionbudgets", budget);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_made_without_hurting_a_budget_and_the_node_is_named() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "2"));
    server.put("nodes", node("n2", "2"));
    kept(&server);
    let mut free = pod("free", "2");
    free["spec"]["nodeName"] = "n2".into();
    free["spec"]["terminationGracePeriodSeconds"] = 30.into();
    server.put("pods", free);
    let mut high = pod("high", "1");
    high["spec"]["priority"] = 1_000.into();
    server.put("pods", high);
    let cancel = start(&server);
    until("it is on its way out", || !server.object("pods/x/free").unwrap()["metadata"]["deletionTimestamp"].is_null()).await;
    until("the node is named", || server.object("pods/x/high").unwrap()["status"]["nominatedNodeName"] == "n2").await;
    assert_eq!(node_of(&server, "high"), "");
    server.remove("pods/x/free");
    until("it takes the place", || node_of(&server, "high") == "n2").await;
    let evictions = server.requests().iter().filter(|r| r.path.ends_with("/eviction")).count();
    assert_eq!(evictions, 1);
    until("it is shown", || events(&server, "free") == ["Preempted"]).await;
    assert!(server.object("pods/x/low").unwrap()["metadata"]["deletionTimestamp"].is_null());
    cancel.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_broken_where_nothing_else_helps() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "2"));
    kept(&server);
    let mut high = pod("high", "1");
    high["spec"]["priority"] = 1_000.into();
    server.put("pods", high);
    let cancel = start(&server);
    until("it takes the place", || node_of(&server, "high") == "n1").await;
    assert!(server.object("pods/x/low").is_none());
    let asked: Vec<String> = server.requests().into_iter().filter(|r| r.path.contains("pods/low")).map(|r| r.method).collect();
    assert_eq!(asked, ["POST", "PATCH", "DELETE"], "an eviction first");
    assert!(was_told_that_it_makes_room(&server, "low"));
    until("it is shown", || events(&server, "low") == ["Preempted"]).await;
    cancel.cancel();
}

/// Before it was gone.
fn was_told_that_it_makes_room(server: &ApiServer, name: &str) -> bool {
    let told = |c: &Value| c["type"] == "DisruptionTarget" && c["status"] == "True" && c["reason"] == "PreemptionByScheduler";
    let store = server.lock();
    let mut of = store.history.iter().filter(|c| c.plural == "pods" && c.object["metadata"]["name"] == name);
    of.any(|c| c.object["status"]["conditions"].as_array().into_iter().flatten().any(told))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_two_budgets_makes_room_though_no_eviction_is_known_for_it() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "2"));
    let mut low = pod("low", "2");
    low["spec"]["nodeName"] = "n1".into();
    server.put("pods", low);
    let mut high = pod("high", "1");
    high["spec"]["priority"] = 1_000.into();
    server.put("pods", high);
    let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    server.fault(Fault { method: "POST", path: "low/eviction", status: 500, retry_after: None, body: json!({ "message": message, "code": 500 }).to_string() });
    let cancel = start(&server);
    until("it takes the place", || node_of(&server, "high") == "n1").await;
    let asked: Vec<String> = server.requests().into_iter().filter(|r| r.path.contains("pods/low")).map(|r| r.method).collect();
    assert_eq!(asked, ["POST", "PATCH", "DELETE"]);
    assert!(was_told_that_it_makes_room(&server, "low"));
    cancel.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_where_the_pod_goes_before_it_is_bound() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "2"));
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "namespace": "x" },
        "spec": { "storageClassName": "local", "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    server.put("persistentvolumeclaims", claim);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "disk" }, "status": { "phase": "Available" },
        "spec": { "storageClassName": "local", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "2Gi" } },
    });
    server.put("persistentvolumes", volume);
    let mut stored = pod("stored", "1");
    stored["spec"]["volumes"] = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }]);
    server.put("pods", stored);
    let cancel = start(&server);
    until("it is told", || condition(&server, "stored")["message"].as_str().is_some_and(|m| m.contains("storageclass \"local\" not found"))).await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "local" },
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
    });
    server.put("storageclasses", class);
    until("the volume is kept for it", || server.object("persistentvolumes/disk").unwrap()["spec"]["claimRef"]["name"] == "data").await;
    assert_eq!(node_of(&server, "stored"), "");
    server.edit("persistentvolumeclaims/x/data", "kube-controller-manager", |c| {
        c["spec"]["volumeName"] = "disk".into();
        c["metadata"]["annotations"] = json!({ "pv.kubernetes.io/bind-completed": "yes" });
    });
    until("it is bound", || node_of(&server, "stored") == "n1").await;
    cancel.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_works_and_the_other_one_takes_over() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "8"));
    let first = start(&server);
    until("one leads", || server.object("leases/gantry-system/gantry").is_some()).await;
    let holder = || server.object("leases/gantry-system/gantry").unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let one = holder();
    let second = start(&server);
    server.put("pods", pod("first", "1"));
    until("it is bound", || node_of(&server, "first") == "n1").await;
    assert_eq!(holder(), one);
    first.cancel();
    until("the other one leads", || !holder().is_empty() && holder() != one).await;
    server.put("pods", pod("second", "1"));
    until("it is bound, too", || node_of(&server, "second") == "n1").await;
    second.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_kept_for_a_pod_is_not_named_by_it() {
    let server = ApiServer::start().await;
    server.put("nodes", node("n1", "2"));
    // Room was to be made for it there by an earlier lead, and nobody is left who could go.
    let mut waits = pod("waits", "4");
    waits["spec"]["priority"] = 1_000.into();
    waits["status"] = json!({ "nominatedNodeName": "n1" });
    server.put("pods", waits);
    let cancel = start(&server);
    until("it is told", || condition(&server, "waits")["reason"] == "Unschedulable").await;
    until("no node is named", || server.object("pods/x/waits").unwrap()["status"]["nominatedNodeName"].as_str().is_none_or(str::is_empty)).await;
    let tells = server.requests().iter().filter(|r| r.method == "PATCH" && r.path.contains("waits/status")).count();
    assert_eq!(tells, 1, "both in one word");
    cancel.cancel();
}
