//! Refresh tokens rotate; a replay ends the family.

use serde_json::Value;

use crate::support::Suite;
use gantry_identity::config::Config;

async fn refresh(suite: &Suite, token: &str) -> (u16, Value) {
    suite.form("/oauth2/token", &[("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", token)]).await
}

fn token(answer: &Value) -> String {
    answer["refresh_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_gets_the_same_successor_and_a_later_replay_ends_the_family() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let first = token(&suite.tokens("ada").await);
    let (status, answer) = refresh(&suite, &first).await;
    assert_eq!(status, 200, "{answer}");
    let second = token(&answer);
    assert_ne!(first, second);
    assert_eq!(token(&refresh(&suite, &first).await.1), second, "a repetition within the grace");
    let third = token(&refresh(&suite, &second).await.1);
    let (status, error) = refresh(&suite, &first).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")), "its successor was used: a replay");
    assert_eq!(refresh(&suite, &third).await.0, 400, "the family has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_at_once_get_the_same_successor() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let first = token(&suite.tokens("ada").await);
    let (a, b, c) = tokio::join!(refresh(&suite, &first), refresh(&suite, &first), refresh(&suite, &first));
    assert_eq!(token(&a.1), token(&b.1));
    assert_eq!(token(&a.1), token(&c.1));
    assert_eq!(refresh(&suite, &token(&a.1)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grace_every_repetition_is_a_replay() {
    let suite = Suite::with(Config { refresh_grace_seconds: 0, ..Config::default() }).await;
    suite.register("ada").await;
    let first = token(&suite.tokens("ada").await);
    let second = token(&refresh(&suite, &first).await.1);
    assert_eq!(refresh(&suite, &first).await.0, 400);
    assert_eq!(refresh(&suite, &second).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_belongs_to_its_client_and_can_be_revoked() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let first = token(&suite.tokens("ada").await);
    let foreign = [("grant_type", "refresh_token"), ("client_id", "gantry-cli"), ("refresh_token", first.as_str())];
    assert_eq!(suite.form("/oauth2/token", &foreign).await.0, 400);
    let wider = [("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", &first), ("scope", "openid admin")];
    assert_eq!(suite.form("/oauth2/token", &wider).await.1["error"], "invalid_scope");
    assert_eq!(suite.form("/oauth2/revoke", &[("client_id", "gantry-cli"), ("token", &first)]).await.0, 200, "another client's token is left alone");
    let second = token(&refresh(&suite, &first).await.1);
    assert_eq!(suite.form("/oauth2/revoke", &[("client_id", "gantry-console"), ("token", &second)]).await.0, 200);
    assert_eq!(refresh(&suite, &second).await.0, 400);
}
