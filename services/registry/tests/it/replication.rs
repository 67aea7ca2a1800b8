//! Replication to and from Debian's docker-registry and a second Gantry registry.

use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::app::App;
use gantry_registry::app::replicate::new_run;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::store::replications;
use gantry_registry::{Config, flows};
use http::Method;
use serde_json::{Value, json};

use crate::cached::{index, sign};
use crate::image::{Image, layer};
use crate::peer::{Front, Mood, Peer};
use crate::stage::Stage;

const BASE: &str = "/api/v1/orgs/acme/projects/shop/registry";
const REPO: &str = "acme/shop/web";
const LONG: Duration = Duration::from_secs(60);

/// A project with an administrator, and `target` as what it replicates with.
struct Replicated {
    stage: Stage,
    ada: gantry_kernel::UserId,
    access: String,
    token: String,
}

impl Replicated {
    async fn with(endpoint: Value, password: Option<&str>) -> Self {
        let stage = Stage::with(Config { private_targets: true, ..Config::default() }).await;
        let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
        let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
        let it = Self { stage, ada, access, token };
        assert_eq!(it.call(Method::PUT, "targets/peer", Some(json!({ "endpoint": endpoint, "password": password }))).await.0, 200);
        it
    }

    async fn to(url: &str) -> Self {
        Self::with(json!({ "url": url, "allow_private": true }), None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.stage.world.call(&self.stage.host, method, &format!("{BASE}/{path}"), Some(&self.access), body.as_ref()).await
    }

    async fn rule(&self, name: &str, more: Value) {
        let mut body = json!({ "direction": "push", "target": "peer" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, answer) = self.call(Method::PUT, &format!("replications/{name}"), Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Begins a run and waits for its end.
    async fn run(&self, name: &str, dry_run: bool) -> Value {
        let (status, run) = self.call(Method::POST, &format!("replications/{name}/runs"), Some(json!({ "dry_run": dry_run }))).await;
        assert_eq!(status, 202, "{run}");
        self.over(run["id"].as_str().unwrap()).await
    }

    async fn over(&self, id: &str) -> Value {
        let path = format!("replication-runs/{id}");
        let over = || async { self.call(Method::GET, &path, None).await.1["finished_at"].is_string() };
        self.stage.world.until("the run is over", LONG, over).await;
        let mut run = self.call(Method::GET, &path, None).await.1;
        run["items"] = self.call(Method::GET, &format!("{path}/items"), None).await.1["items"].clone();
        run
    }

    fn app(&self) -> App {
        self.stage.beside(Config::default())
    }
}

fn image(text: &str, architecture: &str) -> Image {
    Image::of(vec![layer(&[("same", b"for all of them")]), layer(&[("text", text.as_bytes())])], architecture)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_a_run_does_and_a_second_run_finds_nothing_to_do() {
    let Some(peer) = Peer::start(true) else { return };
    let it = Replicated::with(json!({ "url": peer.url(), "allow_private": true, "username": "ada" }), Some("secret")).await;
    let (amd, arm) = (image("amd", "amd64"), image("arm", "arm64"));
    for (one, tag) in [(&amd, "v1"), (&arm, "v2")] {
        one.push(&it.stage, REPO, tag, &it.token).await;
    }
    assert_eq!(it.stage.push(REPO, "v3", &it.token, &index(&[(&amd, "amd64"), (&arm, "arm64")])).await.status(), 201);
    image("gone later", "amd64").push(&it.stage, REPO, "v4", &it.token).await;
    let other = it.stage.full(it.ada, "acme/shop/web/api");
    amd.push(&it.stage, "acme/shop/web/api", "v1", &other).await;
    amd.push(&it.stage, REPO, "latest", &it.token).await;
    let signature = sign(&it.stage, REPO, &it.token, &amd).await;
    let cosign = format!("{}.sig", amd.digest().replace(':', "-"));
    let by_tag = image("a signature", "amd64").push(&it.stage, REPO, &cosign, &it.token).await;
    it.rule("away", json!({ "repositories": "web*", "tags": "v*", "remote_prefix": "backup", "deletions": true })).await;

    let plan = it.run("away", true).await;
    assert_eq!((&plan["state"], &plan["waiting"], &plan["done"]), (&json!("done"), &json!(5), &json!(0)), "{plan}");
    assert_eq!(peer.head("backup/web", "v1").await.0, 404, "a dry run changes nothing");
    let run = it.run("away", false).await;
    assert_eq!((&run["state"], &run["done"], &run["failed"]), (&json!("done"), &json!(5), &json!(0)), "{run}");
    let named = |items: &Value| items.as_array().unwrap().iter().map(|i| format!("{} {} {}", i["repository"], i["tag"], i["action"])).collect::<Vec<_>>();
    assert_eq!(named(&run["items"]), named(&plan["items"]));
    assert_eq!(peer.head("backup/web", "v1").await, (200, amd.digest()));
    assert_eq!(peer.head("backup/web/api", "v1").await, (200, amd.digest()));
    assert_eq!(peer.head("backup/web", "latest").await.0, 404, "not of these tags");
    let multi = peer.request(Method::GET, "/v2/backup/web/manifests/v3").send().await.unwrap();
    assert_eq!(multi.text().await.unwrap(), index(&[(&amd, "amd64"), (&arm, "arm64")]).to_string(), "byte for byte");
    // The second repository's layers were mounted.
    let api = run["items"].as_array().unwrap().iter().find(|i| i["repository"] == "web/api").unwrap();
    assert_eq!((&api["blobs"], &api["blobs_there"], &api["bytes"]), (&json!(0), &json!(3), &json!(0)), "{api}");
    // Both forms of signatures are there; this registry has no referrers API, so there is a list under a tag.
    assert_eq!(peer.head("backup/web", &cosign).await, (200, by_tag));
    let list: Value =
        peer.request(Method::GET, &format!("/v2/backup/web/manifests/{}", amd.digest().replace(':', "-"))).send().await.unwrap().json().await.unwrap();
    assert_eq!(list["manifests"][0]["digest"], Digest::of(Algorithm::Sha256, signature.to_string().as_bytes()).as_str());
    assert_eq!(list["manifests"][0]["artifactType"], "application/example.signature");

    let again = it.run("away", false).await;
    assert_eq!((&again["same"], &again["done"], &again["items"]), (&json!(5), &json!(0), &json!([])), "{again}");
    // What goes here goes there; docker-registry deletes by digest only.
    let delete = |tag: &str| it.stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/{tag}"), &it.token).send();
    assert_eq!(delete("v4").await.unwrap().status(), 202);
    let run = it.run("away", false).await;
    assert_eq!((&run["items"][0]["action"], &run["items"][0]["state"]), (&json!("delete"), &json!("done")), "{run}");
    assert_eq!(peer.head("backup/web", "v4").await.0, 404);
    // v3 is an index that lists what v2 is: taking that away would break it.
    assert_eq!(delete("v2").await.unwrap().status(), 202);
    let run = it.run("away", false).await;
    assert_eq!((&run["state"], &run["failed"]), (&json!("failed"), &json!(1)), "{run}");
    assert!(run["items"][0]["error"].as_str().unwrap().contains("`v3`"), "{run}");
    assert_eq!(peer.head("backup/web", "v2").await, (200, arm.digest()));
    let (_, settings) = it.call(Method::GET, "settings", None).await;
    assert!(!settings.to_string().contains("secret"), "{settings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_with_filters_from_another_gantry_carry_signatures() {
    let there = Stage::new().await;
    let bob = there.user("bob", Some((Role::Admin, there.shop.scope()))).await;
    let token = there.full(bob, "acme/shop/base");
    let labelled = |team: &str, architecture: &str| {
        let mut one = image(team, architecture);
        one.manifest["annotations"] = json!({ "team": team });
        one
    };
    let (wanted, wrong_team, wrong_machine) = (labelled("shop", "arm64"), labelled("other", "arm64"), labelled("shop", "amd64"));
    for (one, tag) in [(&wanted, "v1"), (&wrong_team, "v2"), (&wrong_machine, "v3")] {
        one.push(&there, "acme/shop/base", tag, &token).await;
    }
    sign(&there, "acme/shop/base", &token, &wanted).await;
    let ca = std::fs::read_to_string(there.world.home.path().join("ca/ca.pem")).unwrap();
    let endpoint = json!({ "url": format!("https://{}", there.registry), "allow_private": true, "username": "bob", "ca_pem": ca });
    let it = Replicated::with(endpoint, Some("secret")).await;
    assert_eq!(it.call(Method::POST, "targets/peer/test", None).await.1["ok"], true);
    let rule = json!({ "direction": "pull", "repositories": "base", "remote_prefix": "acme/shop", "local_prefix": "mirror",
        "labels": ["team=shop"], "platforms": ["linux/arm64"], "deletions": true });
    it.rule("home", rule).await;
    let run = it.run("home", false).await;
    assert_eq!((&run["state"], &run["done"]), (&json!("done"), &json!(1)), "{run}");
    assert!(run["bytes"].as_u64().unwrap() > 100, "{run}");
    let mine = it.stage.full(it.ada, "acme/shop/mirror/base");
    let get = |rest: String| it.stage.request(Method::GET, &format!("/v2/acme/shop/mirror/base/{rest}"), &mine).send();
    let answer = get("manifests/v1".into()).await.unwrap();
    assert_eq!(answer.headers()["docker-content-digest"], wanted.digest().as_str());
    assert_eq!(get("manifests/v2".into()).await.unwrap().status(), 404);
    let listed: Value = get(format!("referrers/{}", wanted.digest())).await.unwrap().json().await.unwrap();
    assert_eq!(listed["manifests"][0]["artifactType"], "application/example.signature", "{listed}");
    // A tag that is only here goes with the next run; one that points elsewhere is left alone when told so.
    image("only here", "arm64").push(&it.stage, "acme/shop/mirror/base", "v9", &mine).await;
    image("moved here", "arm64").push(&it.stage, "acme/shop/mirror/base", "v1", &mine).await;
    it.rule(
        "home",
        json!({ "direction": "pull", "repositories": "base", "remote_prefix": "acme/shop", "local_prefix": "mirror", "tags": "v{1,9}",
        "overwrite": false, "deletions": true }),
    )
    .await;
    let run = it.run("home", false).await;
    assert_eq!((&run["done"], &run["skipped"]), (&json!(1), &json!(1)), "{run}");
    assert_eq!(get("manifests/v9".into()).await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_tag_is_replicated_at_once_and_a_deleted_one_goes() {
    let Some(peer) = Peer::start(false) else { return };
    let it = Replicated::to(&peer.url()).await;
    it.rule("live", json!({ "on_event": true, "deletions": true, "tags": "v*" })).await;
    let one = image("live", "amd64");
    one.push(&it.stage, REPO, "v1", &it.token).await;
    image("not this one", "amd64").push(&it.stage, REPO, "x1", &it.token).await;
    let there = || async { peer.head("web", "v1").await == (200, one.digest()) };
    it.stage.world.until("the tag is there", LONG, there).await;
    assert_eq!(peer.head("web", "x1").await.0, 404);
    let gone = it.stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/v1"), &it.token).send().await.unwrap();
    assert_eq!(gone.status(), 202);
    let gone = || async { peer.head("web", "v1").await.0 == 404 };
    it.stage.world.until("the tag is gone there", LONG, gone).await;
    let (_, runs) = it.call(Method::GET, "replications/live/runs?limit=1", None).await;
    assert_eq!(runs["items"][0]["cause"], "event", "{runs}");
    let (_, older) = it.call(Method::GET, &format!("replications/live/runs?cursor={}", runs["next"].as_str().unwrap()), None).await;
    assert_eq!(older["items"].as_array().unwrap().len(), 1, "one run for each event: {older}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_lead_in_circles_are_sent_once() {
    let Some(peer) = Peer::start(false) else { return };
    let it = Replicated::to(&peer.url()).await;
    it.rule("all", json!({})).await;
    let one = image("a circle", "amd64");
    let digest = one.push(&it.stage, REPO, "v1", &it.token).await;
    // Whoever may push may give any image the name of a signature, also that of its own.
    let signature = format!("{}.sig", digest.replace(':', "-"));
    assert_eq!(it.stage.push(REPO, &signature, &it.token, &one.manifest).await.status(), 201);
    let run = it.run("all", false).await;
    assert_eq!((&run["done"], &run["failed"]), (&json!(1), &json!(0)), "{run}");
    assert_eq!((peer.head("web", "v1").await, peer.head("web", &signature).await), ((200, one.digest()), (200, one.digest())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_killed_goes_on_and_what_is_there_is_not_sent_again() {
    let Some(peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let it = Replicated::to(&front.url).await;
    for n in 0..6 {
        image(&format!("killed {n}"), "amd64").push(&it.stage, REPO, &format!("v{n}"), &it.token).await;
    }
    it.rule("away", json!({ "bytes_per_second": 1024 })).await;
    let app = it.app();
    let rule = app.settings(it.stage.shop.id).await.unwrap().replications["away"].clone();
    // Nobody else works on this one: it is on no list of work.
    let run = new_run(it.stage.host.uuid(), (it.stage.org.id, it.stage.shop.id), &rule, "hand", false, "user:test", it.stage.world.running.env.now());
    let db = &it.stage.host.db().orm;
    assert!(replications::begin(db, &run).await.unwrap());
    assert_eq!(it.call(Method::POST, "replications/away/runs", None).await.0, 409, "one at a time");
    let (worker, id) = (app.clone(), run.id);
    let work = tokio::spawn(async move { worker.replicate(id).await });
    let some = || async { replications::counts(db, id).await.unwrap().done >= 2 };
    it.stage.world.until("two tags are there", LONG, some).await;
    work.abort();
    let _ = work.await;
    let before = replications::counts(db, id).await.unwrap();
    assert!(before.done < 6, "{before:?}");
    let puts = |n: usize| front.seen(&format!("PUT /v2/web/manifests/v{n}"));
    it.app().replicate(id).await.unwrap();
    let after = it.over(&id.to_string()).await;
    assert_eq!((&after["state"], &after["done"]), (&json!("done"), &json!(6)), "{after}");
    // The one that was under way may have been there without anybody having written that down.
    assert!((0..6).map(puts).sum::<usize>() <= 7, "{:?}", (0..6).map(puts).collect::<Vec<_>>());
    let shared = blob_of(&image("x", "amd64"), 0);
    assert_eq!(front.seen(&format!("digest={}", shared.replace(':', "%3A"))), 1, "the common layer was sent once");
}

fn blob_of(image: &Image, layer: usize) -> String {
    image.manifest["layers"][layer]["digest"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_busy_is_tried_again_and_one_that_refuses_is_reported() {
    let Some(peer) = Peer::start(false) else { return };
    let front = Front::before(&peer).await;
    let it = Replicated::to(&front.url).await;
    image("busy", "amd64").push(&it.stage, REPO, "v1", &it.token).await;
    it.rule("away", json!({})).await;
    front.feels(Mood::Busy);
    let (_, run) = it.call(Method::POST, "replications/away/runs", None).await;
    let id = run["id"].as_str().unwrap().to_owned();
    let path = format!("replication-runs/{id}");
    let tried = || async { it.call(Method::GET, &path, None).await.1["error"].as_str().is_some_and(|e| e.contains("wait")) };
    it.stage.world.until("it was tried", LONG, tried).await;
    front.feels(Mood::Well);
    assert_eq!(it.over(&id).await["state"], "done");
    // A run can be cancelled, and then begun anew.
    front.feels(Mood::Busy);
    image("busy again", "amd64").push(&it.stage, REPO, "v2", &it.token).await;
    let (_, run) = it.call(Method::POST, "replications/away/runs", None).await;
    let (status, cancelled) = it.call(Method::POST, &format!("replication-runs/{}/cancel", run["id"].as_str().unwrap()), None).await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    assert_eq!(it.call(Method::POST, &format!("replication-runs/{}/cancel", run["id"].as_str().unwrap()), None).await.0, 409);
    // Others see, and change nothing.
    let vic = it.stage.user("vic", Some((Role::Viewer, it.stage.shop.scope()))).await;
    let eve = it.stage.user("eve", None).await;
    for (user, read, write) in [(vic, 200, 403), (eve, 404, 404)] {
        let token = it.stage.world.token(user, "x");
        let ask = |method: Method, path: &'static str, body: Option<Value>| {
            let (stage, token) = (&it.stage, token.clone());
            async move { stage.world.call(&stage.host, method, &format!("{BASE}/{path}"), Some(&token), body.as_ref()).await.0 }
        };
        assert_eq!(ask(Method::GET, "replications/away/runs", None).await, read);
        assert_eq!(ask(Method::GET, "targets", None).await, read);
        assert_eq!(ask(Method::POST, "replications/away/runs", Some(json!({}))).await, write);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_begins_one_run_whoever_looks() {
    let Some(peer) = Peer::start(false) else { return };
    let it = Replicated::to(&peer.url()).await;
    image("by time", "amd64").push(&it.stage, REPO, "v1", &it.token).await;
    it.rule("nightly", json!({ "schedule": "* * * * *" })).await;
    let (one, two) = (it.app(), it.app());
    assert_eq!(flows::replication::round(&one).await.unwrap(), 0, "first seen now, due within a minute");
    let sql = "update replication_schedules set looked_at = now() - interval '5 minutes'";
    sqlx::query(sql).execute(&it.stage.host.db().pool).await.unwrap();
    let (a, b) = tokio::join!(flows::replication::round(&one), flows::replication::round(&two));
    // The service's own look may have been the one.
    assert!(a.unwrap() + b.unwrap() <= 1);
    let there = || async { peer.head("web", "v1").await.0 == 200 };
    it.stage.world.until("the tag is there", LONG, there).await;
    let (_, runs) = it.call(Method::GET, "replications/nightly/runs", None).await;
    assert_eq!(runs["items"][0]["cause"], "schedule", "{runs}");
    let bad = json!({ "direction": "push", "target": "peer", "schedule": "61 * * * *" });
    assert_eq!(it.call(Method::PUT, "replications/bad", Some(bad)).await.1["errors"][0]["field"], "schedule");
    assert_eq!(it.call(Method::DELETE, "targets/peer", None).await.1["code"], "registry.target_in_use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_was_not_written_to_its_end_leaves_nothing_in_the_next_one() {
    let stage = Stage::new().await;
    let rule: gantry_contract::registry::flow::Replication = serde_json::from_value(json!({ "name": "away", "direction": "push", "target": "peer" })).unwrap();
    let id = stage.host.env.uuid();
    let run = new_run(id, (stage.org.id, stage.shop.id), &rule, "hand", false, "user:test", stage.host.env.now());
    let db = stage.host.db();
    assert!(replications::begin(&db.orm, &run).await.unwrap());
    let left = "insert into replication_items (run, number, repository, other, tag, action, state) values ($1, 0, 'web', 'web', 'v1', 'delete', 'waiting')";
    sqlx::query(left).bind(id).execute(&db.pool).await.unwrap();
    replications::planned(&db.orm, id, &[], 3).await.unwrap();
    assert!(replications::items(&db.orm, id, None, -1, 10).await.unwrap().is_empty(), "what the source has by now is not deleted");
    let run = replications::find(&db.orm, None, id).await.unwrap().unwrap();
    assert_eq!((run.planned, run.same), (true, 3));
}
