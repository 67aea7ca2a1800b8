//! Releases on Kubernetes clusters: two sets beside each other, requests that never find nobody, and the verbs as on nodes.

use std::collections::{BTreeMap, BTreeSet};

use gantry_testkit::kubernetes::ApiServer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::clusters::{call, import, placed, started};
use crate::place::{LONG, Place, config, released, web};

const NAMESPACE: &str = "gantry-acme-shop-test";

fn routed(image: &str, replicas: u32, release: &str) -> String {
    format!(
        "services:\n  web:\n    image: acme/shop/web:{image}\n    expose: ['8080']\n    x-gantry: {{routes: [{{host: shop.test, port: 8080}}]}}\n    deploy:\n      replicas: {replicas}\n      resources: {{limits: {{cpus: '0.1', memory: 64M}}}}\n      update_config: {{monitor: 10s}}\nx-gantry:\n  release: {release}\n"
    )
}

async fn on_cluster(settings: Value, gateway: bool) -> (Place, String, ApiServer) {
    let (place, token, server) = started().await;
    server.lock().gateway = gateway;
    server.controllers();
    import(&place, &token, &server, settings).await;
    placed(&place).await;
    (place, token, server)
}

async fn verb(place: &Place, verb: &str, body: Value) -> (u16, Value) {
    place.post(&format!("{}/web/release/{verb}", place.apps()), body).await
}

async fn waits_for(place: &Place, what: &str, step: u64) {
    let waits = async || {
        let app = place.app("web").await;
        app["release"]["waits_for"] == what && app["release"]["step"] == step
    };
    place.world.until(what, LONG, waits).await;
}

fn deployment(server: &ApiServer, name: &str) -> Option<Value> {
    server.object(&format!("deployments/{NAMESPACE}/{name}"))
}

fn replicas(server: &ApiServer, name: &str) -> Option<u64> {
    deployment(server, name)?["spec"]["replicas"].as_u64()
}

/// Pods behind a service, by revision.
fn behind(server: &ApiServer, service: &str) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    let slice = server.object(&format!("endpointslices/{NAMESPACE}/{service}-slice")).unwrap_or_default();
    for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
        let pod = server.object(&format!("pods/{NAMESPACE}/{}", endpoint["targetRef"]["name"].as_str().unwrap())).unwrap_or_default();
        *out.entry(pod["metadata"]["labels"]["gantry.io/revision"].as_str().unwrap_or("gone").to_owned()).or_default() += 1;
    }
    out
}

fn is(pods: &BTreeMap<String, usize>, wanted: &[(&str, usize)]) -> bool {
    *pods == wanted.iter().map(|(revision, n)| ((*revision).to_owned(), *n)).collect()
}

/// Looks over all that was on the cluster, version by version. From when it was up for the first time the service had `least` pods
/// at every moment, no route sent anything where nobody is, and, if `drained`, no pod went that the service had.
fn nobody_was_sent_away(server: &ApiServer, service: &str, least: usize, drained: bool) {
    let history = server.lock().history.clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut has: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut routes: BTreeMap<String, Value> = BTreeMap::new();
    let mut up = false;
    for change in history {
        let (name, gone) = (text(&change.object["metadata"]["name"]), change.kind == "DELETED");
        match change.plural.as_str() {
            "endpointslices" => {
                let of = text(&change.object["metadata"]["labels"]["kubernetes.io/service-name"]);
                let pods = change.object["endpoints"].as_array().into_iter().flatten().map(|e| text(&e["targetRef"]["name"]));
                has.insert(of, if gone { BTreeSet::new() } else { pods.collect() });
            }
            "httproutes" if gone => drop(routes.remove(&name)),
            "httproutes" if !text(&change.object["spec"]["hostnames"][0]).starts_with("preview.") => drop(routes.insert(name, change.object.clone())),
            "services" if gone && name == service => break,
            "pods" if gone && drained => assert!(!has.get(service).is_some_and(|pods| pods.contains(&name)), "{name} went while requests were sent to it"),
            _ => {}
        }
        let now = has.get(service).map_or(0, BTreeSet::len);
        up |= now >= least;
        if !up {
            continue;
        }
        assert!(now >= least, "{service} had {now} pods at version {}", change.version);
        let rules = routes.values().flat_map(|r| r["spec"]["rules"].as_array().into_iter().flatten());
        for backend in rules.flat_map(|r| r["backendRefs"].as_array().into_iter().flatten()).filter(|b| b["weight"] != 0) {
            let to = text(&backend["name"]);
            assert!(has.get(&to).is_some_and(|pods| !pods.is_empty()), "at version {} a route led to {to}, where nobody is", change.version);
        }
    }
    assert!(up, "{service} was never up");
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_on_a_cluster_shows_switches_keeps_and_goes_back() {
    gantry_testkit::clause("6.3.3.s");
    let (place, _, server) = on_cluster(json!({}), false).await;
    let release = "{strategy: blue_green, keep_seconds: 3600}";
    let (code, answer) = place.deploy("web", &released("1", 2, release)).await;
    assert_eq!(code, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    assert_eq!(replicas(&server, "web-web-r1"), Some(2));
    place.deploy("web", &released("2", 2, release)).await;
    waits_for(&place, "promotion", 1).await;
    assert!(is(&behind(&server, "web-web"), &[("1", 2)]), "{:?}", behind(&server, "web-web"));
    assert!(is(&behind(&server, "web-web-preview"), &[("2", 2)]), "{:?}", behind(&server, "web-web-preview"));
    assert!(place.instances("web").await.iter().all(|i| i["available"] == true));
    let (_, why) = place.get(&format!("{}/web/why", place.apps())).await;
    assert_eq!(why["cluster"]["drift"], json!([]), "what the release does is no drift");

    assert_eq!(verb(&place, "promote", json!({})).await.0, 200);
    waits_for(&place, "time", 2).await;
    place.world.until("all requests go to the new ones", LONG, || async { is(&behind(&server, "web-web"), &[("2", 2)]) }).await;
    assert_eq!(place.instances("web").await.len(), 4, "the old ones are kept");
    let (code, body) = verb(&place, "abort", json!({"reason": "too green"})).await;
    assert_eq!((code, &body["revision"]), (200, &json!(1)), "{body}");
    place.world.until("all requests go to the old ones", LONG, || async { is(&behind(&server, "web-web"), &[("1", 2)]) }).await;
    place.world.until("the new ones have gone", LONG, || async { deployment(&server, "web-web-r2").is_none() }).await;
    place.reaches("web", "running", 1).await;
    assert!(place.app("web").await["reason"].as_str().unwrap().contains("too green"));
    assert_eq!(verb(&place, "promote", json!({})).await.0, 409);
    nobody_was_sent_away(&server, "web-web", 2, true);

    // A third one, to its end.
    place.deploy("web", &released("3", 2, "{strategy: blue_green, promote_after_seconds: 0}")).await;
    place.reaches("web", "running", 3).await;
    assert_eq!((deployment(&server, "web-web-r1"), replicas(&server, "web-web-r3")), (None, Some(2)));
    nobody_was_sent_away(&server, "web-web", 2, true);
    assert_eq!(call(&place, &place.token, Method::DELETE, &format!("{}/web", place.apps()), None).await.0 / 100, 2);
    place.world.until("all of it is gone", LONG, || async { server.lock().objects.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_without_a_gateway_shares_by_the_number_of_pods() {
    gantry_testkit::clause("6.3.3.s");
    let (place, _, server) = on_cluster(json!({}), false).await;
    place.deploy("web", &web("1", 4)).await;
    place.reaches("web", "running", 1).await;
    let selector = deployment(&server, "web-web").unwrap()["spec"]["selector"].clone();
    let canary = "{strategy: canary, steps: [{weight: 25, until_promoted: true}, {weight: 50, until_promoted: true}]}";
    place.deploy("web", &released("2", 4, canary)).await;
    waits_for(&place, "promotion", 1).await;
    place.world.until("a quarter is new", LONG, || async { is(&behind(&server, "web-web"), &[("1", 3), ("2", 1)]) }).await;
    assert_eq!((replicas(&server, "web-web"), replicas(&server, "web-web-r2")), (Some(3), Some(1)));
    assert_eq!(deployment(&server, "web-web").unwrap()["spec"]["selector"], selector);

    // The process ends in the middle, and another one goes on.
    assert_eq!(verb(&place, "pause", json!({"reason": "lunch"})).await.0, 200);
    let place = place.restarted(config()).await;
    waits_for(&place, "resumption", 1).await;
    assert!(is(&behind(&server, "web-web"), &[("1", 3), ("2", 1)]));
    assert_eq!(verb(&place, "promote", json!({})).await.0, 200);
    waits_for(&place, "promotion", 2).await;
    place.world.until("half is new", LONG, || async { is(&behind(&server, "web-web"), &[("1", 2), ("2", 2)]) }).await;
    assert_eq!(verb(&place, "promote", json!({"full": true})).await.0, 200);
    place.reaches("web", "running", 2).await;
    assert_eq!((deployment(&server, "web-web"), replicas(&server, "web-web-r2")), (None, Some(4)));

    // Back to a Deployment that rolls: the set stays until all of that is there.
    place.deploy("web", &web("3", 4)).await;
    place.reaches("web", "running", 3).await;
    assert_eq!((deployment(&server, "web-web-r2"), replicas(&server, "web-web")), (None, Some(4)));
    assert_eq!(deployment(&server, "web-web").unwrap()["spec"]["selector"], selector);
    assert!(is(&behind(&server, "web-web"), &[("3", 4)]));
    // And to a revision that had a set of its own.
    assert_eq!(place.post(&format!("{}/web/rollback", place.apps()), json!({"revision": 2})).await.0, 200);
    place.reaches("web", "running", 2).await;
    assert!(is(&behind(&server, "web-web"), &[("2", 4)]));
    nobody_was_sent_away(&server, "web-web", 4, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_behind_a_gateway_shares_by_weights_and_a_header() {
    gantry_testkit::clause("6.3.3.s");
    let (place, _, server) = on_cluster(json!({ "gateway": "infra/public" }), true).await;
    let canary = "{strategy: canary, steps: [{weight: 0, header: {name: X-Canary, value: 'yes'}, until_promoted: true}, {weight: 25, until_promoted: true}]}";
    let (code, answer) = place.deploy("web", &routed("1", 3, canary)).await;
    assert_eq!(code, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    let rules = || {
        let all = server.all("httproutes");
        let route = all.iter().find(|r| r["spec"]["hostnames"][0] == "shop.test").cloned().unwrap_or_default();
        route["spec"]["rules"].as_array().cloned().unwrap_or_default()
    };
    assert_eq!(rules()[0]["backendRefs"].as_array().unwrap().len(), 1);
    place.deploy("web", &routed("2", 3, canary)).await;
    waits_for(&place, "promotion", 1).await;
    place.world.until("the header leads to the new one", LONG, || async { rules().len() == 2 }).await;
    assert_eq!((&rules()[0]["matches"][0]["headers"][0]["value"], &rules()[0]["backendRefs"][0]["name"]), (&json!("yes"), &json!("web-web-r2")));
    assert_eq!(rules()[1]["backendRefs"][0]["name"], "web-web");
    assert_eq!(verb(&place, "promote", json!({})).await.0, 200);
    waits_for(&place, "promotion", 2).await;
    let shared = async || rules().len() == 1 && rules()[0]["backendRefs"].as_array().unwrap().iter().map(|b| b["weight"].as_u64().unwrap()).eq([75, 25]);
    place.world.until("a quarter of the requests", LONG, shared).await;
    assert_eq!((replicas(&server, "web-web-r1"), replicas(&server, "web-web-r2")), (Some(3), Some(1)), "weights need no fewer old ones");
    assert!(is(&behind(&server, "web-web"), &[("1", 3)]) && is(&behind(&server, "web-web-r2"), &[("2", 1)]));

    // A further revision in the middle starts from the one that has the requests, and the second goes.
    place.deploy("web", &routed("3", 3, canary)).await;
    waits_for(&place, "promotion", 1).await;
    assert!(deployment(&server, "web-web-r2").is_none() && place.app("web").await["release"]["from"] == 1);
    assert_eq!(verb(&place, "promote", json!({"full": true})).await.0, 200);
    place.reaches("web", "running", 3).await;
    assert_eq!(rules().iter().map(|r| r["backendRefs"].clone()).collect::<Vec<_>>(), [json!([{ "name": "web-web", "port": 8080 }])]);
    assert!(server.object(&format!("services/{NAMESPACE}/web-web-r3")).is_none() && is(&behind(&server, "web-web"), &[("3", 3)]));
    nobody_was_sent_away(&server, "web-web", 3, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_on_a_cluster_that_does_not_come_up_goes_back() {
    let (place, _, server) = on_cluster(json!({}), false).await;
    let document = |image: &str| {
        format!(
            "services:\n  web:\n    image: example.org/{image}\n    ports: ['20080:8080']\n    deploy:\n      replicas: 2\n      update_config: {{monitor: 3s}}\nx-gantry:\n  release: {{strategy: canary, steps: [{{weight: 50}}]}}\n"
        )
    };
    place.deploy("web", &document("fine:1")).await;
    place.reaches("web", "running", 1).await;
    place.deploy("web", &document("broken:2")).await;
    place.reaches("web", "running", 1).await;
    let app = place.app("web").await;
    assert!(app["reason"].as_str().unwrap().contains("revision 2: no progress"), "{app}");
    place.world.until("the new ones have gone", LONG, || async { deployment(&server, "web-web-r2").is_none() }).await;
    assert!(is(&behind(&server, "web-web"), &[("1", 2)]));
    nobody_was_sent_away(&server, "web-web", 2, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verbs_do_on_a_cluster_what_they_do_on_nodes() {
    let (place, _, server) = on_cluster(json!({}), false).await;
    let verb = async |path: &str, body: Value| {
        let (code, answer) = place.post(&format!("{}/web/{path}", place.apps()), body).await;
        assert_eq!(code, 200, "{path}: {answer}");
    };
    let pods = || server.all("pods").iter().map(|p| p["metadata"]["uid"].to_string()).collect::<BTreeSet<_>>();
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let first = pods();
    verb("restart", json!({})).await;
    place.world.until("all are new", LONG, || async { pods().len() == 2 && pods().is_disjoint(&first) }).await;
    place.reaches("web", "running", 1).await;
    verb("scale", json!({ "workload": "web", "replicas": 3 })).await;
    place.world.until("three run", LONG, || async { place.instances("web").await.iter().filter(|i| i["available"] == true).count() == 3 }).await;

    // Held in the middle: the cluster is told to replace nothing.
    place.deploy("web", &web("2", 2).replace("acme/shop/web:2", "example.org/broken:2")).await;
    assert_eq!(place.post(&format!("{}/web/release/pause", place.apps()), json!({})).await.0, 200);
    place.world.until("the Deployment is paused", LONG, || async { deployment(&server, "web-web").is_some_and(|d| d["spec"]["paused"] == true) }).await;
    assert_eq!(place.app("web").await["release"]["waits_for"], "resumption");
    verb("rollback", json!({ "revision": 1 })).await;
    place.reaches("web", "running", 1).await;
    assert!(deployment(&server, "web-web").unwrap()["spec"]["paused"] != true);
    place.deploy("web", &web("3", 2)).await;
    place.reaches("web", "running", 3).await;
    verb("rollback", json!({ "revision": 1 })).await;
    place.reaches("web", "running", 1).await;
    assert!(server.all("pods").iter().all(|p| p["metadata"]["labels"]["gantry.io/revision"] == "1"));

    verb("stop", json!({})).await;
    place.world.until("nothing runs", LONG, || async { server.all("pods").is_empty() && place.app("web").await["state"] == "stopped" }).await;
    verb("start", json!({})).await;
    place.reaches("web", "running", 1).await;
    assert!(!place.instances("web").await.is_empty());
}
