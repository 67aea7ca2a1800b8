//! Whether a sign-in stands, as other services ask.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_contract::proto::identity::{NodeStandingRequest, StandingRequest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{PartyKey, now};
use crate::support::{ISSUER, Suite};

fn asked(tokens: &Value) -> StandingRequest {
    let token = tokens["access_token"].as_str().unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    StandingRequest { token_id: text("jti"), session: text("sid"), subject: text("sub"), client: text("client_id") }
}

fn basic(client: &str, secret: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{client}:{secret}")))
}

fn client(suite: &Suite, service: &str) -> TokensClient<tonic::transport::Channel> {
    TokensClient::new(gantry_testkit::rpc::channel(&suite.world, &suite.host, service))
}

/// What introspection says to the client of `basic`.
async fn active(suite: &Suite, basic: &str, tokens: &Value) -> bool {
    let fields = [("token", tokens["access_token"].as_str().unwrap())];
    let (status, answer) = suite.form_with("/oauth2/introspect", &[("authorization", basic)], &fields).await;
    assert_eq!(status, 200, "{answer}");
    answer["active"] == true
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_stands_until_it_is_ended_revoked_or_its_owner_is_suspended() {
    let suite = Suite::start().await;
    for name in ["ada", "bob", "eve"] {
        suite.register(name).await;
    }
    let admin = suite.admin().await;
    let (ended, revoked, suspended, other) = (suite.tokens("ada").await, suite.tokens("bob").await, suite.tokens("eve").await, suite.tokens("bob").await);
    let stands = async |tokens: &Value| client(&suite, "scheduler").standing(asked(tokens)).await.unwrap().into_inner().stands;
    for tokens in [&ended, &revoked, &suspended, &other] {
        assert!(stands(tokens).await && !asked(tokens).session.is_empty());
    }

    let session = asked(&ended).session;
    assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/users/ada/sessions/{session}"), Some(&admin), None).await.0, 204);
    assert!(!stands(&ended).await);

    let refresh = revoked["refresh_token"].as_str().unwrap();
    assert_eq!(suite.form("/oauth2/revoke", &[("client_id", "gantry-console"), ("token", refresh)]).await.0, 200);
    assert!(!stands(&revoked).await && stands(&other).await, "the other sign-in goes on");

    assert_eq!(suite.patch(&admin, "/api/v1/users/eve", json!({ "suspended": true, "reason": "left" })).await.0, 200);
    assert!(!stands(&suspended).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_without_tokens_to_refresh_stands_by_its_session_and_others_do_not_ask() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let tokens = suite.tokens("ada").await;
    let bare = StandingRequest { token_id: "none".into(), ..asked(&tokens) };
    let mut scheduler = client(&suite, "scheduler");
    assert!(scheduler.standing(bare.clone()).await.unwrap().into_inner().stands);
    let ada = tokens["access_token"].as_str().unwrap();
    assert_eq!(suite.delete(ada, &format!("/api/v1/sessions/{}", bare.session)).await, 204);
    assert!(!scheduler.standing(bare.clone()).await.unwrap().into_inner().stands);
    let robot = StandingRequest { subject: "robot:1".into(), session: String::new(), ..bare.clone() };
    assert!(scheduler.standing(robot).await.unwrap().into_inner().stands);
    let nobody = StandingRequest { client: "gone".into(), ..bare.clone() };
    assert!(!scheduler.standing(nobody).await.unwrap().into_inner().stands);
    let unreadable = scheduler.standing(StandingRequest { session: "x".into(), ..bare.clone() }).await.unwrap_err();
    assert_eq!(unreadable.code(), tonic::Code::InvalidArgument);
    let refused = client(&suite, "billing").standing(bare).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_with_a_personal_token_or_a_key_stands_until_that_is_withdrawn() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let exchange = async |secret: &Value| {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "gantry-cli"),
            ("subject_token", secret.as_str().unwrap()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let (status, tokens) = suite.form("/oauth2/token", &fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    };
    let stands = async |tokens: &Value| client(&suite, "scheduler").standing(asked(tokens)).await.unwrap().into_inner().stands;
    let (status, personal) = suite.post(&ada, "/api/v1/tokens", json!({ "name": "ci" })).await;
    assert_eq!(status, 201, "{personal}");
    let accounts = "/api/v1/orgs/acme/service-accounts";
    assert_eq!(suite.post(&ada, accounts, json!({ "name": "deployer" })).await.0, 201);
    let keys = format!("{accounts}/deployer/keys");
    let (status, key) = suite.post(&ada, &keys, json!({ "name": "one" })).await;
    assert_eq!(status, 201, "{key}");
    let (by_token, by_key) = (exchange(&personal["secret"]).await, exchange(&key["secret"]).await);
    assert!(asked(&by_token).session.is_empty() && asked(&by_key).subject.starts_with("robot:"));
    assert!(stands(&by_token).await && stands(&by_key).await);
    let admin = suite.admin().await;
    let (asker, secret) = suite.client(&admin, json!({ "grant_types": ["client_credentials"], "redirect_uris": [] })).await;
    let basic = basic(&asker, &secret);
    let introspected = async |tokens: &Value| active(&suite, &basic, tokens).await;
    assert!(introspected(&by_token).await && introspected(&by_key).await);
    // With its account a key is suspended, too.
    let deployer = format!("{accounts}/deployer");
    assert_eq!(suite.patch(&ada, &deployer, json!({ "suspended": true, "reason": "leaked" })).await.0, 200);
    assert!(!stands(&by_key).await && !introspected(&by_key).await && stands(&by_token).await);
    assert_eq!(suite.patch(&ada, &deployer, json!({ "suspended": false })).await.0, 200);
    assert!(stands(&by_key).await && introspected(&by_key).await);
    assert_eq!(suite.delete(&ada, &format!("/api/v1/tokens/{}", personal["id"].as_str().unwrap())).await, 204);
    assert_eq!(suite.delete(&ada, &format!("{keys}/{}", key["id"].as_str().unwrap())).await, 204);
    assert!(!stands(&by_token).await && !stands(&by_key).await);
    for tokens in [&by_token, &by_key] {
        assert!(!introspected(tokens).await, "introspection says the same");
    }

    // The token alone.
    let (_, another) = suite.post(&ada, "/api/v1/tokens", json!({ "name": "other" })).await;
    let alone = exchange(&another["secret"]).await;
    let revoke = [("client_id", "gantry-cli"), ("token", alone["access_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/revoke", &revoke).await.0, 200);
    assert!(!stands(&alone).await && stands(&exchange(&another["secret"]).await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_began_for_itself_ends_when_its_client_is_deleted() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let grants = json!({ "grant_types": ["client_credentials"], "redirect_uris": [], "scopes": ["api"] });
    let (id, secret) = suite.client(&admin, grants).await;
    let fields = [("grant_type", "client_credentials"), ("scope", "api")];
    let (status, tokens) = suite.form_with("/oauth2/token", &[("authorization", &basic(&id, &secret))], &fields).await;
    assert_eq!(status, 200, "{tokens}");
    let asked = asked(&tokens);
    assert!(asked.client == id && asked.session.is_empty() && asked.subject.starts_with("robot:"), "{asked:?}");
    let stands = async || client(&suite, "scheduler").standing(asked.clone()).await.unwrap().into_inner().stands;
    assert!(stands().await);
    assert_eq!(suite.delete(&admin, &format!("/api/v1/clients/{id}")).await, 204);
    assert!(!stands().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_list_ends_with_the_sign_in() {
    let suite = Suite::start().await;
    let [_, bob, _] = suite.acme().await;
    let url = format!("{}/api/v1/orgs/acme/teams?watch=true", suite.base);
    let mut stream = suite.world.http.get(url).bearer_auth(&bob).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let mut seen = String::new();
    while !seen.contains("event: state") {
        seen.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().expect("it goes on")));
    }
    let session = asked(&json!({ "access_token": bob })).session;
    assert_eq!(suite.delete(&bob, &format!("/api/v1/sessions/{session}")).await, 204);
    let rest = async {
        while let Some(chunk) = stream.chunk().await.unwrap() {
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(90), rest).await.expect("it ends");
    assert!(seen.contains("event: problem") && seen.contains("sign-in"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_certificate_stands_until_it_is_revoked_or_the_node_has_joined_anew() {
    gantry_testkit::clause("7.4.3.c");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let join = async || {
        let (_, token) = suite.post(&admin, "/api/v1/node-join-tokens", json!({ "node": "n1" })).await;
        let body = json!({ "node": "n1", "token": token["secret"], "request": crate::nodes::request().1 });
        let (status, signed) = suite.json(Method::POST, "/api/v1/node-certificates", None, Some(body)).await;
        assert_eq!(status, 201, "{signed}");
        signed["serial"].as_str().unwrap().to_owned()
    };
    let stands = async |node: &str, serial: &str| {
        let asked = NodeStandingRequest { node: node.into(), serial: serial.into() };
        client(&suite, "scheduler").node_standing(asked).await.unwrap().into_inner().stands
    };
    let first = join().await;
    assert!(stands("n1", &first).await && !stands("n2", &first).await);
    assert!(stands("n1", "0102").await, "an operator's authority gives its own");
    let second = join().await;
    assert!(!stands("n1", &first).await && stands("n1", &second).await);
    assert_eq!(suite.delete(&admin, "/api/v1/node-certificates/n1?reason=stolen").await, 204);
    assert!(!stands("n1", &second).await);
    let refused = client(&suite, "agent").node_standing(NodeStandingRequest { node: "n1".into(), serial: second }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_outside_program_began_ends_with_its_account_and_with_the_trust_in_its_issuer() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let account = "/api/v1/orgs/acme/service-accounts/deployer";
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/service-accounts", json!({ "name": "deployer" })).await.0, 201);
    let key = PartyKey::new("ci");
    let trust = async || {
        let rule = json!({ "service_account": "deployer", "claims": { "repository": "acme/shop" } });
        let settings = json!({ "issuer": "https://ci.example", "jwks": key.set(), "rules": [rule] });
        let (status, made) = suite.post(&ada, "/api/v1/trusted-issuers", json!({ "name": "ci", "org": "acme", "settings": settings })).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let begin = async || {
        let job = json!({ "iss": "https://ci.example", "aud": ISSUER, "sub": "job:1", "iat": now(), "exp": now() + 300, "repository": "acme/shop" });
        let token = key.sign(&job);
        let kind = ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
        let fields = [("grant_type", EXCHANGE), ("client_id", "gantry-cli"), ("subject_token", token.as_str()), kind];
        let (status, tokens) = suite.form("/oauth2/token", &fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    };
    let admin = suite.admin().await;
    let (asker, secret) = suite.client(&admin, json!({ "grant_types": ["client_credentials"], "redirect_uris": [] })).await;
    let basic = basic(&asker, &secret);
    let stands = async |tokens: &Value| {
        let standing = client(&suite, "scheduler").standing(asked(tokens)).await.unwrap().into_inner().stands;
        assert_eq!(active(&suite, &basic, tokens).await, standing, "introspection says the same");
        standing
    };
    let trusted = trust().await;
    let job = begin().await;
    assert!(stands(&job).await && asked(&job).subject.starts_with("robot:"));
    assert_eq!(suite.patch(&ada, account, json!({ "suspended": true, "reason": "leaked" })).await.0, 200);
    assert!(!stands(&job).await);
    assert_eq!(suite.patch(&ada, account, json!({ "suspended": false })).await.0, 200);
    assert!(stands(&job).await);
    assert_eq!(suite.delete(&ada, &format!("/api/v1/trusted-issuers/{trusted}")).await, 204);
    assert!(!stands(&job).await, "nobody vouches for it any more");

    trust().await;
    let job = begin().await;
    assert!(stands(&job).await);
    let other = StandingRequest { subject: "robot:00000000-0000-0000-0000-000000000001".into(), ..asked(&job) };
    assert!(!client(&suite, "scheduler").standing(other).await.unwrap().into_inner().stands, "the issuer speaks for its own robots");
    assert_eq!(suite.delete(&ada, account).await, 204);
    assert!(!stands(&job).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_on_or_lent_ends_with_what_it_came_from_and_does_not_end_that() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let admin = suite.admin().await;
    let stands = async |tokens: &Value| client(&suite, "scheduler").standing(asked(tokens)).await.unwrap().into_inner().stands;
    let (service, secret) = suite.client(&admin, json!({ "grant_types": [EXCHANGE], "redirect_uris": [], "scopes": ["api"] })).await;
    let basic = basic(&service, &secret);
    let hand_on = async |subject: &str| {
        let fields = [("grant_type", EXCHANGE), ("subject_token", subject), ("subject_token_type", ACCESS)];
        suite.form_with("/oauth2/token", &[("authorization", &basic)], &fields).await
    };
    let (_, personal) = suite.post(&ada, "/api/v1/tokens", json!({ "name": "ci" })).await;
    let (status, first) = hand_on(personal["secret"].as_str().unwrap()).await;
    assert_eq!(status, 200, "{first}");
    let (status, second) = hand_on(first["access_token"].as_str().unwrap()).await;
    assert_eq!(status, 200, "{second}");
    assert!(stands(&second).await && active(&suite, &basic, &second).await);
    assert_eq!(suite.delete(&ada, &format!("/api/v1/tokens/{}", personal["id"].as_str().unwrap())).await, 204);
    assert!(!stands(&second).await && !active(&suite, &basic, &second).await, "however often it was exchanged");

    // Lent to support staff, who signs out.
    let sam = {
        suite.register("sam").await;
        suite.tokens("sam").await
    };
    let sams = sam["access_token"].as_str().unwrap();
    assert_eq!(suite.put(&ada, "/api/v1/me/impersonators/sam", json!({ "minutes": 5 })).await, 204);
    let lend = async || {
        let fields =
            [("grant_type", EXCHANGE), ("client_id", "gantry-cli"), ("subject_token", sams), ("subject_token_type", ACCESS), ("requested_subject", "ada")];
        suite.form("/oauth2/token", &fields).await
    };
    let ((_, lent), (status, given_back)) = (lend().await, lend().await);
    assert_eq!(status, 200, "{given_back}");
    let revoke = [("client_id", "gantry-cli"), ("token", given_back["access_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/revoke", &revoke).await.0, 200);
    assert!(!stands(&given_back).await && stands(&lent).await && stands(&sam).await, "one loan is given back, and nothing else ends");
    assert_eq!(suite.delete(sams, &format!("/api/v1/sessions/{}", asked(&sam).session)).await, 204);
    assert!(!stands(&lent).await && !active(&suite, &basic, &lent).await);
    assert_eq!(lend().await.1["error"], "invalid_grant", "who signed out lends nothing any more");
}
