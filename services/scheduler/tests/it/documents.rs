//! Documents of all formats over the API: checked, turned into each other, deployed, given back.

use gantry_kernel::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{LONG, Place, web};

fn documents(place: &Place) -> String {
    place.apps().replace("/apps", "/documents")
}

const KUBERNETES: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostname: fixed
      containers:
      - name: web
        image: acme/shop/web:1
        env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: P, valueFrom: {secretKeyRef: {name: keys, key: p}}}]
        ports: [{containerPort: 8080}]
        lifecycle: {preStop: {exec: {command: [/drain]}}}
        securityContext: {allowPrivilegeEscalation: false, runAsUser: 5, runAsGroup: 6}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {p: hush-hush}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_manifests_run_behind_their_service() {
    for clause in ["6.3.2.a", "6.3.2.b", "6.3.2.h", "6.3.2.i"] {
        gantry_testkit::clause(clause);
    }
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let body = json!({"name": "shop", "format": "kubernetes", "document": KUBERNETES});
    let (status, deployed) = place.post(&place.apps(), body.clone()).await;
    assert_eq!(status, 201, "{deployed:#}");
    place.reaches("shop", "running", 1).await;
    {
        let node = agent.node.lock().unwrap();
        assert_eq!(node.wanted.instances.len(), 2);
        let wanted = &node.wanted.instances[0];
        assert_eq!((wanted.hostname.as_str(), wanted.user.as_str(), wanted.new_privileges.as_str()), ("fixed", "5:6", "no"));
        assert_eq!(
            (wanted.pre_stop[0].command.join(" "), wanted.env_facts[0].fact.as_str(), wanted.env[0].value.as_str()),
            ("/drain".into(), "address", "hush-hush")
        );
        let front = &node.wanted.services[0];
        assert_eq!((front.name.as_str(), front.port, front.backends[0].port), ("front", 80, 8080));
    }
    let (status, again) = place.post(&place.apps(), body).await;
    assert_eq!((status, &again["changed"]), (200, &json!(false)), "the same manifests are no new revision");
    let events = place.host.log().read(0, 500).await.unwrap();
    assert!(events.iter().all(|e| !e.data.to_string().contains("hush-hush")), "secrets are in no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_yet_is_refused_with_its_line_and_accepted_with_a_warning() {
    let place = Place::new().await;
    let text = "services:\n  web:\n    image: acme/shop/web:1\n    init: true\n    networks: {a: {ipv4_address: 10.9.0.2}}\nnetworks: {a: {}}\n";
    let (status, problem) = place.deploy("web", text).await;
    assert_eq!((status, &problem["code"]), (400, &json!("scheduler.unsupported")), "{problem:#}");
    assert_eq!(problem["errors"][0]["field"], "document:4:services.web.init");
    let (_, checked) = place.post(&documents(&place), json!({"document": text})).await;
    assert_eq!((&checked["valid"], &checked["deployable"]), (&json!(true), &json!(false)));
    let not_yet = checked["remarks"].as_array().unwrap().iter().find(|r| r["level"] == "not_yet").expect("one is not done yet");
    assert_eq!((&not_yet["path"], &not_yet["line"]), (&json!("services.web.init"), &json!(4)), "{checked:#}");
    let (status, deployed) = place.post(&place.apps(), json!({"name": "web", "document": text, "allow_unsupported": true})).await;
    assert_eq!(status, 201, "{deployed:#}");
    assert_eq!(deployed["remarks"].as_array().unwrap().iter().filter(|r| r["level"] == "not_yet").count(), 2, "{deployed:#}");
    let (_, exported) = place.get(&format!("{}/web/export?format=compose", place.apps())).await;
    assert!(exported["document"].as_str().unwrap().contains("init: true"), "it is kept for an engine that does it: {exported:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_document_names_are_asked_for_and_come_along() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let text = "services:\n  web:\n    image: \"acme/shop/web:${TAG}\"\n    env_file: web.env\n    volumes: ['./conf:/etc/web:ro']\n";
    let (_, checked) = place.post(&documents(&place), json!({"document": text})).await;
    assert_eq!(checked["needs"], json!(["conf", "web.env"]), "{checked:#}");
    let files = json!({".env": "TAG=1", "web.env": "A=b", "conf/a.txt": "hello"});
    let (status, problem) = place.post(&place.apps(), json!({"name": "web", "document": text, "files": files, "binary_files": {"conf/b.bin": "/w=="}})).await;
    assert_eq!(status, 201, "{problem:#}");
    place.world.until("it runs", LONG, || async { agent.running().len() == 1 }).await;
    let wanted = agent.node.lock().unwrap().wanted.instances[0].clone();
    let files: Vec<(&str, &[u8])> = wanted.files.iter().map(|f| (f.path.as_str(), f.content.as_slice())).collect();
    assert_eq!(files, [("/etc/web/a.txt", b"hello".as_slice()), ("/etc/web/b.bin", &[255])]);
    assert_eq!(wanted.env[0].value, "b");
    for bad in [json!({"../x": ""}), json!({"/etc/passwd": ""}), json!({"a//b": ""})] {
        assert_eq!(place.post(&documents(&place), json!({"document": text, "files": bad})).await.0, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_given_back_as_any_format_and_that_is_the_same_application() {
    let place = Place::new().await;
    place.post(&place.apps(), json!({"name": "shop", "format": "kubernetes", "document": KUBERNETES})).await;
    let export = |format: &str, more: &str| format!("{}/shop/export?format={format}{more}", place.apps());
    let (status, refused) = place.get(&export("compose", "&secrets=true")).await;
    assert_eq!(status, 403, "secrets need the right to administer: {refused}");
    place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    for format in ["compose", "kubernetes", "gantry"] {
        let hidden = place.get(&export(format, "")).await.1["document"].as_str().unwrap().to_owned();
        assert!(!hidden.contains("hush-hush"), "{hidden}");
        let shown = place.get(&export(format, "&secrets=true")).await.1["document"].as_str().unwrap().to_owned();
        assert!(shown.contains("hush-hush"), "{shown}");
        let (status, again) = place.post(&place.apps(), json!({"name": "shop", "format": format, "document": shown})).await;
        assert_eq!((status, &again["changed"]), (200, &json!(false)), "{format}: {again:#}\n{shown}");
        let (_, converted) = place.post(&documents(&place), json!({"name": "shop", "format": format, "document": shown, "to": "gantry"})).await;
        assert!(converted["document"].as_str().unwrap().contains("kind: Application"), "{converted:#}");
    }
    assert_eq!(place.get(&export("compose", "&revision=9")).await.0, 404);
    assert_eq!(place.get(&export("helm", "")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_revisions_are_compared() {
    let place = Place::new().await;
    place.deploy("web", &web("1", 1)).await;
    place.deploy("web", &web("2", 2).replace("hunter2", "changed")).await;
    let (_, answer) = place.get(&format!("{}/web/diff?from=1", place.apps())).await;
    let lines: Vec<&str> = answer["diff"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(lines.contains(&"~ workloads.web.replicas: 1 → 2") && lines.contains(&"~ workloads.web.env.SECRET: another value"), "{lines:#?}");
    assert!(!answer.to_string().contains("changed\""), "values are not shown");
    assert_eq!(place.get(&format!("{}/web/diff?from=7", place.apps())).await.0, 404);
    let (status, _) = place.world.call(&place.host, Method::POST, &documents(&place), Some(&place.token), Some(&json!({"document": 5}))).await;
    assert_eq!(status, 400);
}
