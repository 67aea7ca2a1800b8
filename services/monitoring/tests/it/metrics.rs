//! Charts from a real Prometheus that scrapes figures as the agent exports them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gantry_contract::scheduler::NodeEvent;
use gantry_testkit::{Prometheus, clause};
use serde_json::Value;

use crate::place::{Place, name};

/// Figures of node n1 and of two applications of the same name in different organisations. With each look more was read, written,
/// received and sent.
fn figures() -> String {
    static LOOKS: AtomicU64 = AtomicU64::new(1);
    let looks = LOOKS.fetch_add(1, Ordering::Relaxed);
    let mut text = String::from(
        "gantry_node_cpus{node=\"n1\"} 4\ngantry_node_memory_total_bytes{node=\"n1\"} 1000\ngantry_node_memory_available_bytes{node=\"n1\"} 400\n",
    );
    text.push_str(&format!("gantry_node_cpu_seconds_total{{node=\"n1\",mode=\"user\"}} {looks}\n"));
    text.push_str("gantry_node_filesystem_size_bytes{node=\"n1\"} 900\ngantry_node_filesystem_available_bytes{node=\"n1\"} 200\n");
    for (metric, device) in [("disk_read", "sda"), ("disk_written", "sda"), ("network_receive", "eth0"), ("network_transmit", "eth0")] {
        text.push_str(&format!("gantry_node_{metric}_bytes_total{{node=\"n1\",device=\"{device}\"}} {}\n", 1000 * looks));
    }
    for (org, bytes) in [("acme", 111), ("globex", 999)] {
        text.push_str(&format!("gantry_container_memory_bytes{{node=\"n1\",org=\"{org}\",project=\"shop\",space=\"test\",app=\"web\",workload=\"web\",instance=\"i-{org}\"}} {bytes}\n"));
    }
    text
}

fn last(charts: &Value, chart: &str) -> Option<f64> {
    let chart = charts["charts"].as_array()?.iter().find(|c| c["name"] == chart)?;
    let series = chart["series"].as_array()?;
    assert!(series.len() <= 1, "one series only: {chart}");
    series.first()?["points"].as_array()?.last()?[1].as_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_show_the_node_and_ones_own_application_only() {
    clause("6.6.1.1.a");
    clause("6.6.1.2.c");
    clause("7.2.d");
    let scraped = Prometheus::scraping(figures).await;
    let url = scraped.url.clone();
    let place = Place::open(|platform| platform.prometheus_url = url).await;
    place.happened("n1", NodeEvent::Joined { node: name("n1"), facts: serde_json::json!({}) }).await;
    let node = "/api/v1/nodes/n1/metrics?from=2m&step=1s";
    place.world.until("the node has figures", Duration::from_secs(40), || async { last(&place.get(node, &place.root).await.1, "memory").is_some() }).await;
    let (_, charts) = place.get(node, &place.root).await;
    assert_eq!((last(&charts, "memory"), last(&charts, "cpu_capacity")), (Some(600.0), Some(4.0)));
    // How much of processors, storage and network is in use.
    assert_eq!((last(&charts, "disk"), last(&charts, "disk_capacity")), (Some(700.0), Some(900.0)));
    let moves = || async {
        let (_, charts) = place.get(node, &place.root).await;
        ["cpu", "disk_read", "disk_write", "network_receive", "network_transmit"].iter().all(|name| last(&charts, name).is_some_and(|rate| rate > 0.0))
    };
    place.world.until("the node is seen to work", Duration::from_secs(40), moves).await;
    assert_eq!(place.get(node, &place.admin).await.0, 403, "nodes are the platform's");
    assert_eq!(place.get("/api/v1/nodes/n9/metrics", &place.root).await.0, 404);

    let (status, charts) = place.get(&place.path("metrics?from=2m&step=1s"), &place.reader).await;
    assert_eq!((status, last(&charts, "memory")), (200, Some(111.0)), "{charts}");
    assert!(!charts.to_string().contains("globex"));

    let free = "/api/v1/metrics/query?query=gantry_container_memory_bytes";
    assert_eq!(place.get(free, &place.admin).await.0, 403);
    let (_, all) = place.get(free, &place.root).await;
    assert_eq!(all["result"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!(place.get("/api/v1/metrics/query?query=sum(", &place.root).await.0, 400);
    assert_eq!(place.get(&place.path("metrics?from=2m&step=1w"), &place.reader).await.0, 400);
    assert_eq!(place.get(&place.path("metrics?from=90d&step=1s"), &place.reader).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_metrics_store_the_answer_says_so() {
    let place = Place::open(|_| {}).await;
    let (status, problem) = place.get(&place.path("metrics"), &place.reader).await;
    assert_eq!(status, 503);
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("prometheus_url")), "{problem}");
}
