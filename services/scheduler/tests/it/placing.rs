//! Where instances come to stand: rules, taints, priorities, budgets, a space's own rules and its own scheduler, and what "why"
//! says of all that.

use std::net::SocketAddr;

use gantry_contract::proto::scheduler as proto;
use gantry_contract::proto::scheduler::placement_advisor_server::{PlacementAdvisor, PlacementAdvisorServer};
use gantry_kernel::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::agent::Agent;
use crate::neighbours::Limits;
use crate::place::{LONG, Place, config, web};

/// An application of one workload in our own form.
fn own(workload: &str) -> Value {
    let document = format!("apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  workloads:\n    web: {workload}\n");
    json!({"format": "gantry", "document": document, "reason": "test"})
}

impl Place {
    async fn deploy_own(&self, name: &str, workload: &str) {
        let mut body = own(workload);
        body["name"] = json!(name);
        let (status, answer) = self.post(&self.apps(), body).await;
        assert_eq!(status, 201, "{answer:#}");
    }

    async fn why(&self, name: &str) -> Value {
        self.get(&format!("{}/{name}/why", self.apps())).await.1
    }

    async fn put(&self, token: &str, path: &str, body: &Value) -> (u16, Value) {
        self.world.call(&self.host, Method::PUT, path, Some(token), Some(body)).await
    }

    async fn waits_because(&self, name: &str, text: &str) -> Value {
        self.world.until(text, LONG, || async { self.why(name).await["waiting"].to_string().contains(text) }).await;
        self.why(name).await
    }

    fn rules(&self) -> String {
        self.apps().replace("/apps", "/placement")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tainted_node_is_avoided_left_and_explained() {
    gantry_testkit::clause("6.3.1.b");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let token = place.operator().await;
    let taint = |effect: &str| json!({"taints": [{"key": "gpu", "effect": effect}]});
    assert_eq!(place.put(&token, "/api/v1/nodes/n1/settings", &taint("Never")).await.0, 400);
    assert_eq!(place.put(&place.token, "/api/v1/nodes/n1/settings", &taint("NoSchedule")).await.0, 403);
    for node in ["n1", "n2"] {
        assert_eq!(place.put(&token, &format!("/api/v1/nodes/{node}/settings"), &taint("NoSchedule")).await.0, 200);
    }
    place.deploy("web", &web("1", 2)).await;
    let why = place.waits_because("web", "taint").await;
    let waiting = &why["waiting"][0];
    assert_eq!(
        (&waiting["nodes_seen"], &waiting["against"][0]["nodes"], &waiting["against"][0]["rule"]),
        (&json!(2), &json!(2), &json!("taint gpu")),
        "{why:#}"
    );
    assert_eq!(waiting["remedies"][0]["change"], "take the taint `gpu:NoSchedule` away, or tolerate it");
    assert_eq!(place.put(&token, "/api/v1/nodes/n2/settings", &json!({})).await.0, 200);
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (0, 2));
    let why = place.why("web").await;
    let chosen = &why["placed"][0]["chosen"];
    assert_eq!((&chosen["node"], &chosen["fit"], &chosen["against"][0]["rule"]), (&json!("n2"), &json!(1), &json!("taint gpu")), "{why:#}");
    // What must not stay moves, without a gap, to where it may.
    place.put(&token, "/api/v1/nodes/n1/settings", &json!({})).await;
    for agent in [&one, &two] {
        agent.node.lock().unwrap().fewest = None;
    }
    place.put(&token, "/api/v1/nodes/n2/settings", &taint("NoExecute")).await;
    place.world.until("they have moved", LONG, || async { one.running().len() == 2 && two.running().is_empty() }).await;
    assert_eq!(one.node.lock().unwrap().fewest, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_priority_makes_room_and_budgets_are_kept() {
    gantry_testkit::clause("6.3.1.a");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 1000).await;
    place.deploy_own("low", "{image: acme/shop/web:1, replicas: 2, requests: {cpu_millis: 400}}").await;
    place.reaches("low", "running", 1).await;
    place.deploy_own("kept", "{image: acme/shop/web:1, requests: {cpu_millis: 200}, budget: {min_available: '1'}}").await;
    place.reaches("kept", "running", 1).await;
    place.deploy_own("vip", "{image: acme/shop/web:2, requests: {cpu_millis: 300}, priority: 100}").await;
    place.reaches("vip", "running", 1).await;
    assert_eq!(agent.running().len(), 3, "one of the two had to go");
    let why = place.waits_because("low", "cpu").await;
    assert_eq!(why["waiting"][0]["instances"], 1, "{why:#}");
    let gone = why["instances"].as_array().unwrap().iter().find(|i| !i["displaced"].is_null()).expect("the one that had to go").clone();
    assert_eq!(gone["displaced"], "`web` of vip has priority 100 and needs the room");
    // The next one finds nobody who may go: one budget, and one of equal priority.
    place.deploy_own("second", "{image: acme/shop/web:2, requests: {cpu_millis: 600}, priority: 100}").await;
    place.waits_because("second", "cpu").await;
    assert_eq!(agent.running().len(), 3);
    assert_eq!(place.app("kept").await["state"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_reserved_for_a_space_is_its_own_and_overcommitment_makes_more() {
    let place = Place::new().await;
    place.world.identity.space(&place.space.project, "production").await;
    let token = place.operator().await;
    let agent = Agent::join(&place, "n1", 1000).await;
    let reserved = json!([{"space": "acme/shop/test", "amounts": {"cpu_millis": 600}}]);
    assert_eq!(place.put(&token, "/api/v1/nodes/n1/settings", &json!({ "reserved": reserved })).await.0, 200);
    let production = place.apps().replace("/spaces/test/", "/spaces/production/");
    let mut far = own("{image: acme/shop/web:1, requests: {cpu_millis: 500}}");
    far["name"] = json!("far");
    let (status, answer) = place.post(&production, far).await;
    assert_eq!(status, 201, "{answer:#}");
    let why = async || place.get(&format!("{production}/far/why")).await.1["waiting"].to_string();
    place.world.until("another space waits", LONG, || async { why().await.contains("cpu") }).await;
    place.deploy_own("near", "{image: acme/shop/web:2, requests: {cpu_millis: 600}}").await;
    place.reaches("near", "running", 1).await;
    assert_eq!(agent.running().len(), 1, "{}", why().await);
    let more = json!({ "reserved": reserved, "overcommit_cpu_percent": 200 });
    assert_eq!(place.put(&token, "/api/v1/nodes/n1/settings", &more).await.0, 200);
    place.world.until("there is room for both", LONG, || async { agent.running().len() == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_is_being_made_is_not_made_twice_after_a_restart() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 1000).await;
    place.deploy_own("low", "{image: acme/shop/web:1, replicas: 3, requests: {cpu_millis: 300}}").await;
    place.reaches("low", "running", 1).await;
    agent.node.lock().unwrap().stubborn = true;
    place.deploy_own("vip", "{image: acme/shop/web:2, requests: {cpu_millis: 300}, priority: 100}").await;
    let leaving = async |place: &Place| place.instances("low").await.iter().filter(|i| i["state"] == "stopping").count();
    place.world.until("one has to go", LONG, || async { leaving(&place).await == 1 }).await;

    // Another process decides, and the one that has to go is still there.
    let place = place.restarted(config()).await;
    agent.attach(&place, "n1", 1000).await;
    place.waits_because("vip", "1 instances of lower priority").await;
    assert_eq!(leaving(&place).await, 1, "nobody else is sent away for the same room");
    agent.node.lock().unwrap().stubborn = false;
    place.reaches("vip", "running", 1).await;
    assert_eq!((leaving(&place).await, agent.running().len()), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_space_have_a_version_and_are_not_set_over_somebody_elses() {
    let place = Place::new().await;
    let token = place.operator().await;
    let url = format!("{}{}", place.host.url_of("scheduler").unwrap(), place.rules());
    let tag = |answer: &reqwest::Response| answer.headers().get("etag").map(|v| v.to_str().unwrap().to_owned());
    let get = async || {
        let answer = place.world.http.get(&url).bearer_auth(&token).send().await.unwrap();
        let etag = tag(&answer);
        (etag, answer.json::<Value>().await.unwrap())
    };
    let put = async |etag: &str, pack: u32| {
        let answer = place.world.http.put(&url).bearer_auth(&token).header("if-match", etag).json(&json!({"pack": pack})).send().await.unwrap();
        (answer.status().as_u16(), tag(&answer))
    };
    assert_eq!(get().await.0.as_deref(), Some("\"0\""), "nothing was ever set");
    assert_eq!(put("\"1\"", 20).await.0, 412);
    assert_eq!(put("\"0\"", 20).await, (200, Some("\"1\"".to_owned())));
    assert_eq!(put("\"0\"", 30).await.0, 412, "somebody was faster");
    assert_eq!(put("\"1\"", 20).await, (200, Some("\"1\"".to_owned())), "nothing changes");
    assert_eq!(put("*", 30).await, (200, Some("\"2\"".to_owned())));
    let (etag, rules) = get().await;
    assert_eq!((etag.as_deref(), &rules["pack"]), (Some("\"2\""), &json!(30)));
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_rules_between_instances_hold_and_a_new_node_is_used() {
    gantry_testkit::clause("6.3.2.p");
    gantry_testkit::clause("7.1.m");
    let place = Place::new().await;
    let one = Agent::join_in(&place, "n1", 4000, "a").await;
    let apart = "{topology: node.zone, apart: true, selector: {labels: {gantry.io/workload: web}}}";
    place.deploy_own("shop", &format!("{{image: acme/shop/web:1, replicas: 2, placement: {{affinity: [{apart}]}}}}")).await;
    place.waits_because("shop", "apart from").await;
    place.world.until("the first runs", LONG, || async { one.running().len() == 1 }).await;
    let two = Agent::join_in(&place, "n2", 4000, "a").await;
    let three = Agent::join_in(&place, "n3", 4000, "b").await;
    place.reaches("shop", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len(), three.running().len()), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_stand_on_nodes_of_their_images_architecture_and_nodes_of_all_kinds_are_one_list() {
    gantry_testkit::clause("7.3.3.a");
    gantry_testkit::clause("7.3.3.b");
    let place = Place::new().await;
    let arm = Agent::join_of(&place, "n1", 4000, "arm64").await;
    // The image is for amd64 alone.
    place.deploy("web", &web("1", 2)).await;
    let why = place.waits_because("web", "node.arch == amd64").await;
    assert_eq!(why["waiting"][0]["nodes_seen"], 1, "{why:#}");
    let amd = Agent::join(&place, "n2", 4000).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((arm.running().len(), amd.running().len()), (0, 2));
    let far = "services: {web: {image: 'acme/shop/web:2', platform: linux/arm64, deploy: {resources: {limits: {cpus: '0.3'}}}}}";
    let (status, answer) = place.deploy("far", far).await;
    assert_eq!(status, 201, "{answer:#}");
    place.reaches("far", "running", 1).await;
    assert_eq!((arm.running().len(), amd.running().len()), (1, 2));

    let token = place.operator().await;
    let nodes = async || place.world.call(&place.host, Method::GET, "/api/v1/nodes", Some(&token), None).await.1["items"].clone();
    let seen: Vec<Value> = nodes().await.as_array().unwrap().iter().map(|n| json!([n["name"], n["facts"]["architecture"], n["reserved_cpu_millis"]])).collect();
    assert_eq!(seen, [json!(["n1", "arm64", 300]), json!(["n2", "amd64", 200])]);
    assert_eq!(place.world.call(&place.host, Method::POST, "/api/v1/nodes/n1/cordon", Some(&token), None).await.0, 204);
    assert_eq!((&nodes().await[0]["cordoned"], &nodes().await[1]["cordoned"]), (&json!(true), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_takes_its_share_without_a_gap() {
    let mut config = config();
    config.placement.rebalance_moves = 2;
    let place = Place::with(config, Limits::default()).await;
    let one = Agent::join(&place, "n1", 2000).await;
    place.deploy("web", &web("1", 6)).await;
    place.reaches("web", "running", 1).await;
    one.node.lock().unwrap().fewest = None;
    let two = Agent::join(&place, "n2", 2000).await;
    place.world.until("both have three", LONG, || async { (one.running().len(), two.running().len()) == (3, 3) }).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (3, 3));
    assert!(one.node.lock().unwrap().fewest.is_none_or(|f| f >= 6), "all six served all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spaces_rules_count_for_all_its_workloads() {
    gantry_testkit::clause("6.3.1.i");
    let place = Place::new().await;
    let _one = Agent::join_in(&place, "n1", 4000, "a").await;
    let two = Agent::join_in(&place, "n2", 4000, "b").await;
    let rules = json!({"required": [{"attribute": "node.zone", "operator": "in", "values": ["b"]}], "spread": 0, "pack": 10});
    assert_eq!(place.put(&place.token, &place.rules(), &rules).await.0, 403, "an editor may not");
    let token = place.operator().await;
    assert_eq!(place.put(&token, &place.rules(), &json!({"pack": 5000})).await.0, 400);
    let (status, set) = place.put(&token, &place.rules(), &rules).await;
    assert_eq!((status, &set["pack"]), (200, &json!(10)));
    assert_eq!(place.get(&place.rules()).await.1, set);
    place.deploy("web", &web("1", 3)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!(two.running().len(), 3);
}

/// Takes the last node by name.
struct Last;

#[tonic::async_trait]
impl PlacementAdvisor for Last {
    async fn rank(&self, request: Request<proto::RankRequest>) -> Result<Response<proto::RankResponse>, Status> {
        let last = request.into_inner().candidates.into_iter().map(|c| c.node).max();
        Ok(Response::new(proto::RankResponse { nodes: last.map(|node| proto::Ranked { node, score: 1.0 }).into_iter().collect() }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spaces_own_scheduler_is_asked_and_done_without_when_it_is_silent() {
    gantry_testkit::clause("6.3.1.i");
    let place = Place::new().await;
    let (one, two) = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let token = place.operator().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tokio::spawn(tonic::transport::Server::builder().add_service(PlacementAdvisorServer::new(Last)).serve_with_incoming(incoming));
    let rules = json!({"external": {"url": format!("http://{address}"), "deadline_ms": 5000}});
    assert_eq!(place.put(&token, &place.rules(), &rules).await.0, 200);
    place.deploy("web", &web("1", 2)).await;
    place.reaches("web", "running", 1).await;
    assert_eq!((one.running().len(), two.running().len()), (0, 2), "the planner alone would spread them");
    assert_eq!(place.why("web").await["placed"][0]["chosen"]["by"], "external");
    server.abort();
    let scaled = place.post(&format!("{}/web/scale", place.apps()), json!({"workload": "web", "replicas": 3})).await;
    assert_eq!(scaled.0, 200);
    place.world.until("the third is placed without it", LONG, || async { one.running().len() == 1 }).await;
    let why = place.why("web").await;
    assert!(why["placed"].to_string().contains("did not answer"), "{why:#}");
    let required = json!({"external": {"url": format!("http://{address}"), "required": true}});
    place.put(&token, &place.rules(), &required).await;
    place.post(&format!("{}/web/scale", place.apps()), json!({"workload": "web", "replicas": 4})).await;
    place.waits_because("web", "waits for the space's own scheduler").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_the_quota_full_waits_if_asked_to_and_what_can_never_fit_is_refused() {
    let place = Place::with(config(), Limits { cpu_millis: 500, ..Default::default() }).await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.deploy_own("first", "{image: acme/shop/web:1, requests: {cpu_millis: 400}}").await;
    place.reaches("first", "running", 1).await;
    let mut second = own("{image: acme/shop/web:2, requests: {cpu_millis: 300}}");
    second["name"] = json!("second");
    let (status, refused) = place.post(&place.apps(), second.clone()).await;
    assert_eq!((status, &refused["code"]), (422, &json!("billing.quota_exceeded")));
    second["queue"] = json!(true);
    let (status, queued) = place.post(&place.apps(), second).await;
    assert_eq!(status, 201, "{queued:#}");
    assert!(queued["queued"].as_str().unwrap().contains("used 400"));
    place.waits_because("second", "waits for room in the quota: cpu").await;
    assert_eq!((place.app("second").await["state"].clone(), agent.running().len()), (json!("pending"), 1));
    let mut never = own("{image: acme/shop/web:2, requests: {cpu_millis: 600}}");
    (never["name"], never["queue"]) = (json!("never"), json!(true));
    let (status, refused) = place.post(&place.apps(), never).await;
    assert_eq!((status, &refused["code"]), (422, &json!("billing.quota_too_small")));
    place.post(&format!("{}/first/stop", place.apps()), json!({})).await;
    place.reaches("second", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gang_starts_whole_or_not_at_all() {
    let place = Place::new().await;
    let one = Agent::join(&place, "n1", 1000).await;
    place.deploy_own("gang", "{image: acme/shop/web:1, replicas: 3, requests: {cpu_millis: 400}, placement: {all_or_none: true}}").await;
    let why = place.waits_because("gang", "only 2 of 3 find a place").await;
    assert_eq!((one.running().len(), &why["waiting"][0]["instances"]), (0, &json!(3)), "{why:#}");
    let two = Agent::join(&place, "n2", 1000).await;
    place.reaches("gang", "running", 1).await;
    assert_eq!(one.running().len() + two.running().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_with_a_schedule_runs_at_its_time_and_not_before() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 1000).await;
    place.deploy_own("nightly", "{image: acme/shop/web:1, kind: cron_job, restart: never, requests: {cpu_millis: 100}, schedule: {cron: '* * * * *'}}").await;
    place.reaches("nightly", "running", 1).await;
    place.world.until("the minute comes", std::time::Duration::from_secs(90), || async { agent.running().len() == 1 }).await;
    let run = agent.running()[0].clone();
    agent.node.lock().unwrap().kill(&run, 0);
    place.world.until("the run has ended", LONG, || async { place.instances("nightly").await.is_empty() }).await;
    assert!(agent.running().is_empty(), "it ended well and is not started again for this minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spaces_own_expressions_choose_nodes_and_are_explained() {
    let place = Place::new().await;
    let _agents = (Agent::join(&place, "n1", 4000).await, Agent::join(&place, "n2", 4000).await);
    let token = place.operator().await;
    assert_eq!(place.put(&token, "/api/v1/nodes/n2/settings", &json!({"labels": {"disk": "ssd"}})).await.0, 200);
    let rules = |text: &str| json!({"expressions": [{"where": text}]});
    let admin = place.world.user();
    place.world.identity.grant(&format!("user:{admin}"), Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let admin = place.world.token(admin, "ann");
    let (status, problem) = place.put(&admin, &place.rules(), &rules("node.labels['disk'] == 4")).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("expressions[0].where")), "{problem}");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().starts_with("1:"), "with its place: {problem}");
    let (status, set) = place.put(&admin, &place.rules(), &rules("'disk' in node.labels && node.labels.disk == 'ssd' && node.cpu.free >= 200")).await;
    assert_eq!(status, 200, "{set}");
    place.deploy("web", &web("1", 3)).await;
    place.reaches("web", "running", 1).await;
    let instances = place.instances("web").await;
    assert!(instances.iter().all(|i| i["node"] == "n2"), "{instances:#?}");
    let (_, why) = place.get(&format!("{}/web/why", place.apps())).await;
    assert!(why["placed"][0]["chosen"]["against"].to_string().contains("node.labels.disk == 'ssd'"), "{why:#}");

    assert_eq!(place.put(&admin, &place.rules(), &rules("node.labels.gpu == 'yes'")).await.0, 200);
    place.deploy("other", &web("1", 1).replace("20080", "20081")).await;
    let why = place.waits_because("other", "there is no label `gpu`").await;
    assert!(why["waiting"][0]["remedies"].to_string().contains("change the space's rule"), "{why:#}");

    // A score alone forbids nothing.
    let score = json!({"expressions": [{"score": "node.name == 'n1' ? 1000 : 0"}]});
    assert_eq!(place.put(&admin, &place.rules(), &score).await.0, 200);
    place.reaches("other", "running", 1).await;
    assert_eq!(place.instances("other").await[0]["node"], "n1");
}
