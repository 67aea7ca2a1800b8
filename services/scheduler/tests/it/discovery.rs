//! What is found by a name: services and routes as every node gets them, and as people see them.

use gantry_contract::proto::scheduler::WantedService;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{LONG, Place};

/// A service as a node has it.
fn known(agent: &Agent, name: &str) -> Option<WantedService> {
    agent.node.lock().unwrap().wanted.services.iter().find(|s| s.name == name).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_on_every_node_under_its_name_with_what_stands_behind_it_now() {
    gantry_testkit::clause("6.3.1.d");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let document = "services:\n  db:\n    image: acme/shop/db:1\n    expose: ['5432']\n  web:\n    image: acme/shop/web:2\n";
    assert_eq!(place.deploy("shop", document).await.0, 201);
    place.reaches("shop", "running", 1).await;
    // Nobody names an address: where its instances are is known to all nodes, as soon as they are ready.
    let all_know = async |count: usize| {
        let instances: Vec<Value> = place.instances("shop").await.into_iter().filter(|i| i["workload"] == "db" && i["available"] == true).collect();
        let there = |s: &WantedService| {
            s.backends.len() == count
                && s.backends.iter().all(|b| b.port == 5432 && instances.iter().any(|i| i["id"] == b.instance_id && i["address"] == b.address))
        };
        instances.len() == count && [&one, &two].iter().all(|agent| known(agent, "db").is_some_and(|s| there(&s)))
    };
    place.world.until("both nodes know the one instance", LONG, || async { all_know(1).await }).await;
    assert!(known(&one, "web").is_none(), "what has no port has no name");

    let scale = json!({"workload": "db", "replicas": 3});
    assert_eq!(place.post(&format!("{}/shop/scale", place.apps()), scale).await.0, 200);
    place.world.until("both nodes know all three", LONG, || async { all_know(3).await }).await;
    let stands = |id: &String| known(&one, "db").unwrap().backends.iter().any(|b| b.instance_id == *id);
    let (node, victim) = [&one, &two].into_iter().find_map(|agent| Some((agent, agent.running().into_iter().find(stands)?))).unwrap();
    node.node.lock().unwrap().kill(&victim, 1);
    let replaced = || async { all_know(3).await && known(&two, "db").unwrap().backends.iter().all(|b| b.instance_id != victim) };
    place.world.until("another one takes its place under the name", LONG, replaced).await;
    place.world.call(&place.host, Method::DELETE, &format!("{}/shop", place.apps()), Some(&place.token), None).await;
    place.world.until("the name is gone", LONG, || async { known(&one, "db").is_none() && known(&two, "db").is_none() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_to_their_service_and_follow_a_new_revision() {
    gantry_testkit::clause("6.3.2.m");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let document = |host: &str, path: &str| {
        format!("services:\n  web:\n    image: acme/shop/web:1\n    x-gantry: {{routes: [{{host: {host}, path: {path}, port: 8080}}]}}\n")
    };
    let lead = |host: &str, path: &str| {
        [&one, &two].iter().all(|agent| {
            let node = agent.node.lock().unwrap();
            let routes: Vec<(&str, &str)> = node.wanted.services.iter().flat_map(|s| &s.routes).map(|r| (r.host.as_str(), r.path_prefix.as_str())).collect();
            routes == [(host, path)] && node.wanted.services.iter().all(|s| s.protocol == "http" && s.backends.len() == 1 && s.backends[0].port == 8080)
        })
    };
    let (status, body) = place.deploy("web", &document("shop.example.org", "/cart")).await;
    assert_eq!(status, 201, "{body:#}");
    place.reaches("web", "running", 1).await;
    place.world.until("both nodes have the route", LONG, || async { lead("shop.example.org", "/cart") }).await;
    let endpoint = place.app("web").await["endpoints"][0].clone();
    assert_eq!((&endpoint["host"], &endpoint["protocol"]), (&json!("shop.example.org"), &json!("http")), "{endpoint}");
    assert!(endpoint["url"].as_str().unwrap().ends_with("/cart"), "{endpoint}");

    assert_eq!(place.deploy("web", &document("store.example.org", "/")).await.0, 201);
    place.reaches("web", "running", 2).await;
    place.world.until("both nodes have the other one alone", LONG, || async { lead("store.example.org", "/") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_service_stands_once_on_each_node_and_another_as_often_as_it_says() {
    gantry_testkit::clause("6.3.2.n");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let document = "services:\n  proxy:\n    image: acme/shop/proxy:1\n    expose: ['3128']\n    deploy: {mode: global}\n  web:\n    image: acme/shop/web:2\n    expose: ['8080']\n    deploy: {replicas: 3}\n";
    assert_eq!(place.deploy("shop", document).await.0, 201);
    let count = |agents: &[&Agent], image: &str| -> Vec<usize> {
        agents.iter().map(|a| a.node.lock().unwrap().running.values().filter(|i| i.contains(image)).count()).collect()
    };
    let web = |agents: &[&Agent]| count(agents, "/web@").iter().sum::<usize>();
    let both = [&one, &two];
    place.world.until("one on each node", LONG, || async { count(&both, "/proxy@") == [1, 1] && web(&both) == 3 }).await;
    place.reaches("shop", "running", 1).await;
    let three = Agent::join(&place, "n3", 4000).await;
    let all = [&one, &two, &three];
    place.world.until("one on the new node as well", LONG, || async { count(&all, "/proxy@") == [1, 1, 1] }).await;
    assert_eq!(web(&all), 3, "the other service is asked for three times, wherever");
    let behind = || async { all.iter().all(|a| known(a, "proxy").is_some_and(|s| s.backends.len() == 3)) };
    place.world.until("under its name there are all three", LONG, behind).await;
}

/// The names for what runs elsewhere as a node has them.
fn elsewhere(agent: &Agent) -> Vec<(String, String)> {
    let node = agent.node.lock().unwrap();
    node.wanted.outside.iter().map(|o| (o.name.clone(), o.address.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_elsewhere_is_registered_found_moved_and_taken_back() {
    gantry_testkit::clause("6.3.3.j");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let services = place.apps().replace("/apps", "/services");
    let ask = async |method: Method, name: &str, body: Option<Value>| {
        place.world.call(&place.host, method, &format!("{services}/{name}"), Some(&place.token), body.as_ref()).await
    };
    let found = async |name: &str| place.get(&format!("{services}?name={name}")).await.1["items"].as_array().cloned().unwrap_or_default();
    let at = |address: &str| Some(json!({"address": address, "ports": [443], "reason": "moved"}));

    let (status, body) = ask(Method::PUT, "bank", at("Bank.example.org")).await;
    assert_eq!(status, 201, "{body:#}");
    let bank = found("bank").await;
    assert_eq!((bank.len(), &bank[0]["kind"], &bank[0]["address"], &bank[0]["ports"]), (1, &json!("outside"), &json!("bank.example.org"), &json!([443])));
    let all_know = async |address: &str| [&one, &two].iter().all(|agent| elsewhere(agent) == [("bank".to_owned(), address.to_owned())]);
    place.world.until("both nodes know the name", LONG, || async { all_know("bank.example.org").await }).await;
    place.reaches("bank", "running", 1).await;
    assert_eq!(ask(Method::PUT, "bank", at("bank.example.org")).await.0, 200, "it is so already");
    assert_eq!(ask(Method::PUT, "bank", at("192.0.2.7")).await.0, 201);
    place.world.until("both nodes know where it is now", LONG, || async { all_know("192.0.2.7").await }).await;
    assert_eq!((found("bank").await[0]["id"].clone(), place.app("bank").await["revision"].clone()), (bank[0]["id"].clone(), json!(2)));

    // Beside it, what the space runs itself: with the address of each instance that answers.
    assert_eq!(place.deploy("shop", "services:\n  db:\n    image: acme/shop/db:1\n    expose: ['5432']\n    deploy: {replicas: 2}\n").await.0, 201);
    place.reaches("shop", "running", 1).await;
    let db = found("db.shop").await;
    assert_eq!((db.len(), &db[0]["kind"], &db[0]["address"], &db[0]["ports"]), (1, &json!("deployed"), &json!("db.shop"), &json!([5432])), "{db:#?}");
    let reached = db[0]["instances"].as_array().unwrap();
    let instances = place.instances("shop").await;
    assert_eq!(reached.len(), 2, "{db:#?}");
    assert!(reached.iter().all(|r| r["port"] == 5432 && instances.iter().any(|i| i["id"] == r["id"] && i["address"] == r["address"])), "{db:#?}");
    let (_, first) = place.get(&format!("{services}?limit=1")).await;
    let (_, second) = place.get(&format!("{services}?limit=1&cursor={}", first["next"].as_str().unwrap().replace(' ', "%20"))).await;
    assert_eq!((&first["items"][0]["name"], &second["items"][0]["name"], &second["next"]), (&json!("bank"), &json!("db"), &Value::Null));

    for (method, name, body, refused) in [
        (Method::PUT, "shop", at("bank.example.org"), 409),
        (Method::DELETE, "shop", None, 409),
        (Method::DELETE, "nobody", None, 404),
        (Method::PUT, "mail", at("127.0.0.1"), 400),
        (Method::PUT, "mail", at(""), 400),
    ] {
        let (status, body) = ask(method.clone(), name, body).await;
        assert_eq!(status, refused, "{method} {name}: {body:#}");
    }
    assert_eq!(ask(Method::DELETE, "bank", None).await.0, 204);
    place.world.until("no node knows the name", LONG, || async { elsewhere(&one).is_empty() && elsewhere(&two).is_empty() }).await;
    assert!(found("bank").await.is_empty());
}
