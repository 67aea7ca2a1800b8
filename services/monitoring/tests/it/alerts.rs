//! Alert rules: set by those who may, evaluated by a real Prometheus and by what the scheduler tells, shown while they fire and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gantry_contract::scheduler::InstanceEvent;
use gantry_kernel::{InstanceId, Uuid};
use gantry_testkit::{Prometheus, clause};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::place::{LONG, Place};

const PATIENCE: Duration = Duration::from_secs(60);

/// What is told of the alerts of a rule: `alerts` or `alerts?history=true`.
async fn told(place: &Place, what: &str, rule: &str) -> Vec<Value> {
    let (status, page) = place.get(&place.of_space(what), &place.reader).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().cloned().unwrap_or_default().into_iter().filter(|one| one["rule"] == rule).collect()
}

/// The states a rule went through, the oldest first.
async fn went_through(place: &Place, rule: &str) -> Vec<String> {
    let changes = told(place, "alerts?history=true", rule).await;
    changes.iter().rev().map(|one| one["state"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn fires(place: &Place, rule: &str) -> bool {
    told(place, "alerts", rule).await.iter().any(|one| one["state"] == "firing")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_over_its_threshold_is_an_alert_until_it_is_below_again() {
    clause("6.3.3.aa");
    let bytes = Arc::new(AtomicU64::new(900));
    let figure = bytes.clone();
    let figures = move || {
        let container = |org: &str, bytes: u64| {
            format!(
                "gantry_container_memory_bytes{{node=\"n1\",org=\"{org}\",project=\"shop\",space=\"test\",app=\"web\",workload=\"web\",instance=\"i-{org}\"}} {bytes}\n"
            )
        };
        container("acme", figure.load(Ordering::Relaxed)) + &container("globex", 5_000)
    };
    let scraped = Prometheus::scraping(figures).await;
    let url = scraped.url.clone();
    let place = Place::open(|platform| platform.prometheus_url = url).await;
    // The other organisation's application of the same name is over this one at any time.
    let theirs = json!({ "app": "web", "figure": "memory", "threshold": 2_000 });
    assert_eq!(place.put_at("alert-rules/theirs", &place.admin, &theirs).await.0, 200);
    let rule = json!({ "app": "web", "figure": "memory", "threshold": 500, "for_seconds": 1, "severity": "critical" });
    let (status, set) = place.put_at("alert-rules/full", &place.admin, &rule).await;
    assert_eq!((status, &set["comparison"], &set["version"]), (200, &json!("above"), &json!(1)), "{set}");

    place.world.until("it fires", PATIENCE, || fires(&place, "full")).await;
    let alert = told(&place, "alerts", "full").await.remove(0);
    assert_eq!((&alert["severity"], &alert["value"], &alert["instance"]), (&json!("critical"), &json!(900.0), &json!("i-acme")), "{alert}");
    assert_eq!(went_through(&place, "full").await, ["pending", "firing"]);
    bytes.store(100, Ordering::Relaxed);
    place.world.until("it is over", PATIENCE, || async { went_through(&place, "full").await == ["pending", "firing", "resolved"] }).await;
    assert!(told(&place, "alerts", "full").await.is_empty(), "it is not told as what is now");
    let (_, shown) = place.get(&place.of_space("alert-rules/full"), &place.reader).await;
    assert_eq!((&shown["state"], &shown["threshold"]), (&json!("resolved"), &json!(500.0)), "{shown}");
    assert!(went_through(&place, "theirs").await.is_empty(), "a rule sees its own space only");

    let (_, page) = place.get(&place.of_space("alerts?history=true&limit=2"), &place.reader).await;
    assert_eq!((page["items"].as_array().map(Vec::len), &page["items"][0]["state"]), (Some(2), &json!("resolved")), "{page}");
    let next = page["next"].as_str().expect("there is more");
    let (_, last) = place.get(&place.of_space(&format!("alerts?history=true&limit=2&cursor={next}")), &place.reader).await;
    assert_eq!((last["items"].as_array().map(Vec::len), &last["items"][0]["state"], &last["next"]), (Some(1), &json!("pending"), &Value::Null), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_are_an_alert_that_ends_with_its_rule_and_rules_end_with_their_space() {
    let place = Place::open(|_| {}).await;
    let rule = json!({ "app": "web", "figure": "restarts", "threshold": 0 });
    assert_eq!(place.put_at("alert-rules/restarted", &place.admin, &rule).await.0, 200);
    let instance = InstanceId(Uuid::now_v7());
    let restarted = InstanceEvent::Restarted { instance, app: place.app, restarts: 1, exit_code: 137, reason: "out of memory".into() };
    place.happened(instance, restarted).await;
    place.world.until("it fires", PATIENCE, || fires(&place, "restarted")).await;
    assert_eq!(told(&place, "alerts", "restarted").await[0]["value"], 1.0);
    assert_eq!(place.delete_at("alert-rules/restarted", &place.admin).await.0, 204);
    assert!(told(&place, "alerts", "restarted").await.is_empty(), "at once");
    place.world.until("it is over", PATIENCE, || async { went_through(&place, "restarted").await == ["firing", "resolved"] }).await;

    assert_eq!(place.put_at("alert-rules/other", &place.admin, &rule).await.0, 200);
    place.world.identity.delete_org(&place.space.project.org).await;
    let deleted = || async {
        place.get("/api/v1/audit?kind=alert-rule.deleted&actor=system", &place.root).await.1["items"].as_array().is_some_and(|all| !all.is_empty())
    };
    place.world.until("the rule is gone with its space", PATIENCE, deleted).await;
}

/// A Prometheus that has no answer about the application `heavy`, and measures 1 of every other.
async fn half_a_prometheus() -> String {
    let answer = |asked: String| async move {
        if asked.contains("heavy") {
            return (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "error", "error": "the query took too long" }).to_string());
        }
        let result = json!([{ "metric": { "instance": "i-1" }, "value": [1, "1"] }]);
        (StatusCode::OK, json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string())
    };
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().route("/api/v1/query", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_without_an_answer_keep_no_other_from_being_measured() {
    let url = half_a_prometheus().await;
    let place = Place::open(|platform| platform.prometheus_url = url).await;
    // As many as are asked at once, before the other by name.
    for n in 0..8 {
        let rule = json!({ "app": "heavy", "figure": "memory", "threshold": 0 });
        assert_eq!(place.put_at(&format!("alert-rules/a{n}"), &place.admin, &rule).await.0, 200);
    }
    assert_eq!(place.put_at("alert-rules/b", &place.admin, &json!({ "app": "web", "figure": "memory", "threshold": 0 })).await.0, 200);
    place.world.until("it fires", PATIENCE, || fires(&place, "b")).await;
    assert!(went_through(&place, "a0").await.is_empty(), "nothing is known of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_rules_that_are_made_at_once_in_a_space_with_99_one_is_refused() {
    let place = Place::open(|_| {}).await;
    let others = "insert into claims (scope, name, stream) select $1, n::text, 'alert-rule-other.' || n from generate_series(1, 99) n";
    sqlx::query(others).bind(format!("alert-rule/{}", place.space.id)).execute(&place.host.db().pool).await.expect("as 99 rules have it");
    let rule = json!({ "app": "web", "figure": "cpu", "threshold": 1 });
    let (one, two) = tokio::join!(place.put_at("alert-rules/one", &place.admin, &rule), place.put_at("alert-rules/two", &place.admin, &rule));
    let (made, refused) = if one.0 == 200 { (("one", one), ("two", two)) } else { (("two", two), ("one", one)) };
    assert_eq!((made.1.0, refused.1.0, &refused.1.1["code"]), (200, 422, &json!("monitoring.too_many_alert_rules")), "{made:?} {refused:?}");
    let again = json!({ "app": "web", "figure": "cpu", "threshold": 2 });
    assert_eq!(place.put_at(&format!("alert-rules/{}", made.0), &place.admin, &again).await.0, 200, "what is there is changed");
    assert_eq!(place.delete_at(&format!("alert-rules/{}", made.0), &place.admin).await.0, 204);
    assert_eq!(place.put_at(&format!("alert-rules/{}", refused.0), &place.admin, &rule).await.0, 200, "its place is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_set_by_editors_at_the_version_they_have_seen_and_each_change_is_audited() {
    let place = Place::open(|_| {}).await;
    let rule = json!({ "app": "web", "figure": "cpu", "threshold": 0.8, "for_seconds": 300 });
    assert_eq!(place.put_at("alert-rules/hot", &place.reader, &rule).await.0, 403);
    assert_eq!(place.put_at("alert-rules/hot", &place.stranger, &rule).await.0, 404);
    assert_eq!(place.put_at("alert-rules/Hot", &place.admin, &rule).await.0, 400, "no name");
    assert_eq!(place.put_at("alert-rules/hot", &place.admin, &json!({ "app": "web", "figure": "heat", "threshold": 1 })).await.0, 400);
    assert_eq!(place.put_at("alert-rules/hot", &place.admin, &json!({ "app": "web", "figure": "cpu", "threshold": -1 })).await.0, 400);
    assert_eq!(place.put_at("alert-rules/hot", &place.admin, &rule).await.0, 200);

    let stale = |method: Method| async {
        let url = format!("{}{}", place.host.url_of("monitoring").expect("it listens"), place.of_space("alert-rules/hot"));
        let request = place.world.http.request(method, url).bearer_auth(&place.admin).header("if-match", "\"7\"").json(&rule);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((stale(Method::PUT).await, stale(Method::DELETE).await), (412, 412));
    assert_eq!(place.get(&place.of_space("alert-rules/hot"), &place.reader).await.1["for_seconds"], 300);
    assert_eq!(place.get(&place.of_space("alert-rules"), &place.reader).await.1["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(place.get(&place.of_space("alert-rules"), &place.stranger).await.0, 404);
    assert_eq!(place.get(&place.of_space("alerts?history=true&limit=501"), &place.reader).await.0, 400);
    assert_eq!(place.delete_at("alert-rules/hot", &place.reader).await.0, 403);
    assert_eq!(place.delete_at("alert-rules/hot", &place.admin).await.0, 204);
    assert_eq!((place.delete_at("alert-rules/hot", &place.admin).await.0, place.get(&place.of_space("alert-rules/hot"), &place.reader).await.0), (404, 404));

    let audited =
        || async { place.get("/api/v1/audit?kind=alert-rule.*&org=acme", &place.admin).await.1["items"].as_array().is_some_and(|all| all.len() == 2) };
    place.world.until("both changes are in the trail", LONG, audited).await;
}
