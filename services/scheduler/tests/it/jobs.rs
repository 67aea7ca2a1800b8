//! Jobs that are held back, and jobs that take too long.

use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place};

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
