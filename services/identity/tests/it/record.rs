//! The record of security facts: chained, published, kept whole by many at once.

use std::time::Duration;

use futures::StreamExt;
use gantry_bus::streams::AUDIT;
use gantry_contract::audit::AuditFact;
use serde_json::json;

use crate::support::{PASSWORD, Suite};

/// The check that docs/identity.md tells operators.
const BROKEN: &str =
    "select seq from (select seq, hash, sha256(lag(hash, 1, '\\x') over (order by seq) || convert_to(seq::text || ' ' || fact::text, 'UTF8')) as ought
     from fact_chain) c where hash <> ought order by seq";

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_many_requests_at_once_are_one_chain_that_shows_tampering() {
    gantry_testkit::clause("6.6.2.1.a");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let body = json!({ "settings": { "client_name": "Job", "grant_types": ["client_credentials"] } });
    let (status, made) = suite.post(&admin, "/api/v1/clients", body).await;
    assert_eq!(status, 201, "{made}");
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let fields = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    let all = futures::future::join_all((0..40).map(|_| suite.form("/oauth2/token", &fields))).await;
    assert!(all.iter().all(|(status, _)| *status == 200), "{:?}", all.iter().find(|(s, _)| *s != 200));

    let db = suite.host.db();
    let issued: i64 = sqlx::query_scalar("select count(*) from fact_chain where object = $1 and fact ->> 'action' = 'token.issued'")
        .bind(format!("client:{id}"))
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(issued, 40, "an answer waits until its fact is kept");
    let broken: Vec<i64> = sqlx::query_scalar(BROKEN).fetch_all(&db.pool).await.unwrap();
    assert!(broken.is_empty(), "{broken:?}");
    for partition in ["fact_chain", "fact_chain_rest"] {
        let changed = sqlx::query(sqlx::AssertSqlSafe(format!("delete from {partition}"))).execute(&db.pool).await.unwrap_err();
        assert!(changed.to_string().contains("permission denied"), "{changed}");
    }
    let rest: i64 = sqlx::query_scalar("select count(*) from fact_chain_rest").fetch_one(&db.pool).await.unwrap();
    assert_eq!(rest, 0, "this month has a partition of its own");

    let proof = async || suite.get(&admin, "/api/v1/security-record/verify").await;
    let (status, whole) = proof().await;
    assert!(status == 200 && whole["whole"] == true && whole["records"].as_i64().unwrap() >= 40, "{whole}");

    // Only the schema's owner could, and it shows.
    sqlx::query("update fact_chain set fact = '{\"actor\":\"x\",\"object\":\"y\"}' where seq = 3").execute(&db.admin).await.unwrap();
    let broken: Vec<i64> = sqlx::query_scalar(BROKEN).fetch_all(&db.pool).await.unwrap();
    assert_eq!(broken, [3]);
    let (_, changed) = proof().await;
    assert_eq!((&changed["whole"], &changed["first_bad"]), (&json!(false), &json!(3)), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_shows_what_was_cut_off_and_tokens_that_were_refreshed() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, tokens) = (suite.admin().await, suite.tokens("ada").await);
    let fields = [("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    assert_eq!(suite.form("/oauth2/token", &fields).await.0, 200);
    let db = suite.host.db();
    let reasons: Vec<String> =
        sqlx::query_scalar("select fact ->> 'reason' from fact_chain where fact ->> 'action' = 'token.issued' order by seq").fetch_all(&db.pool).await.unwrap();
    assert!(reasons.contains(&"refresh_token".to_owned()), "{reasons:?}");
    let ada = tokens["access_token"].as_str().unwrap();
    assert_eq!(suite.get(ada, "/api/v1/security-record/verify").await.0, 403);
    sqlx::query("delete from fact_chain where seq = (select max(seq) from fact_chain)").execute(&db.admin).await.unwrap();
    let (_, cut) = suite.get(&admin, "/api/v1/security-record/verify").await;
    assert_eq!((&cut["whole"], &cut["first_bad"]), (&json!(false), &cut["records"]), "{cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_on_record_and_so_is_a_device_that_is_new() {
    let suite = Suite::start().await;
    let ada = format!("user:{}", suite.register("ada").await);
    let (mut home, mut office) = (suite.browser(), suite.browser());
    home.sign_in("ada", PASSWORD).await;
    home.sign_in("ada", PASSWORD).await;
    // By name or by address, it is the same person.
    office.sign_in("ada@example.org", PASSWORD).await;
    office.sign_in("Ada", PASSWORD).await;
    let pool = &suite.host.db().pool;
    let count = async |action: &str| -> i64 {
        let sql = "select count(*) from fact_chain where actor = $1 and fact ->> 'action' = $2";
        sqlx::query_scalar(sql).bind(&ada).bind(action).fetch_one(pool).await.unwrap()
    };
    assert_eq!(count("session.opened").await, 4);
    assert_eq!(count("device.new").await, 1, "the first one of all is no news, and one that is known neither");
    let devices: i64 = sqlx::query_scalar("select count(*) from known_devices").fetch_one(pool).await.unwrap();
    assert_eq!(devices, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_record_reaches_the_audit_stream_once() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.tokens("ada").await;
    let bus = &suite.host.bus;
    let consumer = bus.sample_stream(AUDIT).await.unwrap();
    let consumer = consumer.create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig::default()).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut seen: Vec<AuditFact> = Vec::new();
    while !seen.iter().any(|f| f.action == "token.issued") {
        let message = tokio::time::timeout(Duration::from_secs(90), messages.next()).await.expect("in time").unwrap().unwrap();
        seen.push(serde_json::from_slice(&message.payload).unwrap());
    }
    let opened: Vec<_> = seen.iter().filter(|f| f.action == "session.opened").collect();
    assert_eq!(opened.len(), 1, "{seen:?}");
    let published = async {
        loop {
            let behind: bool =
                sqlx::query_scalar("select published < (select seq from fact_head) from fact_relay").fetch_one(&suite.host.db().pool).await.unwrap();
            if !behind {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), published).await.expect("the relay says how far it is");
}
