//! Another platform's view: Open Service Broker API 2.17.

use gantry_kernel::Uuid;
use gantry_testkit::clause;
use reqwest::Method;
use serde_json::{Value, json};

use crate::shelf::{LONG, OSB_PASSWORD, Shelf};

impl Shelf {
    async fn osb(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.osb_as(method, path, body, OSB_PASSWORD, Some("2.17")).await
    }

    async fn osb_as(&self, method: Method, path: &str, body: Option<Value>, password: &str, version: Option<&str>) -> (u16, Value) {
        let url = format!("{}/osb/v2{path}", self.host.url_of("catalog").expect("it listens"));
        let mut request = self.world.http.request(method, url).basic_auth("platform", Some(password));
        if let Some(version) = version {
            request = request.header("x-broker-api-version", version);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_platform_provisions_binds_and_deprovisions() {
    clause("6.5.3.3");
    let shelf = Shelf::open().await;
    let (_, catalog) = shelf.osb(Method::GET, "/catalog", None).await;
    let redis = catalog["services"].as_array().expect("a list").iter().find(|s| s["name"] == "redis").expect("redis").clone();
    let body = json!({
        "service_id": redis["id"], "plan_id": redis["plans"][0]["id"], "organization_guid": "x", "space_guid": "y",
        "context": {"platform": "test", "org": "acme", "project": "shop", "space": "test", "instance_name": "theirs"},
    });
    let path = format!("/service_instances/{}", Uuid::now_v7());
    let (status, refused) = shelf.osb(Method::PUT, &path, Some(body.clone())).await;
    assert_eq!((status, refused["error"].as_str()), (422, Some("AsyncRequired")));
    let create = format!("{path}?accepts_incomplete=true");
    assert_eq!(shelf.osb(Method::PUT, &create, Some(body.clone())).await.0, 202);
    assert_eq!(shelf.osb(Method::PUT, &create, Some(body.clone())).await.0, 202, "the same again is the same");
    let last = format!("{path}/last_operation");
    assert_eq!(shelf.osb(Method::GET, &last, None).await.1["state"], "in progress");
    shelf.scheduler.becomes("running", "");
    shelf.world.until("it succeeded", LONG, || async { shelf.osb(Method::GET, &last, None).await.1["state"] == "succeeded" }).await;
    assert_eq!(shelf.scheduler.only_deployment().subject, "service:osb");
    assert_eq!(shelf.osb(Method::PUT, &create, Some(body.clone())).await.0, 200);
    let mut other = body.clone();
    other["plan_id"] = redis["plans"][1]["id"].clone();
    assert_eq!(shelf.osb(Method::PUT, &create, Some(other)).await.0, 409);
    assert_eq!(shelf.get(&shelf.path("/theirs")).await.1["state"], "ready", "people see it, too");

    let binding = format!("{path}/service_bindings/{}", Uuid::now_v7());
    let (status, bound) = shelf.osb(Method::PUT, &binding, Some(body.clone())).await;
    assert_eq!(status, 201, "{bound}");
    let uri = |name: &str| bound["credentials"][name].as_str().unwrap_or_default().to_owned();
    assert!(uri("uri").contains("@redis.svc-cache:6379") && uri("external_uri").contains("@127.0.0.1:20017"), "{bound}");
    assert_eq!(shelf.osb(Method::PUT, &binding, Some(body)).await, (200, bound.clone()));
    assert_eq!(shelf.osb(Method::GET, &binding, None).await.1, bound);
    assert_eq!(shelf.osb(Method::DELETE, &binding, None).await.0, 200);
    assert_eq!(shelf.osb(Method::DELETE, &binding, None).await.0, 410);

    assert_eq!(shelf.osb(Method::DELETE, &create, None).await.0, 202);
    shelf.world.until("it is gone", LONG, || async { shelf.osb(Method::GET, &last, None).await.0 == 410 }).await;
    assert_eq!(shelf.osb(Method::DELETE, &create, None).await.0, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_asks_for_password_version_and_place() {
    let shelf = Shelf::open().await;
    assert_eq!(shelf.osb_as(Method::GET, "/catalog", None, "wrong", Some("2.17")).await.0, 401);
    for version in [None, Some("1.17"), Some("3.0"), Some("2.4"), Some("two")] {
        assert_eq!(shelf.osb_as(Method::GET, "/catalog", None, OSB_PASSWORD, version).await.0, 412, "{version:?}");
    }
    let path = format!("/service_instances/{}?accepts_incomplete=true", Uuid::now_v7());
    let body = |context: Value| json!({"service_id": "redis", "plan_id": "redis-small", "context": context});
    for context in [json!({}), json!({"org": "acme", "project": "shop"}), json!({"org": "none", "project": "shop", "space": "test"})] {
        assert_eq!(shelf.osb(Method::PUT, &path, Some(body(context.clone()))).await.0, 400, "{context}");
    }
    let mismatch = json!({"service_id": "redis", "plan_id": "nginx-small", "context": {"org": "acme", "project": "shop", "space": "test"}});
    assert_eq!(shelf.osb(Method::PUT, &path, Some(mismatch)).await.0, 400);
    assert_eq!(shelf.osb(Method::PUT, "/service_instances/not-a-uuid?accepts_incomplete=true", Some(body(json!({})))).await.0, 400);
    assert_eq!(shelf.osb(Method::GET, &format!("/service_instances/{}", Uuid::now_v7()), None).await.0, 404);
}
