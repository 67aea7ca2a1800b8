//! Personal access tokens and keys of service accounts as bearer tokens: the services see access tokens only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Form, Request, State};
use axum::response::IntoResponse;
use axum::routing::{any, post};
use axum::{Json, Router};
use futures::future::join_all;
use gantry_gateway::GatewayConfig;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::world::{Door, door};

/// How often the token endpoint was asked.
type Asked = Arc<AtomicUsize>;

async fn token(State(asked): State<Asked>, headers: HeaderMap, Form(form): Form<BTreeMap<String, String>>) -> axum::response::Response {
    asked.fetch_add(1, Ordering::SeqCst);
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    let right = form["client_id"] == "gantry-cli"
        && form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        && form["subject_token_type"] == "urn:ietf:params:oauth:token-type:access_token";
    if !right || !["gpat_good", "gsk_good"].contains(&form["subject_token"].as_str()) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant", "error_description": "no" }))).into_response();
    }
    Json(json!({ "access_token": format!("for-{}", form["subject_token"]), "token_type": "Bearer", "expires_in": 600 })).into_response()
}

async fn mirror(headers: HeaderMap, _: Request) -> Json<Value> {
    Json(json!({ "authorization": headers.get("authorization").and_then(|v| v.to_str().ok()) }))
}

async fn opened(config: GatewayConfig) -> (Door, Asked) {
    let asked = Asked::default();
    let identity = Router::new().route("/oauth2/token", post(token)).fallback(any(mirror)).with_state(asked.clone());
    (door(vec![("identity", identity)], config).await, asked)
}

async fn call(door: &Door, authorization: &str) -> (u16, Value) {
    let answer = door.http.get(format!("{}/api/v1/me", door.url)).header("authorization", authorization).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_kept_token_opens_the_api_and_is_exchanged_once_for_all_who_bring_it() {
    let (door, asked) = opened(GatewayConfig::default()).await;
    for (status, body) in join_all((0..8).map(|_| call(&door, "Bearer gpat_good"))).await {
        assert_eq!((status, &body["authorization"]), (200, &json!("Bearer for-gpat_good")));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(call(&door, "bearer gsk_good").await.1["authorization"], "Bearer for-gsk_good");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn one_that_is_not_good_is_refused_here_and_others_are_left_alone() {
    let (door, asked) = opened(GatewayConfig::default()).await;
    let (status, problem) = call(&door, "Bearer gpat_stolen").await;
    assert_eq!((status, &problem["code"]), (401, &json!("request.unauthenticated")), "{problem}");
    assert!(!problem.to_string().contains("gpat_stolen"), "{problem}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    for other in ["Bearer eyJhbGciOiJFUzI1NiJ9.e30.x", "Basic YWRhOmdwYXRfZ29vZA==", "DPoP gpat_good"] {
        assert_eq!(call(&door, other).await.1["authorization"], other);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_those_who_are_known_go_on() {
    let (door, asked) = opened(GatewayConfig { sign_ins_per_second: 1, sign_in_burst: 3, ..GatewayConfig::default() }).await;
    assert_eq!(call(&door, "Bearer gpat_good").await.0, 200);
    let guesses: Vec<String> = (0..40).map(|n| format!("Bearer gpat_{n}")).collect();
    let answers = join_all(guesses.iter().map(|guess| call(&door, guess))).await;
    let slowed = answers.iter().filter(|(status, _)| *status == 429).count();
    assert!(slowed > 0 && answers.iter().all(|(status, _)| [401, 429].contains(status)), "{answers:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1 + 40 - slowed);
    assert_eq!(call(&door, "Bearer gpat_good").await.0, 200);
}
