//! From request to use, and all that can go wrong on the way.

use gantry_catalog::Catalog;
use gantry_host::Running;
use gantry_kernel::Env;
use gantry_testkit::clause;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Status;

use crate::shelf::{LONG, Shelf, config};

fn cache() -> Value {
    json!({"offering": "redis", "plan": "small", "name": "cache", "parameters": {"image": "localhost:7443/acme/shop/redis:7"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_provisioned_bound_and_deleted() {
    clause("6.4.1.2.b");
    clause("6.5.3.1.b");
    clause("6.5.3.2.c");
    let shelf = Shelf::open().await;
    let (_, offerings) = shelf.get("/api/v1/offerings").await;
    let redis = offerings["items"].as_array().expect("a list").iter().find(|o| o["name"] == "redis").expect("redis").clone();
    assert_eq!(redis["plans"][1]["parameters"]["properties"]["maxmemory_policy"]["default"], "noeviction", "{redis}");

    let (status, made) = shelf.post(&shelf.path(""), cache()).await;
    assert_eq!((status, made["state"].as_str()), (202, Some("provisioning")), "{made}");
    let bindings = shelf.path("/cache/bindings");
    assert_eq!(shelf.post(&bindings, json!({"name": "web"})).await.0, 409, "not ready yet");
    shelf.scheduler.becomes("running", "");
    shelf.until_state("cache", "ready").await;

    let deployment = shelf.scheduler.only_deployment();
    let password = deployment.values["PASSWORD"].clone();
    assert_eq!(
        (password.len(), deployment.values["IMAGE"].as_str(), deployment.values["MAXMEMORY_POLICY"].as_str()),
        (32, "localhost:7443/acme/shop/redis:7", "noeviction")
    );
    assert_eq!((deployment.subject.as_str(), deployment.app.expect("an address").app.as_str()), (format!("user:{}", shelf.editor_id).as_str(), "svc-cache"));
    assert!(!deployment.document.contains(&password), "the document goes into revisions; values do not");

    let (status, bound) = shelf.post(&bindings, json!({"name": "web"})).await;
    assert_eq!(status, 201, "{bound}");
    assert_eq!(
        bound["credentials"],
        json!({
            "host": "redis.svc-cache", "port": 6379, "password": password, "uri": format!("redis://:{password}@redis.svc-cache:6379/0"),
            "external_host": "127.0.0.1", "external_port": 20017, "external_uri": format!("redis://:{password}@127.0.0.1:20017/0"),
        })
    );
    assert_eq!(shelf.post(&bindings, json!({"name": "web"})).await.0, 409);
    assert_eq!(shelf.get(&format!("{bindings}/web")).await.1["credentials"], bound["credentials"]);
    assert_eq!(shelf.call(Method::GET, &format!("{bindings}/web"), &shelf.viewer, None).await.0, 403, "viewers see no secrets");
    let events: Vec<String> = sqlx::query_scalar("select data::text from events").fetch_all(&shelf.host.db().pool).await.expect("read");
    let (_, seen) = shelf.get(&shelf.path("/cache")).await;
    assert!(!events.concat().contains(&password) && !seen.to_string().contains(&password));
    let sealed: String = sqlx::query_scalar("select sealed from secrets").fetch_one(&shelf.host.db().pool).await.expect("read");
    assert!(!sealed.contains(&password));

    assert_eq!(shelf.call(Method::DELETE, &format!("{bindings}/web"), &shelf.editor, None).await.0, 204);
    assert_eq!(shelf.call(Method::DELETE, &format!("{bindings}/web"), &shelf.editor, None).await.0, 404);
    assert_eq!(shelf.call(Method::DELETE, &shelf.path("/cache"), &shelf.editor, None).await.0, 202);
    let path = shelf.path("/cache");
    shelf.world.until("it is gone", LONG, || async { shelf.get(&path).await.0 == 404 }).await;
    assert_eq!(*shelf.scheduler.deleted.lock().expect("unpoisoned"), ["svc-cache"]);
    let left = || async { sqlx::query_scalar::<_, i64>("select count(*) from secrets").fetch_one(&shelf.host.db().pool).await.expect("read") == 0 };
    shelf.world.until("the password is gone", LONG, left).await;
    assert_eq!(shelf.post(&shelf.path(""), cache()).await.0, 202, "the name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_credentials_again_is_on_record() {
    let shelf = Shelf::open().await;
    shelf.scheduler.becomes("running", "");
    shelf.post(&shelf.path(""), cache()).await;
    shelf.until_state("cache", "ready").await;
    shelf.post(&shelf.path("/cache/bindings"), json!({"name": "web"})).await;
    assert_eq!(shelf.get(&shelf.path("/cache/bindings/web")).await.0, 200);
    let mut stream = shelf.host.bus.sample_stream(gantry_bus::streams::AUDIT).await.expect("the stream is there");
    let count = stream.info().await.expect("known").state.messages;
    assert!(count >= 1);
    let fact = stream.get_raw_message(count).await.expect("the last one");
    let fact: Value = serde_json::from_slice(&fact.payload).expect("JSON");
    assert_eq!(
        (fact["action"].as_str(), fact["actor"].as_str()),
        (Some("service-instance.credentials-read"), Some(format!("user:{}", shelf.editor_id).as_str()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_provisioning_carries_on_and_deploys_nothing_twice() {
    let shelf = Shelf::open().await;
    let (_, made) = shelf.post(&shelf.path(""), cache()).await;
    shelf.world.until("it is being deployed", LONG, || async { shelf.scheduler.calls() == 1 }).await;
    let before = shelf.scheduler.only_deployment();
    shelf.world.running.stop().await;

    let second = Running::new(shelf.world.running.platform.clone(), Env::system()).expect("certificates are there");
    second.set_address("scheduler", shelf.scheduler.url.clone());
    let host = gantry_host::start::<Catalog>(config(), &second).await.expect("it starts again");
    shelf.world.until("it is asked for again", LONG, || async { shelf.scheduler.calls() == 2 }).await;
    shelf.scheduler.becomes("running", "");
    let id: gantry_kernel::Uuid = made["id"].as_str().expect("an id").parse().expect("a UUID");
    let ready = || async {
        sqlx::query_scalar::<_, String>("select state from instances where id = $1").bind(id).fetch_one(&host.db().pool).await.expect("read") == "ready"
    };
    shelf.world.until("it is ready", LONG, ready).await;
    let after = shelf.scheduler.only_deployment();
    assert_eq!((before.idempotency_key, before.values["PASSWORD"].as_str()), (after.idempotency_key, after.values["PASSWORD"].as_str()));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_fails_with_the_reason_and_what_may_is_tried_again() {
    let shelf = Shelf::open().await;
    shelf.scheduler.refuses(Some(Status::resource_exhausted("the quota of project allows containers = 0")));
    shelf.post(&shelf.path(""), cache()).await;
    shelf.until_state("cache", "failed").await;
    assert_eq!(shelf.get(&shelf.path("/cache")).await.1["reason"], "the quota of project allows containers = 0");

    shelf.scheduler.refuses(Some(Status::unavailable("restarting")));
    let second = json!({"offering": "redis", "plan": "small", "name": "second"});
    shelf.post(&shelf.path(""), second).await;
    let tried =
        || async { sqlx::query_scalar::<_, Option<String>>("select last_error from todos").fetch_one(&shelf.host.db().pool).await.expect("read").is_some() };
    shelf.world.until("it was tried", LONG, tried).await;
    assert_eq!(shelf.get(&shelf.path("/second")).await.1["state"], "provisioning");
    shelf.scheduler.refuses(None);
    shelf.scheduler.becomes("failed", "image not found");
    shelf.until_state("second", "failed").await;
    assert_eq!(shelf.get(&shelf.path("/second")).await.1["reason"], "image not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_the_field_and_others_see_nothing() {
    let shelf = Shelf::open().await;
    let path = shelf.path("");
    let with = |field: &str, value: Value| {
        let mut body = cache();
        body[field] = value;
        body
    };
    let bad = [
        (with("offering", json!("oracle")), "offering"),
        (with("plan", json!("huge")), "plan"),
        (with("name", json!("Not A Name")), "must"),
        (with("name", json!("n".repeat(60))), "name"),
        (with("parameters", json!({"maxmemory_policy": "x"})), "parameters.maxmemory_policy"),
        (with("parameters", json!({"image": "x; rm -rf /"})), "parameters.image"),
        (with("parameters", json!({"surprise": 1})), "parameters.surprise"),
        (with("surprise", json!(1)), "surprise"),
    ];
    for (body, field) in bad {
        let (status, problem) = shelf.post(&path, body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!(problem.to_string().contains(field), "{problem}");
    }
    assert_eq!(shelf.call(Method::POST, &path, &shelf.viewer, Some(cache())).await.0, 403);
    for method in [Method::GET, Method::POST] {
        let body = (method == Method::POST).then(cache);
        assert_eq!(shelf.call(method, &path, &shelf.stranger, body).await.0, 404);
    }
    assert_eq!(shelf.post(&path, cache()).await.0, 202);
    assert_eq!(shelf.post(&path, cache()).await.0, 409, "the name is taken");
    assert_eq!(shelf.get(&path).await.1["items"].as_array().map(Vec::len), Some(1));
    for tail in ["/cache", "/cache/bindings/x"] {
        assert_eq!(shelf.call(Method::GET, &shelf.path(tail), &shelf.stranger, None).await.0, 404);
    }
}
