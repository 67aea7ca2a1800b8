//! Webhooks, with a receiver of the test's own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::extract::Request;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_kernel::Role;
use gantry_registry::Config;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::cached::sign;
use crate::image::Image;
use crate::stage::Stage;

const BASE: &str = "/api/v1/orgs/acme/projects/shop/registry";
const REPO: &str = "acme/shop/web";
const LONG: Duration = Duration::from_secs(30);

/// What came in, and what is answered.
#[derive(Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let it = Self { url, got: Arc::default(), answer: Arc::new(Mutex::new(200)) };
        let state = it.clone();
        let app = axum::Router::new().fallback(move |request: Request| {
            let state = state.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                state.got.lock().unwrap().push((parts.headers, String::from_utf8(body.to_vec()).unwrap()));
                let status = *state.answer.lock().unwrap();
                (StatusCode::from_u16(status).unwrap(), "thanks").into_response()
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        it
    }

    fn answers(&self, status: u16) {
        *self.answer.lock().unwrap() = status;
    }

    fn events(&self) -> Vec<Value> {
        self.got.lock().unwrap().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|e| e["type"].as_str().unwrap().trim_start_matches("gantry.registry.").to_owned()).collect()
    }
}

struct Hooked {
    stage: Stage,
    ada: gantry_kernel::UserId,
    access: String,
    token: String,
    receiver: Receiver,
    secret: String,
}

impl Hooked {
    async fn new(config: Config, more: Value) -> Self {
        let receiver = Receiver::start().await;
        let stage = Stage::with(Config { private_targets: true, ..config }).await;
        let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
        let mut it = Self { stage, ada, access, token, receiver, secret: String::new() };
        let mut body = json!({ "url": it.receiver.url, "allow_private": true });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, made) = it.call(Method::PUT, "webhooks/ci", Some(body)).await;
        assert_eq!(status, 200, "{made}");
        it.secret = made["secret"].as_str().unwrap().to_owned();
        it
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.stage.world.call(&self.stage.host, method, &format!("{BASE}/{path}"), Some(&self.access), body.as_ref()).await
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let holds = || async { condition() };
        self.stage.world.until(what, LONG, holds).await;
    }

    async fn heard(&self, kind: &str) {
        self.until(kind, || self.receiver.kinds().iter().any(|k| k == kind)).await;
    }

    async fn one(&self) -> Value {
        self.call(Method::GET, "webhooks", None).await.1["items"][0].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_happens_is_told_signed_and_as_a_cloud_event() {
    let all = json!({ "happenings": ["pushed", "attached", "deleted", "scanned", "pulled", "quota", "replication"] });
    let it = Hooked::new(Config::default(), all).await;
    let image = Image::simple("told");
    let digest = image.push(&it.stage, REPO, "v1", &it.token).await;
    it.heard("image.pushed").await;
    it.heard("image.scanned").await;
    sign(&it.stage, REPO, &it.token, &image).await;
    it.heard("artifact.attached").await;
    let got = it.stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &it.token).send().await.unwrap();
    assert_eq!(got.status(), 200);
    it.heard("image.pulled").await;
    assert_eq!(it.call(Method::PUT, "quota", Some(json!({ "bytes": 1 }))).await.0, 200);
    for tag in ["v2", "v3"] {
        let refused = it.stage.push(REPO, tag, &it.token, &Image::simple("told").manifest).await;
        assert!(refused.status() == 201 || refused.status() == 403);
    }
    let large = Image::simple("too large for the quota");
    for _ in 0..2 {
        let begun =
            it.stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/?digest={}", large.manifest["config"]["digest"].as_str().unwrap()), &it.token);
        assert_eq!(begun.body(large.config.clone()).send().await.unwrap().status(), 403);
    }
    it.heard("quota.exceeded").await;
    assert_eq!(it.stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{digest}"), &it.token).send().await.unwrap().status(), 202);
    it.heard("tag.deleted").await;
    it.heard("image.deleted").await;
    assert_eq!(it.receiver.kinds().iter().filter(|k| *k == "quota.exceeded").count(), 1, "once an hour");

    let (headers, body) = it.receiver.got.lock().unwrap().iter().find(|(_, body)| body.contains("image.pushed")).unwrap().clone();
    let event: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&event["specversion"], &event["subject"]), (&json!("1.0"), &json!("acme/shop/web:v1")));
    assert_eq!(event["data"]["digest"], digest.as_str());
    assert_eq!(event["data"]["by"], format!("user:{}", it.ada));
    assert!(event["source"].as_str().unwrap().ends_with("/api/v1/orgs/acme/projects/shop/registry"));
    let text = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(text("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(text("webhook-id"), event["id"].as_str().unwrap());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(it.secret.strip_prefix("whsec_").unwrap()).unwrap());
    let signature = STANDARD.decode(text("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    let signed = format!("{}.{}.{body}", text("webhook-id"), text("webhook-timestamp"));
    hmac::verify(&key, signed.as_bytes(), &signature).expect("the signature is the secret's");
    let (_, settings) = it.call(Method::GET, "settings", None).await;
    assert!(!settings.to_string().contains(&it.secret) && !settings.to_string().contains("whsec"), "{settings}");

    // A receiver changes over to another secret while both are good.
    let (status, made) = it.call(Method::POST, "webhooks/ci/secrets", None).await;
    assert_eq!((status, made["secret"].as_str().unwrap().starts_with("whsec_")), (200, true));
    let (status, tested) = it.call(Method::POST, "webhooks/ci/test", None).await;
    assert_eq!(
        (status, &tested["state"], &tested["status"], &tested["log"][0]["answer"]),
        (200, &json!("delivered"), &json!(200), &json!("thanks")),
        "{tested}"
    );
    let last = it.receiver.got.lock().unwrap().last().unwrap().0["webhook-signature"].to_str().unwrap().to_owned();
    assert_eq!(last.split(' ').count(), 2, "{last}");
    let only = json!({ "only": true, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" });
    assert_eq!(it.call(Method::POST, "webhooks/ci/secrets", Some(only)).await.1["secret"], Value::Null);
    assert_eq!(it.one().await["secrets"], 1);
    assert_eq!(it.call(Method::POST, "webhooks/ci/secrets", Some(json!({ "secret": "short" }))).await.1["errors"][0]["field"], "secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_refuses_is_tried_again_given_up_and_told_once_more() {
    let it = Hooked::new(Config { webhook_pauses_seconds: vec![1, 1], ..Config::default() }, json!({ "happenings": ["pushed"] })).await;
    it.receiver.answers(500);
    Image::simple("refused").push(&it.stage, REPO, "v1", &it.token).await;
    let dead = || async { it.one().await["dead"] == 1 };
    it.stage.world.until("it is given up", LONG, dead).await;
    assert_eq!(it.receiver.kinds().len(), 3, "one try and two more");
    let ids: std::collections::HashSet<String> = it.receiver.events().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 1, "the same id each time");
    let (_, dead) = it.call(Method::GET, "webhooks/ci/deliveries?state=dead", None).await;
    let id = dead["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((&dead["items"][0]["status"], &dead["items"][0]["tries"]), (&json!(500), &json!(3)), "{dead}");
    let (_, one) = it.call(Method::GET, &format!("webhook-deliveries/{id}"), None).await;
    assert_eq!((one["log"].as_array().unwrap().len(), &one["body"]["id"]), (3, &json!(id)), "{one}");
    it.receiver.answers(204);
    assert_eq!(it.call(Method::POST, "webhooks/ci/replay", Some(json!({ "state": "dead" }))).await, (200, json!({ "events": 1 })));
    let delivered = || async { it.one().await["delivered"] == 1 };
    it.stage.world.until("it is delivered", LONG, delivered).await;
    assert_eq!(it.call(Method::POST, &format!("webhook-deliveries/{id}/replay"), None).await.0, 200);
    it.until("and once more", || it.receiver.kinds().len() == 5).await;
    assert_eq!(it.call(Method::GET, "webhooks/ci/deliveries?state=lost", None).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_and_fails_is_paused_and_misses_nothing() {
    let config = Config { webhook_pauses_seconds: vec![1; 50], webhook_pause_failures: 2, ..Config::default() };
    let it = Hooked::new(config, json!({ "happenings": ["pushed"] })).await;
    it.receiver.answers(503);
    Image::simple("paused 1").push(&it.stage, REPO, "v1", &it.token).await;
    let paused = || async { it.one().await["paused_at"].is_string() };
    it.stage.world.until("it is paused", LONG, paused).await;
    let tries = it.receiver.kinds().len();
    assert_eq!(tries, 2);
    it.receiver.answers(200);
    Image::simple("paused 2").push(&it.stage, REPO, "v2", &it.token).await;
    let both = || async { it.one().await["waiting"] == 2 };
    it.stage.world.until("both wait", LONG, both).await;
    assert_eq!(it.call(Method::POST, "webhooks/ci/test", None).await.1["code"], "registry.webhook_paused");
    assert_eq!(it.receiver.kinds().len(), tries);
    assert_eq!(it.call(Method::POST, "webhooks/ci/resume", None).await, (200, json!({ "events": 2 })));
    let done = || async { it.one().await["delivered"] == 2 };
    it.stage.world.until("both are told", LONG, done).await;
    // One that says that it is gone is paused at once.
    it.receiver.answers(410);
    Image::simple("paused 3").push(&it.stage, REPO, "v3", &it.token).await;
    it.stage.world.until("it is paused again", LONG, paused).await;
    assert_eq!(it.one().await["failures"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_do_not_reach_inside_and_are_for_administrators() {
    let it = Hooked::new(Config::default(), json!({})).await;
    for url in ["https://127.0.0.1:1/x", "https://localhost:1/x", "https://169.254.169.254/latest"] {
        assert_eq!(it.call(Method::PUT, "webhooks/inside", Some(json!({ "url": url }))).await.0, 200);
        let (_, tested) = it.call(Method::POST, "webhooks/inside/test", None).await;
        assert!(tested["error"].as_str().unwrap().contains("private address"), "{url}: {tested}");
    }
    assert_eq!(it.call(Method::PUT, "webhooks/plain", Some(json!({ "url": "http://ci.example" }))).await.1["errors"][0]["field"], "url");
    let vic = it.stage.user("vic", Some((Role::Viewer, it.stage.shop.scope()))).await;
    let eve = it.stage.user("eve", None).await;
    for (user, list, log) in [(vic, 200, 403), (eve, 404, 404)] {
        let token = it.stage.world.token(user, "x");
        let ask = |method: Method, path: &'static str| {
            let (stage, token) = (&it.stage, token.clone());
            async move { stage.world.call(&stage.host, method, &format!("{BASE}/{path}"), Some(&token), None).await.0 }
        };
        assert_eq!((ask(Method::GET, "webhooks").await, ask(Method::GET, "webhooks/ci/deliveries").await), (list, log));
        assert_eq!(ask(Method::POST, "webhooks/ci/test").await, log);
        assert_eq!(ask(Method::DELETE, "webhooks/ci").await, log);
    }
    // Another project's deliveries are not this one's.
    let (_, tested) = it.call(Method::POST, "webhooks/ci/test", None).await;
    let other = format!("/api/v1/orgs/acme/projects/open/registry/webhook-deliveries/{}", tested["id"].as_str().unwrap());
    let root = it.stage.user("root", Some((Role::Admin, gantry_kernel::Scope::Platform))).await;
    assert_eq!(it.stage.world.call(&it.stage.host, Method::GET, &other, Some(&it.stage.world.token(root, "root")), None).await.0, 404);
    assert_eq!(it.call(Method::DELETE, "webhooks/ci", None).await.0, 200);
}
