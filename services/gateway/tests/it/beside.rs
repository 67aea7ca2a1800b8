//! A service in the door's own process: it is handed requests without a connection, and neither it nor the client can tell but by that.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use gantry_gateway::GatewayConfig;
use gantry_host::config::Nothing;
use gantry_host::{Host, Parts, Service};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::door_beside;

/// Answers with what it received, and whatever becomes of the body.
struct Mirror;

#[async_trait]
impl Service for Mirror {
    const NAME: &'static str = "scheduler";
    const DATABASE: bool = false;
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, _: Host) -> anyhow::Result<Parts> {
        Ok(Parts { router: Router::new().route("/api/v1/nodes/{node}", any(shown)), ..Parts::default() })
    }
}

async fn shown(ConnectInfo(from): ConnectInfo<SocketAddr>, request: Request) -> Json<Value> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(|b| b.to_bytes().len()).unwrap_or(0);
    let headers: serde_json::Map<String, Value> = parts.headers.iter().map(|(n, v)| (n.to_string(), json!(v.to_str().unwrap_or("")))).collect();
    let path = parts.uri.to_string();
    Json(json!({ "method": parts.method.as_str(), "path": path, "headers": headers, "bytes": bytes, "port": from.port() }))
}

async fn seen(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_the_doors_process_sees_what_it_would_see_over_a_connection() {
    let door = door_beside::<Mirror>(GatewayConfig::default()).await;
    let url = format!("{}/api/v1/nodes/n1?watch=true", door.url);
    for client in [&door.http, &door.http1] {
        let got =
            seen(client.get(&url).header("x-forwarded-for", "6.6.6.6").header("x-gantry-peer", "billing").header("cookie", "__Host-gantry-login=1")).await;
        assert_eq!((&got["path"], &got["port"], &got["bytes"]), (&json!("/api/v1/nodes/n1?watch=true"), &json!(0), &json!(0)), "no connection");
        let headers = &got["headers"];
        assert_eq!((&headers["x-forwarded-for"], &headers["x-forwarded-proto"]), (&json!("127.0.0.1"), &json!("https")));
        assert_eq!(json!(format!("https://{}", headers["host"].as_str().unwrap_or_default())), door.url);
        assert!(headers["traceparent"].as_str().is_some_and(|t| t.len() == 55), "{headers}");
        assert!(headers.get("x-gantry-peer").is_none() && headers.get("cookie").is_none(), "{headers}");
        let head = client.head(&url).send().await.expect("an answer");
        assert!(head.status() == 200 && head.headers().contains_key("x-request-id"));
        assert!(head.bytes().await.expect("whole").is_empty());
        let nothing = client.get(format!("{}/api/v1/clusters", door.url)).send().await.expect("an answer");
        assert_eq!((nothing.status().as_u16(), nothing.headers()["content-type"].to_str().ok()), (404, Some("application/problem+json")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_for_a_service_in_the_doors_process_are_bounded_whatever_it_makes_of_them() {
    let door = door_beside::<Mirror>(GatewayConfig { max_body_bytes: 10_000, ..GatewayConfig::default() }).await;
    let url = format!("{}/api/v1/nodes/n1", door.url);
    let chunks = |many: usize| reqwest::Body::wrap_stream(futures::stream::iter((0..many).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7_u8; 3_000])))));
    assert_eq!(seen(door.http.post(&url).body(vec![0_u8; 10_000])).await["bytes"], 10_000);
    assert_eq!(seen(door.http.post(&url).body(chunks(3))).await["bytes"], 9_000);
    for body in [reqwest::Body::from(vec![0_u8; 10_001]), chunks(4)] {
        let answer = door.http.post(&url).body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.json::<Value>().await.expect("JSON")["code"], "request.too_large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_become_another_protocol_has_a_connection() {
    let door = door_beside::<Mirror>(GatewayConfig::default()).await;
    let request = door.http1.get(format!("{}/api/v1/nodes/n1", door.url)).header("connection", "upgrade").header("upgrade", "websocket");
    let got = seen(request).await;
    assert!(got["port"].as_u64().is_some_and(|port| port > 0), "{got}");
}

/// Answers badly, or never.
struct Troubled;

#[async_trait]
impl Service for Troubled {
    const NAME: &'static str = "scheduler";
    const DATABASE: bool = false;
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApiBuilder::new().build()
    }

    async fn start(_: Nothing, _: Host) -> anyhow::Result<Parts> {
        Ok(Parts { router: Router::new().route("/api/v1/nodes/{node}", any(troubled)), ..Parts::default() })
    }
}

static BEGUN: Notify = Notify::const_new();
static GIVEN_UP: Notify = Notify::const_new();

struct Work;

impl Drop for Work {
    fn drop(&mut self) {
        GIVEN_UP.notify_one();
    }
}

async fn troubled(Path(node): Path<String>) -> Response {
    match node.as_str() {
        "panics" => panic!("the password is hunter2"),
        "breaks" => {
            let chunks = futures::stream::unfold(0, |n| async move {
                assert!(n == 0, "half of it was made");
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"half")), n + 1))
            });
            Body::from_stream(chunks).into_response()
        }
        "never" => {
            let _work = Work;
            BEGUN.notify_one();
            std::future::pending().await
        }
        _ => "well".into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_service_in_the_doors_process_is_no_more_than_its_answers() {
    let door = door_beside::<Troubled>(GatewayConfig::default()).await;
    let url = |node: &str| format!("{}/api/v1/nodes/{node}", door.url);
    for client in [&door.http, &door.http1] {
        let answer = client.get(url("panics")).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().ok()), (500, Some("application/problem+json")));
        assert!(!answer.text().await.expect("whole").contains("hunter2"));
        // Cut off, and seen to be: never as if it had been all.
        let whole = async { client.get(url("breaks")).send().await?.bytes().await };
        assert!(whole.await.is_err());
        assert_eq!(client.get(url("n1")).send().await.expect("the door goes on").text().await.expect("whole"), "well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_work_of_a_service_in_the_doors_process() {
    let door = door_beside::<Troubled>(GatewayConfig::default()).await;
    for client in [&door.http, &door.http1] {
        let asked = tokio::spawn(client.get(format!("{}/api/v1/nodes/never", door.url)).send());
        tokio::time::timeout(Duration::from_secs(30), BEGUN.notified()).await.expect("it has begun");
        asked.abort();
        tokio::time::timeout(Duration::from_secs(30), GIVEN_UP.notified()).await.expect("nobody waits for it any more");
    }
}
