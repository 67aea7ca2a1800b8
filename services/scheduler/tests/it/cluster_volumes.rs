//! Volumes on Kubernetes clusters: listed, kept by snapshots, brought back.

use gantry_testkit::kubernetes::ApiServer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::clusters::{call, import, placed, started};
use crate::place::{LONG, Place};

const NAMESPACE: &str = "gantry-acme-shop-test";
const DOCUMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: [{name: web, image: example.org/web, volumeMounts: [{name: data, mountPath: /data}]}]\n      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";

async fn with_a_volume(snapshots: bool) -> (Place, ApiServer, String) {
    let (place, token, server) = started().await;
    server.lock().snapshots = snapshots;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let body = json!({ "name": "shop", "document": DOCUMENT, "format": "kubernetes", "reason": "it" });
    let (status, answer) = place.post(&place.apps(), body).await;
    assert_eq!(status / 100, 2, "{answer}");
    place.reaches("shop", "running", 1).await;
    let volumes = place.apps().replace("/apps", "/volumes");
    let (_, list) = place.get(&volumes).await;
    let name = list["items"][0]["name"].as_str().unwrap_or_else(|| panic!("{list}")).to_owned();
    (place, server, format!("{volumes}/{name}"))
}

fn claim(server: &ApiServer) -> Value {
    server.object(&format!("persistentvolumeclaims/{NAMESPACE}/shop-data")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_on_a_cluster_is_kept_by_snapshots_and_brought_back() {
    gantry_testkit::clause("7.1.j");
    let (place, server, volume) = with_a_volume(true).await;
    let (_, one) = place.get(&volume).await;
    assert_eq!(
        (&one["node"], &one["app"], &one["size_bytes"], &one["in_use"]),
        (&json!("cluster:east"), &json!("shop"), &json!(1 << 30), &json!(true)),
        "{one}"
    );
    assert_eq!(place.post(&format!("{volume}/snapshots"), json!({ "snapshot": "before.Migration" })).await.0, 204);
    assert_eq!(place.post(&format!("{volume}/snapshots"), json!({ "snapshot": "before.Migration" })).await.0, 409, "there is one of this name");
    let (_, one) = place.get(&volume).await;
    assert_eq!((&one["snapshots"][0]["name"], &one["snapshots"][0]["used_bytes"]), (&json!("before.Migration"), &json!(1 << 30)), "{one}");

    let back = json!({ "snapshot": "before.Migration" });
    let (status, refused) = place.post(&format!("{volume}/rollback"), back.clone()).await;
    assert!(status == 409 && refused["detail"].as_str().unwrap().contains("gantry app stop shop"), "{refused}");
    let before = claim(&server);
    assert_eq!(place.post(&format!("{}/shop/stop", place.apps()), json!({})).await.0, 200);
    place.world.until("nothing has it", LONG, || async { place.get(&volume).await.1["in_use"] == false }).await;
    assert_eq!(place.post(&format!("{volume}/rollback"), json!({ "snapshot": "never" })).await.0, 404);
    assert_eq!(claim(&server)["metadata"]["uid"], before["metadata"]["uid"], "it is untouched");
    let (status, answer) = place.post(&format!("{volume}/rollback"), back).await;
    assert_eq!(status, 204, "{answer}");
    let now = claim(&server);
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    let from = server.object(&format!("volumesnapshots/{NAMESPACE}/{}", now["spec"]["dataSource"]["name"].as_str().unwrap())).unwrap();
    assert_eq!(from["metadata"]["annotations"]["gantry.io/snapshot"], "before.Migration");
    let (_, one) = place.get(&volume).await;
    let kept: Vec<&str> = one["snapshots"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(kept.len() == 2 && kept.iter().any(|name| name.starts_with("before-rollback-")), "what it had is kept: {kept:?}");

    // It is the application's as before, and nothing is made anew when that starts.
    assert_eq!(place.post(&format!("{}/shop/start", place.apps()), json!({})).await.0, 200);
    place.reaches("shop", "running", 1).await;
    assert_eq!(claim(&server)["metadata"]["uid"], now["metadata"]["uid"]);
    assert_eq!(call(&place, &place.token, Method::DELETE, &format!("{volume}/snapshots/before.Migration"), None).await.0, 204);
    assert_eq!(call(&place, &place.token, Method::DELETE, &volume, None).await.0, 409, "it is in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_snapshots_says_what_it_lacks() {
    let (place, server, volume) = with_a_volume(false).await;
    let (status, refused) = place.post(&format!("{volume}/snapshots"), json!({ "snapshot": "one" })).await;
    let detail = refused["detail"].as_str().unwrap();
    assert!(status == 409 && detail.contains("`east` has no snapshots of volumes") && detail.contains("VolumeSnapshotClass"), "{refused}");
    assert!(server.all("volumesnapshots").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_volume_on_a_cluster_holds_goes_into_object_storage_and_back() {
    gantry_testkit::clause("7.1.j");
    let (place, server, volume) = with_a_volume(false).await;
    // Pods of these tests are on this machine, and so is what they mount.
    let folder = std::path::PathBuf::from(format!("/tmp/gantry-volume-{}", claim(&server)["metadata"]["uid"].as_str().unwrap()));
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    std::fs::write(folder.join("deep/kept"), "what it holds").unwrap();
    let (status, backup) = place.post(&format!("{volume}/backups"), json!({})).await;
    assert_eq!(status, 201, "{backup}");
    assert!(backup["bytes"].as_u64().unwrap() > 0, "{backup}");
    let gone = async || server.all("jobs").is_empty();
    place.world.until("the job is gone", LONG, &gone).await;
    let job = server.lock().history.iter().find(|c| c.plural == "jobs" && c.kind == "ADDED").unwrap().object.clone();
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!((&pod["volumes"][0]["persistentVolumeClaim"]["claimName"], &pod["automountServiceAccountToken"]), (&json!("shop-data"), &json!(false)));
    assert!(pod["containers"][0]["volumeMounts"][0]["readOnly"] == true && pod["nodeName"].is_string(), "beside the pod that has it: {pod}");
    assert!(job["metadata"]["labels"].get("gantry.io/cluster").is_none(), "the engine does not look after it");

    let back = json!({ "backup": backup["id"] });
    assert_eq!(place.post(&format!("{volume}/restore?node=cluster:west"), back.clone()).await.0, 404, "there is no such cluster for this space");
    let (status, refused) = place.post(&format!("{volume}/restore"), back.clone()).await;
    assert!(status == 409 && refused["detail"].as_str().unwrap().contains("gantry app stop shop"), "{refused}");
    assert_eq!(place.post(&format!("{}/shop/stop", place.apps()), json!({})).await.0, 200);
    place.world.until("nothing has it", LONG, || async { place.get(&volume).await.1["in_use"] == false }).await;
    std::fs::write(folder.join("deep/kept"), "spoilt").unwrap();
    std::fs::write(folder.join(".later"), "not in the backup").unwrap();
    let (status, answer) = place.post(&format!("{volume}/restore"), back).await;
    assert_eq!(status, 204, "{answer}");
    assert_eq!(std::fs::read_to_string(folder.join("deep/kept")).unwrap(), "what it holds");
    assert!(!folder.join(".later").exists(), "the backup is all that it has");
    place.world.until("the job is gone", LONG, &gone).await;
    std::fs::remove_dir_all(&folder).unwrap();
}
