//! Dry runs: what a change would do is told, what would refuse it refuses, and nothing is written.

use gantry_client::scheduler as api;
use gantry_client::scheduler::apps_client::AppsClient;
use gantry_kernel::Role;
use gantry_testkit::rpc::by;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::neighbours::Limits;
use crate::place::{Place, config, web};

impl Place {
    async fn try_out(&self, verb: &str, body: Value) -> (u16, Value) {
        let head = self.host.log().head();
        let answer = self.post(&format!("{}/web/{verb}?dry_run=true", self.apps()), body).await;
        let written = self.host.log().read(head, 100).await.unwrap();
        assert!(written.iter().all(|e| !e.kind.starts_with("app.")), "{written:?}");
        answer
    }
}

fn shape(preview: &Value) -> Vec<(usize, usize)> {
    let count = |batch: &Value, key: &str| batch[key].as_array().unwrap().len();
    preview["batches"].as_array().unwrap().iter().map(|b| (count(b, "starts"), count(b, "stops"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_says_what_would_happen_in_which_order() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;

    let (status, up) = place.try_out("scale", json!({"workload": "web", "replicas": 5})).await;
    assert_eq!((status, &up["events"], &up["diff"]), (200, &json!(["app.scaled"]), &json!(["~ workloads.web.replicas: 2 → 5"])), "{up:#}");
    assert_eq!((shape(&up), &up["reserves"]["cpu_millis"], &up["workloads"][0]["added"]), (vec![(3, 0)], &json!(500), &json!(3)), "{up:#}");
    let (_, down) = place.try_out("scale", json!({"workload": "web", "replicas": 1})).await;
    assert_eq!((shape(&down), &down["batches"][0]["stops"][0]["name"]), (vec![(0, 1)], &json!("web-web-1")), "{down:#}");
    assert_eq!(down["batches"][0]["stops"][0]["node"], "n1");
    let (_, same) = place.try_out("scale", json!({"workload": "web", "replicas": 2})).await;
    assert_eq!((&same["changed"], &same["events"]), (&json!(false), &json!([])));

    let (_, restart) = place.try_out("restart", json!({})).await;
    assert_eq!((shape(&restart), &restart["workloads"][0]["replaced"]), (vec![(1, 0), (0, 1), (1, 0), (0, 1)], &json!(2)), "{restart:#}");
    let (_, stop) = place.try_out("stop", json!({})).await;
    assert_eq!((shape(&stop), &stop["reserves"]["containers"], &stop["given_back"]), (vec![(0, 2)], &json!(0), &json!([])), "{stop:#}");

    place.deploy("web", &web("2", 2)).await;
    place.reaches("web", "running", 2).await;
    let (_, back) = place.try_out("rollback", json!({"revision": 1})).await;
    assert_eq!((&back["revision"], &back["events"], shape(&back).len()), (&json!(1), &json!(["app.release-started"]), 4), "{back:#}");
    assert!(back["diff"].as_array().unwrap().iter().any(|l| l.as_str().unwrap().contains("image")), "{back:#}");
    assert!(back["batches"][0]["starts"][0]["revision"] == 1, "{back:#}");

    let path = format!("{}/web", place.apps());
    let delete = format!("{path}?dry_run=true");
    let (status, gone) = place.world.call(&place.host, Method::DELETE, &delete, Some(&place.token), None).await;
    assert_eq!((status, shape(&gone), &gone["events"]), (200, vec![(0, 2)], &json!(["app.deleted"])), "{gone:#}");
    let back: Vec<&str> = gone["given_back"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
    assert!(back.contains(&"name web") && back.contains(&"port 20080/tcp"), "{gone:#}");
    assert_eq!(agent.running().len(), 2, "all of it is still there");
    place.reaches("web", "running", 2).await;
    assert_eq!(place.post(&format!("{path}/stop"), json!({})).await.0, 200);
    let (_, start) = place.try_out("start", json!({})).await;
    assert_eq!((&start["events"], &start["workloads"][0]["after"]), (&json!(["app.started"]), &json!(2)), "{start:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_the_change_refuses_its_dry_run() {
    let place = Place::with(config(), Limits { cpu_millis: 250, ..Default::default() }).await;
    let deploy = format!("{}?dry_run=true", place.apps());
    let (status, problem) = place.post(&deploy, json!({"name": "web", "document": web("1", 3)})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("billing.quota_too_small")), "{problem}");
    place.deploy("web", &web("1", 2)).await;
    let (status, problem) = place.try_out("scale", json!({"workload": "web", "replicas": 9})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("billing.quota_too_small")), "{problem}");
    assert_eq!(place.try_out("scale", json!({"workload": "db", "replicas": 1})).await.0, 400);
    assert_eq!(place.try_out("release/promote", json!({"full": true})).await.0, 409);
    assert_eq!(place.try_out("rollback", json!({"revision": 7})).await.0, 404);
    let viewer = place.world.user();
    place.world.identity.grant(&format!("user:{viewer}"), Role::Viewer, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let hers = place.world.token(viewer, "vic");
    let path = format!("{}/web/stop?dry_run=true", place.apps());
    assert_eq!(place.world.call(&place.host, Method::POST, &path, Some(&hers), None).await.0, 403);
    let (status, problem) = place.post(&format!("{}/web/stop?dryrun=true", place.apps()), json!({})).await;
    assert_eq!(status, 400, "a typing error must not stop anything: {problem}");
    let (status, problem) = place.post(&deploy, json!({"name": "other", "document": web("1", 1)})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("scheduler.port_taken")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_and_a_canary_tell_their_steps() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    let path = format!("{}?dry_run=true", place.apps());
    let (status, first) = place.post(&path, json!({"name": "web", "document": web("1", 2)})).await;
    assert_eq!((status, shape(&first["preview"])), (200, vec![(2, 0)]), "{first:#}");
    assert_eq!(first["preview"]["events"], json!(["app.created", "app.revised", "app.release-started"]));
    place.deploy("web", &web("1", 4)).await;
    place.reaches("web", "running", 1).await;

    let release = "{strategy: canary, steps: [{weight: 25, until_promoted: true}, {weight: 50, pause_seconds: 60}]}";
    let canary = format!("{}x-gantry:\n  release: {release}\n", web("2", 4));
    let (_, plan) = place.post(&path, json!({"name": "web", "document": canary})).await;
    let steps = plan["preview"]["steps"].as_array().unwrap();
    let told: Vec<(u64, u64, &str)> =
        steps.iter().map(|s| (s["percent"].as_u64().unwrap(), s["instances"]["web"].as_u64().unwrap(), s["waits_for"].as_str().unwrap())).collect();
    assert_eq!(told[..3], [(25, 1, "instances"), (50, 2, "promotion"), (50, 4, "time")], "{plan:#}");
    let last = plan["preview"]["batches"].as_array().unwrap().last().unwrap();
    assert_eq!(last["stops"].as_array().unwrap().len(), 4, "the old ones go at the end: {plan:#}");
    assert_eq!(place.app("web").await["revision"], 1);

    place.deploy("web", &canary).await;
    let waits = || async { place.app("web").await["release"]["waits_for"] == "promotion" };
    place.world.until("it waits to be promoted", crate::place::LONG, waits).await;
    let (_, promoted) = place.try_out("release/promote", json!({"full": false})).await;
    assert_eq!((&promoted["events"], &promoted["steps"][0]["waits_for"]), (&json!(["app.release-promoted"]), &json!("instances")), "{promoted:#}");
    let (_, aborted) = place.try_out("release/abort", json!({})).await;
    assert_eq!((&aborted["revision"], &aborted["steps"]), (&json!(1), &json!([])), "{aborted:#}");
    assert_eq!(aborted["workloads"][0]["removed"], 1, "the new one goes, the old ones stand: {aborted:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_without_a_name_go_and_those_with_one_stay() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    let document = "services: {web: {image: 'acme/shop/web:1', volumes: ['data:/data', '/scratch']}}\nvolumes: {data: {}}\n";
    place.deploy("web", document).await;
    place.reaches("web", "running", 1).await;
    let id = place.app("web").await["id"].as_str().unwrap().to_owned();
    let delete = format!("{}/web?dry_run=true", place.apps());
    let (_, gone) = place.world.call(&place.host, Method::DELETE, &delete, Some(&place.token), None).await;
    let told: Vec<(&str, bool)> = gone["volumes"].as_array().unwrap().iter().map(|v| (v["volume"].as_str().unwrap(), v["kept"] == true)).collect();
    assert_eq!(told, [(format!("{id}.data").as_str(), true), ("web-web-0 /scratch", false)], "{gone:#}");
    let (_, restart) = place.try_out("restart", json!({})).await;
    let told: Vec<bool> = restart["volumes"].as_array().unwrap().iter().map(|v| v["kept"] == true).collect();
    assert_eq!(told, [false], "its successor has the other one again: {restart:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_placement_rules_say_which_nodes_they_leave() {
    let place = Place::new().await;
    let _agents = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    let admin = place.world.user();
    place.world.identity.grant(&format!("user:{admin}"), Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let token = place.world.token(admin, "ann");
    let path = place.apps().replace("/apps", "/placement");
    let dry = format!("{path}?dry_run=true");
    let rules = json!({"required": [{"attribute": "node.name", "operator": "in", "values": ["n2"]}]});
    assert_eq!(place.world.call(&place.host, Method::PUT, &dry, Some(&place.token), Some(&rules)).await.0, 403);
    let (status, seen) = place.world.call(&place.host, Method::PUT, &dry, Some(&token), Some(&rules)).await;
    assert_eq!((status, &seen["events"]), (200, &json!(["placement.changed"])), "{seen:#}");
    let nodes: Vec<(&str, bool)> =
        seen["nodes"].as_array().unwrap().iter().map(|n| (n["node"].as_str().unwrap(), n["reasons"].as_array().unwrap().is_empty())).collect();
    assert_eq!(nodes, [("n2", true), ("n1", false)], "{seen:#}");
    assert!(seen["notes"].to_string().contains("instances on n1"), "{seen:#}");
    let (_, now) = place.world.call(&place.host, Method::GET, &path, Some(&token), None).await;
    assert_eq!(now["required"], json!([]), "nothing was set");
    let (status, problem) = place.world.call(&place.host, Method::PUT, &dry, Some(&token), Some(&json!({"pack": 5000}))).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("pack")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_an_rpc_of_its_own() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.deploy("web", &web("1", 1)).await;
    place.reaches("web", "running", 1).await;
    let mut apps = AppsClient::new(place.channel("gateway"));
    let (org, project, space) = ("acme".to_owned(), "shop".to_owned(), "test".to_owned());
    let ask = api::ScaleAppRequest { org: org.clone(), project: project.clone(), space: space.clone(), app: "web".into(), workload: "web".into(), replicas: 3 };
    let seen = apps.dry_run_scale_app(by(&place.token, ask)).await.unwrap().into_inner();
    assert_eq!((seen.events, seen.batches[0].starts.len()), (vec!["app.scaled".to_owned()], 2));
    let ask = api::DeleteAppRequest { org, project, space, app: "web".into() };
    let seen = apps.dry_run_delete_app(by(&place.token, ask)).await.unwrap().into_inner();
    assert_eq!(seen.events, ["app.deleted"]);
    assert_eq!(place.app("web").await["workloads"][0]["replicas"], 1, "nothing has happened");
}
