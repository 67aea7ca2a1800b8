//! The engine against an API server as it is documented: what it writes, what it lists, and how it lives through faults.

use std::sync::Arc;
use std::time::Duration;

use gantry_kernel::{Env, FixedClock, OffsetDateTime, SystemIds};
use gantry_kubernetes::{Access, Client, Credential, Engine, Exec, Options, Standing, Trouble, Wanted, discover, missing_rights};
use gantry_testkit::kubernetes::{ApiServer, Fault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SCOPE: &str = "c1";

fn client(server: &ApiServer, credential: Credential) -> Client {
    let access = Access { server: server.url.clone(), ca_pem: None, tls_server_name: None, insecure: false, credential };
    let mut options = Options::new(Env::system());
    options.plugins = vec!["sh".into()];
    Client::new(access, options).expect("a client")
}

fn token() -> Credential {
    Credential::Token { token: "good".into() }
}

struct Running {
    server: ApiServer,
    engine: Engine,
    cancel: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

async fn running(correct: bool) -> Running {
    let server = ApiServer::start().await;
    let cancel = CancellationToken::new();
    let engine = Engine::start(client(&server, token()), SCOPE.into(), correct, &cancel, &TaskTracker::new());
    Running { server, engine, cancel }
}

fn object(api: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut out = json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name } });
    if kind != "Namespace" {
        out["metadata"]["namespace"] = "x".into();
    }
    out.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    out
}

fn wanted(objects: Vec<Value>) -> Arc<Wanted> {
    let mut all = vec![object("v1", "Namespace", "x", json!({}))];
    all.extend(objects);
    Arc::new(Wanted::new(SCOPE, "a", all))
}

fn deployment(replicas: u32) -> Value {
    object(
        "apps/v1",
        "Deployment",
        "web",
        json!({ "spec": { "replicas": replicas, "template": { "spec": { "containers": [{ "name": "web", "image": "i" }] } } } }),
    )
}

impl Running {
    async fn until(&self, what: &str, holds: impl Fn(&Standing) -> bool) {
        let mut changes = self.engine.changes();
        let waited = tokio::time::timeout(Duration::from_secs(90), async {
            while !holds(&self.engine.standing("a")) {
                let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}: {:?} {:?}", self.engine.standing("a"), self.engine.connection());
    }

    async fn applied(&self, objects: Vec<Value>) {
        self.engine.want("a", wanted(objects));
        self.until("it is applied", |s| s.applied && s.problem.is_none()).await;
    }

    fn asked(&self) -> Vec<String> {
        self.server
            .requests()
            .into_iter()
            .filter(|r| !r.path.contains("watch=true"))
            .map(|r| format!("{} {}", r.method, r.path.split('?').next().unwrap()))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_one_write_and_nothing_else_is_asked() {
    let it = running(false).await;
    it.applied(vec![deployment(1), object("v1", "ConfigMap", "c", json!({ "data": { "a": "1", "b": "2" } }))]).await;
    it.asked();
    it.applied(vec![deployment(2), object("v1", "ConfigMap", "c", json!({ "data": { "a": "1", "b": "2" } }))]).await;
    assert_eq!(it.asked(), ["PATCH /apis/apps/v1/namespaces/x/deployments/web"]);
    // A field that is asked for no more goes.
    it.applied(vec![deployment(2), object("v1", "ConfigMap", "c", json!({ "data": { "a": "1" } }))]).await;
    assert_eq!(it.asked(), ["PATCH /api/v1/namespaces/x/configmaps/c"]);
    assert_eq!(it.server.object("configmaps/x/c").unwrap()["data"], json!({ "a": "1" }));
    // An object that has left the model leaves the cluster.
    it.applied(vec![deployment(2)]).await;
    assert_eq!(it.asked(), ["DELETE /api/v1/namespaces/x/configmaps/c"]);
    // What a status says is no reason to write.
    it.server.edit("deployments/x/web", "kube-controller-manager", |d| d["status"]["replicas"] = 2.into());
    it.server.cut();
    it.until("the watches go on", |s| s.applied).await;
    assert_eq!(it.asked(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_finds_all_as_wanted_and_writes_nothing() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    it.cancel.cancel();
    it.asked();
    let cancel = CancellationToken::new();
    let engine = Engine::start(client(&it.server, token()), SCOPE.into(), false, &cancel, &TaskTracker::new());
    let next = Running { server: it.server.clone(), engine, cancel };
    next.applied(vec![deployment(1)]).await;
    assert!(next.engine.standing("a").drift.is_empty());
    // What one may is asked by a POST that keeps nothing.
    let writes = |r: &String| !r.starts_with("GET") && !r.ends_with("/selfsubjectaccessreviews");
    assert!(!next.asked().iter().any(writes), "no write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_writes_over_is_no_drift_to_the_next_leader() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    it.cancel.cancel();
    // Under the name of who asks, as admission does it.
    it.server.edit("deployments/x/web", gantry_kubernetes::MANAGER, |d| d["spec"]["replicas"] = 5.into());
    it.asked();
    let cancel = CancellationToken::new();
    let engine = Engine::start(client(&it.server, token()), SCOPE.into(), false, &cancel, &TaskTracker::new());
    let next = Running { server: it.server.clone(), engine, cancel };
    next.applied(vec![deployment(1)]).await;
    assert!(next.engine.standing("a").drift.is_empty(), "{:?}", next.engine.standing("a"));
    assert!(!next.asked().iter().any(|r| r.starts_with("PATCH")), "no write");
    next.server.edit("deployments/x/web", "somebody", |d| d["spec"]["replicas"] = 7.into());
    next.until("what somebody changes is seen", |s| s.drift.first().is_some_and(|d| d.managers == ["somebody"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_warns_of_is_told_until_the_next_apply() {
    let it = running(false).await;
    it.server.lock().warning = Some("apps/v9 goes".into());
    it.applied(vec![deployment(1)]).await;
    assert_eq!(it.engine.standing("a").warnings, ["Namespace/x: apps/v9 goes", "Deployment/web: apps/v9 goes"]);
    it.server.lock().warning = None;
    it.applied(vec![deployment(2)]).await;
    assert_eq!(it.engine.standing("a").warnings, ["Namespace/x: apps/v9 goes"], "that was not applied again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_somebody_holds_is_a_conflict_with_their_name_or_taken_back() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    it.server.edit("deployments/x/web", "kubectl-scale", |d| d["spec"]["replicas"] = 9.into());
    it.until("the drift is seen", |s| s.drift.first().is_some_and(|d| d.fields == [".spec.replicas"] && d.managers == ["kubectl-scale"])).await;
    it.engine.want("a", wanted(vec![deployment(3)]));
    it.until("the conflict is told", |s| s.lasting && s.problem.as_ref().is_some_and(|p| p.contains("`kubectl-scale` holds .spec.replicas of Deployment/web")))
        .await;
    assert_eq!(it.server.object("deployments/x/web").unwrap()["spec"]["replicas"], 9);
    it.engine.correct(true);
    it.until("it is taken back", |s| s.applied && s.problem.is_none() && s.drift.is_empty()).await;
    assert_eq!(it.server.object("deployments/x/web").unwrap()["spec"]["replicas"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_comes_back_and_what_is_unwanted_goes_with_its_kept_volumes() {
    let it = running(false).await;
    let kept = json!({ "metadata": { "name": "v", "namespace": "x", "annotations": { gantry_kubernetes::KEEP: "x" } }, "spec": {} });
    it.applied(vec![deployment(1), object("v1", "PersistentVolumeClaim", "v", kept)]).await;
    it.server.remove("deployments/x/web");
    let mut changes = it.engine.changes();
    while it.server.object("deployments/x/web").is_none() {
        tokio::time::timeout(Duration::from_secs(90), changes.changed()).await.unwrap().unwrap();
    }
    it.applied(vec![deployment(1)]).await;
    assert!(it.server.object("persistentvolumeclaims/x/v").is_some(), "a volume stays while its owner does");
    // Of a controller's, and somebody else's: not ours to take away.
    let labels = json!({ gantry_kubernetes::SCOPE: SCOPE, gantry_kubernetes::OWNER: "a" });
    it.server
        .put("endpointslices", json!({"metadata": {"name": "s", "namespace": "y", "labels": labels, "ownerReferences": [{"uid": "u", "controller": true}]}}));
    it.server.put("secrets", json!({"metadata": {"name": "s", "namespace": "y"}, "data": {}}));
    it.engine.unwant("a");
    it.until("all is gone", |s| s.gone).await;
    let left: Vec<String> = it.server.lock().objects.keys().map(|k| k.plural.clone()).collect();
    assert_eq!(left, ["endpointslices", "secrets"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_something_of_others_stays() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    // Every namespace has these by itself.
    it.server.put("configmaps", json!({"metadata": {"name": "kube-root-ca.crt", "namespace": "x"}, "data": {}}));
    it.server.put("endpointslices", json!({"metadata": {"name": "s-1", "namespace": "x", "ownerReferences": [{"uid": "u", "controller": true}]}}));
    it.server.put("secrets", json!({"metadata": {"name": "theirs", "namespace": "x"}, "data": {}}));
    it.engine.unwant("a");
    it.until("it is told", |s| !s.gone && s.lasting && s.problem.as_ref().is_some_and(|p| p.contains("Secret/theirs") && !p.contains("kube-root-ca"))).await;
    assert!(it.server.object("deployments/x/web").is_none(), "ours goes");
    assert!(it.server.object("namespaces/x").is_some() && it.server.object("secrets/x/theirs").is_some());
    it.server.remove("secrets/x/theirs");
    it.until("it goes with the last of them", |s| s.gone).await;
    assert!(it.server.object("namespaces/x").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_to_go_and_stays_says_what_it_waits_for() {
    let it = running(false).await;
    let claim = || object("v1", "PersistentVolumeClaim", "v", json!({ "spec": {} }));
    it.applied(vec![claim()]).await;
    it.server.edit("persistentvolumeclaims/x/v", "kubectl", |c| {
        c["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        c["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    });
    it.until("it is told", |s| {
        !s.applied && !s.lasting && s.problem.as_ref().is_some_and(|p| p.contains("PersistentVolumeClaim/v is being deleted") && p.contains("pvc-protection"))
    })
    .await;
    it.server.remove("persistentvolumeclaims/x/v");
    it.until("it is made anew", |s| s.applied && s.problem.is_none() && it.server.object("persistentvolumeclaims/x/v").is_some()).await;
    // Of what is not wanted any more, too.
    it.server.edit("namespaces/x", "kubectl", |n| {
        n["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let message = "Some content in the namespace has finalizers remaining: example.org/keep in 1 resource instances";
        n["status"]["conditions"] = json!([{ "type": "NamespaceFinalizersRemaining", "status": "True", "message": message }]);
    });
    let told = |s: &Standing| !s.gone && s.problem.as_ref().is_some_and(|p| p.contains("Namespace/x") && p.contains("example.org/keep"));
    it.until("it is told", told).await;
    assert_eq!(it.engine.held_up(), Vec::<String>::new(), "its owner tells of it");
    it.engine.unwant("a");
    it.until("it is told", told).await;
    assert!(it.engine.held_up()[0].contains("Namespace/x is being deleted"), "{:?}", it.engine.held_up());
    it.server.remove("namespaces/x");
    it.until("it goes", |s| s.gone && s.problem.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_gone_when_its_last_pod_is() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    // Its workload is gone at once, the pod stays for its grace, and the namespace is others'.
    let labels = json!({ gantry_kubernetes::SCOPE: SCOPE, gantry_kubernetes::OWNER: "a" });
    it.server
        .put("pods", json!({"metadata": {"name": "web-1", "namespace": "y", "labels": labels}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}));
    let mut changes = it.engine.changes();
    let pods = || {
        let mut pods = 0;
        it.engine.each_pod_of("a", |_| pods += 1);
        pods
    };
    while pods() == 0 {
        tokio::time::timeout(Duration::from_secs(90), changes.changed()).await.unwrap().unwrap();
    }
    it.engine.unwant("a");
    while it.engine.has("a") {
        tokio::time::timeout(Duration::from_secs(90), changes.changed()).await.unwrap().unwrap();
    }
    assert!(!it.engine.standing("a").gone);
    it.server.remove("pods/y/web-1");
    it.until("the last pod is seen to go", |s| s.gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_servers_old_watches_and_malformed_events_are_lived_through() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    let fault = |method, path, status, retry_after, body: &str| it.server.fault(Fault { method, path, status, retry_after, body: body.into() });
    fault("PATCH", "deployments", 429, Some(1), "");
    fault("PATCH", "deployments", 503, None, "");
    it.applied(vec![deployment(2)]).await;
    it.asked();
    // A cut connection goes on from its bookmark, without a list.
    it.server.cut();
    it.applied(vec![deployment(3)]).await;
    it.server.put("secrets", json!({"metadata": {"name": "other", "namespace": "y"}, "data": {}}));
    it.server.cut();
    it.applied(vec![deployment(4)]).await;
    assert!(it.asked().iter().all(|r| r.starts_with("PATCH")), "no list");
    // Too old: one list per kind, and what happened meanwhile is seen.
    it.server.lock().bookmarks = false;
    it.server.forget_history();
    it.server.remove("deployments/x/web");
    it.until("it comes back", |s| s.applied && it.server.object("deployments/x/web").is_some()).await;
    fault("GET", "deployments?watch", 200, None, "{\"type\":\"ADDED\",\"object\":{}}\n");
    fault("GET", "services?watch", 200, None, "no json at all\n");
    fault("GET", "secrets?watch", 200, None, "{\"type\":\"ERROR\",\"object\":{\"code\":410}}\n");
    it.server.cut();
    it.applied(vec![deployment(5)]).await;
    it.server.edit("deployments/x/web", "somebody", |d| d["spec"]["replicas"] = 1.into());
    it.until("watches see again", |s| !s.drift.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_no_watch_can_go_on_from_are_not_made_without_end() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    // As a server that is behind the one that has answered the list: each watch is told that it is too old.
    for _ in 0..4 {
        it.server.fault(Fault { method: "GET", path: "api/v1/secrets?watch", status: 410, retry_after: None, body: String::new() });
    }
    let began = std::time::Instant::now();
    it.server.cut();
    it.until("all of them are asked", |_| it.server.lock().faults.is_empty()).await;
    assert!(began.elapsed() >= Duration::from_millis(200 + 400 + 800), "three lists, each later than the one before: {:?}", began.elapsed());
    it.applied(vec![deployment(2), object("v1", "Secret", "s", json!({ "data": { "a": "YQ==" } }))]).await;
    it.server.remove("secrets/x/s");
    it.until("secrets are seen again", |s| s.applied && it.server.object("secrets/x/s").is_some()).await;
}

fn plugin(script: String) -> Credential {
    Credential::Exec(Exec {
        api_version: "client.authentication.k8s.io/v1".into(),
        command: "sh".into(),
        args: vec!["-c".into(), script],
        env: Vec::new(),
        provide_cluster_info: false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_by_another_clock_is_not_run_for_every_request() {
    let server = ApiServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let given = r#"{"kind":"ExecCredential","status":{"token":"good","expirationTimestamp":"2001-01-01T00:00:00Z"}}"#;
    let credential = plugin(format!("echo run >> {}; echo '{given}'", runs.display()));
    let access = Access { server: server.url.clone(), ca_pem: None, tls_server_name: None, insecure: false, credential };
    let clock = FixedClock::at(OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap());
    let mut options = Options::new(Env { clock: Arc::new(clock.clone()), ids: Arc::new(SystemIds) });
    options.plugins = vec!["sh".into()];
    let client = Client::new(access, options).unwrap();
    let run = || std::fs::read_to_string(&runs).unwrap().lines().count();
    for _ in 0..5 {
        client.get("/api/v1/namespaces").await.unwrap();
    }
    assert_eq!(run(), 1);
    clock.advance(Duration::from_secs(11));
    client.get("/api/v1/namespaces").await.unwrap();
    assert_eq!(run(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_ends_is_renewed() {
    let server = ApiServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    let script = format!("printf '{{\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"", file.display());
    let client = client(&server, plugin(script));
    server.lock().tokens = ["first".to_owned()].into();
    client.get("/version").await.unwrap();
    assert!(client.get("/api/v1/namespaces").await.is_ok());
    // Revoked before its time: the plugin is asked once more.
    server.lock().tokens = ["second".to_owned()].into();
    std::fs::write(&file, "second").unwrap();
    assert!(client.get("/api/v1/namespaces").await.is_ok());
    server.lock().tokens.clear();
    let refused = client.get("/api/v1/namespaces").await.unwrap_err();
    assert!(matches!(refused, Trouble::Unauthenticated(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_can_do_and_what_we_may_is_found() {
    let server = ApiServer::start().await;
    server.lock().gateway = true;
    server.lock().denied.insert("delete secrets".into());
    let client = client(&server, token());
    let found = discover(&client).await.unwrap();
    assert_eq!((found.minor, found.capabilities.gateway, found.capabilities.metrics), (36, true, false));
    assert!(found.capabilities.route_timeouts && !found.remarks.iter().any(|r| r.contains("timeouts")));
    server.lock().route_timeouts = false;
    let older = discover(&client).await.unwrap();
    assert!(older.capabilities.gateway && !older.capabilities.route_timeouts && older.remarks.iter().any(|r| r.contains("timeouts")), "{older:?}");
    server.lock().route_timeouts = true;
    assert_eq!(missing_rights(&client, &found).await.unwrap(), ["delete secrets"]);
    // Where there are snapshots, the rights on them are needed, too.
    server.lock().denied.insert("create volumesnapshots".into());
    assert_eq!(missing_rights(&client, &found).await.unwrap(), ["delete secrets"]);
    server.lock().snapshots = true;
    let with = discover(&client).await.unwrap();
    assert_eq!(missing_rights(&client, &with).await.unwrap(), ["delete secrets", "create volumesnapshots.snapshot.storage.k8s.io"]);
    server.lock().denied.insert("get pods/log".into());
    assert_eq!(missing_rights(&client, &found).await.unwrap(), ["delete secrets", "get pods/log"]);
    let nowhere = Access { server: "http://127.0.0.1:9".into(), ca_pem: None, tls_server_name: None, insecure: false, credential: token() };
    let nowhere = Client::new(nowhere, Options::new(Env::system())).unwrap();
    assert!(matches!(discover(&nowhere).await, Err(Trouble::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_later_is_used_as_soon_as_somebody_has_seen_it() {
    let it = running(false).await;
    it.applied(vec![deployment(1)]).await;
    it.server.lock().gateway = true;
    let found = discover(it.engine.client()).await.unwrap();
    assert!(!it.engine.connection().found.unwrap().capabilities.gateway, "it looks by itself every ten minutes");
    it.engine.look_again(&found);
    it.until("its routes are known", |_| it.engine.connection().found.is_some_and(|f| f.capabilities.gateway)).await;
}

fn autoscaler() -> Value {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    object("autoscaling/v2", "HorizontalPodAutoscaler", "web", json!({ "spec": { "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 9 } }))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_that_comes_or_goes_loses_no_replicas() {
    let it = running(false).await;
    let replicas = || it.server.object("deployments/x/web").unwrap()["spec"]["replicas"].clone();
    let image = |mut web: Value, image: &str| {
        web["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        web
    };
    it.applied(vec![deployment(5)]).await;
    // The document says another number than there are: what is there stays.
    it.applied(vec![deployment(1), autoscaler()]).await;
    assert_eq!(replicas(), 5);
    it.server.edit("deployments/x/web", "kube-controller-manager", |d| d["spec"]["replicas"] = 7.into());
    it.applied(vec![image(deployment(1), "j"), autoscaler()]).await;
    assert_eq!(replicas(), 7, "the autoscaler's");
    assert!(it.engine.standing("a").drift.is_empty(), "{:?}", it.engine.standing("a"));
    it.applied(vec![image(deployment(2), "j")]).await;
    assert_eq!(replicas(), 2, "ours again");
    it.until("the autoscaler is gone", |_| it.server.object("horizontalpodautoscalers/x/web").is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_made_anew_or_told() {
    let it = running(false).await;
    let service = |spec: Value| object("v1", "Service", "web", json!({ "spec": spec }));
    let ports = json!([{ "port": 80 }]);
    let set = |size: &str| {
        let claim = json!({ "metadata": { "name": "data" }, "spec": { "resources": { "requests": { "storage": size } } } });
        object(
            "apps/v1",
            "StatefulSet",
            "db",
            json!({ "spec": { "replicas": 1, "selector": { "matchLabels": { "a": "b" } }, "volumeClaimTemplates": [claim] } }),
        )
    };
    let uid = |at: &str| it.server.object(at).map(|o| o["metadata"]["uid"].clone());
    it.applied(vec![service(json!({ "clusterIP": "None", "ports": ports })), set("1Gi")]).await;
    let (first, db) = (uid("services/x/web"), uid("statefulsets/x/db"));
    let owner = json!([{ "uid": db, "controller": true, "kind": "StatefulSet", "name": "db" }]);
    it.server.put("pods", json!({ "metadata": { "name": "db-0", "namespace": "x", "ownerReferences": owner } }));
    it.applied(vec![service(json!({ "ports": ports })), set("2Gi")]).await;
    assert_ne!(it.server.object("services/x/web").unwrap()["spec"]["clusterIP"], "None");
    let second = uid("services/x/web");
    assert!(second != first && uid("statefulsets/x/db") != db);
    assert!(it.server.object("pods/x/db-0").is_some(), "its pods go on");
    it.applied(vec![service(json!({ "clusterIP": "None", "ports": ports })), set("2Gi")]).await;
    assert_eq!(it.server.object("services/x/web").unwrap()["spec"]["clusterIP"], "None");
    assert_ne!(uid("services/x/web"), second);
    let job = |completions: u32| object("batch/v1", "Job", "j", json!({ "spec": { "completions": completions } }));
    it.applied(vec![job(1)]).await;
    it.engine.want("a", wanted(vec![job(2)]));
    it.until("a job is not changed", |s| s.lasting && s.problem.as_ref().is_some_and(|p| p.contains("Job/j") && p.contains("restart the workload"))).await;
    // When it has ended it is as it was wanted.
    it.server.edit("jobs/x/j", "kube-controller-manager", |j| j["status"]["conditions"] = json!([{ "type": "Complete", "status": "True" }]));
    it.until("it has ended", |s| s.applied && s.problem.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_its_class_where_the_choice_was_the_clusters_and_says_what_to_do_where_it_was_not() {
    let it = running(false).await;
    let claim = |class: Option<&str>, open: bool| {
        let mut claim = object("v1", "PersistentVolumeClaim", "data", json!({ "spec": { "resources": { "requests": { "storage": "1Gi" } } } }));
        if let Some(class) = class {
            claim["spec"]["storageClassName"] = class.into();
        }
        if open {
            claim["metadata"]["annotations"][gantry_kubernetes::OPEN_CLASS] = "x".into();
        }
        claim
    };
    let class = || it.server.object("persistentvolumeclaims/x/data").unwrap()["spec"]["storageClassName"].clone();
    it.applied(vec![claim(None, true)]).await;
    assert_eq!(class(), "std", "the cluster's default");
    // The operator sets another class for what names none, and takes it back.
    it.applied(vec![claim(Some("fast"), true)]).await;
    it.applied(vec![claim(None, true)]).await;
    assert_eq!(class(), "std");
    assert!(it.engine.standing("a").drift.is_empty(), "{:?}", it.engine.standing("a"));
    // The document itself asks for another one.
    it.engine.want("a", wanted(vec![claim(Some("slow"), false)]));
    it.until("it is told what to do", |s| {
        s.lasting && s.problem.as_ref().is_some_and(|p| p.contains("PersistentVolumeClaim/data") && p.contains("another name"))
    })
    .await;
    assert_eq!(class(), "std");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_stays_as_it_is_when_the_platform_would_add_to_its_pods() {
    let it = running(false).await;
    let job = |spec: Value| object("batch/v1", "Job", "j", json!({ "spec": { "completions": 1, "template": { "spec": spec } } }));
    it.applied(vec![job(json!({ "containers": [{ "name": "j", "image": "i" }] }))]).await;
    let before = it.server.object("jobs/x/j").unwrap();
    it.applied(vec![job(json!({ "containers": [{ "name": "j", "image": "i", "tty": true }] }))]).await;
    assert_eq!(it.server.object("jobs/x/j").unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_place_is_not_kept_any_more_is_read_anew_in_larger_pages() {
    let server = ApiServer::start().await;
    for n in 0..501 {
        let labels = json!({ gantry_kubernetes::SCOPE: format!("c{}", n / 500) });
        server.put("namespaces", json!({ "metadata": { "name": format!("n{n:03}"), "labels": labels } }));
    }
    server.fault(Fault {
        method: "GET",
        path: "continue=",
        status: 410,
        retry_after: None,
        body: json!({ "kind": "Status", "reason": "Expired", "code": 410, "metadata": { "continue": "of-another-version" } }).to_string(),
    });
    let found = gantry_kubernetes::scopes(&client(&server, token())).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["c0", "c1"]);
    let asked: Vec<(bool, bool)> = server.requests().iter().map(|r| (r.path.contains("limit=2000"), r.path.contains("continue="))).collect();
    assert_eq!(asked, [(false, false), (false, true), (true, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distributions_own_process_scales_as_the_controllers_do() {
    let it = running(false).await;
    it.applied(vec![deployment(1), autoscaler()]).await;
    // k3s runs the controllers in one process, under its own name.
    it.server.edit("deployments/x/web", "k3s", |d| d["spec"]["replicas"] = 7.into());
    it.applied(vec![deployment(2)]).await;
    assert_eq!(it.server.object("deployments/x/web").unwrap()["spec"]["replicas"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_of_the_clusters_etcd_what_is_there_counts_again() {
    let it = running(false).await;
    let replicas = || it.server.object("deployments/x/web").unwrap()["spec"]["replicas"].clone();
    it.applied(vec![deployment(1)]).await;
    let backup = it.server.backup();
    for n in 2..9 {
        it.applied(vec![deployment(n)]).await;
    }
    assert_eq!(replicas(), 8);
    // The API servers are stopped for it; a watch from before would be told nothing until its version is reached again.
    it.server.fault(Fault { method: "GET", path: "deployments?watch", status: 503, retry_after: None, body: String::new() });
    it.server.restore(&backup);
    it.until("what is wanted is applied anew", |s| s.applied && replicas() == 8).await;
    it.server.edit("deployments/x/web", "somebody", |d| d["spec"]["replicas"] = 3.into());
    it.until("changes are seen", |s| !s.drift.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_if_nobody_has_and_used_as_it_is_if_somebody_has() {
    let it = running(false).await;
    let account = |name: &str| object("v1", "ServiceAccount", name, json!({ "automountServiceAccountToken": false }));
    it.applied(vec![]).await;
    it.server.put("serviceaccounts", json!({ "metadata": { "name": "theirs", "namespace": "x" }, "automountServiceAccountToken": true }));
    it.applied(vec![account("ours"), account("theirs")]).await;
    assert_eq!(it.server.object("serviceaccounts/x/ours").unwrap()["automountServiceAccountToken"], false);
    let theirs = it.server.object("serviceaccounts/x/theirs").unwrap();
    assert_eq!((&theirs["automountServiceAccountToken"], theirs["metadata"]["labels"].get(gantry_kubernetes::OWNER)), (&json!(true), None));
    it.asked();
    it.applied(vec![account("ours"), account("theirs"), deployment(1)]).await;
    assert!(!it.asked().iter().any(|r| r.contains("serviceaccounts")), "it is not looked for again and again");
    // Another application of the space names the same, and has it when the first is gone.
    let made = it.server.object("serviceaccounts/x/ours").unwrap();
    it.engine.want("b", Arc::new(Wanted::new(SCOPE, "b", vec![account("ours")])));
    it.until("it is looked after", |_| it.engine.standing("b").applied).await;
    assert_eq!(it.server.object("serviceaccounts/x/ours").unwrap(), made, "it stays whose it is");
    it.applied(vec![deployment(1)]).await;
    it.until("the other one makes it anew", |_| {
        it.server.object("serviceaccounts/x/ours").is_some_and(|o| o["metadata"]["labels"][gantry_kubernetes::OWNER] == "b")
    })
    .await;
    assert!(it.server.object("serviceaccounts/x/theirs").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_an_older_manifest_makes_no_accounts_and_all_else() {
    let server = ApiServer::start().await;
    server.lock().denied.insert("list serviceaccounts".into());
    let cancel = CancellationToken::new();
    let engine = Engine::start(client(&server, token()), SCOPE.into(), false, &cancel, &TaskTracker::new());
    let it = Running { server, engine, cancel };
    let account = object("v1", "ServiceAccount", "ours", json!({ "automountServiceAccountToken": false }));
    it.applied(vec![account, deployment(1)]).await;
    assert!(it.server.object("serviceaccounts/x/ours").is_none() && it.server.object("deployments/x/web").is_some());
    let found = it.engine.connection().found.unwrap();
    assert!(found.remarks.iter().any(|r| r.contains("service accounts")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_held_gives_up_the_pace_that_the_server_filled_in() {
    let it = running(false).await;
    let set = |strategy: &str| {
        let template = json!({ "spec": { "containers": [{ "name": "db", "image": "i" }] } });
        object("apps/v1", "StatefulSet", "db", json!({ "spec": { "replicas": 1, "updateStrategy": { "type": strategy }, "template": template } }))
    };
    let strategy = || it.server.object("statefulsets/x/db").unwrap()["spec"]["updateStrategy"].clone();
    it.applied(vec![set("RollingUpdate")]).await;
    assert_eq!(strategy(), json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }), "as servers fill it in");
    it.applied(vec![set("OnDelete")]).await;
    assert_eq!(strategy(), json!({ "type": "OnDelete" }));
    it.applied(vec![set("RollingUpdate")]).await;
    assert_eq!(strategy()["type"], "RollingUpdate", "it goes on, and nobody else is in the way");
    assert!(it.engine.standing("a").drift.is_empty(), "{:?}", it.engine.standing("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_can_read_is_told_and_not_asked_again_and_again() {
    let it = running(false).await;
    let mut web = deployment(1);
    web["spec"]["template"]["spec"]["volumes"] = json!([{ "name": "a", "emptyDir": {} }, { "name": "a", "emptyDir": {} }]);
    it.engine.want("a", wanted(vec![web]));
    it.until("it is refused", |s| s.lasting && s.problem.as_ref().is_some_and(|p| p.contains("duplicate entries"))).await;
}
