//! Tokens for the image registry.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_contract::proto::identity::{IssueRegistryCredentialRequest, RepositoryGrant};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Suite};

fn claims(answer: &Value) -> Value {
    let token = answer["token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

async fn ask(suite: &Suite, basic: Option<(&str, &str)>, query: &str) -> (u16, Value) {
    let mut request = suite.world.http.get(format!("{}/oauth2/registry-token?service=gantry.test&{query}", suite.base));
    if let Some((name, password)) = basic {
        request = request.basic_auth(name, Some(password));
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn with_projects(suite: &Suite) -> String {
    suite.register("ada").await;
    let token = suite.access("ada").await;
    let post = async |path: &str, body: Value| assert_eq!(suite.json(Method::POST, path, Some(&token), Some(body)).await.0, 201);
    post("/api/v1/orgs", json!({ "name": "acme" })).await;
    post("/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await;
    post("/api/v1/orgs/acme/projects", json!({ "name": "open", "public": true })).await;
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_token_holds_what_the_role_allows() {
    gantry_testkit::clause("7.4.2.d");
    gantry_testkit::clause("6.5.2.2.c");
    let suite = Suite::start().await;
    let token = with_projects(&suite).await;
    suite.register("bob").await;
    let scope = "scope=repository:acme/shop/web:pull,push,delete";

    let (status, answer) = ask(&suite, Some(("ada", PASSWORD)), scope).await;
    assert_eq!(status, 200);
    let owner = claims(&answer);
    assert_eq!(owner["access"][0]["actions"], json!(["pull", "push", "delete"]));
    assert_eq!((owner["aud"].as_str(), owner["iss"].as_str()), (Some("gantry-registry"), Some("https://gantry.test")));

    assert_eq!(claims(&ask(&suite, Some(("bob", PASSWORD)), scope).await.1)["access"], json!([]), "no role, nothing");
    let member = |role: &str| json!({ "role": role });
    assert_eq!(suite.json(Method::PUT, "/api/v1/orgs/acme/members/bob", Some(&token), Some(member("viewer"))).await.0, 204);
    assert_eq!(claims(&ask(&suite, Some(("bob", PASSWORD)), scope).await.1)["access"][0]["actions"], json!(["pull"]));
    assert_eq!(suite.json(Method::PUT, "/api/v1/orgs/acme/members/bob", Some(&token), Some(member("editor"))).await.0, 204);
    assert_eq!(claims(&ask(&suite, Some(("bob", PASSWORD)), scope).await.1)["access"][0]["actions"], json!(["pull", "push"]));

    assert_eq!(ask(&suite, Some(("bob", "wrong")), scope).await.0, 401);
    assert_eq!(claims(&ask(&suite, None, scope).await.1)["access"], json!([]), "nothing without a name");
    let open = claims(&ask(&suite, None, "scope=repository:acme/open/web:pull,push").await.1);
    assert_eq!(open["access"][0]["actions"], json!(["pull"]), "anybody pulls from a public project");
    let two = claims(&ask(&suite, Some(("ada", PASSWORD)), "scope=repository:acme/shop/a:pull&scope=repository:acme/shop/b:push").await.1);
    assert_eq!(two["access"].as_array().unwrap().len(), 2);
    let unknown = claims(&ask(&suite, Some(("ada", PASSWORD)), "scope=repository:other/x/web:pull").await.1);
    assert_eq!(unknown["access"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_images_are_for_the_people_and_teams_that_they_were_granted_to() {
    gantry_testkit::clause("7.4.2.e");
    let suite = Suite::start().await;
    let ada = with_projects(&suite).await;
    for name in ["bob", "cleo", "eve"] {
        suite.register(name).await;
    }
    let may = async |name: &str, project: &str| {
        let scope = format!("scope=repository:acme/{project}/web:pull,push");
        claims(&ask(&suite, Some((name, PASSWORD)), &scope).await.1)["access"].clone()
    };
    let pull = |project: &str| json!([{ "type": "repository", "name": format!("acme/{project}/web"), "actions": ["pull"] }]);
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/projects", json!({ "name": "other" })).await.0, 201);

    // To one person, in this project alone.
    let (status, made) = suite.post(&ada, "/api/v1/bindings", json!({ "subject": "bob", "role": "viewer", "org": "acme", "project": "shop" })).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((may("bob", "shop").await, may("bob", "other").await), (pull("shop"), json!([])));
    assert_eq!((may("cleo", "shop").await, may("eve", "shop").await), (json!([]), json!([])));

    // To a team: whoever is in it, as long as they are. Members of the organisation read all that is its own.
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 201);
    let (status, made) = suite.post(&ada, "/api/v1/bindings", json!({ "subject": "team:dev", "role": "editor", "org": "acme", "project": "other" })).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/members/cleo", json!({})).await, 204);
    assert_eq!(may("cleo", "other").await, pull("other"));
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/teams/dev/members/cleo", json!({})).await, 204);
    assert_eq!(may("cleo", "other").await[0]["actions"], json!(["pull", "push"]));
    assert_eq!(may("cleo", "shop").await, pull("shop"), "the team has no right there");
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/teams/dev/members/cleo").await, 204);
    assert_eq!(may("cleo", "other").await, pull("other"));
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/members/cleo").await, 204);
    assert_eq!((may("cleo", "other").await, may("bob", "shop").await), (json!([]), pull("shop")));
    assert_eq!(may("eve", "other").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn access_personal_and_refresh_tokens_stand_for_the_password() {
    let suite = Suite::start().await;
    let access = with_projects(&suite).await;
    let scope = "scope=repository:acme/shop/web:push";
    let pushes = |answer: &Value| claims(answer)["access"][0]["actions"] == json!(["push"]);
    assert!(pushes(&ask(&suite, Some(("whoever", &access)), scope).await.1));

    let (status, made) = suite.json(Method::POST, "/api/v1/tokens", Some(&access), Some(json!({ "name": "ci" }))).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    assert!(pushes(&ask(&suite, Some(("whoever", secret)), scope).await.1));
    let exchange = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "gantry-cli"),
        ("subject_token", secret),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let (status, exchanged) = suite.form("/oauth2/token", &exchange).await;
    assert_eq!(status, 200, "{exchanged}");
    assert_eq!(suite.json(Method::GET, "/api/v1/me", exchanged["access_token"].as_str(), None).await.1["username"], "ada");
    let listed = suite.json(Method::GET, "/api/v1/tokens", Some(&access), None).await.1;
    assert!(!listed.to_string().contains(secret), "shown once only");
    let id = made["id"].as_str().unwrap();
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/tokens/{id}"), Some(&access), None).await.0, 204);
    assert_eq!(ask(&suite, Some(("whoever", secret)), scope).await.0, 401);

    let offline = ask(&suite, Some(("ada", PASSWORD)), &format!("{scope}&offline_token=true")).await.1;
    let refresh = offline["refresh_token"].as_str().unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("service", "gantry.test"),
        ("client_id", "docker"),
        ("refresh_token", refresh),
        ("scope", "repository:acme/shop/web:push"),
    ];
    let (status, answer) = suite.form("/oauth2/registry-token", &fields).await;
    assert_eq!(status, 200, "{answer}");
    assert!(pushes(&answer));
    let api = [("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", refresh)];
    assert_eq!(suite.form("/oauth2/token", &api).await.0, 400, "good for the registry only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_a_credential_for_its_repositories_only() {
    let suite = Suite::start().await;
    with_projects(&suite).await;
    let request = |pattern: &str| IssueRegistryCredentialRequest {
        grants: vec![RepositoryGrant { pattern: pattern.into(), actions: vec!["pull".into(), "push".into()] }],
        subject: String::new(),
        ttl_seconds: 60,
    };
    let channel = |service: &str| gantry_testkit::rpc::channel(&suite.world, &suite.host, service);
    let mut cicd = TokensClient::new(channel("cicd"));
    let issued = cicd.issue_registry_credential(request("acme/shop/*")).await.unwrap().into_inner();
    let basic = Some((issued.username.as_str(), issued.password.as_str()));
    let inside = claims(&ask(&suite, basic, "scope=repository:acme/shop/web:pull,push,delete").await.1);
    assert_eq!(inside["access"][0]["actions"], json!(["pull", "push"]));
    assert_eq!(claims(&ask(&suite, basic, "scope=repository:acme/open/web:push").await.1)["access"], json!([]));
    // The list of repositories shows its own, not what the service may see: that is everything.
    let listing = claims(&ask(&suite, basic, "scope=registry:catalog:*").await.1);
    assert_eq!(listing["access"], json!([{ "type": "repositories", "name": "acme/shop/*", "actions": ["pull"] }]));
    let person = claims(&ask(&suite, Some(("ada", PASSWORD)), "scope=registry:catalog:*").await.1);
    assert_eq!(person["access"], json!([{ "type": "registry", "name": "catalog", "actions": ["*"] }]));
    for bad in ["*", "acme/*", "acme/shop", "nowhere/x/*"] {
        assert!(cicd.issue_registry_credential(request(bad)).await.is_err(), "{bad}");
    }
    let refused = TokensClient::new(channel("billing")).issue_registry_credential(request("acme/shop/*")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let on_behalf = IssueRegistryCredentialRequest { subject: format!("user:{}", uuid::Uuid::nil()), ..request("acme/shop/*") };
    assert!(cicd.issue_registry_credential(on_behalf).await.is_err(), "not more than the person may do");
}
