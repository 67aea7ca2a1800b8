//! Jobs whose instances have numbers, jobs that are held back, and jobs that take too long.

use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place};

#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_job_goes_through_its_numbers() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let text = "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {name: shop}\nspec:\n  workloads:\n    parts: {image: acme/shop/parts:1, kind: job, replicas: 2, job: {parallelism: 1, indexed: true}}\n";
    let (status, answer) = place.post(&place.apps(), json!({"name": "shop", "format": "gantry", "document": text, "reason": "test"})).await;
    assert_eq!(status, 201, "{answer:#}");
    let mut seen = Vec::new();
    // The second one fails at first.
    for code in [0, 1, 0] {
        place.world.until("the next one runs", LONG, || async { agent.running().len() == 1 }).await;
        let id = agent.running()[0].clone();
        {
            let mut node = agent.node.lock().unwrap();
            let told = node.wanted.instances.iter().find(|i| i.instance_id == id).unwrap();
            assert!(told.env_facts.iter().any(|f| f.name == "JOB_COMPLETION_INDEX" && f.fact == "number"));
            seen.push(told.name.clone());
            node.kill(&id, code);
        }
    }
    place.reaches("shop", "running", 1).await;
    assert_eq!(seen, ["shop-parts-0", "shop-parts-1", "shop-parts-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_held_back_as_its_document_says_and_ended_after_its_time() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let deploy = async |job: &str| {
        let text = format!(
            "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  workloads:\n    once: {{image: acme/shop/once:1, kind: job, job: {job}}}\n"
        );
        let (status, answer) = place.post(&place.apps(), json!({"name": "shop", "format": "gantry", "document": text, "reason": "test"})).await;
        assert!(status == 201 && !answer["remarks"].to_string().contains("not_yet"), "{answer:#}");
    };
    let waiting = async || place.get(&format!("{}/shop/why", place.apps())).await.1["waiting"].to_string();
    deploy("{suspended: true}").await;
    place.reaches("shop", "running", 1).await;
    assert!(waiting().await.contains("is held back"), "{}", waiting().await);
    assert!(agent.running().is_empty());
    deploy("{deadline_seconds: 3}").await;
    place.reaches("shop", "failed", 2).await;
    assert!(waiting().await.contains("took longer than 3 s and is given up"), "{}", waiting().await);
    place.world.until("it is ended", LONG, || async { agent.running().is_empty() }).await;
}
