//! Public addresses: pools that operators set, one owner for each address, and one node that has it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::clusters::call;
use crate::place::{LONG, Place};

const WEB: &str = "services:\n  web:\n    image: acme/shop/web:1\n    ports: ['80:8080']\n";

/// With a public address, as the service asks for it.
fn asking(address: &str, replicas: u32) -> String {
    format!("{WEB}    deploy: {{replicas: {replicas}, resources: {{limits: {{cpus: '0.1', memory: 64M}}}}}}\n    x-gantry: {{address: {address}}}\n")
}

async fn set(place: &Place, token: &str, name: &str, body: Value) -> (u16, Value) {
    call(place, token, Method::PUT, &format!("/api/v1/address-pools/{name}"), Some(body)).await
}

async fn pool(place: &Place, token: &str, name: &str) -> Value {
    let (_, all) = call(place, token, Method::GET, "/api/v1/address-pools", None).await;
    all["items"].as_array().unwrap().iter().find(|p| p["name"] == name).cloned().unwrap_or_default()
}

async fn delete(place: &Place, app: &str) {
    let path = format!("{}/{app}", place.apps());
    assert_eq!(place.world.call(&place.host, Method::DELETE, &path, Some(&place.token), None).await.0, 204);
}

/// What a node is told to have, as `address:port`.
fn held(agent: &Agent) -> Vec<String> {
    let node = agent.node.lock().unwrap();
    node.wanted.services.iter().flat_map(|s| &s.public_addresses).map(|a| format!("{}:{}", a.address, a.port)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_set_pools_and_no_address_is_in_two() {
    let place = Place::new().await;
    let token = place.operator().await;
    assert_eq!(set(&place, &place.token, "office", json!({"addresses": ["203.0.113.0/30"]})).await.0, 403, "operators alone");
    let (status, made) = set(&place, &token, "office", json!({"addresses": ["203.0.113.0/30"], "orgs": ["acme"]})).await;
    assert_eq!((status, &made["size"], &made["free"], &made["orgs"]), (200, &json!(4), &json!(4), &json!(["acme"])), "{made}");
    assert_eq!(set(&place, &token, "other", json!({"addresses": ["203.0.113.3"]})).await.0, 400);
    assert_eq!(set(&place, &token, "other", json!({"addresses": ["nonsense"]})).await.0, 400);
    assert_eq!(set(&place, &token, "other", json!({"addresses": ["198.51.100.1"], "orgs": ["nobody"]})).await.0, 404);
    assert_eq!(pool(&place, &place.token, "office").await["addresses"], json!(["203.0.113.0/30"]), "who may use it sees it");
    let gone = call(&place, &token, Method::DELETE, "/api/v1/address-pools/office", None).await;
    assert_eq!(gone.0, 204, "{}", gone.1);
    assert_eq!(call(&place, &token, Method::DELETE, "/api/v1/address-pools/office", None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_of_a_deleted_organisation_is_not_opened_to_all() {
    let place = Place::new().await;
    let token = place.operator().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    let other = place.world.identity.org("other").await;
    place.world.identity.settle(&place.host).await;
    let (status, made) = set(&place, &token, "theirs", json!({"addresses": ["203.0.113.7"], "orgs": ["other"]})).await;
    assert_eq!((status, &made["orgs"]), (200, &json!(["other"])), "{made}");
    place.world.identity.delete_org(&other).await;
    place.world.identity.settle(&place.host).await;

    let left = pool(&place, &token, "theirs").await["orgs"].clone();
    assert_eq!(left, json!([other.id.to_string()]), "it does not look like one for all");
    // Whoever changes what was read keeps it closed.
    let (status, grown) = set(&place, &token, "theirs", json!({"addresses": ["203.0.113.7", "203.0.113.9"], "orgs": left})).await;
    assert_eq!((status, &grown["orgs"], &grown["size"]), (200, &left, &json!(2)), "{grown}");
    assert_eq!(pool(&place, &place.token, "theirs").await, Value::Null, "others do not see it");
    let (status, problem) = place.deploy("web", &asking("theirs", 1)).await;
    assert_ne!(status, 201, "{problem}");
    assert_eq!(set(&place, &token, "new", json!({"addresses": ["198.51.100.1"], "orgs": left})).await.0, 404, "a new pool has no use for it");
    assert_eq!(set(&place, &token, "theirs", json!({"addresses": ["203.0.113.7"], "orgs": []})).await.0, 200);
    assert_eq!(place.deploy("web", &asking("theirs", 1)).await.0, 201, "for all when somebody says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_one_applications_until_that_does_not_ask_for_it_any_more() {
    gantry_testkit::clause("6.3.1.e");
    gantry_testkit::clause("6.3.3.u");
    let place = Place::new().await;
    let token = place.operator().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    assert_eq!(place.deploy("one", &asking("office", 1)).await.0, 400, "there is no pool yet");
    set(&place, &token, "office", json!({"addresses": ["203.0.113.6-203.0.113.7"]})).await;

    let (status, body) = place.deploy("one", &asking("{ip: 203.0.113.7}", 1)).await;
    assert_eq!(status, 201, "{body}");
    let (status, problem) = place.deploy("two", &asking("{pool: office, ip: 203.0.113.7}", 1)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.address_taken")), "{problem}");
    assert_eq!(place.deploy("two", &asking("office", 1)).await.0, 201, "another one is free");
    let (status, problem) = place.deploy("three", &asking("office", 1)).await;
    assert_eq!((status, &problem["code"]), (422, &json!("scheduler.no_address_left")), "{problem}");
    let endpoints = place.app("two").await["endpoints"].clone();
    assert!(endpoints.as_array().unwrap().iter().any(|e| e["host"] == "203.0.113.6" && e["port"] == 80), "{endpoints}");

    let claims = pool(&place, &token, "office").await["claims"].clone();
    assert_eq!(claims[1], json!({"address": "203.0.113.7", "app": "acme/shop/test/one", "node": "n1"}));
    let (status, problem) = set(&place, &token, "office", json!({"addresses": ["203.0.113.6"]})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.pool_in_use")), "{problem}");
    assert_eq!(set(&place, &token, "office", json!({"addresses": ["203.0.113.6-203.0.113.7"], "orgs": []})).await.0, 200);

    // Without the address, once the revision that had it is gone.
    place.reaches("one", "running", 1).await;
    assert_eq!(place.deploy("one", WEB).await.0, 201);
    place.reaches("one", "running", 2).await;
    let free = async || pool(&place, &token, "office").await["free"] == 1;
    place.world.until("it is given back", LONG, || async { free().await }).await;
    // With the application.
    delete(&place, "two").await;
    assert_eq!(pool(&place, &token, "office").await["free"], 2);
    assert_eq!(place.deploy("three", &asking("{ip: 203.0.113.7}", 1)).await.0, 201);

    // A revision that had it does not come back without.
    let (status, problem) = place.post(&format!("{}/one/rollback", place.apps()), json!({"revision": 1})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.address_taken")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_has_the_address_and_another_when_it_is_drained_or_lost() {
    gantry_testkit::clause("6.3.1.e");
    let place = Place::new().await;
    let token = place.operator().await;
    set(&place, &token, "office", json!({"addresses": ["203.0.113.7"]})).await;
    let agents = [Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await, Agent::join(&place, "n3", 4000).await];
    assert_eq!(place.deploy("web", &asking("office", 3)).await.0, 201);
    place.reaches("web", "running", 1).await;
    let holders = |of: &[&Agent]| -> Vec<usize> { of.iter().enumerate().filter(|(_, a)| held(a) == ["203.0.113.7:80"]).map(|(n, _)| n).collect() };
    let all: Vec<&Agent> = agents.iter().collect();
    place.world.until("one node has it", LONG, || async { holders(&all).len() == 1 }).await;
    let first = holders(&all)[0];
    let drained = call(&place, &token, Method::POST, &format!("/api/v1/nodes/n{}/drain", first + 1), None).await;
    assert_eq!(drained.0, 204);
    place.world.until("it moves away from a node that is drained", LONG, || async { holders(&all).len() == 1 && holders(&all)[0] != first }).await;
    let second = holders(&all)[0];
    agents[second].die();
    let rest: Vec<&Agent> = agents.iter().enumerate().filter(|(n, _)| *n != second).map(|(_, a)| a).collect();
    place.world.until("it moves away from a node that is lost", LONG, || async { holders(&rest).len() == 1 }).await;
    assert_ne!(all.iter().position(|a| std::ptr::eq(*a, rest[holders(&rest)[0]])), Some(first), "the other is still drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_is_given_from_a_pool_that_goes_at_the_same_time() {
    let place = Place::new().await;
    let token = place.operator().await;
    for n in 0..8 {
        let (name, app) = (format!("pool-{n}"), format!("app-{n}"));
        assert_eq!(set(&place, &token, &name, json!({"addresses": [format!("203.0.113.{n}")]})).await.0, 200);
        let path = format!("/api/v1/address-pools/{name}");
        let document = asking(&name, 1);
        let ((deployed, answer), (deleted, problem)) = tokio::join!(place.deploy(&app, &document), call(&place, &token, Method::DELETE, &path, None));
        assert!(deployed != 201 || deleted == 409, "{answer}\n{problem}");
        assert!(deployed == 201 || [400, 409].contains(&deployed), "{answer}");
        assert!([204, 409].contains(&deleted), "{problem}");
        let there = pool(&place, &token, &name).await;
        assert_eq!(there["claims"].as_array().map(Vec::len), (deleted == 409).then_some(usize::from(deployed == 201)), "{there}");
    }
}
