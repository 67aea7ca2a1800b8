//! What stands on a cluster: it is left as it is when only the platform or the cluster is newer, and what stands in the way of a
//! set goes.

use gantry_testkit::kubernetes::ApiServer;
use serde_json::{Value, json};

use crate::clusters::{import, placed, started};
use crate::place::{LONG, Place, config, web};

const NAMESPACE: &str = "gantry-acme-shop-test";

async fn on_cluster(minor: u32) -> (Place, ApiServer) {
    let (place, token, server) = started().await;
    server.lock().minor = minor;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    (place, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_stand_are_replaced_neither_by_a_newer_cluster_nor_by_a_newer_platform() {
    let (place, server) = on_cluster(29).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let object = || server.object(&format!("deployments/{NAMESPACE}/web-web")).unwrap();
    let waits = |object: &Value| object["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 5;
    let before = object()["spec"]["template"].clone();
    assert!(!waits(&object()), "1.29 knows no such hook");

    // Another process looks at the cluster, which is 1.36 by now, and asks for something else of it.
    server.lock().minor = 36;
    let place = place.restarted(config()).await;
    let (status, answer) = place.post(&format!("{}/web/scale", place.apps()), json!({ "workload": "web", "replicas": 3 })).await;
    assert_eq!(status, 200, "{answer}");
    place.world.until("three are asked for", LONG, || async { object()["spec"]["replicas"] == 3 }).await;
    place.reaches("web", "running", 1).await;
    assert_eq!(object()["spec"]["template"], before, "no pod is replaced");

    // What replaces them anyway brings what is new.
    assert_eq!(place.post(&format!("{}/web/restart", place.apps()), json!({})).await.0, 200);
    place.world.until("the new ones wait before they stop", LONG, || async { waits(&object()) }).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &web("2", 3)).await;
    place.reaches("web", "running", 2).await;
    assert!(waits(&object()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_goes_back_though_it_waits_for_a_pod_that_never_comes_up() {
    let (place, server) = on_cluster(36).await;
    let document = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  serviceName: db\n  replicas: 2\n  selector: {{matchLabels: {{app: db}}}}\n  template:\n    metadata: {{labels: {{app: db}}}}\n    spec:\n      containers: [{{name: db, image: 'example.org/{image}'}}]\n"
        )
    };
    let deploy = async |image: &str| {
        let body = json!({ "name": "web", "document": document(image), "format": "kubernetes", "reason": "it" });
        let (status, answer) = place.post(&place.apps(), body).await;
        assert_eq!(status / 100, 2, "{answer}");
    };
    deploy("fine:1").await;
    place.reaches("web", "running", 1).await;
    deploy("broken:2").await;
    let broken = || server.all("pods").iter().filter(|p| p["status"]["phase"] == "Pending").count();
    place.world.until("none of the new ones comes up", LONG, || async { broken() == 2 }).await;
    let (status, answer) = place.post(&format!("{}/web/rollback", place.apps()), json!({ "revision": 1 })).await;
    assert_eq!(status, 200, "{answer}");
    place.reaches("web", "running", 1).await;
    place.world.until("all of the old ones are there again", LONG, || async { broken() == 0 && server.all("pods").len() == 2 }).await;
    assert!(server.all("pods").iter().all(|p| p["metadata"]["labels"]["gantry.io/revision"] == "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compose_lets_people_call_things_runs_on_a_cluster() {
    let (place, server) = on_cluster(36).await;
    let document = "services:\n  db:\n    image: example.org/db:1\n    volumes: ['db_data:/data']\n    secrets: [db_password]\nvolumes: {db_data: {}}\nsecrets: {db_password: {content: hunter2}}\n";
    let (status, answer) = place.deploy("web", document).await;
    assert_eq!(status, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    let names = |plural: &str| server.all(plural).iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let claims = names("persistentvolumeclaims");
    assert!(claims.len() == 1 && claims[0].starts_with("web-db-data-"), "{claims:?}");
    assert!(names("secrets").iter().any(|name| name.starts_with("web-db-password-")), "{:?}", names("secrets"));
    let pod = server.object(&format!("deployments/{NAMESPACE}/web-db")).unwrap()["spec"]["template"]["spec"].clone();
    assert!(pod["volumes"].as_array().unwrap().iter().any(|v| v["persistentVolumeClaim"]["claimName"] == claims[0].as_str()), "{pod}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_probe_a_variable_and_a_file_the_next_kind_takes_the_place_of_the_one_before() {
    one_instead_of_another(false).await;
}

/// As servers of 1.36 before the fix of structured-merge-diff's issue 331 do.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_too_where_the_server_keeps_parts_without_anything_in_them() {
    one_instead_of_another(true).await;
}

async fn one_instead_of_another(hollow: bool) {
    let (place, server) = on_cluster(36).await;
    server.lock().hollow = hollow;
    let document = |variable: &str, probes: &str, volume: &str, service: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n      - name: web\n        image: example.org/web:1\n        ports: [{{containerPort: 8080}}]\n        env: [{{name: WHERE, {variable}}}]\n        {probes}\n        volumeMounts: [{{name: own, mountPath: /etc/own.txt, subPath: own.txt}}]\n      volumes: [{{name: own, {volume}}}]\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{{service}selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: plain}}\ndata: {{own.txt: a}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData: {{own.txt: a}}\n"
        )
    };
    let deploy = async |document: String| {
        let body = json!({ "name": "web", "document": document, "format": "kubernetes", "reason": "it" });
        let (status, answer) = place.post(&place.apps(), body).await;
        assert_eq!(status / 100, 2, "{answer}");
    };
    let asked = "readinessProbe: {httpGet: {path: /, port: 8080}}\n        livenessProbe: {grpc: {port: 8080}}";
    deploy(document("valueFrom: {fieldRef: {fieldPath: status.podIP}}", asked, "configMap: {name: plain}", "sessionAffinity: ClientIP, ")).await;
    place.reaches("web", "running", 1).await;
    let asked = "readinessProbe: {tcpSocket: {port: 8080}}\n        livenessProbe: {exec: {command: ['true']}}";
    deploy(document("value: here", asked, "secret: {secretName: keys}", "")).await;
    place.reaches("web", "running", 2).await;
    let container = || server.object(&format!("deployments/{NAMESPACE}/web-web")).unwrap()["spec"]["template"]["spec"]["containers"][0].clone();
    assert!(container()["readinessProbe"]["httpGet"].is_null() && container()["livenessProbe"]["grpc"].is_null(), "{}", container());
    assert!(server.object(&format!("services/{NAMESPACE}/web-web")).unwrap()["spec"]["sessionAffinity"].is_null());
    // A document that asks for no probe has none.
    deploy(document("value: here", "imagePullPolicy: IfNotPresent", "secret: {secretName: keys}", "")).await;
    place.reaches("web", "running", 3).await;
    assert!(container()["readinessProbe"].is_null() && container()["imagePullPolicy"] == "IfNotPresent", "{}", container());
    let patched = server.requests().iter().any(|r| r.path.contains("fieldManager=gantry-whole"));
    assert_eq!(patched, hollow, "what is said as a whole goes as a whole, and the rest is mended");
    for object in [format!("deployments/{NAMESPACE}/web-web"), format!("services/{NAMESPACE}/web-web")] {
        let managers = server.object(&object).unwrap()["metadata"]["managedFields"].to_string();
        assert!(!managers.contains("gantry-whole"), "what two hold, one cannot take away: {managers}");
    }
}
