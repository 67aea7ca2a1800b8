//! Refresh tokens for when the person is away (`offline_access`), and what uses a session.

use gantry_identity::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::certificates::{AUTHORITIES, DOOR, authority, bind, mailed, through_door};
use crate::party::{ask, claims, exchange};
use crate::revocation::revoked;
use crate::support::{Browser, PASSWORD, Pkce, Suite};

/// What a client gets by this scope in a browser where somebody is signed in.
async fn given(suite: &Suite, browser: &mut Browser<'_>, (id, secret): &(String, String), scope: &str) -> Value {
    let pkce = Pkce::new("o");
    let code = browser.get(&ask(id, &pkce, &[("scope", scope)])).await.code();
    let (status, tokens) = suite.form("/oauth2/token", &exchange(id, secret, &code, &pkce)).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn renewed(suite: &Suite, (id, secret): &(String, String), tokens: &Value) -> (u16, Value) {
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let fields = [("grant_type", "refresh_token"), ("client_id", id.as_str()), ("client_secret", secret.as_str()), ("refresh_token", refresh)];
    suite.form("/oauth2/token", &fields).await
}

async fn sign_out(browser: &mut Browser<'_>, tokens: &Value) {
    let hint = url::form_urlencoded::Serializer::new(String::new()).append_pair("id_token_hint", tokens["id_token"].as_str().unwrap()).finish();
    assert_eq!(browser.get(&format!("/oauth2/logout?{hint}")).await.status, 200);
    assert_eq!(browser.get("/account").await.status, 303, "nobody is signed in here any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_when_the_person_is_away_goes_on_after_the_sign_out_until_it_is_taken_back() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let client = suite.client(&admin, json!({})).await;
    let mut browser = suite.signed_in("ada").await;
    let (here, away) = (given(&suite, &mut browser, &client, "openid").await, given(&suite, &mut browser, &client, "openid offline_access").await);
    sign_out(&mut browser, &away).await;
    assert_eq!(renewed(&suite, &client, &here).await.1["error"], "invalid_grant", "it was not asked for more than the session");
    let (status, next) = renewed(&suite, &client, &away).await;
    assert_eq!(status, 200, "{next}");
    let bearer = format!("Bearer {}", next["access_token"].as_str().unwrap());
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await.0, 200);

    // One sign-in among others is ended from elsewhere: the same. All of them, the application, the account: nothing is left.
    let ada = suite.access("ada").await;
    let reset = json!({ "reason": "leaked elsewhere" });
    for how in ["one", "all", "application", "suspended", "reset"] {
        let mut browser = suite.signed_in("ada").await;
        let tokens = given(&suite, &mut browser, &client, "openid offline_access").await;
        let session = claims(tokens["id_token"].as_str().unwrap())["sid"].as_str().unwrap().to_owned();
        if how == "one" {
            assert_eq!(suite.delete(&admin, &format!("/api/v1/users/ada/sessions/{session}")).await, 204);
            assert_eq!(renewed(&suite, &client, &tokens).await.0, 200, "{how}");
            continue;
        }
        sign_out(&mut browser, &tokens).await;
        match how {
            "all" => assert_eq!(suite.delete(&ada, "/api/v1/sessions").await, 204),
            "application" => assert_eq!(suite.delete(&ada, &format!("/api/v1/me/applications/{}", client.0)).await, 204),
            "suspended" => {
                for suspended in [true, false] {
                    assert_eq!(suite.patch(&admin, "/api/v1/users/ada", json!({ "suspended": suspended })).await.0, 200);
                }
            }
            _ => assert_eq!(suite.post(&admin, "/api/v1/users/ada/require-password-reset", reset.clone()).await.0, 204),
        }
        assert_eq!(renewed(&suite, &client, &tokens).await.1["error"], "invalid_grant", "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_on_a_revoked_certificate_ends_though_its_session_was_over() {
    let suite = Suite::with(Config { certificates_url: Some(DOOR.into()), ..Config::default() }).await;
    let [ada, _, _] = suite.acme().await;
    let (home, pki, pem) = authority();
    let (status, made) = suite.post(&ada, AUTHORITIES, json!({ "name": "cards", "pem": pem })).await;
    assert_eq!(status, 201, "{made}");
    let lost = mailed(&home, &pki, &["bob@acme.example"]);
    let mut bobs = suite.signed_in("bob").await;
    assert_eq!(bind(&suite, &mut bobs, &lost, "name").await.location(), "/account?done=saved");
    let client = suite.client(&suite.admin().await, json!({})).await;
    let by_password = given(&suite, &mut bobs, &client, "openid offline_access").await;
    let mut browser = suite.browser();
    assert_eq!(through_door(&suite, &mut browser, &lost, "%2Faccount").await.status, 303);
    let by_card = given(&suite, &mut browser, &client, "openid offline_access").await;
    sign_out(&mut browser, &by_card).await;
    let (status, by_card) = renewed(&suite, &client, &by_card).await;
    assert_eq!(status, 200, "{by_card}");

    let at = format!("{AUTHORITIES}/{}/revocation", made["id"].as_str().unwrap());
    let (status, taken) = suite.json(Method::PUT, &at, Some(&ada), Some(json!({ "list": revoked(&home, &pki, &[&lost]) }))).await;
    assert_eq!(status, 200, "{taken}");
    assert_eq!(renewed(&suite, &client, &by_card).await.1["error"], "invalid_grant");
    assert_eq!(renewed(&suite, &client, &by_password).await.0, 200, "it stands on no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_with_tokens_uses_the_session_they_came_from_but_not_work_while_the_person_is_away() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let client = suite.client(&admin, json!({})).await;
    assert_eq!(suite.put(&admin, "/api/v1/policies/security", json!({ "session_idle_minutes": 5 })).await, 200);
    let pool = &suite.host.db().pool;
    for (scope, status) in [("openid", 200), ("openid offline_access", 303)] {
        let mut browser = suite.browser();
        browser.sign_in("ada", PASSWORD).await;
        given(&suite, &mut browser, &client, scope).await;
        sqlx::query("update sessions set last_seen_at = now() - interval '1 hour'").execute(pool).await.unwrap();
        assert_eq!(browser.get("/account").await.status, status, "{scope}");
        // Nor does what was done long ago.
        sqlx::query("update families set created_at = now() - interval '1 hour'").execute(pool).await.unwrap();
        sqlx::query("update sessions set last_seen_at = now() - interval '1 hour'").execute(pool).await.unwrap();
        assert_eq!(browser.get("/account").await.status, 303, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_the_strictest_policy_that_is_its_persons() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    suite.register("frank").await;
    suite.access("frank").await;
    let admin = suite.admin().await;
    // Eve's other organisation says less, and one has no limit; the platform says less still.
    assert_eq!(suite.post(&admin, "/api/v1/orgs", json!({ "name": "club" })).await.0, 201);
    assert_eq!(suite.put(&admin, "/api/v1/orgs/club/members/eve", json!({})).await, 204);
    assert_eq!(suite.put(&admin, "/api/v1/orgs/club/policies/security", json!({ "session_hours": 50 })).await, 200);
    assert_eq!(suite.put(&admin, "/api/v1/policies/security", json!({ "session_hours": 100, "session_idle_minutes": 1_000 })).await, 200);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/policies/security", json!({ "session_hours": 1 })).await, 200);
    let pool = &suite.host.db().pool;
    sqlx::query("update sessions set created_at = now() - interval '2 hours'").execute(pool).await.unwrap();
    // Another replica looks when it starts.
    let (beside, _) = suite.world.replica::<gantry_identity::Identity>(Config::default()).await;
    let living = async |name: &str| {
        let (status, shown) = suite.get(&admin, &format!("/api/v1/users/{name}")).await;
        assert_eq!(status, 200, "{shown}");
        let id: uuid::Uuid = shown["id"].as_str().unwrap().parse().unwrap();
        let sql = "select count(*) from sessions where user_id = $1 and ended_at is null";
        sqlx::query_scalar::<_, i64>(sql).bind(id).fetch_one(pool).await.unwrap()
    };
    for name in ["ada", "bob", "eve"] {
        suite.world.until("the sessions of acme end", std::time::Duration::from_secs(120), async || living(name).await == 0).await;
    }
    assert!(living("frank").await > 0 && living("admin").await > 0, "acme's rules are for acme's people");
    beside.stop().await;
}
