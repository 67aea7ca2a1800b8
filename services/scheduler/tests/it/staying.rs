//! Releases that leave instances with the revision that they have.

use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place, config};

impl Place {
    /// An application of one workload in our own form, of revision `revision` then.
    async fn deploys(&self, workload: &str, revision: u64) {
        let document = format!("apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  workloads:\n    web: {workload}\n");
        let (status, answer) = self.post(&self.apps(), json!({"name": "shop", "format": "gantry", "document": document, "reason": "test"})).await;
        assert_eq!(status, 201, "{answer:#}");
        self.reaches("shop", "running", revision).await;
    }

    /// Of the instances that are not being stopped: number and revision, by number.
    async fn revisions(&self) -> Vec<(u64, u64)> {
        let all = self.instances("shop").await;
        let stays = all.iter().filter(|i| i["state"] != "stopping");
        let mut out: Vec<(u64, u64)> = stays.map(|i| (i["index"].as_u64().unwrap(), i["revision"].as_u64().unwrap())).collect();
        out.sort_unstable();
        out
    }

    async fn running(&self, index: u64) -> Option<String> {
        let all = self.instances("shop").await;
        all.iter().find(|i| i["index"] == index && i["state"] == "running").map(|i| i["id"].as_str().unwrap().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_below_the_partition_keep_their_revision_also_when_they_are_made_anew() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploys("{image: acme/shop/web:1, kind: stateful, replicas: 3}", 1).await;
    place.deploys("{image: acme/shop/web:2, kind: stateful, replicas: 3, update: {partition: 2}}", 2).await;
    assert_eq!(place.revisions().await, [(0, 1), (1, 1), (2, 2)]);
    let place = place.restarted(config()).await;
    agent.attach(&place, "n1", 4000).await;
    let first = place.running(0).await.unwrap();
    agent.node.lock().unwrap().kill(&first, 1);
    place.world.until("it is made anew", LONG, || async { place.running(0).await.is_some_and(|id| id != first) }).await;
    assert_eq!(place.revisions().await, [(0, 1), (1, 1), (2, 2)]);
    assert!(place.app("shop").await["reason"].as_str().unwrap().contains("2 of them of an earlier revision"));
    place.deploys("{image: acme/shop/web:2, kind: stateful, replicas: 3}", 3).await;
    assert_eq!(place.revisions().await, [(0, 3), (1, 3), (2, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_update_waits_until_somebody_stops_what_runs() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploys("{image: acme/shop/web:1, replicas: 2}", 1).await;
    let before = agent.running();
    place.deploys("{image: acme/shop/web:2, replicas: 2, update: {manual: true}}", 2).await;
    assert_eq!(agent.running(), before, "nothing was replaced");
    agent.node.lock().unwrap().kill(&before[0], 1);
    let of = async |revision: u64| place.revisions().await.iter().filter(|(_, of)| *of == revision).count();
    place.world.until("what ended comes with the new revision", LONG, || async { of(1).await == 1 && of(2).await == 1 }).await;
    assert_eq!(place.post(&format!("{}/shop/restart", place.apps()), json!({})).await.0, 200);
    place.world.until("all are new", LONG, || async { of(1).await == 0 && of(2).await == 2 }).await;
}
