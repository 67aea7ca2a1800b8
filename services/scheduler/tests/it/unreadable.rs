//! What was stored by a newer version, or is damaged: told, and never taken for nothing.

use gantry_contract::cluster::ClusterEvent;
use gantry_contract::scheduler::{AppEvent, NodeEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_kernel::{AppId, Name, Uuid};
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::clusters::{call, import, started};
use crate::place::{LONG, Place, web};

async fn append(place: &Place, stream: StreamId, events: Vec<gantry_es::NewEvent>) {
    let appended = place.host.log().append(Append::one(stream, None, events, Meta::system())).await.unwrap();
    place.host.settled(appended.position).await;
}

/// Its second revision is one that this version cannot read.
pub async fn revised_by_a_newer_version(place: &Place, app: AppId) {
    let revised = AppEvent::Revised {
        app,
        revision: 2,
        format: "compose".into(),
        model: json!({ "outline": { "workloads": { "web": { "image": 7 } } }, "sealed": "x" }),
        images: Vec::new(),
        reason: "by a newer version".into(),
    };
    let started = AppEvent::ReleaseStarted { app, revision: 2, from: Some(1), strategy: "rolling".into() };
    append(place, StreamId::of::<AppEvent>(app), vec![revised.encode(), started.encode()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_settings_cannot_be_read_gets_nothing_new_and_keeps_what_it_has() {
    let place = Place::new().await;
    let token = place.operator().await;
    let call = async |method: Method, path: &str, body: Option<Value>| place.world.call(&place.host, method, path, Some(&token), body.as_ref()).await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let settings = json!({ "images": ["nginx:1.27"] });
    assert_eq!(call(Method::PUT, "/api/v1/nodes/n1/settings", Some(settings)).await.0, 200);
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let ahead = || agent.node.lock().unwrap().ahead.len();
    place.world.until("its image is fetched", LONG, || async { ahead() == 1 }).await;
    let running = agent.running();

    let node = Name::parse("n1").unwrap();
    let newer = NodeEvent::SettingsChanged { node: node.clone(), settings: json!({ "colour": "blue" }) };
    append(&place, StreamId::of::<NodeEvent>(&node), vec![newer.encode()]).await;
    let (_, nodes) = call(Method::GET, "/api/v1/nodes", None).await;
    assert!(nodes["items"][0]["problem"].as_str().unwrap().contains("settings"), "{nodes}");
    assert_eq!(call(Method::GET, "/api/v1/nodes/n1/settings", None).await.0, 500, "a fault, and not settings that say nothing");
    assert_eq!(place.deploy("more", &web("1", 1).replace("20080", "20081")).await.0, 201);
    place.world.until("nothing new is placed there", LONG, || async { place.app("more").await["state"] == "pending" }).await;
    assert_eq!((agent.running(), ahead()), (running, 1), "nothing is taken away");

    assert_eq!(call(Method::PUT, "/api/v1/nodes/n1/settings", Some(json!({}))).await.0, 200);
    place.reaches("more", "running", 1).await;
    assert_eq!(call(Method::GET, "/api/v1/nodes", None).await.1["items"][0]["problem"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_whose_revision_cannot_be_read_is_left_as_it_is_and_says_so() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let running = agent.running();
    let app: AppId = place.app("web").await["id"].as_str().unwrap().parse().unwrap();
    revised_by_a_newer_version(&place, app).await;
    let body = place.app("web").await;
    assert!(body["state"] == "failed" && body["reason"].as_str().unwrap().contains("revision 2 cannot be read"), "{body}");
    let (status, refused) = place.post(&format!("{}/web/scale", place.apps()), json!({ "workload": "web", "replicas": 5 })).await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.revision_unreadable")), "{refused}");
    // Another application goes on, also on the same node, and the first stays.
    assert_eq!(place.deploy("more", &web("1", 1).replace("20080", "20081")).await.0, 201);
    place.reaches("more", "running", 1).await;
    let stays = |all: Vec<String>| running.iter().all(|id| all.contains(id));
    assert!(stays(agent.running()) && agent.running().len() == 3, "{:?}", agent.running());

    // The way out of it.
    assert_eq!(place.post(&format!("{}/web/stop", place.apps()), json!({})).await.0, 200);
    place.world.until("it is stopped", LONG, || async { agent.running().len() == 1 }).await;
    assert_eq!(place.deploy("web", &web("1", 1)).await.0, 201);
    place.reaches("web", "running", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_settings_cannot_be_read_is_not_said_to_be_usable_and_its_access_stays() {
    let (place, token, server) = started().await;
    import(&place, &token, &server, json!({})).await;
    let (_, shown) = call(&place, &token, Method::GET, "/api/v1/clusters/east", None).await;
    let cluster: Uuid = shown["id"].as_str().unwrap().parse().unwrap();
    let newer = ClusterEvent::SettingsChanged { cluster, settings: json!({ "roles": "by-a-newer-version" }) };
    append(&place, StreamId::of::<ClusterEvent>(cluster), vec![newer.encode()]).await;
    let (status, tested) = call(&place, &token, Method::POST, "/api/v1/clusters/east/test", None).await;
    assert!(status == 200 && tested["usable"] == false && tested["problem"].as_str().unwrap().contains("set them anew"), "{tested}");
    let access = json!({ "kubeconfig": server.kubeconfig("good") });
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/access", Some(access)).await.0, 500);
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/settings", Some(json!({}))).await.0, 200);
    let (_, tested) = call(&place, &token, Method::POST, "/api/v1/clusters/east/test", None).await;
    assert_eq!(tested["usable"], true, "{tested}");
}
