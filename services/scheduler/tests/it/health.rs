//! Health: what a document says of checks reaches the node, and what the node finds is told.

use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place};

const CHECKED: &str = r#"
services:
  web:
    image: acme/shop/web:1
    ports: ["20080:8080"]
    healthcheck: {test: [CMD, /healthy, --all], interval: 5s, timeout: 2s, retries: 4, start_period: 7s}
    deploy: {replicas: 2}
"#;

const PROBED: &str = r#"
apiVersion: gantry.io/v1
kind: Application
metadata: {name: probed}
spec:
  workloads:
    web:
      image: acme/shop/web:2
      probes:
      - {purpose: startup, check: {kind: tcp, port: 8080}, period_ms: 500, failure_threshold: 60}
      - {purpose: live, check: {kind: grpc, port: 9090}, period_ms: 20s}
      - {purpose: ready, check: {kind: http, path: /ready, port: 8080}, period_ms: 1s, timeout_ms: 300, success_threshold: 2}
"#;

/// Purpose, kind, path and port; period, timeout, failures, successes and delay.
type Told = (String, String, String, u32, [u32; 5]);

/// Each check that a node is to make of instances of an image.
fn told(agent: &Agent, image: char) -> Vec<Told> {
    let node = agent.node.lock().unwrap();
    let wanted = node.wanted.instances.iter().find(|i| i.image.ends_with(image)).unwrap();
    let times = |p: &gantry_contract::proto::scheduler::Probe| [p.period_ms, p.timeout_ms, p.failure_threshold, p.success_threshold, p.initial_delay_ms];
    wanted.probes.iter().map(|p| (p.purpose.clone(), p.kind.clone(), p.path.clone(), p.port, times(p))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_reach_the_node_as_the_document_says_and_an_instance_that_fails_them_is_told() {
    gantry_testkit::clause("6.3.2.s");
    gantry_testkit::clause("6.3.3.z");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let (status, body) = place.deploy("web", CHECKED).await;
    assert_eq!(status, 201, "{body:#}");
    place.reaches("web", "running", 1).await;
    let check = |purpose: &str, times: [u32; 5]| (purpose.to_owned(), "command".to_owned(), String::new(), 0, times);
    // A new instance is asked more often than the document says, so that a release does not wait for it.
    assert_eq!(told(&agent, '1'), [check("ready", [1000, 2000, 4, 1, 0]), check("live", [5000, 2000, 4, 1, 7000])]);
    assert!(agent.node.lock().unwrap().wanted.instances.iter().all(|i| i.probes.iter().all(|p| p.command == ["/healthy", "--all"])));

    let (status, body) = place.post(&place.apps(), json!({"name": "probed", "format": "gantry", "document": PROBED})).await;
    assert_eq!(status, 201, "{body:#}");
    place.reaches("probed", "running", 1).await;
    let probe = |purpose: &str, kind: &str, path: &str, port: u32, times: [u32; 5]| (purpose.to_owned(), kind.to_owned(), path.to_owned(), port, times);
    let expected = [
        probe("startup", "tcp", "", 8080, [500, 1000, 60, 1, 0]),
        probe("live", "grpc", "", 9090, [20_000, 1000, 3, 1, 0]),
        probe("ready", "http", "/ready", 8080, [1000, 300, 3, 2, 0]),
    ];
    assert_eq!(told(&agent, '2'), expected);

    // One fails its check.
    let victim = place.instances("web").await[0]["id"].as_str().unwrap().to_owned();
    agent.unwell.lock().unwrap().insert(victim.clone());
    let told = async || {
        let app = place.app("web").await;
        let reason = app["reason"].as_str().unwrap_or_default();
        app["state"] == "degraded" && reason.contains("1 of 2 instances are ready") && reason.contains("its check fails")
    };
    place.world.until("the application says so", LONG, told).await;
    let one = place.instances("web").await.into_iter().find(|i| i["id"] == victim.as_str()).unwrap();
    assert_eq!((&one["state"], &one["available"], &one["reason"]), (&json!("unhealthy"), &json!(false), &json!("its check fails")), "{one:#}");

    agent.unwell.lock().unwrap().clear();
    place.reaches("web", "running", 1).await;
    assert!(place.instances("web").await.iter().all(|i| i["available"] == true));
}
