//! Network policies of manifests reach the nodes as what each instance may send and take in, on whatever node the others are.

use gantry_contract::proto::scheduler::{Isolation, WantedInstance, WantedState};
use gantry_kernel::AppId;
use reqwest::Method;
use serde_json::json;

use crate::agent::Agent;
use crate::place::{LONG, Place, web};
use crate::unreadable::revised_by_a_newer_version;

fn manifest(policy: &str) -> String {
    let workload = |name: &str, replicas: u8, port: u16| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: c, image: 'acme/shop/{name}:1', ports: [{{name: main, containerPort: {port}}}], resources: {{requests: {{cpu: 100m, memory: 64Mi}}}}}}]}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{port: {port}}}]}}\n"
        )
    };
    let mut all = vec![workload("front", 2, 8080), workload("db", 1, 5432)];
    all.extend((!policy.is_empty()).then(|| policy.to_owned()));
    all.join("---\n")
}

fn policy(spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: rule}}\nspec: {spec}\n")
}

/// What an instance of the workload on this node is told, with the addresses of all that are guarded.
fn told(agent: &Agent, app: &str, workload: &str) -> Option<(Isolation, Vec<String>)> {
    let wanted: WantedState = agent.node.lock().unwrap().wanted.clone();
    let of = |i: &&WantedInstance| i.labels.as_ref().is_some_and(|l| l.app == app && l.workload == workload);
    let id = wanted.instances.iter().find(of)?.isolation.clone();
    Some((wanted.isolations.into_iter().find(|i| i.id == id).unwrap_or_default(), wanted.guarded))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_told_what_its_instances_may_send_and_take_in() {
    gantry_testkit::clause("7.4.1.a");
    gantry_testkit::clause("7.4.1.b");
    let place = Place::new().await;
    // The two of `front` are spread over both nodes; `db` is on one of them.
    let nodes = [Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await];
    let deploy = async |document: String| {
        let body = json!({"name": "shop", "format": "kubernetes", "document": document});
        let (status, deployed) = place.post(&place.apps(), body).await;
        assert!(status == 200 || status == 201, "{deployed:#}");
    };
    deploy(manifest("")).await;
    place.reaches("shop", "running", 1).await;
    place.deploy("other", &web("1", 1)).await;
    place.reaches("other", "running", 1).await;
    assert!(nodes.iter().all(|n| n.node.lock().unwrap().wanted.isolations.is_empty()), "nothing is isolated without a policy");

    let rule = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: main}]}]}";
    deploy(manifest(&policy(rule))).await;
    place.reaches("shop", "running", 2).await;
    let address = async |workload: &str| {
        let all = place.instances("shop").await;
        let mut out: Vec<String> =
            all.iter().filter(|i| i["workload"] == workload && i["state"] == "running").map(|i| i["address"].as_str().unwrap().to_owned()).collect();
        out.sort();
        // Agents that only pretend may give one address to two.
        out.dedup();
        out
    };
    let (fronts, db) = (address("front").await, address("db").await);
    assert!(!fronts.is_empty() && db.len() == 1, "{fronts:?} {db:?}");
    // As soon as the addresses of the new instances are known, on both nodes.
    let opened = |agent: &Agent, workload: &str| {
        told(agent, "shop", workload).is_some_and(|(isolation, guarded)| {
            guarded == db && isolation.opened.len() == 1 && isolation.opened[0].networks == db && isolation.opened[0].ports[0].first == 5432
        })
    };
    place.world.until("both nodes let `front` to `db`", LONG, || async { nodes.iter().all(|n| opened(n, "front")) }).await;
    let sorted = |networks: &[String]| {
        let mut all = networks.to_vec();
        all.sort();
        all
    };
    let takes = |agent: &Agent| told(agent, "shop", "db").is_some_and(|(own, _)| own.from.len() == 1 && sorted(&own.from[0].networks) == fronts);
    place.world.until("and `db` takes in from them", LONG, || async { nodes.iter().any(takes) }).await;
    for node in &nodes {
        let front = told(node, "shop", "front").unwrap().0;
        assert_eq!((front.ingress, front.egress, front.refused.len(), front.policies.len()), (false, false, 0, 0), "{front:?}");
        let reached = sorted(&node.node.lock().unwrap().wanted.node_addresses);
        assert_eq!(reached, ["address of n1", "address of n2"]);
        if let Some((own, _)) = told(node, "shop", "db") {
            assert_eq!((own.ingress, own.egress, own.policies), (true, false, vec!["shop/rule".to_owned()]));
            assert_eq!(own.from[0].ports[0].last, 5432);
        }
        // Another application of the space is not among those who may.
        if let Some((other, guarded)) = told(node, "other", "web") {
            assert_eq!((guarded, other.opened.len(), other.refused.len()), (db.clone(), 0, 1), "{other:?}");
            assert!(other.refused[0].contains(".db."), "{other:?}");
        }
    }
    assert!(nodes.iter().any(|n| told(n, "shop", "db").is_some()) && nodes.iter().any(|n| told(n, "other", "web").is_some()));

    let (_, why) = place.get(&format!("{}/shop/why", place.apps())).await;
    assert_eq!(why["policies"], json!([{"workload": "db", "app": "shop", "name": "rule", "ingress": true, "egress": false}]), "{why:#}");

    // Gone with the application.
    let (status, _) = place.world.call(&place.host, Method::DELETE, &format!("{}/shop", place.apps()), Some(&place.token), None).await;
    assert!(status < 300, "{status}");
    place.world.until("nothing is isolated any more", LONG, || async { nodes.iter().all(|n| n.node.lock().unwrap().wanted.isolations.is_empty()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_an_application_still_may_not_when_that_cannot_be_read_any_more() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let rule = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: main}]}]}";
    let (status, deployed) = place.post(&place.apps(), json!({"name": "shop", "format": "kubernetes", "document": manifest(&policy(rule))})).await;
    assert!(status == 200 || status == 201, "{deployed:#}");
    place.reaches("shop", "running", 1).await;
    place.deploy("other", &web("1", 1)).await;
    place.reaches("other", "running", 1).await;
    let kept_away = |app: &str| told(&agent, app, "web").is_some_and(|(own, guarded)| guarded.len() == 1 && own.refused.len() == 1);
    place.world.until("the other one is kept away", LONG, || async { kept_away("other") }).await;

    let app: AppId = place.app("shop").await["id"].as_str().unwrap().parse().unwrap();
    revised_by_a_newer_version(&place, app).await;
    // Told of this one, the node has been told everything anew.
    assert_eq!(place.deploy("more", &web("1", 1).replace("20080", "20081")).await.0, 201);
    place.reaches("more", "running", 1).await;
    assert!(kept_away("other") && kept_away("more"), "{:?}", told(&agent, "other", "web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_kept_is_refused_with_its_place() {
    let place = Place::new().await;
    let rule = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [192.0.2.0/24]}}], ports: [{port: 90, endPort: 80}]}]}";
    let body = json!({"name": "shop", "format": "kubernetes", "document": manifest(&policy(rule))});
    let (status, problem) = place.post(&place.apps(), body).await;
    assert_eq!(status, 400, "{problem:#}");
    let text = problem.to_string();
    assert!(text.contains("the exception `192.0.2.0/24`") && text.contains("before they begin at 90"), "{text}");
}
