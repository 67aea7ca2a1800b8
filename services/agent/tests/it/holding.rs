//! A service whose instances are gone while nobody asks: the first request is held until one is there.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;

use crate::stage::{Stage, id, service, web};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_requests_are_held_until_an_instance_is_there() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.3.d");
    let node = stage.agent().await;
    let held = |behind: &[u8]| wire::WantedService { hold: true, ..service(behind) };
    stage.want(&node, [], [held(&[])]);
    stage.until("the service is there", || node.shared.layout.borrow().services.contains_key("svc-web")).await;
    assert!(node.shared.status.borrow().waiting.is_empty());

    let client = reqwest::Client::builder().timeout(Duration::from_secs(50)).build().unwrap();
    let ask = |url: String| {
        let client = client.clone();
        async move { client.get(url).header("host", "shop.test").send().await.unwrap().error_for_status().unwrap().text().await.unwrap() }
    };
    let (answers, told) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::new())), || node.shared.status.borrow().waiting == ["svc-web"]);
    let mut asking = Vec::new();
    for url in [stage.route_url(), stage.port_url(), stage.route_url()] {
        let (ask, answers) = (ask(url), answers.clone());
        asking.push(stage.spawn(async move {
            let answer = ask.await;
            answers.lock().unwrap().push(answer);
        }));
    }
    stage.until("the scheduler is told that somebody waits", told).await;
    assert!(answers.lock().unwrap().is_empty());
    stage.want(&node, [web(1, "awake")], [held(&[1])]);
    for one in asking {
        one.await.unwrap();
    }
    assert_eq!(*answers.lock().unwrap(), ["awake"; 3]);
    stage.until("nobody waits any more", || node.shared.status.borrow().waiting.is_empty() && stage.rotation(&node) == BTreeSet::from([id(1)])).await;

    // Gone again, and asked again: nothing is kept of the first time.
    stage.want(&node, [wire::WantedInstance { stopping: true, ..web(1, "awake") }], [held(&[])]);
    stage.until("it has ended", || stage.status(&node, 1).state == "exited").await;
    stage.want(&node, [], [held(&[])]);
    stage.until("nothing is left", || node.shared.pods.borrow().is_empty()).await;
    let again = stage.spawn({
        let ask = ask(stage.route_url());
        async move { assert_eq!(ask.await, "again") }
    });
    stage.until("the scheduler is told once more", || node.shared.status.borrow().waiting == ["svc-web"]).await;
    stage.want(&node, [web(2, "again")], [held(&[2])]);
    again.await.unwrap();
    stage.finish(node).await;
}
