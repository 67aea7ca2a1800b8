//! Nodes: loss, return, cordon and drain.

use gantry_kernel::{Role, Scope};
use reqwest::Method;
use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place, web};

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_lost_node_move_and_it_gets_nothing_back_twice() {
    gantry_testkit::clause("7.1.d");
    gantry_testkit::clause("7.1.e");
    gantry_testkit::clause("7.1.g");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (1, 1), "spread");
    one.die();
    place.world.until("both are on the other node", LONG, || async { two.running().len() == 2 }).await;
    place.reaches("web", "running", 1).await;
    let again = Agent::join(&place, "n1", 4000).await;
    again.node.lock().unwrap().running = one.node.lock().unwrap().running.clone();
    place.world.until("the returned node stops what has moved", LONG, || async { again.running().is_empty() }).await;
    assert_eq!(two.running().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_emptied_without_a_gap_and_gets_no_new_instance() {
    let place = Place::new().await;
    let operator = place.world.user();
    place.world.identity.grant(&format!("user:{operator}"), Role::Admin, Scope::Platform).await;
    place.world.identity.settle(&place.host).await;
    let token = place.world.token(operator, "op");
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    for agent in [&one, &two] {
        agent.node.lock().unwrap().fewest = None;
    }
    let call = |path: &'static str| place.world.call(&place.host, Method::POST, path, Some(&token), None);
    assert_eq!(call("/api/v1/nodes/n1/drain").await.0, 204);
    place.world.until("the node is empty", LONG, || async { one.running().is_empty() && two.running().len() == 2 }).await;
    assert_eq!((one.node.lock().unwrap().fewest, two.node.lock().unwrap().fewest), (Some(2), Some(2)));
    place.post(&format!("{}/web/scale", place.apps()), json!({"workload": "web", "replicas": 3})).await;
    place.world.until("the third runs", LONG, || async { two.running().len() == 3 }).await;
    assert_eq!(call("/api/v1/nodes/n1/uncordon").await.0, 204);
    assert_eq!(call("/api/v1/nodes/nowhere/cordon").await.0, 404);
    let (_, nodes) = place.world.call(&place.host, Method::GET, "/api/v1/nodes", Some(&token), None).await;
    assert_eq!((&nodes["items"][0]["name"], &nodes["items"][0]["state"], &nodes["items"][1]["instances"]), (&json!("n1"), &json!("ready"), &json!(3)));
}
