//! Programs with a secret of their own, and what they may ask about tokens.

use gantry_identity::config::{ClientConfig, Config};
use reqwest::Method;
use serde_json::json;

use crate::support::{PASSWORD, Suite};

async fn suite_with_client() -> (Suite, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let secret_file = folder.path().join("secret");
    std::fs::write(&secret_file, "s3cret-of-the-robot\n").unwrap();
    let client = ClientConfig {
        id: "robot".into(),
        name: "Robot".into(),
        secret_file: Some(secret_file),
        redirect_uris: vec![],
        post_logout_redirect_uris: vec![],
        grants: vec!["client_credentials".into()],
    };
    (Suite::with(Config { clients: vec![client], ..Config::default() }).await, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_acts_as_its_robot_and_only_with_its_secret() {
    let (suite, _folder) = suite_with_client().await;
    let ask =
        async |secret: &str| suite.form("/oauth2/token", &[("grant_type", "client_credentials"), ("client_id", "robot"), ("client_secret", secret)]).await;
    let (status, error) = ask("wrong").await;
    assert_eq!((status, error["error"].as_str()), (401, Some("invalid_client")));
    let (status, tokens) = ask("s3cret-of-the-robot").await;
    assert_eq!(status, 200, "{tokens}");
    for (scope, expected) in [("openid api", Ok("api")), ("nothing known", Err("invalid_scope"))] {
        let fields = [("grant_type", "client_credentials"), ("client_id", "robot"), ("client_secret", "s3cret-of-the-robot"), ("scope", scope)];
        let answer = suite.form("/oauth2/token", &fields).await.1;
        assert_eq!(answer["scope"].as_str().ok_or_else(|| answer["error"].as_str().unwrap()), expected, "{answer}");
    }
    let robot = tokens["access_token"].as_str().unwrap();
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&ada), Some(json!({ "name": "acme" }))).await.0, 201);
    assert_eq!(suite.json(Method::GET, "/api/v1/orgs/acme", Some(robot), None).await.0, 404);
    let (_, introspected) = suite.form("/oauth2/introspect", &[("client_id", "robot"), ("client_secret", "s3cret-of-the-robot"), ("token", robot)]).await;
    let subject = introspected["sub"].as_str().unwrap().to_owned();
    assert!(subject.starts_with("robot:"), "{introspected}");
    let bind = json!({ "subject": subject, "role": "viewer", "org": "acme" });
    assert_eq!(suite.json(Method::POST, "/api/v1/bindings", Some(&ada), Some(bind)).await.0, 201);
    assert_eq!(suite.json(Method::GET, "/api/v1/orgs/acme", Some(robot), None).await.0, 200);
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(robot), Some(json!({ "name": "mine" }))).await.0, 403, "robots own nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_knows_whether_a_token_still_counts() {
    let (suite, _folder) = suite_with_client().await;
    suite.register("ada").await;
    let tokens = suite.tokens("ada").await;
    let active = async |token: &str| {
        let fields = [("client_id", "robot"), ("client_secret", "s3cret-of-the-robot"), ("token", token)];
        suite.form("/oauth2/introspect", &fields).await.1["active"].as_bool().unwrap()
    };
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    assert!(active(access).await && active(refresh).await);
    assert!(!active("gr_unknown").await);
    assert_eq!(suite.form("/oauth2/introspect", &[("client_id", "gantry-console"), ("token", access)]).await.0, 401, "public clients learn nothing");
    // A directory that cannot be read says nothing of who is in it.
    let rename = async |from: &str, to: &str| {
        sqlx::query(sqlx::AssertSqlSafe(format!("alter table {from} rename to {to}"))).execute(&suite.host.db().admin).await.unwrap();
    };
    rename("users", "users_away").await;
    let (status, answer) = suite.form("/oauth2/introspect", &[("client_id", "robot"), ("client_secret", "s3cret-of-the-robot"), ("token", access)]).await;
    let bearer = suite.world.http.get(format!("{}/oauth2/userinfo", suite.base)).bearer_auth(access).send().await.unwrap();
    rename("users_away", "users").await;
    assert!(status >= 500 && answer["active"].is_null(), "{status} {answer}");
    assert!(bearer.status().is_server_error(), "{}", bearer.status());
    assert!(active(access).await);
    assert_eq!(suite.form("/oauth2/revoke", &[("client_id", "gantry-console"), ("token", refresh)]).await.0, 200);
    assert!(!active(access).await && !active(refresh).await, "the family is revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_starts_from_name_and_password() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let make = async |password: &str| {
        let request = suite.world.http.post(format!("{}/api/v1/tokens", suite.base)).basic_auth("ada", Some(password)).json(&json!({ "name": "script" }));
        request.send().await.unwrap()
    };
    assert_eq!(make("wrong").await.status(), 401);
    let made = make(PASSWORD).await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_and_refusals_are_on_record_and_the_record_cannot_be_changed() {
    gantry_testkit::clause("6.6.2.1.a");
    let suite = Suite::start().await;
    let id = suite.register("ada").await;
    suite.tokens("ada").await;
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    browser.submit_login(&page, "ada", "wrong").await;
    let pool = &suite.host.db().pool;
    let facts: Vec<(String, String, String)> =
        sqlx::query_as("select fact ->> 'action', object, fact ->> 'result' from fact_chain order by seq").fetch_all(pool).await.unwrap();
    let has = |action: &str, result: &str| facts.iter().any(|(a, _, r)| a == action && r == result);
    assert!(has("session.opened", "ok") && has("token.issued", "ok"), "{facts:?}");
    assert!(facts.contains(&("session.refused".into(), format!("user:{id}"), "denied".into())), "{facts:?}");
    let changed = sqlx::query("update fact_chain set at = now()").execute(pool).await.unwrap_err();
    assert!(changed.to_string().contains("permission denied"), "{changed}");
    let all: String = sqlx::query_scalar("select string_agg(data::text || actor, ' ') from events").fetch_one(pool).await.unwrap();
    assert!(!all.contains("ada@example.org") && !all.contains(PASSWORD), "nothing personal stands in the log in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_program_hears_of_its_organisations_tokens_only() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    let refresh = suite.tokens("bob").await["refresh_token"].as_str().unwrap().to_owned();
    let mut made = Vec::new();
    for id in ["one", "two"] {
        let settings = crate::party::settings(json!({ "grant_types": ["client_credentials"], "redirect_uris": [] }));
        let (status, client) = suite.post(&ada, "/api/v1/clients", json!({ "id": id, "org": "acme", "settings": settings })).await;
        assert_eq!(status, 201, "{client}");
        made.push((id, client["secret"].as_str().unwrap().to_owned()));
    }
    let own = async |(id, secret): &(&str, String)| {
        let fields = [("grant_type", "client_credentials"), ("client_id", *id), ("client_secret", secret)];
        let (status, tokens) = suite.form("/oauth2/token", &fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens["access_token"].as_str().unwrap().to_owned()
    };
    let (one, two) = (own(&made[0]).await, own(&made[1]).await);
    for (token, known) in [(&one, true), (&two, true), (&bob, false), (&refresh, false)] {
        let fields = [("client_id", "one"), ("client_secret", made[0].1.as_str()), ("token", token)];
        let (status, told) = suite.form("/oauth2/introspect", &fields).await;
        assert_eq!((status, told["active"].as_bool(), told.get("sub").is_some()), (200, Some(known), known), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_refresh_token_gives_counts_after_the_browsers_session_has_run_out() {
    let (suite, _folder) = suite_with_client().await;
    suite.register("ada").await;
    let tokens = suite.tokens("ada").await;
    let pool = &suite.host.db().pool;
    sqlx::query("update sessions set expires_at = now() - interval '1 minute'").execute(pool).await.unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let (status, next) = suite.form("/oauth2/token", &[("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", refresh)]).await;
    assert_eq!(status, 200, "{next}");
    let access = next["access_token"].as_str().unwrap();
    let fields = [("client_id", "robot"), ("client_secret", "s3cret-of-the-robot"), ("token", access)];
    assert_eq!(suite.form("/oauth2/introspect", &fields).await.1["active"], true);
    let bearer = format!("Bearer {access}");
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await.0, 200);
}
