//! Volumes of a space, asked of a node that answers as an agent does.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{Place, web};

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_listed_kept_copied_backed_up_and_restored() {
    gantry_testkit::clause("7.1.j");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let volumes = place.apps().replace("/apps", "/volumes");
    let (status, list) = place.get(&volumes).await;
    assert_eq!((status, &list["items"][0]["name"], &list["items"][0]["node"]), (200, &json!("x.data"), &json!("n1")), "{list}");
    assert_eq!((&list["items"][0]["orphaned"], &list["unreachable"]), (&json!(true), &json!([])), "its application is unknown");
    assert_eq!(place.get(&format!("{volumes}/x.data")).await.1["size_bytes"], 7);
    assert_eq!(place.get(&format!("{volumes}/z.data")).await.0, 404);

    assert_eq!(place.post(&format!("{volumes}/x.data/snapshots"), json!({"snapshot": "one"})).await.0, 204);
    let (status, copy) = place.post(&format!("{volumes}/x.data/copies"), json!({"app": "web", "volume": "data"})).await;
    assert_eq!((status, &copy["bytes"], &copy["node"]), (201, &json!(12), &json!("n1")), "{copy}");
    let refused = async |verb: &str, body: Value| {
        let (status, problem) = place.post(&format!("{volumes}/x.data/{verb}"), body).await;
        assert!(problem["detail"].is_string(), "{problem}");
        status
    };
    assert_eq!(refused("snapshots", json!({"snapshot": "../x"})).await, 400);
    assert_eq!(refused("rollback", json!({"snapshot": "never made"})).await, 400);
    assert_eq!(refused("rollback", json!({"snapshot": "never-made"})).await, 404);
    assert_eq!(refused("copies", json!({"app": "web", "volume": "data", "node": "No Node"})).await, 400);
    assert_eq!(refused("copies", json!({"app": "web", "volume": "data", "node": "n9"})).await, 404);
    let delete = async |path: String| place.world.call(&place.host, Method::DELETE, &path, Some(&place.token), None).await;
    let (status, problem) = delete(format!("{volumes}/x.data")).await;
    assert_eq!((status, &problem["detail"]), (409, &json!("web-1 uses it")), "{problem}");

    let (status, backup) = place.post(&format!("{volumes}/x.data/backups"), json!({})).await;
    assert_eq!((status, &backup["bytes"], &backup["by"]), (201, &json!(12), &json!(place.subject)), "{backup}");
    let kinds: Vec<String> = agent.opened().iter().map(|o| o.kind.clone()).filter(|k| k != "volume-list").collect();
    assert_eq!(kinds, ["volume-snapshot", "volume-read", "volume-write", "volume-delete", "volume-snapshot", "volume-read", "volume-remove-snapshot"]);
    let id = backup["id"].as_str().unwrap();
    let (_, listed) = place.get(&format!("{volumes}/x.data/backups")).await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["id"]), (1, &backup["id"]));
    assert_eq!(place.get(&format!("{volumes}/y.data/backups")).await.1["items"], json!([]));
    assert_eq!(place.post(&format!("{volumes}/x.data/restore"), json!({"backup": id})).await.0, 204);
    assert_eq!(place.post(&format!("{volumes}/x.data/restore"), json!({"backup": "other"})).await.0, 404);
    assert_eq!(delete(format!("{volumes}/x.data/backups/{id}")).await.0, 204);
    assert_eq!(place.get(&format!("{volumes}/x.data/backups")).await.1["items"], json!([]));
}
