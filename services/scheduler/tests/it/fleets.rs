//! Spaces on several Kubernetes clusters: what each has, what is other there, and what becomes of it when one cannot be reached
//! and when it is back, over a restart of the scheduler.

use gantry_kernel::{Role, Scope};
use gantry_testkit::kubernetes::{ApiServer, Road, Way};
use reqwest::Method;
use serde_json::{Value, json};

use crate::place::{LONG, Place, config, web};

const NAMESPACE: &str = "gantry-acme-shop-test";

/// A place, an operator, and two API servers, to the first of which the road can be closed.
struct Two {
    place: Place,
    operator: String,
    east: ApiServer,
    road: Road,
    west: ApiServer,
}

impl Two {
    async fn new(fleet: Value) -> Self {
        let place = Place::new().await;
        let operator = format!("user:{}", place.world.user());
        place.world.identity.grant(&operator, Role::Admin, Scope::Platform).await;
        place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
        place.world.identity.settle(&place.host).await;
        let (east, road) = ApiServer::on_a_road().await;
        let west = ApiServer::start().await;
        let own = Self { place, operator, east, road, west };
        for (name, server) in [("east", &own.east), ("west", &own.west)] {
            server.controllers();
            let settings = json!({ "grace_seconds": 2, "region": "eu", "zone": name });
            let body = json!({ "name": name, "access": { "kubeconfig": server.kubeconfig("good") }, "settings": settings });
            let (status, answer) = own.call(Method::POST, "/api/v1/clusters", Some(body)).await;
            assert_eq!(status, 201, "{answer}");
        }
        let (status, answer) = own.set(fleet).await;
        assert_eq!(status, 200, "{answer}");
        own
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let token = self.place.world.token_of(&self.operator);
        self.place.world.call(&self.place.host, method, path, Some(&token), body.as_ref()).await
    }

    async fn set(&self, fleet: Value) -> (u16, Value) {
        let path = self.place.apps().replace("/apps", "/clusters");
        self.place.world.call(&self.place.host, Method::PUT, &path, Some(&self.place.token), Some(&fleet)).await
    }

    async fn is(&self, state: &str) -> bool {
        self.call(Method::GET, "/api/v1/clusters/east", None).await.1["health"]["state"] == state
    }

    async fn until(&self, state: &str) {
        self.place.world.until(&format!("east is {state}"), LONG, || async { self.is(state).await }).await;
    }

    /// Available instances of the application on east and on west.
    async fn available(&self) -> (usize, usize) {
        let all = self.place.instances("shop").await;
        let on = |cluster: &str| all.iter().filter(|i| i["node"].as_str().is_some_and(|n| n.starts_with(cluster)) && i["available"] == true).count();
        (on("east--"), on("west--"))
    }

    async fn has(&self, east: usize, west: usize) {
        let there = async || self.available().await == (east, west);
        self.place.world.until(&format!("{east} run on east and {west} on west"), LONG, there).await;
    }

    /// What is asked of each for a workload; none: its object is not there.
    fn asked(&self, object: &str) -> (Option<u64>, Option<u64>) {
        let of = |server: &ApiServer| server.object(&format!("{object}/{NAMESPACE}/shop-web")).map(|o| o["spec"]["replicas"].as_u64().unwrap_or(1));
        (of(&self.east), of(&self.west))
    }

    async fn why(&self) -> Value {
        self.place.get(&format!("{}/shop/why", self.place.apps())).await.1
    }
}

fn spread() -> Value {
    json!({ "policy": "spread", "clusters": [
        { "cluster": "east" },
        { "cluster": "west", "overrides": { "env": { "SITE": "west" }, "node_selector": { "disk": "ssd" } } },
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_divided_and_a_lost_clusters_move_and_come_back_over_a_restart() {
    gantry_testkit::clause("6.2.1.k");
    gantry_testkit::clause("7.1.m");
    let two = Two::new(spread()).await;
    let body = json!({ "name": "shop", "document": web("1", 4) });
    let (status, plan) = two.place.post(&format!("{}?dry_run=true", two.place.apps()), body).await;
    assert_eq!(status / 100, 2, "{plan}");
    assert_eq!((&plan["clusters"][0]["replicas"]["web"], &plan["clusters"][1]["replicas"]["web"]), (&json!(2), &json!(2)), "{plan}");
    assert!(plan["clusters"][1]["overrides"].to_string().contains("SITE"), "{plan}");
    two.place.deploy("shop", &web("1", 4)).await;
    two.place.reaches("shop", "running", 1).await;
    two.has(2, 2).await;
    let object = |server: &ApiServer| server.object(&format!("deployments/{NAMESPACE}/shop-web")).unwrap().to_string();
    assert!(object(&two.west).contains("SITE") && object(&two.west).contains("ssd") && !object(&two.east).contains("SITE"));
    let shown = two.place.app("shop").await;
    assert_eq!(shown["clusters"][0], json!({ "cluster": "east", "workload": "web", "instances": 2, "ready": 2 }), "{shown}");

    two.road.set(Way::Refused);
    two.until("lost").await;
    two.has(0, 4).await;
    two.place.reaches("shop", "running", 1).await;
    let why = two.why().await;
    assert!(why["clusters"].to_string().contains("2 of east, which is lost"), "{why}");
    let told = two.place.host.log().read(0, 10_000).await.unwrap();
    assert_eq!(told.iter().filter(|e| e.kind == "cluster.lost").count(), 1, "once");

    // Another process decides, while the cluster is away.
    let Two { place, operator, east, road, west } = two;
    let two = Two { place: place.restarted(config()).await, operator, east, road, west };
    two.has(0, 4).await;
    assert!(two.is("lost").await);
    assert_eq!(two.asked("deployments").1, Some(4));

    two.road.set(Way::Open);
    let mut pruned = false;
    let back = async {
        loop {
            let (east, west) = two.asked("deployments");
            pruned |= east.is_none();
            let all = east.unwrap_or(0) + west.unwrap_or(0);
            assert!(!pruned || (3..=5).contains(&all), "{east:?} {west:?}: at most one fewer or more meanwhile");
            if two.available().await == (2, 2) && pruned {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(gantry_testkit::patience(LONG), back).await.expect("it comes back");
    assert!(two.is("reached").await);
    two.place.reaches("shop", "running", 1).await;
    let told = two.place.host.log().read(0, 10_000).await.unwrap();
    assert_eq!(told.iter().filter(|e| e.kind == "cluster.returned").count(), 1, "once");

    // Nothing stays behind on either.
    let path = format!("{}/shop", two.place.apps());
    assert_eq!(two.place.world.call(&two.place.host, Method::DELETE, &path, Some(&two.place.token), None).await.0 / 100, 2);
    let empty = async || two.east.lock().objects.is_empty() && two.west.lock().objects.is_empty();
    two.place.world.until("all of it is gone", LONG, empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_cluster_takes_over_and_what_keeps_data_waits_for_its_own() {
    gantry_testkit::clause("7.1.k");
    let two = Two::new(json!({ "policy": "failover", "clusters": [{ "cluster": "east" }, { "cluster": "west" }] })).await;
    let document = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  selector: {matchLabels: {app: db}}\n  template:\n    metadata: {labels: {app: db}}\n    spec:\n      containers:\n      - {name: db, image: example.org/db, volumeMounts: [{name: data, mountPath: /data}]}\n  volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: example.org/web}]}\n";
    let body = json!({ "name": "shop", "document": document, "format": "kubernetes", "reason": "it" });
    let (status, answer) = two.place.post(&two.place.apps(), body).await;
    assert_eq!(status / 100, 2, "{answer}");
    two.place.reaches("shop", "running", 1).await;
    two.has(3, 0).await;
    // It takes what is sent, and answers nothing any more.
    two.road.set(Way::Hanging);
    two.until("lost").await;
    two.has(0, 2).await;
    assert!(two.west.all("statefulsets").is_empty() && two.west.all("persistentvolumeclaims").is_empty(), "no second, empty database");
    let told = async || two.why().await["waiting"].to_string().contains("volumes do not move");
    two.place.world.until("why the database waits is told", LONG, told).await;
    assert_eq!(two.east.all("statefulsets").len(), 1, "nobody touches it");
    two.road.set(Way::Open);
    let back = async || two.available().await == (3, 0) && two.asked("deployments").1.is_none();
    two.place.world.until("all of it is on the first again", LONG * 2, back).await;
    two.place.reaches("shop", "running", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spaces_clusters_are_set_by_those_who_may_and_a_short_failure_moves_nothing() {
    let two = Two::new(spread()).await;
    let (status, refused) = two.set(json!({ "clusters": [{ "cluster": "north" }] })).await;
    assert!(status == 400 && refused.to_string().contains("north"), "{refused}");
    let (status, refused) = two.set(json!({ "clusters": [] })).await;
    assert_eq!(status, 400, "{refused}");
    let (_, shown) = two.place.get(&two.place.apps().replace("/apps", "/clusters")).await;
    assert_eq!((&shown["policy"], &shown["clusters"][0]["zone"]), (&json!("spread"), &json!("east")), "{shown}");
    two.until("reached").await;
    two.place.deploy("shop", &web("1", 3)).await;
    two.place.reaches("shop", "running", 1).await;
    two.has(2, 1).await;
    two.road.set(Way::Refused);
    two.until("unreachable").await;
    two.road.set(Way::Open);
    two.until("reached").await;
    two.has(2, 1).await;
    let told = two.place.host.log().read(0, 10_000).await.unwrap();
    assert!(told.iter().all(|e| e.kind != "cluster.lost"), "it was away for less than its time");
    // By a number for one, and away from another by its weight.
    let fleet = json!({ "clusters": [{ "cluster": "east", "weight": 0 }, { "cluster": "west" }] });
    assert_eq!(two.set(fleet).await.0, 200);
    two.has(0, 3).await;
    two.place.world.until("nothing is left on east", LONG, || async { two.asked("deployments").0.is_none() }).await;
    assert_eq!(two.set(json!({})).await.1["clusters"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_from_cluster_to_cluster_and_one_that_fails_reaches_no_other() {
    gantry_testkit::clause("6.2.1.k");
    let two = Two::new(spread()).await;
    let document = |image: &str, monitor: &str| {
        format!(
            "services:\n  web:\n    image: example.org/{image}\n    ports: ['20080:8080']\n    deploy:\n      replicas: 4\n      update_config: {{monitor: {monitor}, failure_action: rollback}}\n"
        )
    };
    // Was a Deployment ever told of the image?
    let told = |server: &ApiServer, image: &str| {
        let of = |object: &Value| object["spec"]["template"].to_string().contains(image);
        server.lock().history.iter().any(|c| c.plural == "deployments" && of(&c.object))
    };
    two.place.deploy("shop", &document("fine:1", "60s")).await;
    two.place.reaches("shop", "running", 1).await;
    two.has(2, 2).await;

    two.place.deploy("shop", &document("broken:2", "3s")).await;
    two.place.world.until("the first is told", LONG, || async { told(&two.east, "broken:2") }).await;
    two.place.reaches("shop", "running", 1).await;
    two.has(2, 2).await;
    assert!(!told(&two.west, "broken:2"), "one that fails on the first reaches no other");
    assert!(two.place.app("shop").await["reason"].as_str().unwrap().contains("revision 2: no progress"));

    // Nothing is replaced on the first for a while, and the second waits for it.
    two.east.lock().run = false;
    two.place.deploy("shop", &document("fine:3", "60s")).await;
    two.place
        .world
        .until("why the second waits is told", LONG, || async { two.why().await.to_string().contains("on west: waits until east has the release") })
        .await;
    assert!(told(&two.east, "fine:3") && !told(&two.west, "fine:3"));
    // Held, the first may go on with what it has begun, and the second does not begin.
    assert_eq!(two.place.post(&format!("{}/shop/release/pause", two.place.apps()), json!({})).await.0, 200);
    two.east.lock().run = true;
    two.east.touched();
    two.place
        .world
        .until("the second waits for the release", LONG, || async { two.why().await.to_string().contains("on west: waits until its release goes on") })
        .await;
    assert!(!told(&two.west, "fine:3"));
    assert_eq!(two.place.post(&format!("{}/shop/release/resume", two.place.apps()), json!({})).await.0, 200);
    two.place.reaches("shop", "running", 3).await;
    two.has(2, 2).await;
    assert!(told(&two.west, "fine:3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_through_its_steps_on_one_cluster_and_then_on_the_next() {
    gantry_testkit::clause("6.3.3.s");
    let two = Two::new(spread()).await;
    let document =
        |image: &str| format!("{}x-gantry:\n  release: {{strategy: canary, keep_seconds: 0, steps: [{{weight: 50, until_promoted: true}}]}}\n", web(image, 4));
    // Replicas of each revision's set.
    let sets = |server: &ApiServer| -> Vec<(String, u64)> {
        let of = |o: &Value| (o["metadata"]["name"].as_str().unwrap().to_owned(), o["spec"]["replicas"].as_u64().unwrap());
        server.all("deployments").iter().map(of).collect()
    };
    let is = |server: &ApiServer, wanted: &[(&str, u64)]| sets(server) == wanted.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    let promotion = async || {
        let app = two.place.app("shop").await;
        app["release"]["waits_for"] == "promotion" && app["release"]["step"] == 1
    };
    let verb = async |verb: &str| two.place.post(&format!("{}/shop/release/{verb}", two.place.apps()), json!({})).await.0;
    two.place.deploy("shop", &document("1")).await;
    two.place.reaches("shop", "running", 1).await;
    two.has(2, 2).await;

    two.place.deploy("shop", &document("2")).await;
    let half = async || promotion().await && is(&two.east, &[("shop-web-r1", 1), ("shop-web-r2", 1)]);
    two.place.world.until("the first waits for a word", LONG, half).await;
    assert!(is(&two.west, &[("shop-web-r1", 2)]), "{:?}", sets(&two.west));
    assert!(two.why().await.to_string().contains("on west: waits until east has the release"));
    assert_eq!(verb("promote").await, 200);
    let both = async || is(&two.east, &[("shop-web-r2", 2)]) && promotion().await && is(&two.west, &[("shop-web-r1", 1), ("shop-web-r2", 1)]);
    two.place.world.until("the first has all of it, and the second waits for a word", LONG, both).await;
    assert_eq!(verb("promote").await, 200);
    two.place.reaches("shop", "running", 2).await;
    two.has(2, 2).await;
    assert!(is(&two.west, &[("shop-web-r2", 2)]) && is(&two.east, &[("shop-web-r2", 2)]));

    // Given up on the first, it never reaches the second.
    two.place.deploy("shop", &document("3")).await;
    two.place.world.until("the first waits again", LONG, &promotion).await;
    assert_eq!(verb("abort").await, 200);
    let back = async || is(&two.east, &[("shop-web-r2", 2)]) && is(&two.west, &[("shop-web-r2", 2)]);
    two.place.world.until("the first is as before", LONG, back).await;
    two.has(2, 2).await;
    assert!(!two.west.lock().history.iter().any(|c| c.object["metadata"]["name"] == "shop-web-r3"));
}
