//! Retention: what a simulation says is what a run does; signatures and parts of an index go along; pulls count.

use gantry_kernel::Role;
use gantry_registry::Config;
use gantry_registry::app::retention::Left;
use http::Method;
use serde_json::{Value, json};

use crate::image::{Image, descriptor};
use crate::stage::Stage;

const REPO: &str = "acme/shop/web";
const BASE: &str = "/api/v1/orgs/acme/projects/shop/registry";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_removes_what_the_simulation_said_with_all_that_only_it_needed() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let vic = stage.user("vic", Some((Role::Viewer, stage.shop.scope()))).await;
    let eve = stage.user("eve", None).await;
    let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
    let call = |method: Method, path: &'static str, token: String, body: Option<Value>| {
        let stage = &stage;
        async move { stage.world.call(&stage.host, method, &format!("{BASE}/{path}"), Some(&token), body.as_ref()).await }
    };
    let mut digests = Vec::new();
    for tag in ["v1", "v2", "v3"] {
        digests.push(Image::simple(&format!("retained {tag}")).push(&stage, REPO, tag, &token).await);
    }
    // An index with a child of its own, and a signature of v1 in cosign's form.
    let child = Image::simple("child of old");
    let child_digest = child.push(&stage, REPO, "x", &token).await;
    let path = format!("/v2/{REPO}/manifests/x");
    assert_eq!(stage.request(Method::DELETE, &path, &token).send().await.unwrap().status(), 202);
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", child.manifest.to_string().as_bytes())] });
    assert_eq!(stage.push(REPO, "old-multi", &token, &index).await.status(), 201);
    let signature = format!("{}.sig", digests[0].replace(':', "-"));
    let about = Image::simple("about v1").push(&stage, REPO, &signature, &token).await;
    Image::simple("other").push(&stage, "acme/shop/db", "only", &stage.full(ada, "acme/shop/db")).await;
    // v1 is pulled, v2 is not.
    let rules = json!({ "rules": [{ "repositories": "web", "tags": "v*", "keep": { "newest": 1 } }] });
    let (status, plan) = call(Method::POST, "retention/simulate", stage.world.token(vic, "vic"), Some(rules.clone())).await;
    assert_eq!((status, &plan["kept"], &plan["removed"]), (200, &json!(2), &json!(3)), "{plan}");
    assert_eq!(call(Method::POST, "retention/simulate", stage.world.token(eve, "eve"), Some(rules.clone())).await.0, 404);
    let bad = json!({ "rules": [{ "keep": { "newest": 0 } }] });
    assert_eq!(call(Method::POST, "retention/simulate", access.clone(), Some(bad)).await.1["errors"][0]["field"], "rules[0].keep");
    assert_eq!(call(Method::PUT, "retention", access.clone(), Some(rules)).await.0, 200);
    assert_eq!(call(Method::POST, "retention/run", stage.world.token(vic, "vic"), None).await.0, 403);
    let (status, done) = call(Method::POST, "retention/run", access.clone(), None).await;
    assert_eq!((status, &done), (200, &plan), "the run does what was said");
    let there = |reference: String| {
        let request = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{reference}"), &token);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    for gone in ["v1".to_owned(), "v2".to_owned(), "old-multi".to_owned(), digests[0].clone(), digests[1].clone(), child_digest, signature, about] {
        assert_eq!(there(gone.clone()).await, 404, "{gone}");
    }
    assert_eq!((there("v3".into()).await, there(digests[2].clone()).await), (200, 200));
    let (_, again) = call(Method::POST, "retention/run", access, None).await;
    assert_eq!((&again["kept"], &again["removed"]), (&json!(2), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_was_pulled_when_one_of_its_images_was() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
    let child = Image::simple("child that runs");
    let digest = child.push(&stage, REPO, "x", &token).await;
    assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/x"), &token).send().await.unwrap().status(), 202);
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", child.manifest.to_string().as_bytes())] });
    assert_eq!(stage.push(REPO, "multi", &token, &index).await.status(), 201);
    let aged = "update tags set moved_at = moved_at - interval '30 days' where repository = $1";
    sqlx::query(aged).bind(REPO).execute(&stage.host.db().pool).await.unwrap();
    let rules = json!({ "rules": [{ "keep": { "pulled_within_days": 7 } }] });
    let kept = || async {
        let (status, plan) = stage.world.call(&stage.host, Method::POST, &format!("{BASE}/retention/simulate"), Some(&access), Some(&rules)).await;
        assert_eq!(status, 200, "{plan}");
        plan["kept"].clone()
    };
    assert_eq!(kept().await, 0);
    // Nodes that know the digest ask for it alone.
    assert_eq!(stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &token).send().await.unwrap().status(), 200);
    assert_eq!(kept().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_that_nothing_names_go_when_they_were_not_used_and_not_before() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
    let call = |method: Method, path: &'static str, body: Option<Value>| {
        let (stage, access) = (&stage, &access);
        async move { stage.world.call(&stage.host, method, &format!("{BASE}/{path}"), Some(access), body.as_ref()).await }
    };
    let child = Image::simple("child of an index");
    // Three that lose their tag, and one that an index lists.
    let mut old = Vec::new();
    for text in ["one", "two", "three"] {
        old.push(Image::simple(text).push(&stage, REPO, "latest", &token).await);
    }
    let newest = Image::simple("newest").push(&stage, REPO, "latest", &token).await;
    let listed = child.push(&stage, REPO, "child", &token).await;
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", child.manifest.to_string().as_bytes())] });
    assert_eq!(stage.push(REPO, "multi", &token, &index).await.status(), 201);
    assert_eq!(stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/child"), &token).send().await.unwrap().status(), 202);
    let week = json!({ "rules": [], "untagged_days": 7 });
    let removed = |plan: &Value| -> Vec<String> {
        let gone = plan["tags"].as_array().unwrap().iter().filter(|v| v["keep"] == false);
        gone.map(|v| v["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (status, plan) = call(Method::POST, "retention/simulate", Some(week.clone())).await;
    assert_eq!((status, removed(&plan).len()), (200, 0), "{plan}");

    // A month later the second was pulled yesterday, and the third lost its tag three days ago.
    let pool = &stage.host.db().pool;
    for sql in [
        "update manifests set pushed_at = pushed_at - interval '30 days' where repository = $1",
        "update tag_history set at = at - interval '30 days' where repository = $1",
    ] {
        sqlx::query(sql).bind(REPO).execute(pool).await.unwrap();
    }
    let pulled = "insert into pulls (repository, digest, last, pulls) values ($1, $2, now() - interval '1 day', 1)
        on conflict (repository, digest) do update set last = excluded.last";
    sqlx::query(pulled).bind(REPO).bind(&old[1]).execute(pool).await.unwrap();
    let lost = "update tag_history set at = now() - interval '3 days' where repository = $1 and previous = $2";
    sqlx::query(lost).bind(REPO).bind(&old[2]).execute(pool).await.unwrap();
    let (_, plan) = call(Method::POST, "retention/simulate", Some(week.clone())).await;
    assert_eq!(removed(&plan), [old[0].clone()], "{plan}");
    assert_eq!(call(Method::PUT, "retention", Some(week)).await.0, 200);
    let (status, done) = call(Method::POST, "retention/run", None).await;
    assert_eq!((status, removed(&done)), (200, vec![old[0].clone()]), "{done}");
    for (digest, status) in [(&old[0], 404_u16), (&old[1], 200), (&old[2], 200), (&newest, 200), (&listed, 200)] {
        let there = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &token).send().await.unwrap();
        assert_eq!(there.status(), status, "{digest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pulled_lately_stays_and_the_schedule_is_kept_by_one() {
    use gantry_registry::{Config, flows, store::pulls};
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let (access, token) = (stage.world.token(ada, "ada"), stage.full(ada, REPO));
    let digest = Image::simple("pulled").push(&stage, REPO, "v1", &token).await;
    let get = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &token);
    assert_eq!(get.send().await.unwrap().status(), 200);
    let db = &stage.host.db().orm;
    let names = [REPO.to_owned()];
    let seen = || async { pulls::of(db, &names).await.unwrap().into_iter().any(|p| p.digest == digest && p.pulls == 1) };
    stage.world.until("the pull is written down", std::time::Duration::from_secs(15), seen).await;
    let app = stage.beside(Config::default());
    assert_eq!(flows::retention::round(&app).await.unwrap(), 0, "nothing is due");
    let rules = json!({ "rules": [{ "keep": { "pulled_within_days": 1 } }], "every_hours": 1 });
    let put = stage.world.call(&stage.host, Method::PUT, &format!("{BASE}/retention"), Some(&access), Some(&rules)).await;
    assert_eq!(put.0, 200);
    let (one, other) = tokio::join!(flows::retention::round(&app), flows::retention::round(&app));
    assert_eq!(one.unwrap() + other.unwrap(), 1, "by one of two, once");
    assert_eq!(flows::retention::round(&app).await.unwrap(), 0, "not again before the hour is over");
    let again = stage.request(Method::GET, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap();
    assert_eq!(again.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_run_has_left_goes_and_what_was_pushed_since_stays() {
    let stage = Stage::new().await;
    let ada = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(ada, REPO);
    let digest = Image::simple("left").push(&stage, REPO, "v1", &token).await;
    let gone = stage.request(Method::DELETE, &format!("/v2/{REPO}/manifests/v1"), &token).send().await.unwrap();
    assert_eq!(gone.status(), 202);
    let app = stage.beside(Config::default());
    let left = |since: i64| Left { images: vec![(REPO.into(), digest.clone()), ("acme/gone/web".into(), digest.clone())], since };
    let there = || async { stage.request(Method::GET, &format!("/v2/{REPO}/manifests/{digest}"), &token).send().await.unwrap().status().as_u16() };
    let now = stage.host.env.now().unix_timestamp();
    app.delete_left(&left(now - 3600)).await.unwrap();
    assert_eq!(there().await, 200, "pushed since");
    for _ in 0..2 {
        app.delete_left(&left(now + 3600)).await.unwrap();
        assert_eq!(there().await, 404);
    }
}
