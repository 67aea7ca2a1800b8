//! People's roles on a Kubernetes cluster: bound in the namespace of a space if that is set, and unbound when it is no more.

use gantry_testkit::kubernetes::ApiServer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::clusters::{call, import, placed, started};
use crate::place::{LONG, web};

fn subjects(server: &ApiServer, role: &str) -> Option<Value> {
    server.object(&format!("rolebindings/gantry-acme-shop-test/gantry-{role}")).map(|o| o["subjects"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_bound_if_set_and_let_go_of_again() {
    let (place, token, server) = started().await;
    server.lock().denied.clear();
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    place.deploy("shop", &web("1", 1)).await;
    place.reaches("shop", "running", 1).await;
    assert!(server.all("rolebindings").is_empty(), "not unless it is set");
    let set = async |settings: Value| call(&place, &token, Method::PUT, "/api/v1/clusters/east/settings", Some(settings)).await.0;
    assert_eq!(set(json!({ "roles": true, "groups_prefix": "oidc:" })).await, 200);
    place.world.until("they are bound", LONG, async || server.all("rolebindings").len() == 3).await;
    let groups = subjects(&server, "viewer").unwrap();
    let names: Vec<&str> = groups.as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["oidc:acme:viewer", "oidc:acme/shop:viewer", "oidc:acme/shop/test:viewer"]);
    let managers = server.object("rolebindings/gantry-acme-shop-test/gantry-admin").unwrap();
    assert_eq!((&managers["roleRef"]["name"], &managers["metadata"]["managedFields"][0]["manager"]), (&json!("admin"), &json!("gantry")));
    assert_eq!(set(json!({})).await, 200);
    place.world.until("they are gone", LONG, async || server.all("rolebindings").is_empty()).await;
    assert_eq!(set(json!({ "groups_prefix": "system:" })).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_the_rest_goes_on_and_a_test_says_what_is_missing() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    assert_eq!(call(&place, &token, Method::PUT, "/api/v1/clusters/east/settings", Some(json!({ "roles": true }))).await.0, 200);
    place.deploy("shop", &web("1", 1)).await;
    place.reaches("shop", "running", 1).await;
    assert!(server.all("rolebindings").is_empty());
    assert!(!server.all("networkpolicies").is_empty(), "the rest of the space is there");
    let (_, tested) = call(&place, &token, Method::POST, "/api/v1/clusters/east/test", None).await;
    assert!(tested["usable"] == false && tested["problem"].as_str().unwrap().contains("manifest --roles"), "{tested}");
    assert!(!server.requests().iter().any(|r| r.path.contains("rolebindings")), "and is not asked for them");
}
