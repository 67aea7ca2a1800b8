//! What instances and nodes of a Kubernetes cluster use, under the names that agents give it, from a metrics server.

use gantry_testkit::kubernetes::Fault;
use serde_json::json;

use crate::clusters::{call, import, placed, started};
use crate::place::{LONG, Place, web};

async fn figures(place: &Place) -> String {
    let url = format!("{}/metrics", place.host.url_of("scheduler").unwrap());
    place.world.http.get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pods_and_nodes_use_is_told_as_agents_tell_it() {
    let (place, token, server) = started().await;
    server.lock().metrics = true;
    server.controllers();
    server.put("nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0"}, "status": {"capacity": {"cpu": "4", "memory": "8Gi"}}}));
    import(&place, &token, &server, json!({})).await;
    placed(&place).await;
    place.deploy("shop", &web("1", 2)).await;
    place.reaches("shop", "running", 1).await;
    let id = place.instances("shop").await[0]["id"].as_str().unwrap().to_owned();
    place.world.until("its figures are there", LONG, async || figures(&place).await.contains(&id)).await;
    let text = figures(&place).await;
    let of = format!("org=\"acme\",project=\"shop\",space=\"test\",app=\"shop\",workload=\"web\",instance=\"{id}\",container=");
    let memory = text.lines().find(|l| l.starts_with("gantry_container_memory_bytes") && l.contains(&of)).unwrap_or_else(|| panic!("{text}"));
    assert!(memory.ends_with(" 67108864") && memory.contains("node=\"east--node-"), "{memory}");
    assert!(text.lines().any(|l| l.starts_with("gantry_container_cpu_seconds_total") && l.contains(&of)), "{text}");
    for line in [
        "gantry_node_cpus{node=\"east--node-0\"} 4\n",
        "gantry_node_memory_total_bytes{node=\"east--node-0\"} 8589934592\n",
        "gantry_node_memory_available_bytes{node=\"east--node-0\"} 6442450944\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_metrics_server_is_not_asked_and_a_test_says_so() {
    let (place, token, server) = started().await;
    server.controllers();
    import(&place, &token, &server, json!({})).await;
    let (_, tested) = call(&place, &token, reqwest::Method::POST, "/api/v1/clusters/east/test", None).await;
    assert!(tested["remarks"].to_string().contains("metrics.k8s.io/v1beta1") && tested["capabilities"]["metrics"] == false, "{tested}");
    assert_eq!(tested["usable"], true);
    assert!(server.requests().iter().all(|r| !r.path.contains("metrics.k8s.io")));
    // With one, its rights are asked for, too.
    server.lock().metrics = true;
    server.lock().denied.insert("list nodes".into());
    let (_, tested) = call(&place, &token, reqwest::Method::POST, "/api/v1/clusters/east/test", None).await;
    assert!(tested["missing_rights"].to_string().contains("list nodes.metrics.k8s.io"), "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_is_left_alone_for_a_while() {
    let (place, token, server) = started().await;
    server.lock().metrics = true;
    server.fault(Fault { method: "GET", path: "/apis/metrics.k8s.io/v1beta1/pods", status: 403, retry_after: None, body: "{}".into() });
    import(&place, &token, &server, json!({})).await;
    let asked = async || server.requests().iter().any(|r| r.path.starts_with("/apis/metrics.k8s.io/v1beta1/pods"));
    place.world.until("it is asked", LONG, asked).await;
    assert!(!figures(&place).await.contains("gantry_container_memory_bytes"));
}
