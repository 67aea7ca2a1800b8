//! The device flow of the command line.

use reqwest::Method;
use serde_json::Value;

use crate::support::{Browser, PASSWORD, Suite};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_connected_by_its_person_and_slowed_down_when_hasty() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (status, started) = suite.form("/oauth2/device_authorization", &[("client_id", "gantry-cli")]).await;
    assert_eq!(status, 200, "{started}");
    let device_code = started["device_code"].as_str().unwrap();
    let poll = [("grant_type", GRANT), ("client_id", "gantry-cli"), ("device_code", device_code)];
    assert_eq!(suite.form("/oauth2/token", &poll).await.1["error"], "authorization_pending");
    assert_eq!(suite.form("/oauth2/token", &poll).await.1["error"], "slow_down");

    let mut browser = suite.browser();
    let to_login = browser.get(started["verification_uri_complete"].as_str().unwrap()).await;
    let page = browser.get(to_login.location()).await;
    let answer = browser.submit_login(&page, "ada", PASSWORD).await;
    let ask = browser.get(answer.location()).await;
    assert!(ask.body.contains("Gantry CLI") && ask.body.contains(started["user_code"].as_str().unwrap()), "{}", ask.body);
    let fields = [("csrf", ask.field("csrf")), ("user_code", ask.field("user_code")), ("decision", "approve".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(browser.post("/oauth2/device", &fields).await.status, 200);

    let (status, tokens) = suite.form("/oauth2/token", &poll).await;
    assert_eq!(status, 200, "{tokens}");
    let (status, me) = suite.json(Method::GET, "/api/v1/me", tokens["access_token"].as_str(), None).await;
    assert_eq!((status, me["username"].as_str()), (200, Some("ada")));
    assert_eq!(suite.form("/oauth2/token", &poll).await.1["error"], "invalid_grant", "once only");

    // It came from no session, and ends with all the others nevertheless.
    let refresh = [("grant_type", "refresh_token"), ("client_id", "gantry-cli"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let (status, tokens) = suite.form("/oauth2/token", &refresh).await;
    assert_eq!(status, 200, "{tokens}");
    let admin = suite.admin().await;
    for suspended in [true, false] {
        assert_eq!(suite.patch(&admin, "/api/v1/users/ada", serde_json::json!({ "suspended": suspended })).await.0, 200);
    }
    let refresh = [("grant_type", "refresh_token"), ("client_id", "gantry-cli"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/token", &refresh).await.1["error"], "invalid_grant", "who is let in again signs in again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_foreign_device_gets_nothing() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let started = suite.form("/oauth2/device_authorization", &[("client_id", "gantry-cli")]).await.1;
    let device_code = started["device_code"].as_str().unwrap();
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    assert_eq!(browser.get("/oauth2/device?user_code=BBBB-BBBB").await.status, 404);
    let ask = browser.get(&format!("/oauth2/device?user_code={}", started["user_code"].as_str().unwrap().to_lowercase())).await;
    let (csrf, code) = (ask.field("csrf"), ask.field("user_code"));
    let forged = browser.post("/oauth2/device", &[("csrf", "x"), ("user_code", &code), ("decision", "approve")]).await;
    assert_eq!(forged.status, 400);
    browser.post("/oauth2/device", &[("csrf", &csrf), ("user_code", &code), ("decision", "deny")]).await;
    let poll = [("grant_type", GRANT), ("client_id", "gantry-cli"), ("device_code", device_code)];
    assert_eq!(suite.form("/oauth2/token", &poll).await.1["error"], "access_denied");
    assert_eq!(suite.form("/oauth2/device_authorization", &[("client_id", "gantry-console")]).await.1["error"], "unauthorized_client");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_not_found_by_deciding_on_one_after_the_other() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let csrf = browser.get("/oauth2/device").await.field("csrf");
    let mut statuses = Vec::new();
    for last in "BCDFGHJKLMNPQRSTVWXZ".chars() {
        let code = format!("BBBB-BBB{last}");
        statuses.push(browser.post("/oauth2/device", &[("csrf", &csrf), ("user_code", &code), ("decision", "approve")]).await.status);
    }
    assert_eq!((statuses.first().copied(), statuses.last().copied()), (Some(404), Some(429)), "{statuses:?}");
}

/// A device that the person of `browser` has approved: the form of its poll.
async fn approved(suite: &Suite, browser: &mut Browser<'_>) -> [(&'static str, String); 3] {
    let started = suite.form("/oauth2/device_authorization", &[("client_id", "gantry-cli")]).await.1;
    let ask = browser.get(&format!("/oauth2/device?user_code={}", started["user_code"].as_str().unwrap())).await;
    let (csrf, code) = (ask.field("csrf"), ask.field("user_code"));
    assert_eq!(browser.post("/oauth2/device", &[("csrf", &csrf), ("user_code", &code), ("decision", "approve")]).await.status, 200);
    [("grant_type", GRANT.into()), ("client_id", "gantry-cli".into()), ("device_code", started["device_code"].as_str().unwrap().to_owned())]
}

async fn poll(suite: &Suite, device: &[(&'static str, String); 3]) -> (u16, Value) {
    let fields: Vec<(&str, &str)> = device.iter().map(|(n, v)| (*n, v.as_str())).collect();
    suite.form("/oauth2/token", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_approved_before_all_sign_ins_were_ended_gets_nothing() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let device = approved(&suite, &mut browser).await;
    let admin = suite.admin().await;
    for suspended in [true, false] {
        assert_eq!(suite.patch(&admin, "/api/v1/users/ada", serde_json::json!({ "suspended": suspended })).await.0, 200);
    }
    let (status, refused) = poll(&suite, &device).await;
    assert_eq!((status, refused["error"].as_str()), (400, Some("invalid_grant")), "{refused}");
    assert_eq!(poll(&suite, &device).await.1["error"], "invalid_grant", "nor later");
    let begun: i64 = sqlx::query_scalar("select count(*) from families where client_id = 'gantry-cli'").fetch_one(&suite.host.db().pool).await.unwrap();
    assert_eq!(begun, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_approved_before_its_application_was_disconnected_gets_nothing() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let ada = suite.access("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let device = approved(&suite, &mut browser).await;
    assert_eq!(suite.delete(&ada, "/api/v1/me/applications/gantry-cli").await, 204);
    let (status, refused) = poll(&suite, &device).await;
    assert_eq!((status, refused["error"].as_str()), (400, Some("access_denied")), "{refused}");
    // Approved again, it is connected again.
    let device = approved(&suite, &mut browser).await;
    assert_eq!(poll(&suite, &device).await.0, 200);
    assert_eq!(suite.delete(&ada, "/api/v1/me/applications/gantry-cli").await, 204);
    assert_eq!(suite.delete(&ada, "/api/v1/me/applications/gantry-cli").await, 404, "nothing is left");
}

/// The end of the sessions and the poll at the same time, many times: whoever comes first, nothing that was given stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_beside_the_end_of_all_sessions_leaves_no_token_that_counts() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    for _ in 0..5 {
        let mut browser = suite.browser();
        browser.sign_in("ada", PASSWORD).await;
        let device = approved(&suite, &mut browser).await;
        let ada = suite.access("ada").await;
        // All but the session that this token came from.
        let (ended, (status, tokens)) = tokio::join!(suite.delete(&ada, "/api/v1/sessions"), poll(&suite, &device));
        assert_eq!(ended, 204);
        if status != 200 {
            assert_eq!(tokens["error"], "invalid_grant", "{tokens}");
            continue;
        }
        let refresh = [("grant_type", "refresh_token"), ("client_id", "gantry-cli"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        assert_eq!(suite.form("/oauth2/token", &refresh).await.1["error"], "invalid_grant", "it came before the end, and ended with the rest");
    }
}
