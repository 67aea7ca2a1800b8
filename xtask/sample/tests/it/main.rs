//! sample on its host, over real TLS, Postgres and NATS.

#![allow(clippy::unwrap_used)]

use gantry_kernel::{Role, Scope};
use gantry_sample::{Config, Sample};
use gantry_testkit::World;
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_and_keeps_what_those_with_the_right_write() {
    let world = World::new().await;
    let host = world.start::<Sample>(Config::default()).await;
    let (status, health) = world.call(&host, Method::GET, "/readyz", None, None).await;
    assert_eq!((status, &health["ready"]), (200, &json!(true)), "{health}");

    let (user, path) = (world.user(), "/api/v1/samples/first");
    let token = world.token(user, "ada");
    assert_eq!(world.call(&host, Method::PUT, path, None, Some(&json!({ "text": "hello" }))).await.0, 401);
    assert_eq!(world.call(&host, Method::PUT, path, Some(&token), Some(&json!({ "text": "hello" }))).await.0, 403);
    world.identity.grant(&format!("user:{user}"), Role::Editor, Scope::Platform).await;
    world.identity.settle(&host).await;

    let (status, item) = world.call(&host, Method::PUT, path, Some(&token), Some(&json!({ "text": "hello" }))).await;
    assert_eq!((status, &item["version"]), (200, &json!(1)), "{item}");
    assert_eq!(world.call(&host, Method::GET, path, Some(&token), None).await, (200, item));
    for bad in [json!({ "text": "" }), json!({ "text": "x".repeat(501) }), json!({}), json!({ "text": "a", "colour": "red" })] {
        assert_eq!(world.call(&host, Method::PUT, path, Some(&token), Some(&bad)).await.0, 400, "{bad}");
    }
    assert_eq!(world.call(&host, Method::GET, "/api/v1/samples/absent", Some(&token), None).await.0, 404);
    assert_eq!(host.log().head(), 1, "only the good one was written");
}
