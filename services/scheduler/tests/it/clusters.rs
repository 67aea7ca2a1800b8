//! Kubernetes clusters: import with rights and tests, and applications on them, against an API server as it is documented.

use gantry_contract::proto::scheduler::{AppRef, DeployRequest};
use gantry_kernel::{Role, Scope};
use gantry_scheduler::Config;
use gantry_testkit::kubernetes::{ApiServer, Fault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::neighbours::Limits;
use crate::place::{LONG, Place, config, web};

/// A place, a token of a platform administrator, and an API server.
pub async fn started() -> (Place, String, ApiServer) {
    started_with(config()).await
}

async fn started_with(config: Config) -> (Place, String, ApiServer) {
    let place = Place::with(config, Limits::default()).await;
    let token = place.operator().await;
    (place, token, ApiServer::start().await)
}

pub async fn call(place: &Place, token: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    place.world.call(&place.host, method, path, Some(token), body.as_ref()).await
}

pub async fn import(place: &Place, token: &str, server: &ApiServer, settings: Value) {
    let body = json!({ "name": "east", "access": { "kubeconfig": server.kubeconfig("good") }, "settings": settings });
    let (status, answer) = call(place, token, Method::POST, "/api/v1/clusters", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
}

/// The space's workloads run on the cluster from now on.
pub async fn placed(place: &Place) {
    place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let path = place.apps().replace("/apps", "/placement");
    let (status, answer) = call(place, &place.token, Method::PUT, &path, Some(json!({ "cluster": "east" }))).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_tested_before_it_is_taken_in_and_its_credential_is_never_shown() {
    gantry_testkit::clause("6.2.1.k");
    let (place, token, server) = started().await;
    let add = |name: &str, access: Value| call_owned(&place, &token, json!({ "name": name, "access": access }));
    let (status, refused) = add("east", json!({ "kubeconfig": server.kubeconfig("expired") })).await;
    assert_eq!((status, &refused["code"]), (400, &json!("scheduler.cluster_unusable")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("401"), "{refused}");
    server.lock().denied.insert("patch deployments".into());
    let (status, refused) = add("east", json!({ "kubeconfig": server.kubeconfig("good") })).await;
    assert!(status == 400 && refused["detail"].as_str().unwrap().contains("patch deployments.apps"), "{refused}");
    server.lock().denied.clear();
    let (status, refused) = add("east", json!({ "kubeconfig": server.kubeconfig("good").replace("current-context: it", "current-context: x") })).await;
    assert!(status == 400 && refused.to_string().contains("it has: it"), "{refused}");
    let plugin = server.kubeconfig("good").replace("token: good", "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}");
    let (status, refused) = add("east", json!({ "kubeconfig": plugin })).await;
    assert!(status == 400 && refused["detail"].as_str().unwrap().contains("scheduler.kubernetes.plugins"), "{refused}");
    assert_eq!(add("east", json!({ "server": "https://x", "in_cluster": true })).await.0, 400);
    import(&place, &token, &server, json!({})).await;
    assert_eq!(add("east", json!({ "kubeconfig": server.kubeconfig("good") })).await.0, 409, "the name is taken");
    let (_, shown) = call(&place, &token, Method::GET, "/api/v1/clusters/east", None).await;
    assert_eq!((&shown["credential"], &shown["settings"]["pod_security"]), (&json!("token"), &json!("baseline")));
    assert!(!shown.to_string().contains("good"), "{shown}");
    let events = place.host.log().read(0, 1000).await.unwrap();
    assert!(events.iter().all(|e| !e.data.value().to_string().contains("token: good")));
    let (_, tested) = call(&place, &token, Method::POST, "/api/v1/clusters/east/test", None).await;
    assert_eq!((&tested["usable"], &tested["version"], &tested["capabilities"]["gateway"]), (&json!(true), &json!("v1.36.0"), &json!(false)));
    server.lock().tokens.clear();
    let (status, tested) = call(&place, &token, Method::POST, "/api/v1/clusters/east/test", None).await;
    assert!(status == 200 && tested["problem"].as_str().unwrap().contains("expired"), "{tested}");
    server.lock().tokens.insert("renewed".into());
    let renewed = json!({ "kubeconfig": server.kubeconfig("renewed") });
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/access", Some(renewed)).await.0, 200);
    let (_, tested) = call(&place, &token, Method::POST, "/api/v1/clusters/east/test", None).await;
    assert_eq!(tested["usable"], true, "{tested}");
    let wrong = json!({ "drift": "correct", "pod_security": "none" });
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/settings", Some(wrong)).await.0, 400);
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/settings", Some(json!({ "drift": "correct" }))).await.0, 200);
    assert_eq!(call(&place, &token, Method::DELETE, "/api/v1/clusters/east", None).await.0, 204);
    assert_eq!(call(&place, &token, Method::GET, "/api/v1/clusters/east", None).await.0, 404);
}

async fn call_owned(place: &Place, token: &str, body: Value) -> (u16, Value) {
    call(place, token, Method::POST, "/api/v1/clusters", Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_for_those_whose_they_are() {
    let (place, token, server) = started().await;
    let owner = place.world.user();
    let org = place.space.org().clone();
    place.world.identity.grant(&format!("user:{owner}"), Role::Admin, Scope::Org(org.id)).await;
    place.world.identity.settle(&place.host).await;
    let owner = place.world.token(owner, "owner");
    let body = |org: Option<&str>| json!({ "name": "west", "org": org, "access": { "kubeconfig": server.kubeconfig("good") } });
    assert_eq!(call(&place, &owner, Method::POST, "/api/v1/clusters", Some(body(None))).await.0, 403, "the platform's");
    let (status, refused) = call(&place, &owner, Method::POST, "/api/v1/clusters", Some(body(Some("acme")))).await;
    assert!(status == 400 && refused["detail"].as_str().unwrap().contains("private address"), "{refused}");
    let inside = json!({ "name": "west", "org": "acme", "access": { "in_cluster": true } });
    assert_eq!(call(&place, &owner, Method::POST, "/api/v1/clusters", Some(inside)).await.0, 403);
    import(&place, &token, &server, json!({})).await;
    for path in ["/api/v1/clusters/east", "/api/v1/clusters/east/test"] {
        let method = if path.ends_with("test") { Method::POST } else { Method::GET };
        assert_eq!(place.world.call(&place.host, method.clone(), path, None, None).await.0, 401, "{path}");
        assert_eq!(call(&place, &owner, method, path, None).await.0, 404, "{path}: who may not know it is told that it is not there");
    }
    let (_, list) = call(&place, &owner, Method::GET, "/api/v1/clusters", None).await;
    assert_eq!(list["items"], json!([]));
    for (method, path) in
        [(Method::DELETE, "/api/v1/clusters/east"), (Method::PUT, "/api/v1/clusters/east/settings"), (Method::PUT, "/api/v1/clusters/east/access")]
    {
        assert_eq!(call(&place, &owner, method, path, Some(json!({}))).await.0, 404);
    }
    let response = place.world.call(&place.host, Method::GET, "/api/v1/cluster-manifest", Some(&owner), None).await;
    assert_eq!(response.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_runs_on_a_cluster_as_it_does_on_nodes() {
    gantry_testkit::clause("6.2.1.k");
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let (status, answer) = place.deploy("shop", &web("1", 2)).await;
    assert_eq!(status, 201, "{answer}");
    place.reaches("shop", "running", 1).await;
    let instances = place.instances("shop").await;
    assert_eq!(instances.len(), 2, "{instances:#?}");
    assert!(instances.iter().all(|i| i["node"].as_str().unwrap().starts_with("east--node-") && i["available"] == true), "{instances:#?}");
    // What they print is on the log stream.
    let shipped = async || place.host.bus.sample_stream("logs").await.unwrap().info().await.unwrap().state.messages >= 2;
    place.world.until("the lines are shipped", LONG, shipped).await;
    let namespace = "gantry-acme-shop-test";
    let deployment = server.object(&format!("deployments/{namespace}/shop-web")).expect("the deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    for object in ["services", "networkpolicies"] {
        assert!(!server.all(object).is_empty(), "{object}");
    }
    // A steady state asks and writes nothing.
    server.requests();
    place.post(&format!("{}/shop/scale", place.apps()), json!({ "workload": "web", "replicas": 3 })).await;
    place.world.until("the third runs", LONG, || async { place.instances("shop").await.len() == 3 }).await;
    place.reaches("shop", "running", 1).await;
    let asked: Vec<String> = server
        .requests()
        .into_iter()
        .filter(|r| !r.path.contains("watch=true") && !r.path.contains("/log?") && r.path != "/readyz")
        .map(|r| format!("{} {}", r.method, r.path))
        .collect();
    assert_eq!(asked.len(), 1, "one write for one change: {asked:?}");
    // A new revision replaces all.
    place.deploy("shop", &web("2", 2)).await;
    place.reaches("shop", "running", 2).await;
    assert!(place.instances("shop").await.iter().all(|i| i["revision"] == 2));
    // Nothing stays behind.
    assert_eq!(call(&place, &place.token, Method::DELETE, &format!("{}/shop", place.apps()), None).await.0 / 100, 2);
    place.world.until("all of it is gone", LONG, || async { server.lock().objects.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_deploys_several_images_into_the_cluster_of_its_space() {
    gantry_testkit::clause("6.4.2.2.b");
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let request = DeployRequest {
        app: Some(AppRef { org: "acme".into(), project: "shop".into(), space: "test".into(), app: "shop".into() }),
        format: "compose".into(),
        document: "services:\n  web: {image: '${WEB}', expose: ['8080']}\n  worker: {image: '${WORKER}', deploy: {replicas: 2}}\n".into(),
        values: [("WEB", "acme/shop/web:1"), ("WORKER", "acme/shop/worker:2")].map(|(name, image)| (name.to_owned(), image.to_owned())).into(),
        reason: "run 1".into(),
        subject: place.subject.clone(),
        idempotency_key: "run-1".into(),
        ..DeployRequest::default()
    };
    assert_eq!(place.applications("cicd").deploy(request).await.unwrap().into_inner().revision, 1);
    place.reaches("shop", "running", 1).await;
    for (workload, replicas, digit) in [("web", 1, '1'), ("worker", 2, '2')] {
        let made = server.object(&format!("deployments/gantry-acme-shop-test/shop-{workload}")).expect("the deployment");
        let image = made["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        assert!(image.contains(&format!("/{workload}@sha256:")) && image.ends_with(digit), "{image}");
        assert_eq!(made["spec"]["replicas"], replicas, "{made:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_is_told_and_the_revision_before_comes_back() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let document = |image: &str| format!("services:\n  web:\n    image: example.org/{image}\n    deploy:\n      update_config: {{monitor: 3s}}\n");
    place.deploy("web", &document("fine:1")).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &document("broken:2")).await;
    let told = async || {
        let (_, why) = place.get(&format!("{}/web/why", place.apps())).await;
        why.to_string().contains("ImagePullBackOff")
    };
    place.world.until("the reason is told", LONG, told).await;
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("the last release failed"), "{app}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_own_is_not_touched_and_drift_is_shown_or_corrected() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    place.deploy("shop", &web("1", 2)).await;
    place.reaches("shop", "running", 1).await;
    let (namespace, name) = ("gantry-acme-shop-test", "deployments/gantry-acme-shop-test/shop-web");
    server.edit(name, "kubectl-edit", |d| d["spec"]["minReadySeconds"] = 7.into());
    server.edit(name, "kubectl-edit", |d| d["spec"]["progressDeadlineSeconds"] = 99.into());
    let drift = async || {
        let (_, why) = place.get(&format!("{}/shop/why", place.apps())).await;
        why["cluster"]["drift"][0]["managers"][0] == "kubectl-edit" && why["cluster"]["drift"][0]["fields"] == json!([".spec.progressDeadlineSeconds"])
    };
    place.world.until("the drift is shown with the manager's name", LONG, drift).await;
    assert_eq!(server.object(name).unwrap()["spec"]["progressDeadlineSeconds"], 99, "shown, not corrected");
    // What is the space's concerns its applications, too.
    server.edit(&format!("namespaces/{namespace}"), "kubectl-label", |n| n["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted".into());
    let of_space =
        async || place.get(&format!("{}/shop/why", place.apps())).await.1["cluster"]["drift"].to_string().contains(&format!("Namespace/{namespace}"));
    place.world.until("that of the namespace is shown, too", LONG, of_space).await;
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/settings", Some(json!({ "drift": "correct" }))).await.0, 200);
    let back = async || server.object(name).is_some_and(|d| d["spec"]["progressDeadlineSeconds"] == 10 && d["spec"]["minReadySeconds"] == 7);
    place.world.until("it is put back, and what others added stays", LONG, back).await;
    server.remove(name);
    place.world.until("what is gone is made again", LONG, || async { server.object(name).is_some() }).await;
    // An object of the same name that somebody else has made.
    let foreign = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other-api", "namespace": namespace}, "spec": {"ports": [{"port": 1}]}});
    server.put("services", foreign);
    place.deploy("other", "services: {api: {image: 'example.org/x', expose: ['80']}}").await;
    let told = async || place.get(&format!("{}/other/why", place.apps())).await.1.to_string().contains("made by `kubectl`");
    place.world.until("whose it is is told", LONG, told).await;
    assert_eq!(server.object(&format!("services/{namespace}/other-api")).unwrap()["spec"]["ports"], json!([{"port": 1}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_cluster_and_a_broken_watch_are_lived_through() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let fault = |method, path, status, retry_after, body: &str| Fault { method, path, status, retry_after, body: body.into() };
    server.fault(fault("PATCH", "deployments", 429, Some(1), ""));
    server.fault(fault("PATCH", "services", 503, None, "busy"));
    server.fault(fault("PATCH", "namespaces", 500, None, "{}"));
    server.fault(fault("GET", "pods?labelSelector", 500, None, "{}"));
    place.deploy("shop", &web("1", 1)).await;
    place.reaches("shop", "running", 1).await;
    server.forget_history();
    server.fault(fault("GET", "deployments?watch", 200, None, "{\"type\":\"ADDED\",\"object\":{}}\nnot json\n"));
    server.cut();
    place.post(&format!("{}/shop/scale", place.apps()), json!({ "workload": "web", "replicas": 2 })).await;
    place.world.until("the second runs", LONG, || async { place.instances("shop").await.len() == 2 }).await;
    // The token is not good any more, and is renewed.
    server.lock().tokens = ["renewed".to_owned()].into();
    server.cut();
    let renewed = json!({ "kubeconfig": server.kubeconfig("renewed") });
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/access", Some(renewed)).await.0, 200);
    place.post(&format!("{}/shop/scale", place.apps()), json!({ "workload": "web", "replicas": 1 })).await;
    place.world.until("one is left", LONG, || async { place.instances("shop").await.len() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_imported_anew_finds_again_what_it_has() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let document = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    spec:\n      containers:\n      - {name: db, image: example.org/db, volumeMounts: [{name: data, mountPath: /data}]}\n  volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: example.org/db}]}}}\n";
    let body = json!({ "name": "shop", "document": document, "format": "kubernetes", "reason": "it" });
    let (status, answer) = place.post(&place.apps(), body).await;
    assert_eq!(status / 100, 2, "{answer}");
    place.reaches("shop", "running", 1).await;
    let there = || ["statefulsets", "jobs", "pods"].map(|of| server.all(of).iter().map(|o| o["metadata"]["uid"].to_string()).collect::<Vec<_>>());
    let before = there();
    assert_eq!(call(&place, &token, Method::DELETE, "/api/v1/clusters/east", None).await.0, 204);
    let lost = async || place.instances("shop").await.iter().all(|i| i["available"] != true);
    place.world.until("its instances are lost", LONG, lost).await;
    import(&place, &token, &server, json!({})).await;
    server.requests();
    let looked = async || server.requests().iter().any(|r| r.path.contains("pods?watch=true"));
    place.world.until("it is looked at", LONG, looked).await;
    place.reaches("shop", "running", 1).await;
    assert_eq!(there(), before, "nothing was made anew");
    let (_, why) = place.get(&format!("{}/shop/why", place.apps())).await;
    assert!(!why.to_string().contains("immutable") && !why.to_string().contains("Forbidden"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_under_another_name_is_told_and_can_be_taken_over() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    place.deploy("shop", &web("1", 2)).await;
    place.reaches("shop", "running", 1).await;
    let there = || ["deployments", "pods"].map(|of| server.all(of).iter().map(|o| o["metadata"]["uid"].to_string()).collect::<Vec<_>>());
    let before = there();
    let add = |name: &str, adopt: Option<&str>| {
        let body = json!({ "name": name, "access": { "kubeconfig": server.kubeconfig("good") }, "adopt": adopt });
        call_owned(&place, &token, body)
    };
    let (status, beside) = add("beside", None).await;
    assert!(status == 201 && beside["remarks"][0].as_str().unwrap().contains("through the import `east`, which is still imported"), "{beside}");
    assert_eq!(call(&place, &token, Method::DELETE, "/api/v1/clusters/beside", None).await.0, 204);
    let (status, refused) = add("west", Some("east")).await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.still_imported")), "{refused}");
    assert_eq!(call(&place, &token, Method::DELETE, "/api/v1/clusters/east", None).await.0, 204);
    let (status, refused) = add("west", Some("north")).await;
    assert!(status == 400 && refused.to_string().contains("north"), "{refused}");
    let (status, taken) = add("west", Some("east")).await;
    assert!(status == 201 && taken["remarks"].is_null(), "{taken}");
    let path = place.apps().replace("/apps", "/placement");
    assert_eq!(call(&place, &place.token, Method::PUT, &path, Some(json!({ "cluster": "west" }))).await.0, 200);
    let on_west = async || {
        let all = place.instances("shop").await;
        all.len() == 2 && all.iter().all(|i| i["available"] == true && i["node"].as_str().is_some_and(|n| n.starts_with("west--")))
    };
    place.world.until("its instances are the other's", LONG, on_west).await;
    place.reaches("shop", "running", 1).await;
    assert_eq!(there(), before, "nothing was made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_moves_to_another_cluster_leaves_nothing_on_the_first() {
    let (place, token, east) = started().await;
    let west = ApiServer::start().await;
    east.controllers();
    west.controllers();
    import(&place, &token, &east, json!({})).await;
    let body = json!({ "name": "west", "access": { "kubeconfig": west.kubeconfig("good") } });
    assert_eq!(call_owned(&place, &token, body).await.0, 201);
    placed(&place).await;
    place.deploy("shop", &web("1", 1)).await;
    place.reaches("shop", "running", 1).await;
    let path = place.apps().replace("/apps", "/placement");
    assert_eq!(call(&place, &place.token, Method::PUT, &path, Some(json!({ "cluster": "west" }))).await.0, 200);
    place.world.until("all of it has left", LONG, || async { east.lock().objects.is_empty() }).await;
    assert!(west.object("deployments/gantry-acme-shop-test/shop-web").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn why_pods_of_a_stateful_workload_are_refused_is_told() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let document = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    spec: {containers: [{name: db, image: example.org/refused}]}\n";
    let body = json!({ "name": "shop", "document": document, "format": "kubernetes", "reason": "it" });
    let (status, answer) = place.post(&place.apps(), body).await;
    assert_eq!(status / 100, 2, "{answer}");
    let told = async || place.get(&format!("{}/shop/why", place.apps())).await.1["waiting"].to_string().contains("exceeded quota");
    place.world.until("the quota is told", LONG, told).await;
    let asked = server.requests().iter().filter(|r| r.path.contains("/events?")).count();
    assert!((1..=3).contains(&asked), "seldom: {asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_images_are_renewed_before_they_end_and_nothing_is_restarted() {
    let (place, token, server) = started_with(Config { credential_seconds: 6, ..config() }).await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    place.deploy("shop", &web("1", 1)).await;
    place.reaches("shop", "running", 1).await;
    let secret = || server.all("secrets").into_iter().find(|s| s["type"] == "kubernetes.io/dockerconfigjson").expect("the credential");
    let pods = || server.all("pods").iter().map(|p| p["metadata"]["uid"].to_string()).collect::<Vec<_>>();
    let (first, before) = (secret(), pods());
    assert!(first["data"][".dockerconfigjson"].is_string(), "{first}");
    let mut last = first["data"].clone();
    for _ in 0..2 {
        place.world.until("it is renewed", LONG, || async { secret()["data"] != last }).await;
        last = secret()["data"].clone();
    }
    assert_eq!((secret()["metadata"]["uid"].clone(), pods()), (first["metadata"]["uid"].clone(), before), "in place, and under running pods");
}
