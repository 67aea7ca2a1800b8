//! Deploying: from document to running instances, and every refusal.

use gantry_contract::usage::UsageSample;
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::agent::Agent;
use crate::neighbours::Limits;
use crate::place::{LONG, Place, config, web};

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_document_runs_behind_its_balancer() {
    gantry_testkit::clause("6.3.3.k");
    gantry_testkit::clause("6.3.3.l");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let (status, deployed) = place.deploy("web", &web("1", 3)).await;
    assert_eq!((status, &deployed["revision"]), (201, &json!(1)), "{deployed}");
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await;
    assert_eq!(app["endpoints"][0]["port"], 20080);
    assert_eq!((&app["workloads"][0]["replicas"], &app["workloads"][0]["ready"]), (&json!(3), &json!(3)));
    let node = agent.node.lock().unwrap();
    assert_eq!(node.rotation.values().map(std::collections::BTreeSet::len).collect::<Vec<_>>(), [3]);
    let wanted = &node.wanted.instances[0];
    assert_eq!(wanted.image, format!("gantry.test/acme/shop/web@sha256:{:0>64}", 1), "by digest");
    assert_eq!(wanted.credential.as_ref().unwrap().password, "acme/shop/web", "a credential for just that repository");
    assert_eq!(wanted.env[0].value, "hunter2");
    assert_eq!(wanted.labels.as_ref().unwrap().space, "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_document_are_in_no_event() {
    let place = Place::new().await;
    place.deploy("web", &web("1", 1)).await;
    let events = place.host.log().read(0, 500).await.unwrap();
    assert!(events.iter().any(|e| e.kind == "app.revised"));
    assert!(events.iter().all(|e| !e.data.to_string().contains("hunter2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_refusal_names_the_limit_and_leaves_nothing() {
    let place = Place::with(config(), Limits { cpu_millis: 250, ..Default::default() }).await;
    let (status, problem) = place.deploy("web", &web("1", 3)).await;
    assert_eq!((status, &problem["code"]), (422, &json!("billing.quota_too_small")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("limit 250"), "{problem}");
    assert_eq!(place.get(&format!("{}/web", place.apps())).await.0, 404);
    assert_eq!(place.deploy("web", &web("1", 2)).await.0, 201);
    let (status, problem) = place.post(&format!("{}/web/scale", place.apps()), json!({"workload": "web", "replicas": 9})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("billing.quota_too_small")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_asks_and_nobody_does_is_listed_with_its_line() {
    let place = Place::new().await;
    let text = "services:\n  web:\n    image: acme/shop/web:1\n    volumes_from: [x]\n    bogus: [/dev/kvm]\n";
    let (status, problem) = place.deploy("web", text).await;
    assert_eq!((status, &problem["code"]), (400, &json!("scheduler.unsupported")), "{problem}");
    assert_eq!(problem["errors"][1]["field"], "document:5:services.web.bogus");
    let (status, _) = place.post(&place.apps(), json!({"name": "web", "document": text, "allow_unsupported": true})).await;
    assert_eq!(status, 201);
    let (status, problem) = place.deploy("other", "services: {web: {image: 'acme/shop/web:missing'}}").await;
    assert_eq!((status, &problem["code"]), (400, &json!("scheduler.no_such_image")), "{problem}");
    let (status, problem) = place.deploy("other", &web("1", 1).replace("20080", "20080-x")).await;
    assert_eq!((status, &problem["code"]), (400, &json!("scheduler.document_invalid")), "{problem}");
    let (status, problem) = place.post(&place.apps(), json!({"name": "web", "document": text, "colour": 1})).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("colour"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let place = Place::new().await;
    place.deploy("web", &web("1", 1)).await;
    let head = place.host.log().head();
    let path = format!("{}?dry_run=true", place.apps());
    let (status, plan) = place.post(&path, json!({"name": "web", "document": web("2", 4)})).await;
    assert_eq!(status, 200);
    let diff: Vec<_> = plan["diff"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned()).collect();
    assert!(diff.contains(&"~ workloads.web.replicas: 1 → 4".to_owned()), "{diff:?}");
    let written = place.host.log().read(head, 10).await.unwrap();
    assert!(written.iter().all(|e| !e.kind.starts_with("app.revised")), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_document_again_is_no_revision_and_a_stale_one_is_refused() {
    let place = Place::new().await;
    place.deploy("web", &web("1", 1)).await;
    let (status, again) = place.deploy("web", &web("1", 1)).await;
    assert_eq!((status, &again["changed"], &again["revision"]), (200, &json!(false), &json!(1)));
    let url = format!("{}{}", place.host.url_of("scheduler").unwrap(), place.apps());
    let body = json!({"name": "web", "document": web("2", 1)});
    let answer = place.world.http.post(url).bearer_auth(&place.token).header("if-match", "\"99\"").json(&body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applications_cannot_have_one_port() {
    let place = Place::new().await;
    assert_eq!(place.deploy("one", &web("1", 1)).await.0, 201);
    let (status, problem) = place.deploy("two", &web("1", 1)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.port_taken")), "{problem}");
    let path = format!("{}/one", place.apps());
    assert_eq!(place.world.call(&place.host, Method::DELETE, &path, Some(&place.token), None).await.0, 204);
    assert_eq!(place.deploy("two", &web("1", 1)).await.0, 201, "the port is free again");
    assert_eq!(place.get(&path).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_it_is_deployed_anew_gives_back_all_its_ports_and_nobody_elses() {
    let place = Place::new().await;
    let path = format!("{}/one", place.apps());
    let delete = async || place.world.call(&place.host, Method::DELETE, &path, Some(&place.token), None).await.0;
    let anew = web("2", 1).replace("20080", "20081");
    for _ in 0..8 {
        assert_eq!(place.deploy("one", &web("1", 1)).await.0, 201);
        let (_, first) = tokio::join!(place.deploy("one", &anew), delete());
        assert_eq!(first, 204);
        // Deployed after it was deleted, it is another application of the name.
        assert!([204, 404].contains(&delete().await));
        let both = web("1", 1).replace("['20080:8080']", "['20080:8080', '20081:8081']");
        let (status, problem) = place.deploy("two", &both).await;
        assert_eq!(status, 201, "{problem}");
        assert_eq!(delete().await, 404);
        assert_eq!(place.deploy("three", &web("1", 1)).await.1["code"], "scheduler.port_taken", "they are the other's now");
        let two = path.replace("/one", "/two");
        assert_eq!(place.world.call(&place.host, Method::DELETE, &two, Some(&place.token), None).await.0, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_a_document_says_it_was_given_is_the_platforms_to_give() {
    let place = Place::new().await;
    let service = "services: [{name: web, workload: web, port: 8080, protocol: tcp, publish: {wanted: 80, listen: 20777}}]";
    let document = format!(
        "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: web}}\nspec:\n  workloads: {{web: {{image: 'acme/shop/web:1'}}}}\n  {service}\n"
    );
    let (status, deployed) = place.post(&place.apps(), json!({"name": "web", "format": "gantry", "document": document})).await;
    assert_eq!(status, 201, "{deployed:#}");
    let port = place.app("web").await["endpoints"][0]["port"].as_u64().unwrap();
    assert!((20_000..20_777).contains(&port), "any that is free, and not the one it claims: {port}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_says_why_for_every_node() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "small", 150).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "pending", 1).await;
    let (_, why) = place.get(&format!("{}/web/why", place.apps())).await;
    assert_eq!(why["waiting"][0]["nodes"][0]["node"], "small", "{why:#}");
    assert!(why["waiting"][0]["nodes"][0]["reasons"][0].as_str().unwrap().starts_with("cpu: 100 millicores asked, 50 of 150 free"), "{why:#}");
    let _second = Agent::join(&place, "second", 4000).await;
    place.reaches("web", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_start_scale_and_delete_reach_the_node() {
    for clause in ["6.3.3.b", "6.3.3.m", "6.3.3.n", "6.3.3.q"] {
        gantry_testkit::clause(clause);
    }
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let verb = |v: &str| format!("{}/web/{v}", place.apps());
    assert_eq!(place.post(&verb("scale"), json!({"workload": "web", "replicas": 4})).await.0, 200);
    place.world.until("four run", LONG, || async { agent.running().len() == 4 }).await;
    assert_eq!(place.post(&verb("stop"), json!({})).await.0, 200);
    place.world.until("none runs", LONG, || async { agent.running().is_empty() }).await;
    place.reaches("web", "stopped", 1).await;
    assert_eq!(place.post(&verb("restart"), json!({})).await.1["code"], "scheduler.app_stopped");
    assert_eq!(place.post(&verb("start"), json!({})).await.0, 200);
    place.reaches("web", "running", 1).await;
    let before = agent.running();
    assert_eq!(place.post(&verb("restart"), json!({})).await.0, 200);
    place.world.until("all are new", LONG, || async { agent.running().len() == 4 && agent.running().iter().all(|i| !before.contains(i)) }).await;
    place.world.call(&place.host, Method::DELETE, &format!("{}/web", place.apps()), Some(&place.token), None).await;
    place.world.until("all are gone", LONG, || async { agent.running().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_instances_are_metered() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await["id"].as_str().unwrap().to_owned();
    place
        .world
        .until("a whole interval is metered", LONG, || async {
            samples(&place).await.iter().any(|s| s.meter == "container_seconds" && (s.amount - 2.0).abs() < 0.01)
        })
        .await;
    let all = samples(&place).await;
    assert!(all.iter().all(|s| s.holder == format!("app:{app}") && s.org == place.space.org().id));
    let cpu = all.iter().filter(|s| s.meter == "cpu_core_seconds").map(|s| s.amount).fold(0.0, f64::max);
    assert!((cpu - 0.2).abs() < 0.01, "two instances of 0.1 cores for a second: {cpu}");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_whose_publishing_broke_off_is_published_in_the_same_pieces() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    place.world.until("it is metered", LONG, || async { !samples(&place).await.is_empty() }).await;
    let db = &place.host.db().orm;
    db.execute_unprepared("update instances set placed_at = placed_at - interval '1 hour'").await.unwrap();
    // As who was killed while it published seven seconds leaves it, five minutes before somebody goes on.
    db.execute_unprepared("update metered set upto = upto - interval '300 seconds', next = upto - interval '293 seconds'").await.unwrap();
    let lasting = |all: &[UsageSample], seconds: std::ops::Range<i64>| all.iter().find(|s| seconds.contains(&(s.to - s.from).whole_seconds())).cloned();
    place.world.until("the rest is published", LONG, || async { lasting(&samples(&place).await, 293..400).is_some() }).await;
    let all = samples(&place).await;
    let (seven, rest) = (lasting(&all, 7..8).expect("the seven seconds"), lasting(&all, 293..400).expect("the rest"));
    assert_eq!(seven.to, rest.from, "no second twice and none left out");
}

async fn samples(place: &Place) -> Vec<UsageSample> {
    let stream = place.host.bus.sample_stream(gantry_bus::streams::USAGE).await.unwrap();
    let mut out = Vec::new();
    for sequence in 1..=stream.get_info().await.unwrap().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        out.push(serde_json::from_slice(&message.payload).unwrap());
    }
    out
}
