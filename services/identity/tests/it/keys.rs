//! Signing keys of three algorithms, turned by hand under load; metadata; sign-out that reaches the clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::routing::post;
use gantry_testkit::World;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::party::{ask, claims, exchange};
use crate::support::{ISSUER, Pkce, Suite};

#[tokio::test(flavor = "multi_thread")]
async fn each_client_gets_id_tokens_of_its_algorithm_and_a_key_is_replaced_without_one_failed_request() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let mut browser = suite.signed_in("ada").await;
    for alg in ["RS256", "ES256", "EdDSA"] {
        let (id, secret) = suite.client(&admin, json!({ "id_token_signed_response_alg": alg })).await;
        let pkce = Pkce::new(alg);
        let code = browser.get(&ask(&id, &pkce, &[])).await.code();
        let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
        assert!(verifies(&suite, tokens["id_token"].as_str().unwrap(), &id).await, "{alg}");
        assert_eq!(jsonwebtoken::decode_header(tokens["id_token"].as_str().unwrap()).unwrap().alg, alg.parse().unwrap());
    }

    let rotate = async |token: &str, body: Value| suite.json(Method::POST, "/api/v1/signing-keys", Some(token), Some(body)).await;
    let ada = suite.access("ada").await;
    assert_eq!(rotate(&ada, json!({ "alg": "ES256" })).await.0, 403);
    assert_eq!(suite.json(Method::GET, "/api/v1/signing-keys", Some(&ada), None).await.0, 403);
    assert_eq!(rotate(&admin, json!({ "alg": "HS256" })).await.0, 400);
    assert_eq!(rotate(&admin, json!({ "alg": "ES256", "after_seconds": 1 })).await.0, 400);

    // Under load: a client gets tokens and calls with them while keys are added.
    let (id, secret) = suite.client(&admin, json!({ "grant_types": ["client_credentials"], "redirect_uris": [] })).await;
    let (stop, done, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let load = async {
        while !stop.load(Ordering::Relaxed) {
            let fields = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
            let (status, tokens) = suite.form("/oauth2/token", &fields).await;
            let token = tokens["access_token"].as_str().unwrap_or_default();
            let called = suite.json(Method::GET, "/api/v1/orgs", Some(token), None).await.0;
            done.fetch_add(1, Ordering::Relaxed);
            if status != 200 || called != 200 {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let turning = async {
        let mut kids = Vec::new();
        for _ in 0..5 {
            let (status, key) = rotate(&admin, json!({ "alg": "ES256", "after_seconds": 60 })).await;
            assert_eq!((status, key["state"].as_str()), (201, Some("coming")), "{key}");
            kids.push(key["kid"].as_str().unwrap().to_owned());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // One of them signs now, as it would when its time comes; everybody has had it by then.
        let sql = "update signing_keys set active_at = now() where kid = $1";
        sqlx::query(sql).bind(&kids[0]).execute(&suite.host.db().admin).await.unwrap();
        let (_, key) = rotate(&admin, json!({ "alg": "EdDSA", "after_seconds": 60 })).await;
        assert_eq!(key["state"], "coming");
        // Tokens are signed and checked meanwhile, while the new key only comes.
        suite.world.until("tokens are got and used", Duration::from_secs(30), || async { done.load(Ordering::Relaxed) > 5 }).await;
        stop.store(true, Ordering::Relaxed);
        kids
    };
    let (_, kids) = tokio::join!(load, turning);
    assert!(done.load(Ordering::Relaxed) > 5);
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", done.load(Ordering::Relaxed));
    let now_signing = suite.access("ada").await;
    assert_eq!(jsonwebtoken::decode_header(&now_signing).unwrap().kid.as_deref(), Some(kids[0].as_str()));
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(&ada), None).await.0, 200, "what the old key signed still counts");

    // In somebody's hands: gone at once, with all that it signed.
    let (status, key) = rotate(&admin, json!({ "alg": "ES256", "compromised": true })).await;
    assert_eq!((status, key["state"].as_str()), (201, Some("signing")), "{key}");
    let bearer = format!("Bearer {ada}");
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await.0, 401);
    let fresh = suite.access("ada").await;
    let bearer = format!("Bearer {fresh}");
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await.0, 200);
}

async fn verifies(suite: &Suite, token: &str, audience: &str) -> bool {
    let (_, set) = suite.json(Method::GET, "/oauth2/jwks", None, None).await;
    assert!(!set.to_string().contains("\"d\":"), "{set}");
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = set.find(header.kid.as_deref().unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(header.alg);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[ISSUER]);
    jsonwebtoken::decode::<Value>(token, &jsonwebtoken::DecodingKey::from_jwk(key).unwrap(), &rules).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_in_the_metadata_answers() {
    let suite = Suite::start().await;
    let (_, _, oidc) = suite.get_with("/.well-known/openid-configuration", &[]).await;
    let (_, _, oauth) = suite.get_with("/.well-known/oauth-authorization-server", &[]).await;
    assert_eq!(oidc, oauth);
    assert_eq!(oidc["issuer"], ISSUER);
    for required in
        ["authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"]
    {
        assert!(!oidc[required].is_null(), "{required}");
    }
    assert!(oidc["id_token_signing_alg_values_supported"].as_array().unwrap().contains(&json!("RS256")), "OpenID Connect Discovery 3");
    let places = oidc.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
    for (name, place) in places {
        let path = place.as_str().unwrap().strip_prefix(ISSUER).unwrap();
        let (by_get, by_post) = (suite.get_with(path, &[]).await.0, suite.form(path, &[]).await.0);
        assert!(by_get != 404 && by_post != 404 && (by_get < 500 && by_post < 500), "{name}: {by_get} {by_post}");
    }
    for grant in oidc["grant_types_supported"].as_array().unwrap() {
        let fields = [("client_id", "gantry-cli"), ("grant_type", grant.as_str().unwrap())];
        assert_ne!(suite.form("/oauth2/token", &fields).await.1["error"], "unsupported_grant_type", "{grant}");
    }
    assert_eq!(suite.form("/oauth2/token", &[("client_id", "gantry-cli"), ("grant_type", "password")]).await.1["error"], "unsupported_grant_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hears_of_a_sign_out_even_when_it_was_away() {
    // The client is on this machine.
    let suite = Suite::with(gantry_identity::config::Config { outside_private: true, ..Default::default() }).await;
    let ada = suite.register("ada").await;
    let admin = suite.admin().await;
    let (heard, mut notices) = mpsc::unbounded_channel::<String>();
    let away = Arc::new(AtomicUsize::new(1));
    let address = client_with_tls(&suite.world, heard, away.clone()).await;
    let (id, secret) =
        suite.client(&admin, json!({ "backchannel_logout_uri": format!("https://{address}/logout"), "backchannel_logout_session_required": true })).await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("b");
    let code = browser.get(&ask(&id, &pkce, &[("scope", "openid profile")])).await.code();
    let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    let id_token = claims(tokens["id_token"].as_str().unwrap());

    let hint = tokens["id_token"].as_str().unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("id_token_hint", hint)
        .append_pair("post_logout_redirect_uri", "https://evil.example/")
        .finish();
    let out = browser.get(&format!("/oauth2/logout?{query}")).await;
    assert_eq!((out.status, out.location()), (200, ""), "nobody is sent to an address that is not registered");
    let notice = tokio::time::timeout(Duration::from_secs(60), notices.recv()).await.expect("told, at the second try").unwrap();
    assert_eq!(away.load(Ordering::SeqCst), 0, "the first try failed");
    let read = claims(&notice);
    assert_eq!(
        (read["sub"].as_str(), read["sid"].clone(), read["aud"].as_str()),
        (Some(format!("user:{ada}").as_str()), id_token["sid"].clone(), Some(id.as_str()))
    );
    assert!(read["events"]["http://schemas.openid.net/event/backchannel-logout"].is_object() && read.get("nonce").is_none());
    assert_eq!(jsonwebtoken::decode_header(&notice).unwrap().typ.as_deref(), Some("logout+jwt"));
    assert!(verifies(&suite, &notice, &id).await);
    let refresh =
        [("grant_type", "refresh_token"), ("client_id", &id), ("client_secret", &secret), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/token", &refresh).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_is_told_however_many_came_after_it() {
    let suite = Suite::with(gantry_identity::config::Config { outside_private: true, ..Default::default() }).await;
    let ada = suite.register("ada").await;
    let admin = suite.admin().await;
    let (heard, mut notices) = mpsc::unbounded_channel::<String>();
    let address = client_with_tls(&suite.world, heard, Arc::new(AtomicUsize::new(0))).await;
    let (id, secret) = suite.client(&admin, json!({ "backchannel_logout_uri": format!("https://{address}/logout") })).await;
    let join = async || {
        let pkce = Pkce::new("m");
        let code = suite.signed_in("ada").await.get(&ask(&id, &pkce, &[])).await.code();
        let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
        claims(tokens["id_token"].as_str().unwrap())["sid"].as_str().unwrap().to_owned()
    };
    let mut told = async || claims(&tokio::time::timeout(Duration::from_secs(60), notices.recv()).await.expect("told").unwrap())["sid"].clone();
    let (first, second, third) = (join().await, join().await, join().await);
    let mut browser = suite.signed_in("ada").await;
    let many = "insert into sessions (id, user_id, secret_hash, created_at, last_seen_at, auth_time, amr, expires_at, from_addr, user_agent)
                select gen_random_uuid(), $1::uuid, sha256(convert_to(n::text, 'UTF8')), now() + n * interval '1 second', now(), now(), 'pwd',
                       now() + interval '1 hour', '', '' from generate_series(1, 300) n";
    sqlx::query(many).bind(&ada).execute(&suite.host.db().pool).await.unwrap();

    assert_eq!(suite.delete(&admin, &format!("/api/v1/users/ada/sessions/{first}")).await, 204);
    assert_eq!(told().await, json!(first));
    // All others at once, on the account page.
    let page = browser.get("/account").await;
    let done = browser.post("/account/end-sessions", &[("csrf", &page.field("csrf"))]).await;
    assert_eq!(done.status, 303, "{}", done.body);
    let mut rest = vec![told().await, told().await];
    rest.sort_by_key(ToString::to_string);
    let mut expected = vec![json!(second), json!(third)];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(rest, expected);
    let left: i64 = sqlx::query_scalar("select count(*) from sessions where user_id = $1::uuid and ended_at is null")
        .bind(&ada)
        .fetch_one(&suite.host.db().pool)
        .await
        .unwrap();
    assert_eq!(left, 1, "the one at which it was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_time_is_over_ends_and_is_told_though_its_browser_never_comes_back() {
    gantry_testkit::clause("6.5.2.2.j");
    let config = gantry_identity::config::Config { outside_private: true, ..Default::default() };
    let suite = Suite::with(config.clone()).await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (heard, mut notices) = mpsc::unbounded_channel::<String>();
    let address = client_with_tls(&suite.world, heard, Arc::new(AtomicUsize::new(0))).await;
    let (id, secret) = suite.client(&admin, json!({ "backchannel_logout_uri": format!("https://{address}/logout") })).await;
    let join = async || {
        let pkce = Pkce::new("o");
        let code = suite.signed_in("ada").await.get(&ask(&id, &pkce, &[("scope", "openid profile")])).await.code();
        let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
        let session = claims(tokens["id_token"].as_str().unwrap())["sid"].as_str().unwrap().to_owned();
        (session, tokens["refresh_token"].as_str().unwrap().to_owned())
    };
    let (idle, busy, old) = (join().await, join().await, join().await);
    assert_eq!(suite.put(&admin, "/api/v1/policies/security", json!({ "session_idle_minutes": 5, "session_hours": 8 })).await, 200);
    let pool = &suite.host.db().pool;
    // Nobody's browser was here lately. In one session tokens are in use; one has run out, its refresh token has not.
    sqlx::query("update sessions set last_seen_at = now() - interval '1 hour'").execute(pool).await.unwrap();
    let at = |session: &str| session.parse::<uuid::Uuid>().unwrap();
    let unused = "update families set created_at = now() - interval '1 hour' where session_id = $1";
    sqlx::query(unused).bind(at(&idle.0)).execute(pool).await.unwrap();
    let run_out = "update sessions set created_at = now() - interval '9 hours', expires_at = now() - interval '1 hour' where id = $1";
    sqlx::query(run_out).bind(at(&old.0)).execute(pool).await.unwrap();

    // Another replica looks when it starts.
    let (beside, _) = suite.world.replica::<gantry_identity::Identity>(config).await;
    let mut told = async || claims(&tokio::time::timeout(Duration::from_secs(120), notices.recv()).await.expect("told").unwrap())["sid"].clone();
    let mut over = [told().await, told().await].map(|sid| sid.as_str().unwrap().to_owned());
    over.sort();
    let mut expected = [idle.0.clone(), old.0.clone()];
    expected.sort();
    assert_eq!(over, expected);
    for ((_, token), status) in [(&idle, 400), (&busy, 200), (&old, 400)] {
        let fields = [("grant_type", "refresh_token"), ("client_id", &id), ("client_secret", &secret), ("refresh_token", token)];
        assert_eq!(suite.form("/oauth2/token", &fields).await.0, status);
    }
    beside.stop().await;
}

/// A client's endpoint with a certificate of the installation; it is away for the first `away` requests.
async fn client_with_tls(world: &World, heard: mpsc::UnboundedSender<String>, away: Arc<AtomicUsize>) -> std::net::SocketAddr {
    type Heard = (mpsc::UnboundedSender<String>, Arc<AtomicUsize>);
    async fn logout(State((heard, away)): State<Heard>, Form(form): Form<Vec<(String, String)>>) -> http::StatusCode {
        if away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return http::StatusCode::SERVICE_UNAVAILABLE;
        }
        let token = form.into_iter().find(|(n, _)| n == "logout_token").map(|(_, v)| v).unwrap_or_default();
        heard.send(token).unwrap();
        http::StatusCode::OK
    }
    let leaf = world.running.pki().leaf("127.0.0.1", &["127.0.0.1"]).unwrap();
    let tls = gantry_host::server_config(world.running.pki(), &leaf, false).unwrap();
    let app = axum::Router::new().route("/logout", post(logout)).with_state((heard, away));
    let listening = gantry_host::serve("127.0.0.1:0".parse().unwrap(), tls, app.into_service(), &world.running.doors).await.unwrap();
    listening.address
}
