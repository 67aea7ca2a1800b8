//! Requests through the door: what reaches a service, what comes back, and what is refused on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum::{Json, Router};
use futures::StreamExt;
use gantry_gateway::GatewayConfig;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{door, door_to};

/// Answers with what it received.
fn mirror() -> Router {
    Router::new().fallback(any(async |request: Request| {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map(|b| b.to_bytes().len()).unwrap_or(0);
        let headers: serde_json::Map<String, Value> = parts.headers.iter().map(|(n, v)| (n.to_string(), json!(v.to_str().unwrap_or("")))).collect();
        Json(json!({ "method": parts.method.as_str(), "path": parts.uri.path_and_query().map(ToString::to_string), "headers": headers, "bytes": bytes }))
    }))
}

async fn seen(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn a_service_sees_one_spelling_of_the_path_and_who_is_asking() {
    let door = door(vec![("scheduler", mirror())], GatewayConfig::default()).await;
    let request = door.http.get(format!("{}/api/v1/nodes/%6E1/x%2Fy?watch=true", door.url));
    let got = seen(
        request
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-real-ip", "6.6.6.6")
            .header("x-gantry-peer", "scheduler")
            .header("cookie", "__Host-gantry-login=1; other=2"),
    )
    .await;
    assert_eq!(got["path"], "/api/v1/nodes/n1/x%2Fy?watch=true");
    let headers = &got["headers"];
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["cookie"], "other=2");
    assert!(headers["traceparent"].as_str().is_some_and(|t| t.len() == 55), "{headers}");
    assert!(headers["x-request-id"].is_string());
    assert!(headers.get("x-real-ip").is_none() && headers.get("x-gantry-peer").is_none(), "{headers}");
}

#[tokio::test]
async fn answers_carry_an_id_and_the_security_headers() {
    let door = door(vec![("scheduler", mirror())], GatewayConfig::default()).await;
    for path in ["/", "/healthz", "/api/v1/nodes", "/api/v1/nothing"] {
        let answer = door.http.get(format!("{}{path}", door.url)).send().await.expect("an answer");
        for name in ["x-request-id", "x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy"] {
            assert!(answer.headers().contains_key(name), "{path}: {name}");
        }
        assert!(!answer.headers().contains_key("strict-transport-security"), "localhost has other ports");
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_a_503_that_says_when_to_return() {
    let door = door(vec![], GatewayConfig::default()).await;
    let answer = door.http.get(format!("{}/api/v1/offerings", door.url)).send().await.expect("an answer");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.expect("JSON");
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("catalog")), "{problem}");
}

#[tokio::test]
async fn a_service_that_comes_back_within_the_retries_is_not_missed() {
    // Where this machine lets the service be back only after the last try, nothing is shown either way: once more then.
    for _ in 0..20 {
        let address = gantry_testkit::free_address();
        let door = door_to(vec![("scheduler", format!("http://{address}"))], GatewayConfig::default()).await;
        let began = std::time::Instant::now();
        let asked = tokio::spawn(door.http.get(format!("{}/api/v1/nodes", door.url)).send());
        // The first try has failed by then; the last one comes after half a second.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port is still free");
        let in_time = began.elapsed() < Duration::from_millis(400);
        tokio::spawn(async move { axum::serve(listener, mirror()).await });
        let answer = asked.await.expect("it ran").expect("an answer");
        if in_time {
            assert_eq!(answer.status(), 200);
            return;
        }
    }
    panic!("this machine never let the service be back in time");
}

#[tokio::test]
async fn a_large_layer_streams_through_and_a_large_rest_body_does_not() {
    let door = door(vec![("registry", mirror()), ("scheduler", mirror())], GatewayConfig { max_body_bytes: 10_000, ..GatewayConfig::default() }).await;
    let chunks = || futures::stream::iter((0..512).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7_u8; 64 * 1024]))));
    let got = seen(door.http.put(format!("{}/v2/a/b/c/blobs/uploads/1", door.url)).body(reqwest::Body::wrap_stream(chunks()))).await;
    assert_eq!(got["bytes"], 512 * 64 * 1024);
    let declared = door.http.post(format!("{}/api/v1/nodes/a/drain", door.url)).body(vec![0_u8; 10_001]).send().await.expect("an answer");
    assert_eq!(declared.status(), 413);
    let streamed = door.http.post(format!("{}/api/v1/nodes/a/drain", door.url)).body(reqwest::Body::wrap_stream(chunks())).send().await.expect("an answer");
    assert_eq!(streamed.status(), 413);
    let problem: Value = streamed.json().await.expect("JSON");
    assert_eq!(problem["code"], "request.too_large");
}

#[tokio::test]
async fn events_arrive_one_by_one_and_are_not_held_back() {
    let events = Router::new().route(
        "/api/v1/events",
        get(async || {
            let stream = futures::stream::unfold(0, async |n| {
                tokio::time::sleep(Duration::from_secs(if n == 0 { 0 } else { 120 })).await;
                Some((Ok::<_, std::io::Error>(Bytes::from(format!("data: {n}\n\n"))), n + 1))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(stream))
        }),
    );
    let door = door(vec![("monitoring", events)], GatewayConfig::default()).await;
    let answer = door.http.get(format!("{}/api/v1/events", door.url)).send().await.expect("an answer");
    let first = tokio::time::timeout(Duration::from_secs(60), answer.bytes_stream().next()).await.expect("before the second is made");
    assert_eq!(first.expect("an event").expect("whole"), "data: 0\n\n");
}

#[tokio::test]
async fn a_web_socket_goes_through_in_both_directions() {
    let echo = Router::new().route(
        "/api/v1/nodes/n1/shell",
        get(async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket| {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        }),
    );
    let door = door(vec![("scheduler", echo)], GatewayConfig::default()).await;
    // Browsers too take HTTP/1.1 for a WebSocket when the server offers no extended CONNECT.
    let answer = door
        .http1
        .get(format!("{}/api/v1/nodes/n1/shell", door.url))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 101);
    let mut socket = answer.upgrade().await.expect("a connection");
    // A masked text frame "hi" (RFC 6455 section 5.2), and its echo without a mask.
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.expect("sent");
    let mut echo = [0; 4];
    tokio::time::timeout(Duration::from_secs(60), socket.read_exact(&mut echo)).await.expect("in time").expect("read");
    assert_eq!(&echo, &[0x81, 2, b'h', b'i']);
}

#[tokio::test]
async fn headers_without_end_and_paths_with_two_meanings_are_refused() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Router::new()
        .fallback(any(async |State(calls): State<Arc<AtomicUsize>>| {
            calls.fetch_add(1, Ordering::SeqCst);
            "reached".into_response()
        }))
        .with_state(Arc::clone(&calls));
    let door = door(vec![("scheduler", counter)], GatewayConfig { max_header_bytes: 16 << 10, ..GatewayConfig::default() }).await;
    let long = door.http.get(format!("{}/api/v1/nodes", door.url)).header("x-long", "x".repeat(15 << 10)).header("x-more", "y".repeat(2 << 10)).send().await;
    // HTTP/2 tells the client of the limit beforehand; then it is the client that refuses.
    if let Ok(answer) = long {
        assert!(matches!(answer.status().as_u16(), 413 | 431), "{}", answer.status());
    }
    let bad = door.http.get(format!("{}/api/v1/nodes/a%00b", door.url)).send().await.expect("an answer");
    assert_eq!(bad.status(), 400);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait_and_others_of_other_doors_are_not_counted() {
    let config = GatewayConfig { requests_per_second: 1, request_burst: 20, ..GatewayConfig::default() };
    let door = door(vec![("scheduler", mirror())], config).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(door.http.get(format!("{}/api/v1/nodes", door.url)).send().await.expect("an answer").status().as_u16());
    }
    let passed = statuses.iter().filter(|s| **s == 200).count();
    assert!((20..=23).contains(&passed), "{passed} of 30 passed");
    assert_eq!(statuses.last(), Some(&429));
}

#[tokio::test]
async fn the_merged_document_and_readiness_name_who_is_missing() {
    let billing = Router::new()
        .route("/openapi.json", get(async || Json(json!({ "openapi": "3.1.0", "info": {}, "paths": { "/api/v1/price-plans": { "get": {} } } }))))
        .route("/readyz", get(async || Json(json!({ "ready": true, "parts": [{ "name": "database", "ok": true }] }))));
    let door = door(vec![("billing", billing)], GatewayConfig::default()).await;
    let document: Value = seen(door.http.get(format!("{}/api/openapi.json", door.url))).await;
    assert_eq!(document["paths"]["/api/v1/price-plans"]["get"]["tags"], json!(["billing"]));
    assert!(document["paths"]["/auth/session"]["get"].is_object());
    assert!(document["x-gantry-missing"].as_array().is_some_and(|missing| missing.len() == 6));
    let answer = door.http.get(format!("{}/readyz", door.url)).send().await.expect("an answer");
    assert_eq!(answer.status(), 503);
    let ready: Value = answer.json().await.expect("JSON");
    let part = |name: &str| ready["parts"].as_array().and_then(|parts| parts.iter().find(|p| p["name"] == name)).cloned().unwrap_or_default();
    assert_eq!((&part("billing")["ready"], &part("scheduler")["ready"]), (&json!(true), &json!(false)));
    assert_eq!(part("billing")["parts"][0]["name"], "database");
}

#[tokio::test]
async fn a_console_that_was_not_built_or_was_is_served_and_its_stale_files_are_not() {
    let door = door(vec![], GatewayConfig::default()).await;
    for path in ["/", "/orgs/acme", "/api/docs"] {
        let answer = door.http.get(format!("{}{path}", door.url)).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().ok()), (200, Some("text/html; charset=utf-8")), "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert!(!answer.text().await.expect("text").contains("__CSP_NONCE__"));
    }
    let stale = door.http.get(format!("{}/assets/index-gone.js", door.url)).send().await.expect("an answer");
    assert_eq!(stale.status(), 404);
    let changed = door.http.post(format!("{}/orgs", door.url)).send().await.expect("an answer");
    assert_eq!(changed.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_handed_on_by_the_door_for_certificates_and_cannot_be_made_up() {
    let certificates = gantry_testkit::free_address();
    let config = GatewayConfig { certificates_listen: Some(certificates), ..GatewayConfig::default() };
    let door = door(vec![("identity", mirror())], config).await;
    let made_up = door.http.get(format!("{}/oauth2/jwks", door.url)).header("client-cert", ":AAAA:").header("client-cert-chain", ":AAAA:");
    let headers = seen(made_up).await["headers"].clone();
    assert!(headers.get("client-cert").is_none() && headers.get("client-cert-chain").is_none(), "{headers}");

    let leaf = door.world.running.pki().leaf("shop", &[]).unwrap();
    let der = leaf.der().unwrap().0[0].to_vec();
    let expected = format!(":{}:", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der));
    let identity = reqwest::Identity::from_pem(format!("{}{}", leaf.key_pem, leaf.chain_pem).as_bytes()).unwrap();
    let ca = reqwest::Certificate::from_pem(door.world.running.pki().ca_pem.as_bytes()).unwrap();
    let url = format!("https://localhost:{}/oauth2/jwks", certificates.port());
    let with = reqwest::Client::builder().tls_certs_only([ca.clone()]).identity(identity).build().unwrap();
    let headers = seen(with.get(&url).header("client-cert", ":AAAA:")).await["headers"].clone();
    assert_eq!(headers["client-cert"], expected, "{headers}");
    let without = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    assert!(seen(without.get(&url)).await["headers"].get("client-cert").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_answers_what_is_under_way_and_lets_nobody_in() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = arrived.clone();
    let slow = Router::new().fallback(any(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            "done"
        }
    }));
    let door = door(vec![("scheduler", slow)], GatewayConfig::default()).await;
    let url = format!("{}/api/v1/nodes", door.url);
    let under_way = [&door.http, &door.http1].map(|http| tokio::spawn(http.get(&url).send()));
    door.world.until("both are asked for", Duration::from_secs(10), || async { arrived.load(Ordering::SeqCst) == 2 }).await;
    door.world.running.stop().await;
    for one in under_way {
        let answer = one.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), "done");
    }
    assert!(door.http1.get(&url).send().await.is_err());
}
