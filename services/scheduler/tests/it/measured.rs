//! Decisions by what a real Prometheus has scraped: releases that go back, numbers that follow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_testkit::Prometheus;
use gantry_testkit::kubernetes::ApiServer;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::clusters::{import, placed};
use crate::neighbours::Limits;
use crate::place::{LONG, Place, config, released, web};

/// A Prometheus that scrapes what the test says last.
struct Scraped {
    prometheus: Prometheus,
    figures: Arc<Mutex<String>>,
}

impl Scraped {
    async fn start() -> Self {
        let figures: Arc<Mutex<String>> = Arc::default();
        let told = figures.clone();
        let prometheus = Prometheus::scraping(move || told.lock().unwrap().clone()).await;
        Self { prometheus, figures }
    }

    fn say(&self, figures: impl Into<String>) {
        *self.figures.lock().unwrap() = figures.into();
    }

    async fn place(&self) -> Place {
        let url = self.prometheus.url.clone();
        let world = gantry_testkit::World::with(move |platform| platform.prometheus_url = url).await;
        Place::on(world, gantry_scheduler::Config { measure_interval_seconds: 1, ..config() }, Limits::default()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_on_by_good_answers_and_back_by_bad_ones() {
    let scraped = Scraped::start().await;
    let place = scraped.place().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let release =
        "{strategy: canary, steps: [{weight: 50, pause_seconds: 1}], checks: [{measure: latency, max: 100, failures: 2}, {measure: error_rate, max: 5}]}";
    place.deploy("web", &released("1", 2, release)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &released("2", 2, release)).await;
    // As long as nothing is measured it is not known whether it is good.
    let path = format!("{}/web/why", place.apps());
    let waits = || async { place.get(&path).await.1["waiting"][0]["reason"].as_str().unwrap_or_default().contains("is not measured yet") };
    place.world.until("it waits for answers", LONG, waits).await;
    assert_eq!(place.app("web").await["release"]["step"], 1);
    // Measured, and without requests: there were no errors, and no answer took long.
    let new = place.instances("web").await.into_iter().find(|i| i["revision"] == 2).unwrap();
    let labels = format!("{{node=\"n1\",service_id=\"s\",instance=\"{}\"}}", new["id"].as_str().unwrap());
    let zero = ["requests_total", "errors_total", "response_seconds"].map(|name| format!("gantry_instance_{name}{labels} 0\n"));
    scraped.say(zero.concat());
    place.reaches("web", "running", 2).await;
    place.world.until("the old ones have gone", LONG, || async { agent.running().len() == 2 }).await;

    place.deploy("web", &released("3", 2, &release.replace("pause_seconds: 1", "pause_seconds: 3600"))).await;
    place.world.until("the step has begun", LONG, || async { place.app("web").await["release"]["step"] == 1 }).await;
    let new = place.instances("web").await.into_iter().find(|i| i["revision"] == 3).unwrap();
    scraped.say(format!("gantry_instance_response_seconds{{node=\"n1\",service_id=\"s\",instance=\"{}\"}} 0.9\n", new["id"].as_str().unwrap()));
    place.world.until("it has gone back", LONG, || async { place.app("web").await["revision"] == 2 }).await;
    place.reaches("web", "running", 2).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("the latency is 900, and at most 100 is allowed; so 2 times in a row"), "{app}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_on_a_cluster_is_measured_by_what_its_pods_say() {
    let scraped = Scraped::start().await;
    let place = scraped.place().await;
    let token = place.operator().await;
    let server = ApiServer::start().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    let release = "{strategy: canary, steps: [{weight: 50, pause_seconds: 3600}], checks: [{measure: error_rate, max: 5, failures: 2}]}";
    place.deploy("web", &released("1", 2, release)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &released("2", 2, release)).await;
    let path = format!("{}/web/why", place.apps());
    let waits = || async { place.get(&path).await.1["waiting"][0]["reason"].as_str().unwrap_or_default().contains("is not measured yet") };
    place.world.until("it waits for answers", LONG, waits).await;
    let pods = server.all("pods");
    let new = pods.iter().find(|p| p["metadata"]["labels"]["gantry.io/revision"] == "2").expect("the new pod");
    let of = |status: u32, n: u32| {
        format!(
            "http_server_request_duration_seconds_count{{namespace={},pod={},http_response_status_code=\"{status}\"}} {n}\n",
            new["metadata"]["namespace"], new["metadata"]["name"]
        )
    };
    // One in two fails, all the time.
    let mut n = 0;
    let gone_back = || {
        n += 1;
        scraped.say(format!("{}{}", of(200, n), of(503, n)));
        async { place.app("web").await["revision"] == 1 }
    };
    place.world.until("it has gone back", LONG, gone_back).await;
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("and at most 5 is allowed; so 2 times in a row"), "{app}");
    assert!(server.object("deployments/gantry-acme-shop-test/web-web-r2").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_ones_own_is_for_administrators_of_the_platform() {
    let place = Place::new().await;
    let own = "{strategy: canary, steps: [{weight: 50}], checks: [{measure: query, query: up, min: 1}]}";
    let (code, body) = place.deploy("web", &released("1", 2, own)).await;
    assert_eq!(code, 403, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("queries know no tenants"), "{body}");
}

const QUEUE: &str = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: work}\nspec:\n  workloads:\n    worker:\n      image: acme/shop/worker:1\n      requests: {cpu_millis: 100}\n      scaling:\n        min: 1\n        max: 5\n        metrics: [{source: external, name: queue_length, target: average, value: '10', selector: {labels: {queue: mail}}}]\n        down: {stabilization_seconds: 0}\n";

async fn deploy(place: &Place, document: &str) -> (u16, Value) {
    place.post(&place.apps(), json!({"name": "work", "document": document, "format": "gantry"})).await
}

fn queue(length: u32) -> String {
    // Another space's queue of the same name is none of its business.
    format!(
        "queue_length{{org=\"acme\",project=\"shop\",space=\"test\",queue=\"mail\"}} {length}\nqueue_length{{org=\"acme\",project=\"shop\",space=\"other\",queue=\"mail\"}} 500\n"
    )
}

async fn has(place: &Place, replicas: u64) {
    let wanted = || async {
        let app = place.app("work").await;
        app["workloads"][0]["replicas"] == replicas && app["workloads"][0]["ready"] == replicas
    };
    place.world.until(&format!("{replicas} instances"), LONG, wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_follows_a_queue_stays_over_revisions_and_is_held_by_hand() {
    for clause in ["6.3.2.q", "6.3.3.d", "7.1.f"] {
        gantry_testkit::clause(clause);
    }
    let scraped = Scraped::start().await;
    scraped.say(queue(28));
    let place = scraped.place().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    let (code, body) = deploy(&place, QUEUE).await;
    assert_eq!(code, 201, "{body}");
    has(&place, 3).await;
    let (_, why) = place.get(&format!("{}/work/why", place.apps())).await;
    let reason = why["scaling"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("queue_length is 28 and 10 of each is the target"), "{reason}");
    scraped.say(queue(200));
    has(&place, 5).await;

    // A new revision has as many, not as many as its document says.
    deploy(&place, &QUEUE.replace("worker:1", "worker:2")).await;
    place.reaches("work", "running", 2).await;
    assert_eq!(place.app("work").await["workloads"][0]["replicas"], 5);
    // So many are reserved for the next one, too, and for an earlier one that is put back.
    let next = json!({"name": "work", "document": QUEUE.replace("worker:1", "worker:9"), "format": "gantry"});
    let (_, tried) = place.post(&format!("{}?dry_run=true", place.apps()), next).await;
    assert_eq!(tried["preview"]["reserves"]["cpu_millis"], 500, "{tried:#}");
    let (_, tried) = place.post(&format!("{}/work/rollback?dry_run=true", place.apps()), json!({"revision": 1})).await;
    assert_eq!(tried["reserves"]["cpu_millis"], 500, "{tried:#}");

    let verb = |verb: &'static str, body: Value| {
        let path = format!("{}/work/{verb}", place.apps());
        let place = &place;
        async move { place.post(&path, body).await }
    };
    let (code, body) = verb("scale", json!({"workload": "worker", "replicas": 2})).await;
    assert_eq!((code, &body["code"]), (409, &json!("scheduler.scales_itself")), "{body}");
    assert_eq!(verb("scaling/pause", json!({"workload": "worker", "reason": "maintenance"})).await.0, 200);
    assert_eq!(verb("scale", json!({"workload": "worker", "replicas": 2})).await.0, 200);
    has(&place, 2).await;
    let (_, scaling) = place.get(&format!("{}/work/scaling", place.apps())).await;
    assert_eq!((&scaling["items"][0]["paused"], &scaling["items"][0]["replicas"]), (&json!("maintenance"), &json!(2)));
    // A revision meanwhile does not take the hand's number away.
    deploy(&place, &QUEUE.replace("worker:1", "worker:3")).await;
    place.reaches("work", "running", 3).await;
    has(&place, 2).await;
    scraped.say(queue(3));
    assert_eq!(verb("scaling/resume", json!({"workload": "worker"})).await.0, 200);
    has(&place, 1).await;
    assert_eq!(verb("scaling/pause", json!({"workload": "db"})).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_takes_no_instance_away_and_a_full_quota_adds_none() {
    let scraped = Scraped::start().await;
    scraped.say(queue(40));
    let url = scraped.prometheus.url.clone();
    let world = gantry_testkit::World::with(move |platform| platform.prometheus_url = url).await;
    let place = Place::on(world, gantry_scheduler::Config { measure_interval_seconds: 1, ..config() }, Limits { cpu_millis: 350, ..Default::default() }).await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    deploy(&place, &QUEUE.replace("      scaling", "      replicas: 2\n      scaling")).await;
    let reason = || async { place.get(&format!("{}/work/scaling", place.apps())).await.1["items"][0]["reason"].as_str().unwrap_or_default().to_owned() };
    // Four are wanted, and the quota has room for one more.
    place.world.until("the quota is named", LONG, || async { reason().await.contains("stays at 3: cpu: limit 350") }).await;
    has(&place, 3).await;
    drop(scraped);
    place.world.until("the store is away", Duration::from_secs(90), || async { reason().await.contains("the metrics store does not answer") }).await;
    has(&place, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_instances_used_becomes_a_recommendation() {
    let scraped = Scraped::start().await;
    let own = "org=\"acme\",project=\"shop\",space=\"test\",app=\"web\",workload=\"web\"";
    scraped.say(format!("gantry_container_memory_bytes{{node=\"n1\",{own},instance=\"a\"}} {}\n", 100 << 20));
    let place = scraped.place().await;
    place.deploy("web", &web("1", 1)).await;
    let sizing = || async { place.get(&format!("{}/web/sizing", place.apps())).await.1["items"][0].clone() };
    let known = || async { sizing().await["recommended_memory_bytes"] == json!(120 << 20) };
    place.world.until("it is recorded", LONG, known).await;
    assert_eq!(sizing().await["memory_bytes"], json!(64 << 20));
}
