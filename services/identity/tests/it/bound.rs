//! Tokens bound to keys (DPoP), exchanged, impersonating; programs of outside issuers.

use gantry_identity::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{PartyKey, ask, claims, exchange, now};
use crate::support::{ISSUER, Pkce, Suite};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_bound_to_a_key_is_worth_nothing_without_it() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let public = json!({ "token_endpoint_auth_method": "none", "scopes": ["openid", "api", "offline_access"], "dpop_bound_access_tokens": true });
    let (id, _) = suite.client(&admin, public).await;
    let (key, pkce) = (PartyKey::new("d"), Pkce::new("d"));
    let mut browser = suite.signed_in("ada").await;
    let code = browser.get(&ask(&id, &pkce, &[("scope", "openid api offline_access")])).await.code();
    let fields = exchange(&id, "", &code, &pkce);
    assert_eq!(suite.form("/oauth2/token", &fields).await.1["error"], "invalid_dpop_proof", "this client must bind");
    let proof = || key.proof("POST", "/oauth2/token", json!({}));
    for bad in [
        key.proof("GET", "/oauth2/token", json!({})),
        key.proof("POST", "/oauth2/par", json!({})),
        key.proof("POST", "/oauth2/token", json!({ "iat": now() - 300 })),
        key.proof("POST", "/oauth2/token", json!({ "iat": now() + 300 })),
        "x".into(),
    ] {
        assert_eq!(suite.form_with("/oauth2/token", &[("dpop", &bad)], &fields).await.1["error"], "invalid_dpop_proof");
    }
    let used = proof();
    let (status, tokens) = suite.form_with("/oauth2/token", &[("dpop", &used)], &fields).await;
    assert_eq!((status, tokens["token_type"].as_str()), (200, Some("DPoP")), "{tokens}");
    let token = tokens["access_token"].as_str().unwrap();

    let ath = gantry_auth::dpop::hash(token);
    let call = async |scheme: &str, proof: Option<&str>| {
        let authorization = format!("{scheme} {token}");
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(proof.map(|p| ("dpop", p)));
        suite.get_with("/api/v1/me", &headers).await.0
    };
    let good = key.proof("GET", "/api/v1/me", json!({ "ath": ath }));
    assert_eq!(call("DPoP", Some(&good)).await, 200);
    assert_eq!(call("DPoP", Some(&good)).await, 401, "a proof counts once");
    assert_eq!(call("Bearer", None).await, 401, "stolen, without the key");
    assert_eq!(call("DPoP", None).await, 401);
    let fresh = || key.proof("GET", "/api/v1/me", json!({ "ath": ath }));
    assert_eq!(call("Bearer", Some(&fresh())).await, 401, "not by downgrade to Bearer");
    assert_eq!(call("DPoP", Some(&key.proof("GET", "/api/v1/me", json!({})))).await, 401, "ath is missing");
    assert_eq!(call("DPoP", Some(&key.proof("GET", "/api/v1/orgs", json!({ "ath": ath })))).await, 401);
    assert_eq!(call("DPoP", Some(&PartyKey::new("e").proof("GET", "/api/v1/me", json!({ "ath": ath })))).await, 401);
    let info = key.proof("GET", "/oauth2/userinfo", json!({ "ath": ath }));
    let authorization = format!("DPoP {token}");
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &authorization), ("dpop", &info)]).await.0, 200);
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &format!("Bearer {token}"))]).await.0, 401);
    let request = suite.world.http.get(format!("{}/oauth2/userinfo", suite.base)).header("authorization", &authorization).header("dpop", &info);
    let replayed = request.send().await.unwrap();
    let challenge = replayed.headers()["www-authenticate"].to_str().unwrap();
    assert!(replayed.status() == 401 && challenge.starts_with("DPoP error=\"invalid_dpop_proof\""), "{challenge}");

    let refresh = [("grant_type", "refresh_token"), ("client_id", &id), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let thief = PartyKey::new("t").proof("POST", "/oauth2/token", json!({}));
    assert_eq!(suite.form_with("/oauth2/token", &[("dpop", &thief)], &refresh).await.1["error"], "invalid_dpop_proof");
    assert_eq!(suite.form_with("/oauth2/token", &[("dpop", &used)], &refresh).await.1["error"], "invalid_dpop_proof", "a replayed proof");
    assert_eq!(suite.form_with("/oauth2/token", &[("dpop", &proof())], &refresh).await.0, 200, "the owner was not locked out by the thief");

    // A code can be bound before it is given.
    let jkt = key.jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
    let code = browser.get(&ask(&id, &pkce, &[("scope", "openid api"), ("dpop_jkt", &jkt)])).await.code();
    let thief = PartyKey::new("t").proof("POST", "/oauth2/token", json!({}));
    assert_eq!(suite.form_with("/oauth2/token", &[("dpop", &thief)], &exchange(&id, "", &code, &pkce)).await.1["error"], "invalid_dpop_proof");
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_trusted_ci_system_becomes_the_robot_its_claims_name() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("eve").await;
    let (ada, eve) = (suite.access("ada").await, suite.access("eve").await);
    for (who, org) in [(&ada, "acme"), (&eve, "evil")] {
        assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(who), Some(json!({ "name": org }))).await.0, 201);
    }
    let deployer =
        json!({ "id": "deployer", "org": "acme", "settings": crate::party::settings(json!({ "grant_types": ["client_credentials"], "redirect_uris": [] })) });
    let (_, made) = suite.json(Method::POST, "/api/v1/clients", Some(&ada), Some(deployer)).await;
    let robot = made["robot"].as_str().unwrap();
    let key = PartyKey::new("ci-1");
    let trust = |org: &str, claims: Value| {
        let settings = json!({ "issuer": "https://ci.example", "jwks": key.set(), "rules": [{ "client": "deployer", "claims": claims }] });
        json!({ "name": "ci", "org": org, "settings": settings })
    };
    let rule = json!({ "repository": "acme/shop", "ref": "refs/heads/main" });
    assert_eq!(suite.json(Method::POST, "/api/v1/trusted-issuers", Some(&eve), Some(trust("acme", rule.clone()))).await.0, 404);
    assert_eq!(suite.json(Method::POST, "/api/v1/trusted-issuers", Some(&eve), Some(trust("evil", rule.clone()))).await.0, 400, "not somebody else's robot");
    assert_eq!(suite.json(Method::POST, "/api/v1/trusted-issuers", Some(&ada), Some(trust("acme", json!({ "aud": ISSUER })))).await.0, 400, "too wide");
    let (status, trusted) = suite.json(Method::POST, "/api/v1/trusted-issuers", Some(&ada), Some(trust("acme", rule))).await;
    assert_eq!(status, 201, "{trusted}");

    let job = || json!({ "iss": "https://ci.example", "aud": ISSUER, "sub": "job:1", "iat": now(), "exp": now() + 300, "repository": "acme/shop", "ref": "refs/heads/main" });
    let exchange = async |token: &str| {
        let fields = [("grant_type", EXCHANGE), ("client_id", "gantry-cli"), ("subject_token", token), ("subject_token_type", JWT)];
        suite.form("/oauth2/token", &fields).await
    };
    let (status, tokens) = exchange(&key.sign(&job())).await;
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(claims(token)["sub"], *robot);
    assert!(tokens["expires_in"].as_i64().unwrap() <= 300 && tokens.get("refresh_token").is_none());
    assert_eq!(suite.json(Method::GET, "/api/v1/orgs/acme", Some(token), None).await.0, 404);
    let bind = json!({ "subject": robot, "role": "viewer", "org": "acme" });
    assert_eq!(suite.json(Method::POST, "/api/v1/bindings", Some(&ada), Some(bind)).await.0, 201);
    assert_eq!(suite.json(Method::GET, "/api/v1/orgs/acme", Some(token), None).await.0, 200);

    for (field, value) in [
        ("ref", json!("refs/heads/feature")),
        ("repository", json!("evil/shop")),
        ("aud", json!("https://other.example")),
        ("iss", json!("https://other.example")),
        ("exp", json!(now() - 60)),
        ("exp", json!(now() + 90_000)),
        ("iat", json!(now() + 600)),
        ("nbf", json!(now() + 600)),
    ] {
        let mut bad = job();
        bad[field] = value;
        let (status, error) = exchange(&key.sign(&bad)).await;
        assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")), "{bad}");
    }
    assert_eq!(exchange(&PartyKey::new("ci-1").sign(&job())).await.0, 400, "another key under the same id");
    let unsigned = format!("{}.{}.", base64url(&json!({ "alg": "none", "kid": "ci-1" })), base64url(&job()));
    assert_eq!(exchange(&unsigned).await.0, 400);
    let path = format!("/api/v1/trusted-issuers/{}", trusted["id"].as_str().unwrap());
    assert_eq!(suite.json(Method::DELETE, &path, Some(&eve), None).await.0, 404);
    assert_eq!(suite.json(Method::DELETE, &path, Some(&ada), None).await.0, 204);
    assert_eq!(exchange(&key.sign(&job())).await.0, 400);
}

fn base64url(value: &Value) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, value.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn support_acts_for_somebody_with_right_or_consent_only_and_in_both_names() {
    let suite = Suite::with(Config::default()).await;
    let ada_id = suite.register("ada").await;
    suite.register("sam").await;
    let (admin, ada, sam) = (suite.admin().await, suite.access("ada").await, suite.access("sam").await);
    let act = async |token: &str, wanted: &str| {
        let fields =
            [("grant_type", EXCHANGE), ("client_id", "gantry-cli"), ("subject_token", token), ("subject_token_type", ACCESS), ("requested_subject", wanted)];
        suite.form("/oauth2/token", &fields).await
    };
    let (status, refused) = act(&sam, "ada").await;
    assert_eq!((status, refused["error"].as_str()), (400, Some("access_denied")));
    assert_eq!(act(&sam, "nobody").await.1, refused, "and it does not say who is there");
    let (status, tokens) = act(&admin, "ada").await;
    assert_eq!(status, 200, "{tokens}");
    let lent = tokens["access_token"].as_str().unwrap();
    let read = claims(lent);
    assert_eq!(read["sub"], format!("user:{ada_id}"));
    assert!(read["act"]["sub"].as_str().unwrap().starts_with("user:") && read["act"]["sub"] != read["sub"]);
    assert!(tokens["expires_in"].as_i64().unwrap() <= 300 && tokens.get("refresh_token").is_none());
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(lent), None).await.1["username"], "ada");
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(lent), Some(json!({ "name": "adas" }))).await.0, 201);
    let from: String = sqlx::query_scalar("select from_addr from events where kind = 'org.created'").fetch_one(&suite.host.db().pool).await.unwrap();
    assert!(from.ends_with(read["act"]["sub"].as_str().unwrap()), "the record names who really did it: {from}");
    assert_eq!(act(lent, "sam").await.0, 400, "nobody hides behind two people");
    assert_eq!(suite.json(Method::PUT, "/api/v1/me/impersonators/sam", Some(lent), Some(json!({}))).await.0, 403, "only the person lends");

    assert_eq!(suite.json(Method::PUT, "/api/v1/me/impersonators/sam", Some(&ada), Some(json!({ "minutes": 5 }))).await.0, 204);
    assert_eq!(act(&sam, "ada").await.0, 200);
    assert_eq!(suite.json(Method::DELETE, "/api/v1/me/impersonators/sam", Some(&ada), None).await.0, 204);
    assert_eq!(act(&sam, "ada").await.0, 400);
    let facts: Vec<(String, String)> =
        sqlx::query_as("select object, fact ->> 'result' from fact_chain where fact ->> 'action' = 'person.impersonated' order by seq")
            .fetch_all(&suite.host.db().pool)
            .await
            .unwrap();
    assert!(facts.iter().any(|(o, r)| *o == format!("user:{ada_id}") && r == "ok") && facts.iter().any(|(_, r)| r == "denied"), "{facts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_called_calls_on_in_the_persons_name() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (front, front_secret) = suite.client(&admin, json!({ "audience": "https://orders.example" })).await;
    let back = json!({ "audience": "https://orders.example", "grant_types": [EXCHANGE], "redirect_uris": [], "scopes": ["email", "profile"] });
    let (orders, orders_secret) = suite.client(&admin, back).await;
    let (stranger, stranger_secret) = suite.client(&admin, json!({ "grant_types": [EXCHANGE], "redirect_uris": [] })).await;
    let pkce = Pkce::new("d");
    let code = suite.signed_in("ada").await.get(&ask(&front, &pkce, &[("scope", "openid email")])).await.code();
    let (_, tokens) = suite.form("/oauth2/token", &exchange(&front, &front_secret, &code, &pkce)).await;
    let token = tokens["access_token"].as_str().unwrap();
    let audience: Vec<String> = serde_json::from_value(claims(token)["aud"].clone()).unwrap();
    assert!(audience.contains(&"https://orders.example".to_owned()));
    let call_on = async |client: &str, secret: &str, scope: &str| {
        let fields = [
            ("grant_type", EXCHANGE),
            ("client_id", client),
            ("client_secret", secret),
            ("subject_token", token),
            ("subject_token_type", ACCESS),
            ("scope", scope),
        ];
        suite.form("/oauth2/token", &fields).await
    };
    let (status, on) = call_on(&orders, &orders_secret, "email").await;
    assert_eq!(status, 200, "{on}");
    let read = claims(on["access_token"].as_str().unwrap());
    assert_eq!((read["sub"].clone(), read["act"]["client_id"].as_str()), (claims(token)["sub"].clone(), Some(orders.as_str())));
    assert_eq!(call_on(&orders, &orders_secret, "email groups").await.1["error"], "invalid_scope", "not more than the person gave");
    assert_eq!(call_on(&stranger, &stranger_secret, "email").await.1["error"], "invalid_grant", "the token was not for this one");
    let revoke = [("client_id", front.as_str()), ("client_secret", &front_secret), ("token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/revoke", &revoke).await.0, 200);
    assert_eq!(call_on(&orders, &orders_secret, "email").await.0, 400, "revoked");
}
