//! Configs and secrets that a space keeps: versions, who uses them, what reaches instances, and who may read them.

use gantry_contract::proto::scheduler::WantedInstance;
use gantry_kernel::Role;
use gantry_testkit::kubernetes::ApiServer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::neighbours::{Gate, Limits};
use crate::place::{LONG, Place, config};

impl Place {
    fn configs(&self, tail: &str) -> String {
        format!("{}{tail}", self.apps().replace("/apps", "/configs"))
    }

    async fn put_config(&self, name: &str, body: Value) -> (u16, Value) {
        self.world.call(&self.host, Method::PUT, &self.configs(&format!("/{name}")), Some(&self.token), Some(&body)).await
    }

    async fn set_secret(&self, name: &str, text: &str) {
        let (status, answer) = self.put_config(name, json!({ "secret": true, "entries": { "content": text }, "reason": "test" })).await;
        assert!(status == 200 || status == 201, "{answer}");
    }

    async fn put_matching(&self, name: &str, etag: &str, body: Value) -> u16 {
        let url = format!("{}{}", self.host.url_of(self.host.name).unwrap(), self.configs(&format!("/{name}")));
        self.world.http.put(url).bearer_auth(&self.token).header("if-match", etag).json(&body).send().await.unwrap().status().as_u16()
    }
}

/// `PASSWORD` is a variable, `/run/secrets/db` a file, of the same secret.
fn uses(image: &str) -> String {
    format!(
        "apiVersion: gantry.io/v1\nkind: Application\nmetadata: {{name: web}}\nspec:\n  configs: {{db: {{secret: true, external: db}}}}\n  workloads:\n    web:\n      image: acme/shop/web:{image}\n      \
         requests: {{cpu_millis: 100}}\n      env_sources: {{PASSWORD: db/content}}\n      files: [{{path: /run/secrets/db, source: db/content, folder: /run/secrets, mode: 256}}]\n"
    )
}

async fn deploy(place: &Place, name: &str, image: &str) -> (u16, Value) {
    place.post(&place.apps(), json!({ "name": name, "format": "gantry", "document": uses(image), "reason": "test" })).await
}

/// What the instances of a revision are given: the variable, the file, and whether it may change.
fn given(agent: &Agent, revision: u64) -> Vec<(String, String, bool)> {
    let one = |i: &WantedInstance| {
        let variable = i.env.iter().find(|e| e.name == "PASSWORD").map(|e| e.value.clone()).unwrap_or_default();
        let file = i.files.iter().find(|f| f.path == "/run/secrets/db").map(|f| (String::from_utf8_lossy(&f.content).into_owned(), f.live)).unwrap_or_default();
        (variable, file.0, file.1)
    };
    let node = agent.node.lock().unwrap();
    node.wanted.instances.iter().filter(|i| i.labels.as_ref().is_some_and(|l| l.revision == revision)).map(one).collect()
}

fn words(variable: &str, file: &str) -> Vec<(String, String, bool)> {
    vec![(variable.to_owned(), file.to_owned(), true)]
}

#[tokio::test(flavor = "multi_thread")]
async fn files_follow_a_new_version_and_variables_wait_for_a_new_revision() {
    gantry_testkit::clause("6.3.3.c");
    gantry_testkit::clause("7.4.1.j");
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    let (status, refused) = deploy(&place, "web", "1").await;
    assert!(status == 400 && refused["detail"].as_str().unwrap().contains("gantry secret set db"), "{refused}");
    place.set_secret("db", "first-hush").await;
    let (status, answer) = deploy(&place, "web", "1").await;
    assert_eq!(status, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    assert_eq!(given(&agent, 1), words("first-hush", "first-hush"));
    let running = agent.running();

    place.set_secret("db", "second-hush").await;
    place.world.until("the file has the new version", LONG, || async { given(&agent, 1) == words("first-hush", "second-hush") }).await;
    assert_eq!(agent.running(), running, "nothing was started anew");
    let (_, list) = place.get(&place.configs("?secret=true")).await;
    let used = &list["items"][0]["used_by"][0];
    assert_eq!(
        (&list["items"][0]["version"], &used["version"], &used["files_version"], &used["restart_needed"]),
        (&json!(2), &json!(1), &json!(2), &json!(true)),
        "{list}"
    );

    let (status, rolled) = place.post(&place.configs("/db/rollout"), json!({})).await;
    assert_eq!((status, &rolled["items"][0]["revision"], &rolled["items"][0]["changed"]), (200, &json!(2), &json!(true)), "{rolled}");
    assert!(rolled["items"][0]["diff"].to_string().contains("~ configs.db.pinned.version: 1 → 2"), "{rolled}");
    place.reaches("web", "running", 2).await;
    assert_eq!(given(&agent, 2), words("second-hush", "second-hush"));
    assert_eq!(place.post(&place.configs("/db/rollout"), json!({})).await.1["items"], json!([]), "all have it");

    // The revision brings its version back, in files, too.
    let (status, answer) = place.post(&format!("{}/web/rollback", place.apps()), json!({ "revision": 1 })).await;
    assert_eq!(status, 200, "{answer}");
    place.reaches("web", "running", 1).await;
    place.world.until("the first version is back", LONG, || async { given(&agent, 1) == words("first-hush", "first-hush") }).await;
    // And the content of an old version can come back as a new one.
    let (status, back) = place.post(&place.configs("/db/rollback"), json!({ "version": 1 })).await;
    assert_eq!((status, &back["version"], &back["restart_needed"]), (200, &json!(3), &json!(["web"])), "{back}");
    let (_, versions) = place.get(&place.configs("/db/versions")).await;
    let versions = versions["items"].as_array().unwrap();
    assert_eq!((versions.len(), &versions[0]["from"], &versions[0]["fingerprint"]), (3, &json!(1), &versions[2]["fingerprint"]));

    // None of it is readable anywhere but where it is needed.
    let events = place.host.log().read(0, 1000).await.unwrap();
    assert!(events.iter().all(|e| !e.data.to_string().contains("hush")), "contents are in no event");
    for path in ["", "/db", "/db/versions"] {
        assert!(!place.get(&place.configs(path)).await.1.to_string().contains("hush"), "{path}");
    }
    for path in ["/web", "/web/revisions", "/web/diff?from=1&to=2", "/web/export?format=compose", "/web/export?format=kubernetes", "/web/why"] {
        assert!(!place.get(&format!("{}{path}", place.apps())).await.1.to_string().contains("hush"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_new_version_adds_appears_in_a_folder_of_all_keys() {
    let place = Place::new().await;
    let agent = Agent::join(&place, "n1", 4000).await;
    place.set_secret("db", "first-hush").await;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  volumes: [{name: s, secret: {secretName: db}}]\n  containers:\n  - name: web\n    image: acme/shop/web:1\n    \
        volumeMounts: [{name: s, mountPath: /etc/db}]\n";
    let (status, answer) = place.post(&place.apps(), json!({ "name": "web", "format": "kubernetes", "document": pod, "reason": "test" })).await;
    assert_eq!(status, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    let files = || -> Vec<(String, String)> {
        let node = agent.node.lock().unwrap();
        let all = node.wanted.instances.iter().flat_map(|i| &i.files);
        all.map(|f| (f.path.clone(), String::from_utf8_lossy(&f.content).into_owned())).collect()
    };
    let first = ("/etc/db/content".to_owned(), "first-hush".to_owned());
    assert_eq!(files(), [first.clone()]);
    let running = agent.running();
    assert_eq!(place.put_config("db", json!({ "secret": true, "merge": true, "entries": { "user": "u" } })).await.0, 200);
    place.world.until("the new key is there", LONG, || async { files() == [first.clone(), ("/etc/db/user".to_owned(), "u".to_owned())] }).await;
    assert_eq!(agent.running(), running, "nothing was started anew");
    // A version without the first key is no obstacle to the next revision.
    assert_eq!(place.put_config("db", json!({ "secret": true, "entries": { "user": "u" } })).await.0, 200);
    let (status, rolled) = place.post(&place.configs("/db/rollout"), json!({ "apps": ["web"] })).await;
    assert_eq!((status, &rolled["items"][0]["problem"]), (200, &Value::Null), "{rolled}");
    place.reaches("web", "running", 2).await;
    place.world.until("its folder has the keys of its version", LONG, || async { files() == [("/etc/db/user".to_owned(), "u".to_owned())] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_only_with_its_own_right_and_a_reason_and_each_time_is_recorded() {
    gantry_testkit::clause("7.4.1.j");
    let place = Place::new().await;
    place.set_secret("db", "first-hush").await;
    place.set_secret("db", "second-hush").await;
    let reveal = place.configs("/db/reveal");
    let (status, refused) = place.post(&reveal, json!({ "reason": "look" })).await;
    assert!(status == 403 && refused["detail"].as_str().unwrap().contains("apps.secrets-reveal"), "an editor may set it, not read it: {refused}");
    let (admin, org) = (place.world.user(), place.space.org().id);
    place.world.identity.grant(&format!("user:{admin}"), Role::Admin, place.space.scope()).await;
    place.world.identity.settle(&place.host).await;
    let token = place.world.token(admin, "boss");
    let ask = async |body: Value| place.world.call(&place.host, Method::POST, &reveal, Some(&token), Some(&body)).await;
    assert_eq!(ask(json!({})).await.0, 400, "a reason is needed");
    assert_eq!(ask(json!({ "reason": "look", "version": 9 })).await.0, 404);
    let (status, shown) = ask(json!({ "reason": "incident 7", "version": 1 })).await;
    assert_eq!((status, &shown["entries"]["content"], &shown["version"]), (200, &json!("first-hush"), &json!(1)), "{shown}");
    let recorded = async || {
        let mut stream = place.host.bus.sample_stream(gantry_bus::streams::AUDIT).await.unwrap();
        let count = stream.info().await.unwrap().state.messages;
        for sequence in 1..=count {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let fact: Value = serde_json::from_slice(&message.payload).unwrap();
            assert!(!fact.to_string().contains("hush"), "{fact}");
            if fact["action"] == "secret.revealed" && fact["result"] == "ok" {
                assert_eq!((&fact["actor"], &fact["org"]), (&json!(format!("user:{admin}")), &json!(org)));
                let reason = fact["reason"].as_str().unwrap();
                return reason.contains("version 1 of db") && reason.contains("incident 7");
            }
        }
        false
    };
    place.world.until("who, which version and why are recorded", LONG, recorded).await;
    // A config is read by those who may set it.
    assert_eq!(place.put_config("page", json!({ "entries": { "index.html": "<p>" } })).await.0, 201);
    let (status, shown) = place.post(&place.configs("/page/reveal"), json!({})).await;
    assert_eq!((status, &shown["entries"]["index.html"]), (200, &json!("<p>")), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_is_checked_versioned_and_refused_when_somebody_was_faster() {
    let place = Place::new().await;
    let entries = |text: &str| json!({ "secret": true, "entries": { "content": text } });
    let (status, dry) = place.world.call(&place.host, Method::PUT, &place.configs("/db?dry_run=true"), Some(&place.token), Some(&entries("hush"))).await;
    assert_eq!((status, &dry["version"], &dry["diff"]), (200, &json!(1), &json!(["+ content"])), "{dry}");
    assert_eq!(place.get(&place.configs("/db")).await.0, 404, "nothing was written");
    assert_eq!(place.put_matching("db", "\"0\"", entries("hush")).await, 201, "0: not there yet");
    assert_eq!(place.put_matching("db", "\"0\"", entries("other")).await, 412);
    assert_eq!(place.put_matching("db", "\"2\"", entries("other")).await, 200);
    let (status, same) = place.put_config("db", entries("other")).await;
    assert_eq!((status, &same["changed"], &same["version"]), (200, &json!(false), &json!(2)), "the same again is no version: {same}");
    let (_, merged) = place.put_config("db", json!({ "secret": true, "merge": true, "entries": { "user": "u" }, "binary": { "key": "AAECAw==" } })).await;
    assert_eq!(merged["diff"], json!(["+ key", "+ user"]), "{merged}");
    assert_eq!(place.get(&place.configs("/db")).await.1["keys"], json!(["content", "key", "user"]));
    let (_, less) = place.put_config("db", json!({ "secret": true, "merge": true, "remove": ["key"] })).await;
    assert_eq!(less["diff"], json!(["- key"]), "{less}");
    // A config of the same name is another one; which is meant has to be said from then on.
    assert_eq!(place.put_config("db", json!({ "entries": { "a": "b" } })).await.0, 201);
    let (status, refused) = place.get(&place.configs("/db")).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (400, &json!("secret")), "{refused}");
    let keys = async |query: &str| place.get(&place.configs(query)).await.1["keys"].clone();
    assert_eq!((keys("/db?secret=true").await, keys("/db?secret=false").await), (json!(["content", "user"]), json!(["a"])));
    assert_eq!(place.get(&place.configs("")).await.1["items"].as_array().unwrap().len(), 2);
    let gone = place.world.call(&place.host, Method::DELETE, &place.configs("/db?secret=false"), Some(&place.token), None).await;
    assert_eq!(gone.0, 204, "{}", gone.1);
    assert_eq!(keys("/db").await, json!(["content", "user"]), "there is one of the name");
    for (name, body) in [
        ("no%20name", entries("x")),
        ("x", json!({ "entries": {} })),
        ("x", json!({ "entries": { "../a": "x" } })),
        ("x", json!({ "binary": { "a": "%" } })),
        ("x", json!({ "entries": { "a": "x".repeat(1 << 20) } })),
        ("x", json!({ "entries": { "a": "x" }, "reason": "r".repeat(501) })),
    ] {
        let (status, refused) = place.put_config(name, body).await;
        assert_eq!(status, 400, "{name}: {refused}");
        assert!(!refused.to_string().contains("xxxx"), "contents are in no refusal");
    }
    assert_eq!(place.put_config("full", json!({ "entries": { "a": "x".repeat((1 << 20) - 1) } })).await.0, 201, "1 MiB is allowed");
    assert_eq!(place.put_config("fixed", json!({ "entries": { "a": "1" }, "immutable": true })).await.0, 201);
    let (status, refused) = place.put_config("fixed", json!({ "entries": { "a": "2" } })).await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.config_immutable")), "{refused}");
    assert_eq!(place.put_config("fixed", json!({ "entries": { "a": "1" } })).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_not_deleted_and_what_was_deleted_is_not_gone_back_to() {
    let place = Place::new().await;
    let _agent = Agent::join(&place, "n1", 4000).await;
    place.set_secret("db", "hush").await;
    assert_eq!(deploy(&place, "web", "1").await.0, 201);
    place.reaches("web", "running", 1).await;
    let delete = async || place.world.call(&place.host, Method::DELETE, &place.configs("/db"), Some(&place.token), None).await;
    let (status, refused) = delete().await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.config_in_use")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("web (revision 1)"), "{refused}");
    let plain = "services: {web: {image: 'acme/shop/web:1'}}";
    assert_eq!(place.deploy("web", plain).await.0, 201);
    place.reaches("web", "running", 2).await;
    let free = async || delete().await.0 == 204;
    place.world.until("nothing of the old revision runs any more", LONG, free).await;
    assert_eq!(place.get(&place.configs("/db")).await.0, 404);
    let (status, refused) = place.post(&format!("{}/web/rollback", place.apps()), json!({ "revision": 1 })).await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.config_missing")), "{refused}");
    // One of the same name is another one.
    place.set_secret("db", "again").await;
    assert_eq!(place.post(&format!("{}/web/rollback", place.apps()), json!({ "revision": 1 })).await.0, 409);
    assert_eq!(deploy(&place, "web", "1").await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_deployment_and_a_deletion_at_the_same_time_one_is_refused() {
    let gate = Gate::default();
    let place = Place::with(config(), Limits { gate: Some(gate.clone()), ..Limits::default() }).await;
    let delete = async |name: &str| place.world.call(&place.host, Method::DELETE, &place.configs(&format!("/{name}")), Some(&place.token), None).await;
    // The gate is in the middle of it: the secret was looked up, and nothing is written yet.
    let slow = json!({ "name": "web", "format": "gantry", "document": uses("1").replace("cpu_millis: 100", "cpu_millis: 777"), "reason": "test" });
    place.set_secret("db", "hush").await;
    let apps = place.apps();
    let (deployed, deleted) = tokio::join!(place.post(&apps, slow.clone()), async {
        gate.entered.notified().await;
        let deleted = delete("db").await;
        gate.opened.notify_one();
        deleted
    });
    assert_eq!(deleted.0, 204, "nobody used it: {}", deleted.1);
    assert_eq!((deployed.0, &deployed.1["code"]), (409, &json!("scheduler.config_missing")), "{}", deployed.1);
    assert_eq!(place.get(&format!("{}/web", place.apps())).await.0, 404);

    // A new version meanwhile refuses nothing: the revision is tied to what it was read with.
    place.set_secret("db", "first-hush").await;
    let (deployed, ()) = tokio::join!(place.post(&apps, slow), async {
        gate.entered.notified().await;
        place.set_secret("db", "second-hush").await;
        gate.opened.notify_one();
    });
    assert_eq!(deployed.0, 201, "{}", deployed.1);
    let (status, refused) = delete("db").await;
    assert_eq!((status, &refused["code"]), (409, &json!("scheduler.config_in_use")), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("web (revision 1)"), "{refused}");

    for n in 0..12 {
        let name = format!("race{n}");
        place.set_secret(&name, "hush").await;
        let document = uses("1").replace("external: db", &format!("external: {name}")).replace("name: web}", &format!("name: {name}}}"));
        let body = json!({ "name": name, "format": "gantry", "document": document, "reason": "test" });
        let (deployed, deleted) = tokio::join!(place.post(&apps, body), delete(&name));
        match deleted.0 {
            204 => assert!(matches!(deployed.0, 400 | 409), "{}", deployed.1),
            409 => {
                assert_eq!(deployed.0, 201, "{}", deployed.1);
                assert_eq!(place.get(&place.configs(&format!("/{name}"))).await.0, 200);
            }
            other => panic!("{other}: {}", deleted.1),
        }
    }
}

/// A place whose space is on a cluster.
async fn on_a_cluster() -> (Place, ApiServer) {
    let place = Place::new().await;
    let server = ApiServer::start().await;
    server.controllers();
    place.world.identity.grant(&place.subject, Role::Admin, place.space.scope()).await;
    let token = place.operator().await;
    let body = json!({ "name": "east", "access": { "kubeconfig": server.kubeconfig("good") } });
    assert_eq!(place.world.call(&place.host, Method::POST, "/api/v1/clusters", Some(&token), Some(&body)).await.0, 201);
    let placement = place.apps().replace("/apps", "/placement");
    assert_eq!(place.world.call(&place.host, Method::PUT, &placement, Some(&place.token), Some(&json!({ "cluster": "east" }))).await.0, 200);
    (place, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_mounted_objects_change_in_place_and_variables_have_an_object_of_their_version() {
    let (place, server) = on_a_cluster().await;
    place.set_secret("db", "one").await;
    let (status, answer) = deploy(&place, "web", "1").await;
    assert_eq!(status, 201, "{answer}");
    place.reaches("web", "running", 1).await;
    // base64 of `one` and `two`.
    let (one, two) = (json!("b25l"), json!("dHdv"));
    let at = |name: &str| format!("secrets/gantry-acme-shop-test/{name}");
    let content = |name: &str| server.object(&at(name)).map(|o| o["data"]["content"].clone());
    assert_eq!((content("web-db"), content("web-db-v1")), (Some(one.clone()), Some(one.clone())));
    let deployment = || server.object("deployments/gantry-acme-shop-test/web-web").unwrap()["spec"]["template"].clone();
    let before = deployment();
    assert!(before.to_string().contains("\"web-db-v1\""), "{before}");
    assert_eq!(before["spec"]["volumes"][0]["projected"]["sources"][0]["secret"]["name"], "web-db", "{before}");
    place.set_secret("db", "two").await;
    place.world.until("the mounted object has the new version", LONG, || async { content("web-db").as_ref() == Some(&two) }).await;
    assert_eq!((content("web-db-v1"), deployment()), (Some(one), before), "no pod is started anew");
    let (_, rolled) = place.post(&place.configs("/db/rollout"), json!({})).await;
    assert_eq!(rolled["items"][0]["changed"], true, "{rolled}");
    place.reaches("web", "running", 2).await;
    assert!(deployment().to_string().contains("\"web-db-v2\""));
    place
        .world
        .until("the old version's object is gone", LONG, || async { content("web-db-v1").is_none() && content("web-db-v2").as_ref() == Some(&two) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_reaches_both_sets_of_a_canary_and_replaces_no_pod_of_either() {
    let (place, server) = on_a_cluster().await;
    place.set_secret("db", "one").await;
    let canary = |image: &str| uses(image).replacen("spec:\n", "spec:\n  release: {strategy: canary, steps: [{weight: 50, until_promoted: true}]}\n", 1);
    let deploy = async |image: &str| {
        let body = json!({ "name": "web", "format": "gantry", "document": canary(image), "reason": "test" });
        let (status, answer) = place.post(&place.apps(), body).await;
        assert_eq!(status / 100, 2, "{answer}");
    };
    deploy("1").await;
    place.reaches("web", "running", 1).await;
    deploy("2").await;
    let waits = async || {
        let app = place.app("web").await;
        app["release"]["waits_for"] == "promotion" && app["release"]["step"] == 1
    };
    place.world.until("two sets stand beside each other", LONG, waits).await;
    // base64 of `one` and `two`.
    let (one, two) = (json!("b25l"), json!("dHdv"));
    let content = |name: &str| server.object(&format!("secrets/gantry-acme-shop-test/{name}")).map(|o| o["data"]["content"].clone());
    let template = |set: &str| server.object(&format!("deployments/gantry-acme-shop-test/{set}")).unwrap()["spec"]["template"].clone();
    let before = (template("web-web-r1"), template("web-web-r2"));
    assert_eq!((content("web-db-r1"), content("web-db-r2")), (Some(one.clone()), Some(one.clone())));
    place.set_secret("db", "two").await;
    let both = || async { content("web-db-r1").as_ref() == Some(&two) && content("web-db-r2").as_ref() == Some(&two) };
    place.world.until("files of both have the new version", LONG, both).await;
    assert_eq!((content("web-db-v1-r1"), content("web-db-v1-r2")), (Some(one.clone()), Some(one)), "variables wait for a new revision");
    assert_eq!((template("web-web-r1"), template("web-web-r2")), before, "no pod is started anew");
    let (status, answer) = place.post(&format!("{}/web/release/promote", place.apps()), json!({ "full": true })).await;
    assert_eq!(status, 200, "{answer}");
    place.reaches("web", "running", 2).await;
    place.world.until("the old set's objects are gone", LONG, || async { content("web-db-r1").is_none() && content("web-db-v1-r1").is_none() }).await;
    assert_eq!(content("web-db-r2"), Some(two));
}
