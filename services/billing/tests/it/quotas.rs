//! Limits, who may set them, and reservations against them.

use gantry_billing::Config;
use gantry_contract::proto::billing::Amounts;
use gantry_testkit::clause;
use serde_json::json;
use tonic::Code;

use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_reservations_at_once_never_exceed_the_quota() {
    clause("6.5.4.1.b");
    let shop = Shop::open(Config::default()).await;
    let (status, quota) = shop.put("/api/v1/orgs/acme/quota", &shop.root, json!({"cpu_millis": 1000})).await;
    assert_eq!((status, quota["source"].as_str()), (200, Some("set")), "{quota}");
    let client = shop.quotas_as("scheduler");
    let asked = (0..16).map(|n| {
        let (mut client, request) = (client.clone(), shop.ask(&format!("app:{n}"), 150));
        async move { client.reserve(request).await }
    });
    let results = futures::future::join_all(asked).await;
    let granted = results.iter().filter(|r| r.is_ok()).count();
    assert_eq!(granted, 6, "6 x 150 fit into 1000");
    let refusal = results.into_iter().find_map(Result::err).expect("ten were refused");
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    for part in ["cpu_millis = 1000", "asked for 150", "organisation"] {
        assert!(refusal.message().contains(part), "{}", refusal.message());
    }
    let problem = gantry_kernel::Problem::from(refusal);
    assert_eq!(problem.code, "billing.quota_exceeded");
    let (_, quota) = shop.get("/api/v1/orgs/acme/quota", &shop.admin).await;
    assert_eq!((quota["used"]["cpu_millis"].as_u64(), quota["used"]["containers"].as_u64()), (Some(900), Some(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_replaces_the_earlier_one_and_zero_releases_it() {
    let shop = Shop::open(Config::default()).await;
    let mut client = shop.quotas_as("scheduler");
    for cpu in [400, 300, 300, 0] {
        client.reserve(shop.ask("app:1", cpu)).await.expect("it fits");
        let (_, quota) = shop.get("/api/v1/orgs/acme/projects/shop/quota", &shop.admin).await;
        assert_eq!(quota["used"]["cpu_millis"], cpu);
    }
    let open: i64 = sqlx::query_scalar("select count(*) from reservation_spans where to_at is null").fetch_one(&shop.host.db().pool).await.expect("read");
    let all: i64 = sqlx::query_scalar("select count(*) from reservation_spans").fetch_one(&shop.host.db().pool).await.expect("read");
    assert_eq!((open, all), (0, 2), "400 and 300; the repetition changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_of_organisation_project_user_and_container_holds() {
    for id in ["6.5.4.1.a", "6.5.4.1.c", "6.5.4.1.d", "6.5.4.1.e", "6.5.4.1.f", "6.5.4.1.g", "6.5.4.1.h"] {
        clause(id);
    }
    let shop = Shop::open(Config::default()).await;
    let mut client = shop.quotas_as("scheduler");
    let user = shop.world.user();
    let user_path = format!("/api/v1/users/{user}/quota");
    let project_path = "/api/v1/orgs/acme/projects/shop/quota";
    let cases = [
        (user_path.as_str(), "cpu_millis", "user"),
        (project_path, "cpu_millis_per_container", "project"),
        (project_path, "memory_bytes", "project"),
        (user_path.as_str(), "memory_bytes_per_container", "user"),
        (project_path, "storage_bytes", "project"),
        (project_path, "storage_bytes_per_container", "project"),
        (project_path, "containers", "project"),
    ];
    for (path, limit, whose) in cases {
        let (status, set) = shop.put(path, &shop.root, json!({limit: 2})).await;
        assert_eq!(status, 200, "{set}");
        let mut request = shop.ask("app:1", 0);
        request.user = format!("user:{user}");
        let three = Amounts { cpu_millis: 3, memory_bytes: 3, storage_bytes: 3, containers: 3 };
        request.total = Some(three);
        request.largest_container = Some(three);
        let refused = client.reserve(request.clone()).await.expect_err("3 is more than 2");
        assert!(refused.message().contains(&format!("{limit} = 2")) && refused.message().contains(whose), "{limit}: {}", refused.message());
        shop.put(path, &shop.root, json!({})).await;
        client.reserve(request).await.expect("without the limit it fits");
        client.reserve(shop.ask("app:1", 0)).await.expect("released");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_people_see_and_set_quotas() {
    let shop = Shop::open(Config::default()).await;
    let path = "/api/v1/orgs/acme/quota";
    assert_eq!(shop.get(path, &shop.stranger).await.0, 404);
    assert_eq!(shop.put(path, &shop.stranger, json!({})).await.0, 404);
    assert_eq!(shop.get("/api/v1/orgs/acme/projects/shop/quota", &shop.stranger).await.0, 404);
    assert_eq!(shop.put(path, &shop.admin, json!({"containers": 1000000})).await.0, 403, "nobody raises their own limits");
    assert_eq!(shop.put("/api/v1/orgs/acme/projects/shop/quota", &shop.admin, json!({"containers": 3})).await.0, 200);
    assert_eq!(shop.world.call(&shop.host, reqwest::Method::GET, path, None, None).await.0, 401);
    let other = shop.world.user();
    assert_eq!(shop.get(&format!("/api/v1/users/{other}/quota"), &shop.admin).await.0, 403);
    let own = shop.world.token(other, "otto");
    assert_eq!(shop.get(&format!("/api/v1/users/{other}/quota"), &own).await.0, 200);
    let refused = shop.quotas_as("cicd").reserve(shop.ask("app:1", 1)).await.expect_err("cicd has no business here");
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_limits_are_refused_by_field_and_stale_ones_by_version() {
    let shop = Shop::open(Config::default()).await;
    let path = "/api/v1/orgs/acme/quota";
    for (body, field) in [
        (json!({"cpus": 3}), "cpus"),
        (json!({"cpu_millis": -1}), "body"),
        (json!({"memory_bytes": 1, "memory_bytes_per_container": 2}), "memory_bytes_per_container"),
    ] {
        let (status, problem) = shop.put(path, &shop.root, body.clone()).await;
        assert_eq!(status, 400, "{body}");
        assert!(problem.to_string().contains(field), "{problem}");
    }
    shop.put(path, &shop.root, json!({"containers": 1})).await;
    let url = format!("{}{path}", shop.host.url_of("billing").expect("it listens"));
    let answer = shop.world.http.put(&url).bearer_auth(&shop.root).header("if-match", "\"0\"").json(&json!({"containers": 2})).send().await.expect("answered");
    assert_eq!(answer.status(), 412);
    let answer = shop.world.http.put(&url).bearer_auth(&shop.root).header("if-match", "\"1\"").json(&json!({"containers": 2})).send().await.expect("answered");
    assert_eq!((answer.status().as_u16(), answer.headers()["etag"].to_str().expect("text")), (200, "\"2\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_refuses_as_a_reservation_does_and_reserves_nothing() {
    let shop = Shop::open(Config::default()).await;
    let mut client = shop.quotas_as("scheduler");
    let (status, quota) = shop.put("/api/v1/orgs/acme/quota", &shop.root, json!({"cpu_millis": 1000})).await;
    assert_eq!(status, 200, "{quota}");
    let check = |cpu| gantry_contract::proto::billing::ReserveRequest { check_only: true, ..shop.ask("app:1", cpu) };
    client.reserve(check(900)).await.expect("it would fit");
    assert_eq!(client.reserve(check(1100)).await.expect_err("too much").code(), Code::ResourceExhausted);
    let (_, quota) = shop.get("/api/v1/orgs/acme/quota", &shop.admin).await;
    assert_eq!(quota["used"]["cpu_millis"], 0);
    client.reserve(shop.ask("app:1", 400)).await.expect("it fits");
    client.reserve(check(900)).await.expect("instead of what it has");
    let (_, quota) = shop.get("/api/v1/orgs/acme/quota", &shop.admin).await;
    assert_eq!(quota["used"]["cpu_millis"], 400);
}
