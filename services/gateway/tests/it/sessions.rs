//! Signing in through the door: code with PKCE, the cookie, the token it stands for, and what other sites cannot do.

use std::sync::{Arc, Mutex};

use axum::extract::{Form, Request, State};
use axum::response::IntoResponse;
use axum::routing::{any, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_gateway::GatewayConfig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{Door, door_to};

/// Identity's token endpoint as far as the door uses it.
#[derive(Clone, Default)]
pub struct Identity {
    issuer: String,
    /// Set by the test from the authorization request.
    pub asked: Arc<Mutex<Asked>>,
    pub grants: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Default)]
pub struct Asked {
    challenge: String,
    nonce: String,
    /// Seconds that an access token lasts.
    pub lasts: i64,
}

async fn token(State(identity): State<Identity>, Form(form): Form<Vec<(String, String)>>) -> axum::response::Response {
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default();
    let asked = identity.asked.lock().unwrap().clone();
    let grant = field("grant_type");
    let used = identity.grants.lock().unwrap().iter().filter(|g| **g == grant).count();
    let good = match grant.as_str() {
        "authorization_code" => field("code") == "good" && URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier"))) == asked.challenge,
        // A refresh token may be used once; the next answer brings the next one.
        "refresh_token" => field("refresh_token") == format!("refresh-{used}"),
        _ => false,
    };
    identity.grants.lock().unwrap().push(grant);
    if !good || field("client_id") != "gantry-console" {
        return (http::StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant", "error_description": "no" }))).into_response();
    }
    let refreshed = identity.grants.lock().unwrap().iter().filter(|g| *g == "refresh_token").count();
    let claims = json!({ "iss": identity.issuer, "aud": "gantry-console", "sub": "user:1", "preferred_username": "eva", "name": "Eva", "nonce": asked.nonce, "exp": 4_000_000_000_i64 });
    let id_token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()));
    Json(json!({ "access_token": format!("access-{refreshed}"), "refresh_token": format!("refresh-{refreshed}"), "id_token": id_token, "expires_in": asked.lasts, "token_type": "Bearer" })).into_response()
}

async fn mirror(request: Request) -> Json<Value> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Json(json!({ "authorization": header("authorization"), "cookie": header("cookie") }))
}

pub struct Signed {
    pub door: Door,
    pub identity: Identity,
    pub cookie: String,
    pub csrf: String,
}

/// A door with identity and a scheduler that says what it received.
pub async fn opened(lasts: i64) -> (Door, Identity) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mirror_address = gantry_testkit::free_address();
    let mirror_listener = tokio::net::TcpListener::bind(mirror_address).await.unwrap();
    tokio::spawn(async move { axum::serve(mirror_listener, Router::new().fallback(any(mirror))).await });
    let door = door_to(vec![("identity", format!("http://{address}")), ("scheduler", format!("http://{mirror_address}"))], GatewayConfig::default()).await;
    let identity = Identity { issuer: door.url.clone(), asked: Arc::new(Mutex::new(Asked { lasts, ..Asked::default() })), ..Identity::default() };
    let router = Router::new().route("/oauth2/token", post(token)).route("/oauth2/revoke", post(async || "")).with_state(identity.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (door, identity)
}

pub fn cookie_of(answer: &reqwest::Response, name: &str) -> Option<String> {
    let cookies = answer.headers().get_all("set-cookie").iter().filter_map(|v| v.to_str().ok());
    let own = cookies.filter_map(|c| c.strip_prefix(&format!("{name}=")).map(str::to_owned)).next()?;
    own.split(';').next().map(str::to_owned)
}

pub async fn begin(door: &Door, identity: &Identity) -> (String, String) {
    let answer = door.http.get(format!("{}/auth/login?return_to=/orgs/acme", door.url)).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let login = cookie_of(&answer, "__Host-gantry-login").expect("a cookie ties the sign-in to this browser");
    let to: reqwest::Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    let query = |name: &str| to.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap_or_default();
    let mut asked = identity.asked.lock().unwrap();
    (asked.challenge, asked.nonce) = (query("code_challenge"), query("nonce"));
    (query("state"), login)
}

pub async fn signed_in(lasts: i64) -> Signed {
    let (door, identity) = opened(lasts).await;
    let (state, login) = begin(&door, &identity).await;
    let answer = door
        .http
        .get(format!("{}/auth/callback?code=good&state={state}&iss={}", door.url, door.url))
        .header("cookie", format!("__Host-gantry-login={login}"))
        .send()
        .await
        .unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, "/orgs/acme"));
    let set = answer.headers().get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()).find(|c| c.starts_with("__Host-gantry=")).unwrap().to_owned();
    for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = format!("__Host-gantry={}", cookie_of(&answer, "__Host-gantry").unwrap());
    let session: Value = door.http.get(format!("{}/auth/session", door.url)).header("cookie", &cookie).send().await.unwrap().json().await.unwrap();
    assert_eq!((&session["signed_in"], &session["user"]["username"]), (&json!(true), &json!("eva")));
    assert!(!session.to_string().contains("access-"), "tokens stay in the door");
    Signed { cookie, csrf: session["csrf"].as_str().unwrap().to_owned(), door, identity }
}

#[tokio::test]
async fn a_browser_signs_in_and_its_cookie_becomes_a_token_that_it_never_sees() {
    let Signed { door, cookie, .. } = signed_in(600).await;
    let got: Value =
        door.http.get(format!("{}/api/v1/nodes", door.url)).header("cookie", format!("{cookie}; theirs=1")).send().await.unwrap().json().await.unwrap();
    assert_eq!(got, json!({ "authorization": "Bearer access-0", "cookie": "theirs=1" }));
    let own: Value =
        door.http.get(format!("{}/api/v1/nodes", door.url)).header("cookie", &cookie).bearer_auth("mine").send().await.unwrap().json().await.unwrap();
    assert_eq!(own["authorization"], "Bearer mine", "a token of one's own goes first");
    let nobody: Value = door.http.get(format!("{}/api/v1/nodes", door.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(nobody["authorization"], Value::Null);
}

#[tokio::test]
async fn signing_in_needs_tls_and_the_doors_own_certificate() {
    gantry_testkit::clause("6.5.2.1.c");
    let (door, identity) = opened(600).await;
    let plain = door.url.replace("https://", "http://");
    // Trusts another installation's authority.
    let other = gantry_testkit::World::new().await;
    let ca = reqwest::Certificate::from_pem(other.running.pki().ca_pem.as_bytes()).unwrap();
    let stranger = reqwest::Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for path in ["/auth/login", "/auth/callback", "/login", "/oauth2/authorize", "/oauth2/token", "/api/v1/registrations"] {
        let answer = stranger.get(format!("{plain}{path}")).send().await;
        assert!(answer.is_err(), "{path} answers without TLS: {answer:?}");
        let answer = stranger.get(format!("{}{path}", door.url)).send().await;
        assert!(answer.is_err(), "{path} is read by who does not know the door's authority: {answer:?}");
    }
    // With it, everything of a sign-in is for TLS alone.
    let (state, login) = begin(&door, &identity).await;
    assert!(!state.is_empty());
    let answer = door
        .http
        .get(format!("{}/auth/callback?code=good&state={state}&iss={}", door.url, door.url))
        .header("cookie", format!("__Host-gantry-login={login}"))
        .send()
        .await
        .unwrap();
    let cookies: Vec<&str> = answer.headers().get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(!cookies.is_empty() && cookies.iter().all(|c| c.starts_with("__Host-") && c.contains("Secure")), "{cookies:?}");
}

#[tokio::test]
async fn another_site_can_change_nothing_with_the_cookie() {
    let Signed { door, cookie, csrf, .. } = signed_in(600).await;
    let post = || door.http.post(format!("{}/api/v1/nodes/a/drain", door.url)).header("cookie", &cookie);
    assert_eq!(post().send().await.unwrap().status(), 403);
    assert_eq!(post().header("x-csrf", "guess").send().await.unwrap().status(), 403);
    assert_eq!(post().header("x-csrf", &csrf).header("origin", "https://evil.example").send().await.unwrap().status(), 403);
    assert_eq!(post().header("x-csrf", &csrf).header("origin", &door.url).send().await.unwrap().status(), 200);
    let out = door.http.post(format!("{}/auth/logout", door.url)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(out.status(), 403, "not even sign out");
}

#[tokio::test]
async fn a_sign_in_ends_only_in_the_browser_that_began_it_and_only_once() {
    let (door, identity) = opened(600).await;
    let (state, login) = begin(&door, &identity).await;
    let callback = |cookie: Option<&str>| {
        let request = door.http.get(format!("{}/auth/callback?code=good&state={state}", door.url));
        match cookie {
            Some(cookie) => request.header("cookie", format!("__Host-gantry-login={cookie}")),
            None => request,
        }
    };
    for foreign in [None, Some("other")] {
        let answer = callback(foreign).send().await.unwrap();
        assert!(answer.headers()["location"].to_str().unwrap().starts_with("/sign-in?problem="), "{answer:?}");
        assert!(cookie_of(&answer, "__Host-gantry").is_none());
    }
    assert_eq!(callback(Some(&login)).send().await.unwrap().headers()["location"], "/orgs/acme");
    let again = callback(Some(&login)).send().await.unwrap();
    assert!(again.headers()["location"].to_str().unwrap().starts_with("/sign-in?problem="));
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_once_however_many_ask() {
    // 30 s is less than the margin: every request finds it stale and the renewal makes it last.
    let Signed { door, identity, cookie, .. } = {
        let signed = signed_in_stale().await;
        signed.identity.asked.lock().unwrap().lasts = 600;
        signed
    };
    let requests = (0..20).map(|_| door.http.get(format!("{}/api/v1/nodes", door.url)).header("cookie", &cookie).send());
    for answer in futures::future::join_all(requests).await {
        let got: Value = answer.unwrap().json().await.unwrap();
        assert_eq!(got["authorization"], "Bearer access-1");
    }
    assert_eq!(identity.grants.lock().unwrap().iter().filter(|g| *g == "refresh_token").count(), 1);
}

/// Signed in with a token that has less left than the door wants, and no question asked since.
pub async fn signed_in_stale() -> Signed {
    let (door, identity) = opened(30).await;
    let (state, login) = begin(&door, &identity).await;
    let answer = door
        .http
        .get(format!("{}/auth/callback?code=good&state={state}", door.url))
        .header("cookie", format!("__Host-gantry-login={login}"))
        .send()
        .await
        .unwrap();
    let cookie = format!("__Host-gantry={}", cookie_of(&answer, "__Host-gantry").unwrap());
    Signed { door, identity, cookie, csrf: String::new() }
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once() {
    let Signed { door, cookie, csrf, .. } = signed_in(600).await;
    let out: Value =
        door.http.post(format!("{}/auth/logout", door.url)).header("cookie", &cookie).header("x-csrf", &csrf).send().await.unwrap().json().await.unwrap();
    assert!(out["redirect"].as_str().is_some_and(|to| to.contains("/oauth2/logout?")), "{out}");
    let answer = door.http.get(format!("{}/api/v1/nodes", door.url)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let session: Value = door.http.get(format!("{}/auth/session", door.url)).header("cookie", &cookie).send().await.unwrap().json().await.unwrap();
    assert_eq!(session, json!({ "signed_in": false }));
}
