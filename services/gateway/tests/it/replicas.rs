//! Two doors of one installation, as behind a balancer: what one began, the other goes on with.

use axum::http::StatusCode;
use gantry_gateway::{Gateway, GatewayConfig};
use gantry_host::Running;
use serde_json::{Value, json};

use crate::sessions::{Signed, begin, cookie_of, opened, signed_in, signed_in_stale};
use crate::world::Door;

/// The second door. Both go by one public address, as a balancer's clients see them.
struct Second {
    running: Running,
    url: String,
    public: String,
    http: reqwest::Client,
}

impl Second {
    async fn beside(door: &Door, config: GatewayConfig) -> Self {
        let listen = gantry_testkit::free_address();
        let (running, _) = door.world.replica::<Gateway>(GatewayConfig { listen, ..config }).await;
        let public = door.url.trim_start_matches("https://").to_owned();
        Self { running, url: format!("https://localhost:{}", listen.port()), public, http: door.http1.clone() }
    }

    fn get(&self, path: &str, cookie: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).header("host", &self.public).header("cookie", cookie)
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

#[tokio::test]
async fn a_sign_in_begun_at_one_door_ends_at_the_other_and_holds_at_both() {
    gantry_testkit::clause("7.1.l");
    let (door, identity) = opened(600).await;
    let second = Second::beside(&door, GatewayConfig::default()).await;
    let (state, login) = begin(&door, &identity).await;
    let answer = second.get(&format!("/auth/callback?code=good&state={state}"), &format!("__Host-gantry-login={login}")).send().await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["location"]), (StatusCode::SEE_OTHER, &"/orgs/acme".parse().unwrap()));
    let cookie = format!("__Host-gantry={}", cookie_of(&answer, "__Host-gantry").unwrap());
    let here: Value = door.http.get(format!("{}/api/v1/nodes", door.url)).header("cookie", &cookie).send().await.unwrap().json().await.unwrap();
    let there: Value = second.get("/api/v1/nodes", &cookie).send().await.unwrap().json().await.unwrap();
    assert_eq!((&here["authorization"], &there["authorization"]), (&json!("Bearer access-0"), &json!("Bearer access-0")));
    second.stop().await;
    // The door that is left goes on alone.
    let alone = door.http.get(format!("{}/api/v1/nodes", door.url)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(alone.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_ended_at_one_door_is_over_at_the_other() {
    let Signed { door, cookie, csrf, .. } = signed_in(600).await;
    let second = Second::beside(&door, GatewayConfig::default()).await;
    assert_eq!(second.get("/api/v1/nodes", &cookie).send().await.unwrap().status(), StatusCode::OK);
    let out = door.http.post(format!("{}/auth/logout", door.url)).header("cookie", &cookie).header("x-csrf", &csrf).send().await.unwrap();
    assert_eq!(out.status(), StatusCode::OK);
    assert_eq!(second.get("/api/v1/nodes", &cookie).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    second.stop().await;
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_by_one_door_for_both() {
    let signed = signed_in_stale().await;
    signed.identity.asked.lock().unwrap().lasts = 600;
    let second = Second::beside(&signed.door, GatewayConfig::default()).await;
    let requests = (0..20).map(|n| {
        let first = signed.door.http.get(format!("{}/api/v1/nodes", signed.door.url)).header("cookie", &signed.cookie);
        if n % 2 == 0 { first.send() } else { second.get("/api/v1/nodes", &signed.cookie).send() }
    });
    for answer in futures::future::join_all(requests).await {
        let got: Value = answer.unwrap().json().await.unwrap();
        assert_eq!(got["authorization"], "Bearer access-1");
    }
    assert_eq!(signed.identity.grants.lock().unwrap().iter().filter(|g| *g == "refresh_token").count(), 1);
    second.stop().await;
}

#[tokio::test]
async fn both_doors_count_the_same_requests() {
    // So slow that no request is given back while the test runs.
    let strict = || GatewayConfig { requests_per_second: 1, request_burst: 40, ..GatewayConfig::default() };
    let door = crate::world::door(Vec::new(), strict()).await;
    let second = Second::beside(&door, strict()).await;
    let mut passed = 0;
    for n in 0..80 {
        let first = door.http.get(format!("{}/auth/session", door.url));
        let answer = if n % 2 == 0 { first.send().await } else { second.get("/auth/session", "").send().await };
        passed += u32::from(answer.unwrap().status() == StatusCode::OK);
    }
    assert!((38..=60).contains(&passed), "one limit for both, but {passed} of 80 passed");
    second.stop().await;
}
