//! What an operator publishes: an offering of the installation's own, in several sizes.

use std::collections::BTreeMap;

use gantry_catalog::Config;
use gantry_testkit::clause;
use serde_json::json;

use crate::shelf::{Shelf, config};

const GREETER: &str = r#"
name: greeter
title: Greeter
description: Greets whoever asks.
category: proxy
tags: [own]
image: greeter:1
service: web
password: false
parameters: {type: object}
plans:
  - {name: small, description: One copy., values: {REPLICAS: "1"}}
  - {name: large, description: "Three copies, for many who ask.", values: {REPLICAS: "3"}}
compose: |
  services:
    web:
      image: "${IMAGE}"
      ports: ["8080"]
      deploy: {replicas: "${REPLICAS}"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_offering_of_ones_own_is_found_and_had_in_each_of_its_sizes() {
    for id in ["6.3.3.a", "6.5.3.1.a", "6.5.3.2.a", "6.5.3.2.b"] {
        clause(id);
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("greeter.yaml"), GREETER).expect("written");
    let shelf = Shelf::with(Config { offerings_dir: folder.path().to_owned(), ..config() }).await;
    let (_, offerings) = shelf.get("/api/v1/offerings").await;
    let offered = offerings["items"].as_array().expect("a list");
    let own = offered.iter().find(|o| o["name"] == "greeter").expect("it is published");
    assert_eq!((own["title"].as_str(), own["description"].as_str()), (Some("Greeter"), Some("Greets whoever asks.")));
    let plans: Vec<_> = own["plans"].as_array().expect("a list").iter().map(|p| (p["name"].clone(), p["description"].clone())).collect();
    assert_eq!(plans, [(json!("small"), json!("One copy.")), (json!("large"), json!("Three copies, for many who ask."))]);
    assert!(offered.iter().any(|o| o["name"] == "redis"), "the platform's own stay");

    shelf.scheduler.becomes("running", "");
    for plan in ["small", "large"] {
        let (status, made) = shelf.post(&shelf.path(""), json!({"offering": "greeter", "plan": plan, "name": plan})).await;
        assert_eq!(status, 202, "{made}");
        shelf.until_state(plan, "ready").await;
    }
    let deployed = shelf.scheduler.deployed.lock().expect("unpoisoned").clone();
    let sizes: BTreeMap<String, String> = deployed.values().map(|d| (d.app.as_ref().expect("an address").app.clone(), d.values["REPLICAS"].clone())).collect();
    assert_eq!(sizes, BTreeMap::from([("svc-large".to_owned(), "3".to_owned()), ("svc-small".to_owned(), "1".to_owned())]));
    assert!(deployed.values().all(|d| d.document.contains("${REPLICAS}") && d.values["IMAGE"].ends_with("/greeter:1")), "made from the template");
}
