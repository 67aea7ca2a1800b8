//! Service accounts, their keys, and what personal access tokens are limited to.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Suite};

async fn exchange(suite: &Suite, key: &str) -> (u16, Value) {
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "gantry-cli"),
        ("subject_token", key),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    suite.form("/oauth2/token", &fields).await
}

/// The actions a registry token gives for a repository.
async fn actions(suite: &Suite, secret: &str, repository: &str) -> Vec<String> {
    let url = format!("{}/oauth2/registry-token?service=gantry-registry&scope=repository:{repository}:pull,push,delete", suite.base);
    let response = suite.world.http.get(url).basic_auth("x", Some(secret)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let token = response.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let claims: gantry_auth::RegistryClaims = suite.host.auth.verifier.check(&token, "gantry-registry").await.unwrap();
    claims.access.into_iter().flat_map(|a| a.actions).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_works_by_its_keys_of_which_two_may_live() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    let accounts = "/api/v1/orgs/acme/service-accounts";
    let (status, made) = suite.post(&ada, accounts, json!({ "name": "deployer", "description": "deploys" })).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(suite.post(&ada, accounts, json!({ "name": "deployer" })).await.0, 409);
    assert_eq!(suite.post(&bob, accounts, json!({ "name": "mine" })).await.0, 403);
    let keys = format!("{accounts}/deployer/keys");
    let (status, first) = suite.post(&ada, &keys, json!({ "name": "one", "expires_in_days": 30 })).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(suite.post(&ada, &keys, json!({})).await.0, 201);
    assert_eq!(suite.post(&ada, &keys, json!({})).await.1["code"], "identity.too_many_keys");
    assert_eq!(suite.post(&ada, &keys, json!({ "expires_in_days": 0 })).await.0, 400);
    assert_eq!(suite.get(&bob, &keys).await.0, 403);

    let secret = first["secret"].as_str().unwrap();
    let (status, tokens) = exchange(&suite, secret).await;
    assert_eq!(status, 200, "{tokens}");
    let robot = tokens["access_token"].as_str().unwrap().to_owned();
    assert_eq!(suite.post(&robot, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 404, "no role yet");
    assert_eq!(suite.post(&ada, "/api/v1/bindings", json!({ "subject": "robot:deployer", "role": "admin", "org": "acme", "project": "shop" })).await.0, 201);
    assert_eq!(suite.post(&robot, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 201);
    assert!(!suite.get(&ada, &keys).await.1["items"][0]["last_used_at"].is_null());

    let (status, out) = suite.patch(&ada, &format!("{accounts}/deployer"), json!({ "suspended": true, "reason": "leaked" })).await;
    assert_eq!((status, out["state"].as_str()), (200, Some("suspended")), "{out}");
    assert_eq!(exchange(&suite, secret).await.0, 400);
    assert_eq!(
        suite.post(&robot, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "live" })).await.0,
        404,
        "the token that lives still has no rights"
    );
    suite.patch(&ada, &format!("{accounts}/deployer"), json!({ "suspended": false })).await;
    assert_eq!(exchange(&suite, secret).await.0, 200);
    let id = first["id"].as_str().unwrap();
    assert_eq!(suite.delete(&ada, &format!("{keys}/{id}")).await, 204);
    assert_eq!(exchange(&suite, secret).await.0, 400);
    assert_eq!(suite.delete(&ada, &format!("{accounts}/deployer")).await, 204);
    assert_eq!(suite.get(&ada, accounts).await.1["items"], json!([]));
    assert_eq!(suite.post(&robot, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "live" })).await.0, 404);
    assert_eq!(suite.post(&ada, accounts, json!({ "name": "deployer" })).await.0, 201, "the name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_robot_pulls_and_pushes_where_its_patterns_say_and_nowhere_else() {
    gantry_testkit::clause("7.4.2.d");
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let accounts = "/api/v1/orgs/acme/service-accounts";
    let with = |pattern: &str, actions: Value| json!({ "name": "puller", "repositories": [{ "pattern": pattern, "actions": actions }] });
    for (pattern, actions) in [("evil/shop/*", json!(["pull"])), ("acme/*", json!(["pull"])), ("acme/shop/*", json!(["own"])), ("acme/shop/*", json!([]))] {
        assert_eq!(suite.post(&ada, accounts, with(pattern, actions.clone())).await.0, 400, "{pattern} {actions}");
    }
    assert_eq!(suite.post(&ada, accounts, with("acme/shop/web*", json!(["pull", "push"]))).await.0, 201);
    let (_, key) = suite.post(&ada, &format!("{accounts}/puller/keys"), json!({})).await;
    let secret = key["secret"].as_str().unwrap();
    assert_eq!(actions(&suite, secret, "acme/shop/web").await, ["pull", "push"]);
    assert!(actions(&suite, secret, "acme/shop/db").await.is_empty());
    assert!(actions(&suite, secret, "acme/other/web").await.is_empty());
    let url = format!("{}/oauth2/registry-token?service=gantry-registry&scope=registry:catalog:*", suite.base);
    let listing = suite.world.http.get(url).basic_auth("x", Some(secret)).send().await.unwrap().json::<Value>().await.unwrap();
    let claims: gantry_auth::RegistryClaims = suite.host.auth.verifier.check(listing["token"].as_str().unwrap(), "gantry-registry").await.unwrap();
    let shown: Vec<(String, String)> = claims.access.into_iter().map(|a| (a.kind, a.name)).collect();
    assert_eq!(shown, [("registry".to_owned(), "catalog".to_owned()), ("repositories".to_owned(), "acme/shop/web*".to_owned())]);
    let change = json!({ "repositories": [{ "pattern": "acme/shop/web", "actions": ["pull"] }] });
    assert_eq!(suite.patch(&ada, &format!("{accounts}/puller"), change).await.0, 200);
    assert_eq!(actions(&suite, secret, "acme/shop/web").await, ["pull"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_token_is_limited_to_its_scopes() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let make = async |scopes: Value| {
        let (status, made) = suite.post(&ada, "/api/v1/tokens", json!({ "name": "t", "scopes": scopes })).await;
        assert_eq!(status, 201, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    };
    assert_eq!(suite.post(&ada, "/api/v1/tokens", json!({ "name": "t", "scopes": ["root"] })).await.0, 400);
    let read = make(json!(["api:read"])).await;
    let (status, tokens) = exchange(&suite, &read).await;
    assert_eq!((status, tokens["scope"].as_str()), (200, Some("api:read")), "{tokens}");
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(suite.get(token, "/api/v1/orgs/acme").await.0, 200);
    let (status, refused) = suite.post(token, "/api/v1/orgs/acme/projects", json!({ "name": "other" })).await;
    assert!(status == 403 && refused["detail"].as_str().unwrap().contains("only read"), "{refused}");
    assert!(actions(&suite, &read, "acme/shop/web").await.is_empty());
    let pull = make(json!(["registry:pull"])).await;
    assert_eq!(exchange(&suite, &pull).await.1["error"], "invalid_scope");
    assert_eq!(actions(&suite, &pull, "acme/shop/web").await, ["pull"]);
    let all = make(json!([])).await;
    assert_eq!(actions(&suite, &all, "acme/shop/web").await.len(), 3);
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(exchange(&suite, &all).await.1["access_token"].as_str().unwrap()), None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_or_a_lent_token_changes_nothing_of_its_owners_and_makes_no_whole_one() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let admin = suite.admin().await;
    let make = async |scopes: Value| {
        let (status, made) = suite.post(&ada, "/api/v1/tokens", json!({ "name": "t", "scopes": scopes })).await;
        assert_eq!(status, 201, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    };
    let by_password = async |secret: &str| {
        let request = suite.world.http.post(format!("{}/api/v1/tokens", suite.base)).basic_auth("ada", Some(secret)).json(&json!({ "name": "more" }));
        request.send().await.unwrap().status().as_u16()
    };
    let (reads, pulls) = (make(json!(["api:read"])).await, make(json!(["registry:pull"])).await);
    let read = exchange(&suite, &reads).await.1["access_token"].as_str().unwrap().to_owned();
    let lend = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "gantry-cli"),
        ("subject_token", &admin),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("requested_subject", "ada"),
    ];
    let (status, lent) = suite.form("/oauth2/token", &lend).await;
    assert_eq!(status, 200, "{lent}");
    let lent = lent["access_token"].as_str().unwrap();
    for secret in [reads.as_str(), &pulls, &read] {
        assert_eq!(by_password(secret).await, 403, "{secret:.8}");
    }
    assert_eq!(by_password(lent).await, 401);
    for token in [read.as_str(), lent] {
        assert_eq!(suite.get(token, "/api/v1/me").await.0, 200);
        assert_eq!(suite.post(token, "/api/v1/tokens", json!({ "name": "more" })).await.0, 403);
        assert_eq!(suite.patch(token, "/api/v1/me", json!({ "email": "thief@example.org" })).await.0, 403);
        assert_eq!(suite.patch(token, "/api/v1/users/ada", json!({ "display_name": "Thief" })).await.0, 403);
        assert_eq!(suite.delete(token, "/api/v1/users/ada").await, 403);
        assert_eq!(suite.put(token, "/api/v1/me/impersonators/bob", json!({})).await, 403);
    }
    assert_eq!(suite.post(&read, "/api/v1/orgs", json!({ "name": "more" })).await.0, 403);
    assert_eq!(suite.delete(&read, "/api/v1/sessions").await, 403);
    assert_eq!(suite.delete(&read, "/api/v1/orgs/acme/members/ada").await, 403);
    let (_, tokens) = suite.get(&ada, "/api/v1/tokens").await;
    assert_eq!(tokens["items"].as_array().unwrap().len(), 2, "{tokens}");
    assert!(actions(&suite, &read, "acme/shop/web").await.is_empty(), "who may read by the API pulls nothing");

    // A refresh token would outlive the one that was shown.
    let offline = async |secret: &str| {
        let url = format!("{}/oauth2/registry-token?service=gantry-registry&scope=repository:acme/shop/web:pull&offline_token=true", suite.base);
        let answer = suite.world.http.get(url).basic_auth("ada", Some(secret)).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["refresh_token"].is_string()
    };
    let whole = make(json!([])).await;
    assert!(!offline(&whole).await && !offline(&ada).await && !offline(&pulls).await && offline(PASSWORD).await);
    assert_eq!(by_password(&whole).await, 201);
}
