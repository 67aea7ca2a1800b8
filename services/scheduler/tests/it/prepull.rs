//! Images that are on nodes before instances need them.

use gantry_kernel::Role;
use reqwest::Method;
use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place, web};

#[tokio::test(flavor = "multi_thread")]
async fn images_are_on_nodes_before_instances_need_them() {
    let place = Place::new().await;
    let token = place.operator().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let ahead = |agent: &Agent| agent.node.lock().unwrap().ahead.clone();

    // An operator's, in the node's settings.
    let set = async |images: serde_json::Value| {
        let body = json!({ "images": images });
        place.world.call(&place.host, Method::PUT, "/api/v1/nodes/n1/settings", Some(&token), Some(&body)).await
    };
    let (status, body) = set(json!(["nginx:1.27", "nginx:1.27"])).await;
    assert_eq!((status, &body["images"]), (200, &json!(["docker.io/library/nginx:1.27"])), "{body}");
    place.world.until("the node is told", LONG, || async { ahead(&one).contains("docker.io/library/nginx:1.27") }).await;
    assert!(ahead(&two).is_empty());
    place
        .world
        .until("how it stands is shown", LONG, || async {
            let (_, nodes) = place.world.call(&place.host, Method::GET, "/api/v1/nodes", Some(&token), None).await;
            nodes["items"][0]["images"]["docker.io/library/nginx:1.27"]["state"] == "present"
        })
        .await;
    assert_eq!(set(json!(["a b"])).await.0, 400);
    assert_eq!(set(json!([])).await.0, 200);
    place.world.until("it is told of none", LONG, || async { ahead(&one).is_empty() }).await;

    // A space's, on every node.
    let owner = place.world.user();
    place.world.identity.grant(&format!("user:{owner}"), Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let rules = place.apps().replace("/apps", "/placement");
    let owner = place.world.token(owner, "own");
    let (status, body) = place.world.call(&place.host, Method::PUT, &rules, Some(&owner), Some(&json!({ "prepull": true }))).await;
    assert_eq!(status, 200, "{body}");
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let has = |agent: &Agent| ahead(agent).iter().any(|i| i.contains("acme/shop/web@"));
    place.world.until("both nodes have its image", LONG, || async { has(&one) && has(&two) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revisions_images_are_fetched_where_the_one_before_stands() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let before: std::collections::BTreeSet<String> = agent.node.lock().unwrap().running.values().cloned().collect();
    // Held at its first batch: nothing of it becomes ready.
    agent.node.lock().unwrap().broken.insert("sha256".into());
    place.deploy("web", &web("2", 2)).await;
    let told = || agent.node.lock().unwrap().ahead.clone();
    place.world.until("its image is fetched", LONG, || async { told().iter().any(|i| !before.contains(i)) }).await;
    agent.node.lock().unwrap().broken.clear();
    place.reaches("web", "running", 2).await;
    place.world.until("nothing is fetched any more", LONG, || async { told().is_empty() }).await;
}
