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

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_a_change_of_a_volume_would_do_and_asks_its_node_for_nothing() {
    gantry_testkit::clause("7.1.j");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let volume = format!("{}/x.data", place.apps().replace("/apps", "/volumes"));
    let (status, backup) = place.post(&format!("{volume}/backups"), json!({})).await;
    assert_eq!(status, 201, "{backup}");
    let done = agent.opened().len();

    let tried = async |verb: &str, body: Value| place.post(&format!("{volume}/{verb}?dry_run=true"), body).await;
    let (status, seen) = tried("snapshots", json!({"snapshot": "one"})).await;
    assert_eq!((status, &seen["action"], &seen["lost_bytes"]), (200, &json!("volume.snapshot-made"), &json!(0)), "{seen}");
    let (status, seen) = tried("copies", json!({"app": "web", "volume": "data"})).await;
    assert_eq!((status, &seen["action"], &seen["node"], &seen["lost_bytes"]), (200, &json!("volume.copied"), &json!("n1"), &json!(0)), "{seen}");
    let (status, seen) = tried("restore", json!({"backup": backup["id"]})).await;
    assert_eq!((status, &seen["action"], &seen["lost_bytes"]), (200, &json!("volume.restored"), &json!(5)), "{seen}");
    let (status, seen) = tried("backups", json!({})).await;
    assert_eq!((status, &seen["action"]), (200, &json!("volume.backed-up")), "{seen}");
    let delete = async |path: String| place.world.call(&place.host, Method::DELETE, &path, Some(&place.token), None).await;
    let (status, seen) = delete(format!("{volume}?dry_run=true&node=n1")).await;
    assert_eq!((status, &seen["action"], &seen["lost_bytes"]), (200, &json!("volume.deleted"), &json!(5)), "{seen}");
    let kept = format!("{volume}/backups/{}", backup["id"].as_str().unwrap());
    assert_eq!(delete(format!("{kept}?dry_run=true")).await.1["action"], "volume.backup-deleted");

    // What would be refused then is refused now, in the same way.
    assert_eq!(tried("snapshots", json!({"snapshot": "../x"})).await.0, 400);
    assert_eq!(tried("rollback", json!({"snapshot": "never-made"})).await.0, 404);
    assert_eq!(tried("copies", json!({"app": "web", "volume": "data", "node": "n9"})).await.0, 404);
    assert_eq!(tried("restore", json!({"backup": "other"})).await.0, 404);
    assert_eq!(delete(format!("{volume}/snapshots/one?dry_run=true")).await.0, 404);
    assert_eq!(delete(format!("{volume}?dryrun=true")).await.0, 400, "a typing error must not delete anything");
    let asked: Vec<String> = agent.opened()[done..].iter().map(|o| o.kind.clone()).filter(|k| k != "volume-list").collect();
    assert_eq!(asked, Vec::<String>::new());
    assert_eq!(place.get(&format!("{volume}/backups")).await.1["items"].as_array().unwrap().len(), 1);
}
