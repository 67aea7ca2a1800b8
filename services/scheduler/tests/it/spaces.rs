//! Spaces beside each other: the same application in each, and nothing of one in the other.

use std::collections::BTreeSet;

use gantry_kernel::{Role, Scope};
use reqwest::Method;
use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place};

const DOCUMENT: &str = r#"
services:
  web:
    image: acme/shop/web:1
    ports: ["8080"]
    volumes: ["data:/data"]
volumes: {data: {}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn one_document_runs_in_every_space_and_none_knows_of_another() {
    gantry_testkit::clause("6.3.1.c");
    let place = Place::new().await;
    place.world.identity.space(&place.space.project, "production").await;
    let (tester, stranger) = (place.world.user(), place.world.user());
    place.world.identity.grant(&format!("user:{tester}"), Role::Editor, place.space.scope()).await;
    let other = place.world.identity.org("globex").await;
    place.world.identity.grant(&format!("user:{stranger}"), Role::Admin, Scope::Org(other.id)).await;
    place.world.identity.settle(&place.host).await;
    let (tester, stranger) = (place.world.token(tester, "tess"), place.world.token(stranger, "eve"));
    let agent = Agent::join(&place, "n1", 4000).await;

    let test = place.apps();
    let production = test.replace("/spaces/test/", "/spaces/production/");
    for apps in [&test, &production] {
        let (status, body) = place.post(apps, json!({"name": "web", "document": DOCUMENT})).await;
        assert_eq!((status, &body["revision"]), (201, &json!(1)), "{body:#}");
        let running = || async { place.get(&format!("{apps}/web")).await.1["state"] == "running" };
        place.world.until(&format!("it runs in {apps}"), LONG, running).await;
    }
    {
        let node = agent.node.lock().unwrap();
        let (instances, services) = (&node.wanted.instances, &node.wanted.services);
        assert_eq!((instances.len(), services.len()), (2, 2));
        let volumes: BTreeSet<&str> = instances.iter().map(|i| i.mounts[0].source.as_str()).collect();
        let ports: BTreeSet<u32> = services.iter().map(|s| s.listen_port).collect();
        assert_eq!((volumes.len(), ports.len()), (2, 2), "each has its own: {volumes:?}, {ports:?}");
        // One name in both spaces, and behind it only what is in its own.
        for service in services {
            let space = &service.labels.as_ref().unwrap().space;
            let behind: Vec<&str> = service.backends.iter().map(|b| b.instance_id.as_str()).collect();
            let own: Vec<&str> = instances.iter().filter(|i| i.labels.as_ref().unwrap().space == *space).map(|i| i.instance_id.as_str()).collect();
            assert_eq!((service.name.as_str(), behind), ("web", own), "in {space}");
        }
    }

    let as_whom = async |token: &str, apps: &str| {
        let read = place.world.call(&place.host, Method::GET, &format!("{apps}/web"), Some(token), None).await.0;
        let changed = place.world.call(&place.host, Method::POST, &format!("{apps}/web/stop"), Some(token), None).await.0;
        (read, changed)
    };
    let refused = |(read, changed): (u16, u16)| [read, changed].iter().all(|status| matches!(status, 403 | 404));
    assert!(refused(as_whom(&tester, &production).await), "who works in one space has nothing to do in another");
    for apps in [&test, &production] {
        assert_eq!(as_whom(&stranger, apps).await, (404, 404), "another tenant does not learn that there is something");
    }
    // What is done in one leaves the other as it is.
    assert_eq!(as_whom(&tester, &test).await, (200, 200));
    place.world.until("it is stopped there", LONG, || async { agent.running().len() == 1 }).await;
    assert_eq!(place.get(&format!("{production}/web")).await.1["state"], "running");
}
