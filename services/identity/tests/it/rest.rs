//! Organisations, projects, spaces, rights and users over REST.

use std::time::Duration;

use gantry_kernel::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Suite};

async fn post(suite: &Suite, token: &str, path: &str, body: Value) -> (u16, Value) {
    suite.json(Method::POST, path, Some(token), Some(body)).await
}

async fn get(suite: &Suite, token: &str, path: &str) -> (u16, Value) {
    suite.json(Method::GET, path, Some(token), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_makes_an_organisation_with_project_and_space_and_reads_them_at_once() {
    gantry_testkit::clause("6.5.1.2.a");
    gantry_testkit::clause("6.5.2.1.a");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    let (status, org) = post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme", "display_name": "Acme" })).await;
    assert_eq!((status, org["role"].as_str()), (201, Some("admin")), "{org}");
    assert_eq!(post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 409);
    assert_eq!(post(&suite, &ada, "/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await.0, 201);
    let (status, space) = post(&suite, &ada, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await;
    assert_eq!((status, space["project"].as_str()), (201, Some("shop")), "{space}");
    assert_eq!(get(&suite, &ada, "/api/v1/orgs").await.1["items"][0]["name"], "acme");
    assert_eq!(get(&suite, &ada, "/api/v1/orgs/acme/projects").await.1["items"][0]["name"], "shop");
    assert_eq!(get(&suite, &ada, "/api/v1/orgs/acme/projects/shop/spaces").await.1["items"][0]["name"], "test");
    assert_eq!(suite.json(Method::DELETE, "/api/v1/orgs/acme/projects/shop/spaces/test", Some(&ada), None).await.0, 204);
    let (status, refused) = suite.json(Method::DELETE, "/api/v1/orgs/acme", Some(&ada), None).await;
    assert!(status == 400 && refused["detail"].as_str().unwrap().contains("1 projects"), "{refused}");
    assert_eq!(suite.json(Method::DELETE, "/api/v1/orgs/acme?confirm=acme", Some(&ada), None).await.0, 204);
    assert_eq!(get(&suite, &ada, "/api/v1/orgs/acme").await.0, 404);
    assert_eq!(post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 201, "the name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_learns_nothing() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let eve_id = suite.register("eve").await;
    let (ada, eve) = (suite.access("ada").await, suite.access("eve").await);
    post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme" })).await;
    post(&suite, &ada, "/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await;
    let (_, bindings) = get(&suite, &ada, "/api/v1/bindings?org=acme").await;
    let binding = bindings["items"][0]["id"].as_str().unwrap().to_owned();
    let ada_id = get(&suite, &ada, "/api/v1/me").await.1["id"].as_str().unwrap().to_owned();

    let paths = [
        "/api/v1/orgs/acme",
        "/api/v1/orgs/acme/members",
        "/api/v1/orgs/acme/projects",
        "/api/v1/orgs/acme/projects/shop",
        "/api/v1/orgs/acme/projects/shop/spaces",
        "/api/v1/bindings?org=acme",
    ];
    for path in paths {
        let (status, hidden) = get(&suite, &eve, path).await;
        let (_, missing) = get(&suite, &eve, &path.replace("acme", "nope")).await;
        assert_eq!(status, 404, "{path}: {hidden}");
        assert_eq!(hidden["detail"].as_str().unwrap().replace("acme", "nope"), missing["detail"].as_str().unwrap(), "hidden and missing look alike: {path}");
    }
    for (method, path) in [
        (Method::DELETE, format!("/api/v1/bindings/{binding}")),
        (Method::DELETE, "/api/v1/orgs/acme?confirm=acme".to_owned()),
        (Method::DELETE, format!("/api/v1/orgs/acme/members/{ada_id}")),
        (Method::GET, format!("/api/v1/users/{ada_id}")),
        (Method::DELETE, format!("/api/v1/users/{ada_id}")),
    ] {
        assert_eq!(suite.json(method.clone(), &path, Some(&eve), None).await.0, 404, "{method} {path}");
    }
    assert_eq!(get(&suite, &eve, "/api/v1/orgs").await.1["items"], json!([]));
    assert_eq!(get(&suite, &eve, "/api/v1/users").await.1["items"].as_array().unwrap().len(), 1, "only oneself");
    let (_, names) = post(&suite, &eve, "/api/v1/principals/resolve", json!({ "ids": [format!("user:{ada_id}"), format!("user:{eve_id}")] })).await;
    assert_eq!(names["items"], json!([{ "id": format!("user:{eve_id}"), "name": "eve" }]));
    assert_eq!(get(&suite, &eve, "/api/v1/bindings").await.0, 403, "the platform's bindings need a right");
    assert_eq!(post(&suite, &eve, "/api/v1/users", json!({ "username": "x", "email": "x@y.z" })).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_right_stops_within_a_second() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let bob_id = suite.register("bob").await;
    let (ada, bob) = (suite.access("ada").await, suite.access("bob").await);
    post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme" })).await;
    post(&suite, &ada, "/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await;
    let (status, binding) = post(&suite, &ada, "/api/v1/bindings", json!({ "subject": "bob", "role": "admin", "org": "acme", "project": "shop" })).await;
    assert_eq!((status, binding["scope_name"].as_str()), (201, Some("acme/shop")), "{binding}");
    assert_eq!(
        post(&suite, &ada, "/api/v1/bindings", json!({ "subject": format!("user:{bob_id}"), "role": "admin", "org": "acme", "project": "shop" })).await.0,
        409
    );
    assert_eq!(post(&suite, &bob, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 201);
    assert_eq!(post(&suite, &bob, "/api/v1/orgs/acme/projects", json!({ "name": "other" })).await.0, 403, "not above the project");
    let id = binding["id"].as_str().unwrap();
    let before = std::time::Instant::now();
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/bindings/{id}"), Some(&ada), None).await.0, 204);
    assert_eq!(post(&suite, &bob, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "live" })).await.0, 404);
    assert!(before.elapsed() < gantry_testkit::patience(Duration::from_secs(1)), "{:?}", before.elapsed());
    let (_, owner) = get(&suite, &ada, "/api/v1/bindings?org=acme").await;
    let owner = owner["items"][0]["id"].as_str().unwrap();
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/bindings/{owner}"), Some(&ada), None).await.0, 409, "the owner stays administrator");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_get_a_role_and_lose_everything_when_they_leave() {
    gantry_testkit::clause("6.5.1.2.c");
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("bob").await;
    let (ada, bob) = (suite.access("ada").await, suite.access("bob").await);
    post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme" })).await;
    post(&suite, &ada, "/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await;
    assert_eq!(suite.json(Method::PUT, "/api/v1/orgs/acme/members/bob", Some(&ada), Some(json!({}))).await.0, 204);
    assert_eq!(get(&suite, &bob, "/api/v1/orgs/acme").await.1["role"], json!(Role::Viewer));
    assert_eq!(suite.json(Method::PUT, "/api/v1/orgs/acme/members/bob", Some(&bob), Some(json!({ "role": "admin" }))).await.0, 403);
    post(&suite, &ada, "/api/v1/bindings", json!({ "subject": "bob", "role": "editor", "org": "acme", "project": "shop" })).await;
    let (_, members) = get(&suite, &ada, "/api/v1/orgs/acme/members").await;
    assert_eq!(members["items"].as_array().unwrap().len(), 2, "{members}");
    assert_eq!(suite.json(Method::DELETE, "/api/v1/orgs/acme/members/bob", Some(&bob), None).await.0, 204, "one may leave");
    assert_eq!(get(&suite, &bob, "/api/v1/orgs/acme/projects/shop").await.0, 404);
    assert_eq!(suite.json(Method::DELETE, "/api/v1/orgs/acme/members/ada", Some(&ada), None).await.0, 409, "the owner stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_refused_by_field_and_nothing_is_written() {
    gantry_testkit::clause("6.5.2.2.e");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    for (path, body, named) in [
        ("/api/v1/orgs", json!({ "name": "acme", "colour": "red" }), "colour"),
        ("/api/v1/orgs", json!({ "name": "Acme!" }), "name"),
        ("/api/v1/orgs", json!({ "name": 7 }), "string"),
        ("/api/v1/orgs", json!([]), "NewOrg"),
        ("/api/v1/bindings", json!({ "subject": "ada", "role": "viewer", "crown": true }), "crown"),
        ("/api/v1/tokens", json!({ "name": "" }), "name"),
        ("/api/v1/registrations", json!({ "username": "Bad Name", "email": "x", "password": PASSWORD }), "username"),
        ("/api/v1/registrations", json!({ "username": "carl", "email": "carl@example.org", "password": "password1" }), "password"),
        ("/api/v1/registrations", json!({ "username": "carl", "email": "carl@example.org", "password": PASSWORD, "admin": true }), "admin"),
    ] {
        let (status, problem) = post(&suite, &ada, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
    assert_eq!(get(&suite, &ada, "/api/v1/orgs").await.1["items"], json!([]));
    assert_eq!(get(&suite, &ada, "/api/v1/orgs?limit=0").await.0, 400);
    assert_eq!(suite.json(Method::GET, "/api/v1/me", None, None).await.0, 401);
    let dup = json!({ "username": "ADA".to_lowercase(), "email": "other@example.org", "password": PASSWORD });
    let (status, taken) = suite.json(Method::POST, "/api/v1/registrations", None, Some(dup)).await;
    assert_eq!((status, taken["code"].as_str()), (409, Some("identity.name_taken")));
    let dup = json!({ "username": "ada2", "email": "ADA@example.org", "password": PASSWORD });
    let (status, taken) = suite.json(Method::POST, "/api/v1/registrations", None, Some(dup)).await;
    assert_eq!((status, taken["code"].as_str()), (409, Some("identity.email_taken")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_change_is_refused_and_a_repeated_one_happens_once() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    let create = || {
        let request = suite.world.http.post(format!("{}/api/v1/orgs", suite.base)).bearer_auth(&ada).header("idempotency-key", "k1");
        request.json(&json!({ "name": "acme" })).send()
    };
    let (first, second) = (create().await.unwrap(), create().await.unwrap());
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (201, 201));
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let change = |etag: String, name: &str| {
        suite
            .world
            .http
            .patch(format!("{}/api/v1/orgs/acme", suite.base))
            .bearer_auth(&ada)
            .header("if-match", etag)
            .json(&json!({ "display_name": name }))
            .send()
    };
    assert_eq!(change(etag.clone(), "One").await.unwrap().status(), 200);
    assert_eq!(change(etag, "Two").await.unwrap().status(), 412);
    assert_eq!(get(&suite, &ada, "/api/v1/orgs/acme").await.1["display_name"], "One");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_user_is_out_and_an_erased_one_is_unreadable() {
    gantry_testkit::clause("6.5.1.1.b");
    let suite = Suite::start().await;
    let bob_id = suite.register("bob").await;
    let tokens = suite.tokens("bob").await;
    let admin = suite.admin().await;
    let bob = tokens["access_token"].as_str().unwrap();
    assert_eq!(post(&suite, bob, "/api/v1/orgs", json!({ "name": "bobs" })).await.0, 201);
    let path = format!("/api/v1/users/{bob_id}");
    let (status, user) = suite.json(Method::PATCH, &path, Some(&admin), Some(json!({ "suspended": true, "reason": "left" }))).await;
    assert_eq!((status, user["state"].as_str()), (200, Some("suspended")), "{user}");
    let refresh = [("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/token", &refresh).await.0, 400);
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    assert_eq!(browser.submit_login(&page, "bob", PASSWORD).await.status, 401);
    assert_eq!(get(&suite, bob, "/api/v1/me").await.0, 401);
    assert_eq!(get(&suite, bob, "/api/v1/orgs/bobs").await.0, 404, "the token lives, the rights do not");
    assert_eq!(suite.json(Method::PATCH, &path, Some(&admin), Some(json!({ "suspended": false }))).await.0, 200);
    suite.tokens("bob").await;
    assert_eq!(get(&suite, bob, "/api/v1/orgs/bobs").await.0, 200);

    assert_eq!(suite.json(Method::DELETE, &path, Some(&admin), None).await.0, 409, "an organisation must have an owner");
    assert_eq!(suite.json(Method::DELETE, "/api/v1/orgs/bobs?confirm=bobs", Some(&admin), None).await.0, 204);
    assert_eq!(suite.json(Method::DELETE, &path, Some(&admin), None).await.0, 204);
    assert_eq!(get(&suite, &admin, &path).await.0, 404);
    let keyring = suite.host.keyring();
    let sealed: String = sqlx::query_scalar("select data->>'username' from events where kind = 'user.registered' and data->>'user' = $1")
        .bind(&bob_id)
        .fetch_one(&suite.host.db().pool)
        .await
        .unwrap();
    assert!(!sealed.contains("bob"));
    let opened = keyring.open(&format!("user:{bob_id}"), &gantry_es::Sealed(sealed)).await;
    assert!(matches!(opened, Err(gantry_es_pg::KeyringError::Erased)), "the log's past is unreadable");
    suite.register("bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_administrator_rules_the_platform_and_cannot_lock_everybody_out() {
    gantry_testkit::clause("6.5.2.2.b");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    let (_, me) = get(&suite, &admin, "/api/v1/me").await;
    assert_eq!((me["platform_admin"].as_bool(), me["must_change_password"].as_bool()), (Some(true), Some(true)));
    assert_eq!(me["groups"], json!(["platform:admin"]));
    post(&suite, &ada, "/api/v1/orgs", json!({ "name": "acme" })).await;
    assert_eq!(get(&suite, &admin, "/api/v1/orgs/acme").await.0, 200);
    assert_eq!(get(&suite, &admin, "/api/v1/users").await.1["items"].as_array().unwrap().len(), 2);
    let (_, bindings) = get(&suite, &admin, "/api/v1/bindings").await;
    let id = bindings["items"][0]["id"].as_str().unwrap();
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/bindings/{id}"), Some(&admin), None).await.0, 409);
    let admin_id = me["id"].as_str().unwrap();
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/users/{admin_id}"), Some(&admin), None).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_the_other_sessions() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (here, there) = (suite.tokens("ada").await, suite.tokens("ada").await);
    let access = here["access_token"].as_str().unwrap();
    assert_eq!(get(&suite, access, "/api/v1/sessions").await.1["items"].as_array().unwrap().len(), 2);
    let change = |current: &str, new: &str| json!({ "password": new, "current_password": current });
    assert_eq!(suite.json(Method::PATCH, "/api/v1/me", Some(access), Some(change("wrong", "violet-Kestrel_39-march"))).await.0, 400);
    assert_eq!(suite.json(Method::PATCH, "/api/v1/me", Some(access), Some(change(PASSWORD, "violet-Kestrel_39-march"))).await.0, 200);
    let refresh = async |tokens: &Value| {
        let fields = [("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        suite.form("/oauth2/token", &fields).await.0
    };
    assert_eq!((refresh(&here).await, refresh(&there).await), (200, 400));
    suite.tokens_with("ada", "violet-Kestrel_39-march").await;
    assert_eq!(get(&suite, access, "/api/v1/sessions").await.1["items"].as_array().unwrap().len(), 2);
}
