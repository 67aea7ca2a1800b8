//! What releases ask of the balancer: all instances exchanged at once and back, shares that grow, and a header that leads to
//! the new ones. Clients ask all the time, and no request may fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;

use crate::Load;
use crate::stage::{Stage, id, service, web};

const PREVIEW: &str = "svc-web.preview";

fn versioned(n: u8) -> wire::WantedInstance {
    web(n, if n <= 3 { "old" } else { "new" })
}

/// The service with these backends and weights.
fn shared(behind: &[(u8, u32)]) -> wire::WantedService {
    let backend = |(n, weight): &(u8, u32)| wire::Backend { instance_id: id(*n).to_string(), port: 8080, weight: *weight, address: String::new() };
    wire::WantedService { backends: behind.iter().map(backend).collect(), ..service(&[]) }
}

fn preview(behind: &[u8]) -> wire::WantedService {
    wire::WantedService {
        service_id: PREVIEW.into(),
        name: "web-preview".into(),
        listen_port: 0,
        routes: vec![wire::RouteMatch { host: "preview.shop.test".into(), path_prefix: "/".into() }],
        ..service(behind)
    }
}

/// How often each text is answered.
async fn counted(stage: &Stage, host: &str, header: Option<&str>, requests: usize) -> BTreeMap<String, usize> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let mut out = BTreeMap::new();
    for _ in 0..requests {
        let mut request = client.get(stage.route_url()).header("host", host);
        if let Some(value) = header {
            request = request.header("x-canary", value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        *out.entry(answer.text().await.unwrap()).or_default() += 1;
    }
    out
}

fn only(text: &str, requests: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(text.to_owned(), requests)])
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_are_exchanged_at_once_and_back_and_no_request_fails() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.3.s");
    let node = stage.agent().await;
    let (old, new) = ([(1, 100), (2, 100), (3, 100)], [(4, 100), (5, 100), (6, 100)]);
    let ids = |set: [(u8, u32); 3]| set.map(|(n, _)| id(n)).into_iter().collect::<BTreeSet<_>>();
    stage.want(&node, (1..=3).map(versioned), [shared(&old), preview(&[])]);
    stage.until("the old ones are in rotation", || stage.rotation(&node) == ids(old)).await;
    let load = Load::start(&stage.route_url(), &stage.port_url());

    stage.want(&node, (1..=6).map(versioned), [shared(&old), preview(&[4, 5, 6])]);
    let seen = || node.shared.layout.borrow().in_rotation().get(PREVIEW).is_some_and(|r| r.len() == 3);
    stage.until("the new ones are seen in the preview", seen).await;
    assert_eq!(counted(&stage, "preview.shop.test", None, 12).await, only("new", 12));
    assert_eq!(counted(&stage, "shop.test", None, 12).await, only("old", 12));
    load.check("the new set beside the old one");

    for (round, (set, text)) in [(new, "new"), (old, "old"), (new, "new")].into_iter().enumerate() {
        stage.want(&node, (1..=6).map(versioned), [shared(&set), preview(&[4, 5, 6])]);
        stage.until("all are exchanged", || stage.rotation(&node) == ids(set)).await;
        assert_eq!(counted(&stage, "shop.test", None, 12).await, only(text, 12), "exchange {round}");
        load.some_time().await;
        load.check("an exchange of all at once");
    }
    let stopping = |n: u8| wire::WantedInstance { stopping: n <= 3, ..versioned(n) };
    stage.want(&node, (1..=6).map(stopping), [shared(&new), preview(&[4, 5, 6])]);
    stage.until("the old ones have ended", || (1..=3).all(|n| stage.status(&node, n).state == "exited")).await;
    stage.want(&node, (4..=6).map(versioned), [shared(&new), preview(&[4, 5, 6])]);
    load.finish("the end of the old ones").await;
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_grow_and_a_header_leads_to_the_new_ones_and_no_request_fails() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.3.3.s");
    let node = stage.agent().await;
    let all = || [1, 2, 4, 5].map(versioned);
    stage.want(&node, [1, 2].map(versioned), [shared(&[(1, 100), (2, 100)])]);
    stage.until("the old ones are in rotation", || stage.rotation(&node).len() == 2).await;
    let load = Load::start(&stage.route_url(), &stage.port_url());

    // A header first: nobody else sees the new ones.
    let header = wire::HeaderTo { name: "X-Canary".into(), value: "yes please".into(), service_id: PREVIEW.into() };
    let tried = |weights: &[(u8, u32)], behind: &[u8]| [wire::WantedService { headers: vec![header.clone()], ..shared(weights) }, preview(behind)];
    stage.want(&node, all(), tried(&[(1, 100), (2, 100)], &[]));
    stage.until("the rule is there", || node.shared.layout.borrow().services.contains_key(PREVIEW)).await;
    assert_eq!(counted(&stage, "shop.test", Some("yes please"), 10).await, only("old", 10), "nobody stands there yet");
    stage.want(&node, all(), tried(&[(1, 100), (2, 100)], &[4, 5]));
    let seen = || node.shared.layout.borrow().in_rotation().get(PREVIEW).is_some_and(|r| r.len() == 2);
    stage.until("the new ones are seen", seen).await;
    assert_eq!(counted(&stage, "shop.test", Some("yes please"), 10).await, only("new", 10));
    assert_eq!(counted(&stage, "shop.test", Some("no"), 10).await, only("old", 10));
    assert_eq!(counted(&stage, "shop.test", None, 10).await, only("old", 10));
    load.check("a header that leads to the new ones");

    for (old, new, from, to) in [(225, 25, 10, 30), (100, 100, 80, 120), (25, 225, 170, 190)] {
        stage.want(&node, all(), tried(&[(1, old), (2, old), (4, new), (5, new)], &[4, 5]));
        stage.until("all four are in rotation", || stage.rotation(&node).len() == 4).await;
        // Its weights are commands of the same round; the answer is asked until they have been given.
        let mut share = 0;
        for _ in 0..20 {
            share = counted(&stage, "shop.test", None, 200).await.get("new").copied().unwrap_or(0);
            if (from..=to).contains(&share) {
                break;
            }
        }
        assert!((from..=to).contains(&share), "{share} of 200 with {old} to {new}");
        load.check("another share");
    }
    stage.want(&node, all(), [shared(&[(4, 100), (5, 100)]), preview(&[4, 5])]);
    stage.until("only new ones", || stage.rotation(&node) == BTreeSet::from([id(4), id(5)])).await;
    load.some_time().await;
    let stopping = |n: u8| wire::WantedInstance { stopping: n <= 3, ..versioned(n) };
    stage.want(&node, [1, 2, 4, 5].map(stopping), [shared(&[(4, 100), (5, 100)]), preview(&[4, 5])]);
    stage.until("the old ones have ended", || (1..=2).all(|n| stage.status(&node, n).state == "exited")).await;
    load.finish("a canary").await;
    stage.finish(node).await;
}
