//! Releases that exchange instances: blue-green and canary, with what comes in between.

use std::collections::BTreeMap;

use gantry_contract::proto::scheduler::WantedService;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{LONG, Place, config, released, web};

const BLUE_GREEN: &str = "{strategy: blue_green, keep_seconds: 3600}";
const CANARY: &str = "{strategy: canary, keep_seconds: 3600, steps: [{weight: 0, header: {name: X-Canary, value: 'yes'}, until_promoted: true}, {weight: 25, until_promoted: true}]}";

/// Of the service itself, or of its preview: how many backends of each image's last letter, and their weights' sum.
fn behind(agent: &Agent, preview: bool) -> BTreeMap<char, (usize, u32)> {
    let node = agent.node.lock().unwrap();
    let mut out: BTreeMap<char, (usize, u32)> = BTreeMap::new();
    let Some(service) = find(&node.wanted.services, preview) else { return out };
    for backend in &service.backends {
        if let Some(image) = node.wanted.instances.iter().find(|i| i.instance_id == backend.instance_id).and_then(|i| i.image.chars().last()) {
            let sum = out.entry(image).or_default();
            *sum = (sum.0 + 1, sum.1 + backend.weight);
        }
    }
    out
}

fn find(services: &[WantedService], preview: bool) -> Option<&WantedService> {
    services.iter().find(|s| s.service_id.ends_with(".preview") == preview)
}

impl Place {
    async fn verb(&self, verb: &str, body: Value) -> (u16, Value) {
        self.post(&format!("{}/web/release/{verb}", self.apps()), body).await
    }

    async fn waits_for(&self, what: &str, step: u64) {
        self.world
            .until(what, LONG, || async {
                let app = self.app("web").await;
                app["release"]["waits_for"] == what && app["release"]["step"] == step
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_shows_the_new_set_switches_keeps_the_old_one_and_goes_back() {
    gantry_testkit::clause("6.3.3.s");
    gantry_testkit::clause("6.4.2.2.e");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &released("1", 2, BLUE_GREEN)).await;
    place.reaches("web", "running", 1).await;
    agent.node.lock().unwrap().fewest = None;
    let (code, answer) = place.deploy("web", &released("2", 2, BLUE_GREEN)).await;
    assert_eq!(code, 201, "{answer}");
    place.waits_for("promotion", 1).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("0 % of the requests go to the new revision; waits until it is promoted"), "{app}");
    let seen = app["endpoints"].as_array().unwrap().iter().find(|e| e["service"] == "web-preview").cloned().unwrap();
    assert!(seen["port"].as_u64().unwrap() >= 20_000);
    assert_eq!((behind(&agent, false).get(&'1').unwrap().0, behind(&agent, false).get(&'2')), (2, None));
    assert_eq!((behind(&agent, true).get(&'2').unwrap().0, behind(&agent, true).get(&'1')), (2, None));

    // Switched: the old ones stay, without requests.
    assert_eq!(place.verb("promote", json!({})).await.0, 200);
    place.waits_for("time", 2).await;
    place.world.until("all requests go to the new ones", LONG, || async { behind(&agent, false).keys().collect::<String>() == "2" }).await;
    assert_eq!(place.instances("web").await.len(), 4);

    // Back, without waiting for anything to start.
    let (code, body) = place.verb("abort", json!({"reason": "too green"})).await;
    assert_eq!((code, &body["revision"]), (200, &json!(1)), "{body}");
    place.world.until("all requests go to the old ones", LONG, || async { behind(&agent, false).keys().collect::<String>() == "1" }).await;
    place.world.until("the new ones have gone", LONG, || async { place.instances("web").await.len() == 2 }).await;
    place.reaches("web", "running", 1).await;
    assert!(place.app("web").await["reason"].as_str().unwrap().contains("too green"));
    assert_eq!(place.verb("promote", json!({})).await.0, 409, "no release is under way");
    // The preview may be empty, what people reach may not.
    let rotation = agent.node.lock().unwrap().rotation.clone();
    assert!(rotation.iter().filter(|(id, _)| !id.ends_with(".preview")).all(|(_, r)| r.len() == 2), "{rotation:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_goes_on_by_itself_after_its_times() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let release = "{strategy: blue_green, promote_after_seconds: 1, keep_seconds: 1}";
    place.deploy("web", &released("1", 2, release)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &released("2", 2, release)).await;
    place.reaches("web", "running", 2).await;
    place.world.until("the old ones have gone", LONG, || async { agent.running().len() == 2 }).await;
    assert_eq!(behind(&agent, false).keys().collect::<String>(), "2");
    assert!(place.app("web").await["release"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_longer_than_progress_may_take_goes_on_all_the_same() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    // A release fails after 10 s without progress; both waits are longer.
    let release = "{strategy: blue_green, promote_after_seconds: 12, keep_seconds: 12}";
    place.deploy("web", &released("1", 1, release)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &released("2", 1, release)).await;
    place.waits_for("time", 1).await;
    place.waits_for("time", 2).await;
    place.world.until("the release has ended", LONG, || async { place.app("web").await["release"].is_null() }).await;
    place.reaches("web", "running", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_by_header_and_share_and_a_restarted_scheduler_goes_on_with_it() {
    for clause in ["6.3.1.f", "6.3.3.s", "6.4.2.2.e"] {
        gantry_testkit::clause(clause);
    }
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &released("1", 3, CANARY)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &released("2", 3, CANARY)).await;
    place.waits_for("promotion", 1).await;
    place.world.until("the header leads to the new one", LONG, || async { behind(&agent, true).get(&'2').is_some_and(|b| b.0 == 1) }).await;
    {
        let node = agent.node.lock().unwrap();
        let main = find(&node.wanted.services, false).unwrap();
        // TCP is balanced by connection and knows no headers.
        assert!(main.headers.is_empty() && main.protocol == "tcp");
    }
    assert_eq!(behind(&agent, false).keys().collect::<String>(), "1");
    assert_eq!(place.verb("promote", json!({})).await.0, 200);
    place.waits_for("promotion", 2).await;
    let share = behind(&agent, false);
    let (old, new) = (share[&'1'], share[&'2']);
    assert_eq!((old.0, new.0), (3, 1), "a quarter of three is one instance");
    assert_eq!(old.1, 3 * new.1, "a quarter of the requests");

    // Paused, and the process ends in the middle.
    assert_eq!(place.verb("pause", json!({"reason": "lunch"})).await.0, 200);
    let place = place.restarted(config()).await;
    agent.attach(&place, "n1", 4000).await;
    place.waits_for("resumption", 2).await;
    assert!(place.app("web").await["reason"].as_str().unwrap().contains("lunch"));
    assert_eq!(behind(&agent, false)[&'2'].0, 1);

    // A node of its own may lose an old one in the middle; it is replaced by one of the same revision.
    let victim = agent.node.lock().unwrap().running.iter().find(|(_, image)| image.ends_with('1')).map(|(id, _)| id.clone()).unwrap();
    agent.node.lock().unwrap().kill(&victim, 1);
    place
        .world
        .until("three old ones serve again", LONG, || async { behind(&agent, false).get(&'1').is_some_and(|b| b.0 == 3) && !agent.running().contains(&victim) })
        .await;

    assert_eq!(place.verb("promote", json!({"full": true})).await.0, 200);
    place.waits_for("time", 4).await;
    place.world.until("all go to the new ones", LONG, || async { behind(&agent, false).keys().collect::<String>() == "2" }).await;
    assert_eq!(behind(&agent, false)[&'2'].0, 3);
    assert_eq!(place.instances("web").await.len(), 6, "the old ones are kept");
    assert_eq!(place.verb("promote", json!({})).await.0, 200);
    place.reaches("web", "running", 2).await;
    place.world.until("the old ones have gone", LONG, || async { agent.running().len() == 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_revision_in_the_middle_starts_from_the_one_that_has_the_requests() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &released("1", 2, BLUE_GREEN)).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &released("2", 2, BLUE_GREEN)).await;
    place.waits_for("promotion", 1).await;
    // The second was never switched to: the third replaces the first, and the second goes.
    place.deploy("web", &released("3", 2, BLUE_GREEN)).await;
    place.world.until("the third is seen alone", LONG, || async { behind(&agent, true).keys().collect::<String>() == "3" }).await;
    place.waits_for("promotion", 1).await;
    assert_eq!((behind(&agent, false).keys().collect::<String>(), place.app("web").await["release"]["from"].as_u64()), ("1".into(), Some(1)));
    place.world.until("the second has gone", LONG, || async { place.instances("web").await.len() == 4 }).await;
    place.verb("promote", json!({})).await;
    place.waits_for("time", 2).await;
    // The third has the requests by now: the fourth replaces it, and the first is not kept any longer.
    place.deploy("web", &released("4", 2, BLUE_GREEN)).await;
    place.waits_for("promotion", 1).await;
    assert_eq!((behind(&agent, false).keys().collect::<String>(), place.app("web").await["release"]["from"].as_u64()), ("3".into(), Some(3)));
    // Deleted in the middle: nothing is left.
    let path = format!("{}/web", place.apps());
    place.world.call(&place.host, reqwest::Method::DELETE, &path, Some(&place.token), None).await;
    place.world.until("nothing runs any more", LONG, || async { agent.running().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_does_not_come_up_goes_back_and_both_sets_count_against_the_quota() {
    let limits = crate::neighbours::Limits { cpu_millis: 500, ..Default::default() };
    let place = Place::with(config(), limits).await;
    let agent = Agent::join(&place, "n1", 4000).await;
    // Three of 100 millicores each: two sets do not fit into 500.
    place.deploy("web", &released("1", 3, BLUE_GREEN)).await;
    place.reaches("web", "running", 1).await;
    let (code, refused) = place.deploy("web", &released("2", 3, BLUE_GREEN)).await;
    assert_eq!((code, &refused["code"]), (422, &json!("billing.quota_too_small")), "{refused}");
    agent.node.lock().unwrap().broken.insert(format!("{:0>64}", 2));
    place.deploy("web", &released("2", 2, BLUE_GREEN)).await;
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("revision 2: no progress"), "{app}");
    place.world.until("the new ones have gone", LONG, || async { place.instances("web").await.len() == 3 }).await;
    assert_eq!(behind(&agent, false)[&'1'].0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_release_is_paused_and_goes_on() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 3)).await;
    place.reaches("web", "running", 1).await;
    agent.node.lock().unwrap().broken.insert(format!("{:0>64}", 2));
    place.deploy("web", &web("2", 3)).await;
    assert_eq!(place.verb("pause", json!({})).await.0, 200);
    agent.node.lock().unwrap().broken.clear();
    place.world.until("the first new one is there", LONG, || async { agent.running().len() == 4 }).await;
    place.waits_for("resumption", 0).await;
    assert_eq!(behind(&agent, false).get(&'1').map(|b| b.0), Some(3), "no old one has gone");
    assert_eq!(place.verb("resume", json!({})).await.0, 200);
    place.reaches("web", "running", 2).await;
}
