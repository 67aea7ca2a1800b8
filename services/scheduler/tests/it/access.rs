//! Who may do what.

use gantry_contract::proto::scheduler::AppRef;
use gantry_contract::proto::scheduler::agents_client::AgentsClient;
use gantry_kernel::{Role, Scope};
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::place::{LONG, Place, web};

/// Every endpoint, with a body where it takes one.
fn endpoints(place: &Place) -> Vec<(Method, String, Option<Value>)> {
    let app = |tail: &str| format!("{}/web{tail}", place.apps());
    let config = |tail: &str| format!("{}{tail}", place.apps().replace("/apps", "/configs"));
    let volume = |tail: &str| format!("{}{tail}", place.apps().replace("/apps", "/volumes"));
    vec![
        (Method::GET, place.apps(), None),
        (Method::POST, place.apps(), Some(json!({"name": "web", "document": web("9", 1)}))),
        (Method::GET, app(""), None),
        (Method::GET, app("/instances"), None),
        (Method::GET, app("/revisions"), None),
        (Method::GET, app("/why"), None),
        (Method::GET, app("/signs"), None),
        (Method::GET, place.apps().replace("/apps", "/signs"), None),
        (Method::GET, place.apps().replace("/apps", "/services"), None),
        (Method::PUT, place.apps().replace("/apps", "/services/bank"), Some(json!({"address": "bank.example.org"}))),
        (Method::DELETE, place.apps().replace("/apps", "/services/bank"), None),
        (Method::POST, place.apps().replace("/apps", "/signs/1/acknowledge"), Some(json!({"reason": "look"}))),
        (Method::GET, app("/instances/web-web-0/exec?command=[%22ls%22]"), None),
        (Method::GET, app("/instances/web-web-0/attach"), None),
        (Method::GET, app("/instances/web-web-0/forward?port=80"), None),
        (Method::GET, app("/instances/web-web-0/download?path=/etc"), None),
        (Method::GET, app("/instances/web-web-0/upload?path=/etc"), None),
        (Method::GET, app("/instances/web-web-0/processes"), None),
        (Method::POST, app("/instances/web-web-0/processes/1/signal"), Some(json!({"signal": "TERM"}))),
        (Method::POST, app("/instances/web-web-0/migrate"), Some(json!({"node": "n1"}))),
        (Method::GET, app("/export"), None),
        (Method::GET, app("/export?secrets=true"), None),
        (Method::GET, app("/diff?from=1"), None),
        (Method::POST, place.apps().replace("/apps", "/documents"), Some(json!({"document": web("9", 1)}))),
        (Method::POST, app("/scale"), Some(json!({"workload": "web", "replicas": 2}))),
        (Method::POST, app("/restart"), Some(json!({}))),
        (Method::POST, app("/stop"), None),
        (Method::POST, app("/start"), None),
        (Method::POST, app("/rollback"), Some(json!({"revision": 1}))),
        (Method::GET, app("/scaling"), None),
        (Method::POST, app("/scaling/pause"), Some(json!({"workload": "web"}))),
        (Method::POST, app("/scaling/resume"), Some(json!({"workload": "web"}))),
        (Method::POST, app("/release/promote"), Some(json!({"full": true}))),
        (Method::POST, app("/release/pause"), Some(json!({"reason": "look"}))),
        (Method::POST, app("/release/resume"), None),
        (Method::POST, app("/release/abort"), Some(json!({}))),
        (Method::DELETE, app(""), None),
        (Method::GET, volume(""), None),
        (Method::GET, volume("/x/backups"), None),
        (Method::DELETE, volume("/x"), None),
        (Method::POST, volume("/x/snapshots"), Some(json!({"snapshot": "a"}))),
        (Method::DELETE, volume("/x/snapshots/a"), None),
        (Method::POST, volume("/x/rollback"), Some(json!({"snapshot": "a"}))),
        (Method::POST, volume("/x/copies"), Some(json!({"app": "web", "volume": "data"}))),
        (Method::POST, volume("/x/backups"), None),
        (Method::POST, volume("/x/restore"), Some(json!({"backup": "a"}))),
        (Method::DELETE, volume("/x/backups/a"), None),
        (Method::DELETE, volume("/x?dry_run=true"), None),
        (Method::POST, volume("/x/snapshots?dry_run=true"), Some(json!({"snapshot": "a"}))),
        (Method::DELETE, volume("/x/snapshots/a?dry_run=true"), None),
        (Method::POST, volume("/x/restore?dry_run=true"), Some(json!({"backup": "a"}))),
        (Method::DELETE, volume("/x/backups/a?dry_run=true"), None),
        (Method::GET, config(""), None),
        (Method::GET, config("/db"), None),
        (Method::GET, config("/db/versions"), None),
        (Method::PUT, config("/db"), Some(json!({"secret": true, "entries": {"content": "x"}}))),
        (Method::POST, config("/db/reveal"), Some(json!({"reason": "look"}))),
        (Method::POST, config("/db/rollback"), Some(json!({"version": 1}))),
        (Method::POST, config("/db/rollout"), Some(json!({}))),
        (Method::DELETE, config("/db"), None),
        (Method::GET, place.apps().replace("/apps", "/clusters"), None),
        (Method::PUT, place.apps().replace("/apps", "/clusters"), Some(json!({"clusters": [{"cluster": "east"}]}))),
        (Method::GET, "/api/v1/nodes".into(), None),
        (Method::GET, "/api/v1/nodes/n1/settings".into(), None),
        (Method::POST, "/api/v1/nodes/n1/cordon".into(), None),
        (Method::POST, "/api/v1/nodes/n1/uncordon".into(), None),
        (Method::GET, "/api/v1/nodes/n1/cordon".into(), None),
        (Method::GET, "/api/v1/nodes/n1/uncordon".into(), None),
        (Method::POST, "/api/v1/nodes/n1/drain".into(), None),
        (Method::GET, "/api/v1/nodes/n1/drain".into(), None),
        (Method::DELETE, "/api/v1/nodes/n1".into(), None),
        (Method::POST, "/api/v1/nodes/n1/admit".into(), None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_does_what_they_have_no_right_to() {
    let place = Place::new().await;
    place.deploy("web", &web("1", 1)).await;
    let db = place.apps().replace("/apps", "/configs/db");
    place.world.call(&place.host, Method::PUT, &db, Some(&place.token), Some(&json!({"secret": true, "entries": {"content": "x"}}))).await;
    let (stranger, viewer) = (place.world.user(), place.world.user());
    place.world.identity.grant(&format!("user:{viewer}"), Role::Viewer, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let (stranger, viewer) = (place.world.token(stranger, "eve"), place.world.token(viewer, "vic"));
    let head = place.host.log().head();
    for (method, path, body) in endpoints(&place) {
        let call = |token: Option<String>| {
            let (place, method, path, body) = (&place, method.clone(), path.clone(), body.clone());
            async move { place.world.call(&place.host, method, &path, token.as_deref(), body.as_ref()).await.0 }
        };
        assert_eq!(call(None).await, 401, "{method} {path} without a token");
        let foreign = call(Some(stranger.clone())).await;
        let expected = if path.starts_with("/api/v1/nodes") { 403 } else { 404 };
        assert_eq!(foreign, expected, "{method} {path} by a stranger");
        // A document with all values is for those who could deploy it.
        let reads = method == Method::GET && !path.starts_with("/api/v1/nodes") && !path.contains("/export") && !path.contains("/instances/");
        assert_eq!(call(Some(viewer.clone())).await, if reads { 200 } else { 403 }, "{method} {path} by a viewer");
    }
    let written = place.host.log().read(head, 100).await.unwrap();
    assert!(written.iter().all(|e| e.meta.actor == "system"), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reaching_out_of_the_container_needs_the_platforms_right() {
    gantry_testkit::clause("6.3.2.t");
    let place = Place::new().await;
    for part in [
        "privileged: true",
        "volumes: ['/etc:/etc']",
        "cap_add: [NET_ADMIN]",
        "devices: [/dev/fuse]",
        "security_opt: ['seccomp:unconfined']",
        "security_opt: ['apparmor:mine']",
        "security_opt: ['label:disable']",
        "pre_stop: [{command: [x], privileged: true}]",
    ] {
        let text = format!("services:\n  web:\n    image: acme/shop/web:1\n    {part}\n");
        let body = json!({"name": "web", "document": text, "allow_unsupported": true});
        let (status, problem) = place.post(&place.apps(), body).await;
        assert_eq!(status, 403, "{part}: {problem}");
    }
    place.world.identity.grant(&place.subject, Role::Admin, Scope::Platform).await;
    place.world.identity.settle(&place.host).await;
    let agent = Agent::join(&place, "n1", 4000).await;
    for on in [true, false] {
        let (status, body) = place.deploy("web", &format!("services: {{web: {{image: 'acme/shop/web:1', privileged: {on}}}}}")).await;
        assert_eq!(status, 201, "{body}");
        let told = || async {
            let node = agent.node.lock().unwrap();
            let instances: Vec<bool> = node.wanted.instances.iter().filter(|i| !i.stopping).map(|i| i.privileged).collect();
            instances == [on]
        };
        place.world.until(&format!("the node is told that privileged is {on}"), LONG, told).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_services_call_over_grpc() {
    let place = Place::new().await;
    let at = AppRef { org: "acme".into(), project: "shop".into(), space: "test".into(), app: "web".into() };
    let refused = place.applications("registry").get(at.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert_eq!(place.applications("cicd").get(at).await.unwrap_err().code(), tonic::Code::NotFound);
    let mut agents = AgentsClient::new(place.channel("cicd"));
    let refused = agents.attach(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}
