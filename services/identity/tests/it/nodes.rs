//! Nodes join by a one-time token, renew by what they have, and are shut out by revocation.

use std::time::Duration;

use async_trait::async_trait;
use gantry_contract::scheduler::NodeEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_host::config::Nothing;
use gantry_host::{Host, Parts, Service};
use gantry_kernel::Name;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Suite;

/// Has the scheduler's log, and does nothing.
struct Yard;

#[async_trait]
impl Service for Yard {
    const NAME: &'static str = "scheduler";
    type Config = Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(_: Nothing, _: Host) -> anyhow::Result<Parts> {
        Ok(Parts::default())
    }
}

async fn happened(yard: &Host, events: &[NodeEvent], node: &Name) {
    let events = events.iter().map(EventData::encode).collect();
    let meta = Meta { actor: "user:op".into(), ..Meta::default() };
    yard.log().append(Append::one(StreamId::of::<NodeEvent>(node), None, events, meta)).await.unwrap();
}

pub fn request() -> (rcgen::KeyPair, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    // Names in the request are not looked at: a node cannot make itself a service.
    let mut params = rcgen::CertificateParams::new(vec!["identity".to_owned()]).unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI("spiffe://gantry/identity".try_into().unwrap()));
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, pem)
}

/// A client that shows the certificate.
fn client(suite: &Suite, key: &rcgen::KeyPair, signed: &Value) -> reqwest::Client {
    let leaf = gantry_host::Leaf { chain_pem: signed["pem"].as_str().unwrap().to_owned(), key_pem: key.serialize_pem() };
    let tls = gantry_host::client_config(suite.world.running.pki(), &leaf).unwrap();
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_once_by_its_token_renews_and_is_shut_out_by_revocation() {
    gantry_testkit::clause("7.4.3.c");
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    assert_eq!(suite.post(&ada, "/api/v1/node-join-tokens", json!({})).await.0, 403);
    assert_eq!(suite.post(&admin, "/api/v1/node-join-tokens", json!({ "expires_in_minutes": 0 })).await.0, 400);
    let (status, token) = suite.post(&admin, "/api/v1/node-join-tokens", json!({ "node": "n1" })).await;
    assert_eq!(status, 201, "{token}");
    let join = |node: &str, token: &str, request: &str| json!({ "node": node, "token": token, "request": request });
    let post = async |body: Value| suite.json(Method::POST, "/api/v1/node-certificates", None, Some(body)).await;
    let secret = token["secret"].as_str().unwrap();
    let (key, pem) = request();
    assert_eq!(post(join("n2", secret, &pem)).await.0, 401, "another node's token");
    assert_eq!(post(join("n1", "gnode_guess", &pem)).await.0, 401);
    assert_eq!(post(join("n1", secret, "no request")).await.0, 400, "and the token is not used up");
    assert_eq!(post(join("../n1", secret, &pem)).await.0, 400);
    let (status, signed) = post(join("n1", secret, &pem)).await;
    assert_eq!(status, 201, "{signed}");
    assert_eq!(post(join("n1", secret, &pem)).await.0, 401, "once");

    let renew = async |client: &reqwest::Client| {
        let url = format!("{}/api/v1/node-certificates/renewals", suite.base);
        let response = client.post(url).json(&json!({ "request": request().1 })).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let node = client(&suite, &key, &signed);
    let (status, next) = renew(&node).await;
    assert_eq!((status, next["node"].as_str()), (201, Some("n1")), "{next}");
    assert_ne!(next["serial"], signed["serial"]);
    assert_eq!(renew(&suite.world.http).await.0, 401, "a service's certificate is no node's");

    let (_, list) = suite.get(&admin, "/api/v1/node-certificates?node=n1").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(suite.delete(&ada, "/api/v1/node-certificates/n1").await, 403);
    assert_eq!(suite.delete(&admin, "/api/v1/node-certificates/n1?reason=stolen").await, 204);
    let (status, refused) = renew(&node).await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("identity.node_revoked")), "{refused}");
    let revoked = suite.world.http.get(format!("{}/api/v1/node-certificates/revoked", suite.base)).send().await.unwrap().text().await.unwrap();
    assert!(revoked.starts_with("-----BEGIN X509 CRL-----"), "{revoked}");
    assert_eq!(suite.delete(&admin, "/api/v1/node-certificates/n1").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_the_scheduler_removes_loses_its_certificates_and_joins_anew() {
    gantry_testkit::clause("7.4.3.c");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let join = async || {
        let (_, token) = suite.post(&admin, "/api/v1/node-join-tokens", json!({ "node": "n1" })).await;
        let (key, pem) = request();
        let body = json!({ "node": "n1", "token": token["secret"], "request": pem });
        let (status, signed) = suite.json(Method::POST, "/api/v1/node-certificates", None, Some(body)).await;
        assert_eq!(status, 201, "{signed}");
        client(&suite, &key, &signed)
    };
    let renews = async |client: &reqwest::Client| {
        let url = format!("{}/api/v1/node-certificates/renewals", suite.base);
        client.post(url).json(&json!({ "request": request().1 })).send().await.unwrap().status().as_u16()
    };
    let first = join().await;
    assert_eq!(renews(&first).await, 201);
    // The scheduler comes later than what it has to say: identity makes up for it.
    let yard = suite.world.start::<Yard>(Nothing::default()).await;
    let node = Name::parse("n1").unwrap();
    happened(&yard, &[NodeEvent::Removed { node: node.clone() }], &node).await;
    suite.world.until("its certificates do not count any more", Duration::from_secs(60), || async { renews(&first).await == 403 }).await;
    let (_, list) = suite.get(&admin, "/api/v1/node-certificates?node=n1").await;
    let all = list["items"].as_array().unwrap();
    assert!(all.len() >= 2 && all.iter().all(|c| c["reason"] == "removed" && c["revoked_at"].is_string()), "{list}");

    // What it is given after it joined anew stays its own, also when the removal is read once more.
    let second = join().await;
    assert_eq!((renews(&second).await, renews(&second).await), (201, 201));
    let again = gantry_es_pg::Todo::enqueue(&suite.host.db().orm, "revoke-removed-node", "n1", &Value::Null).await;
    again.unwrap();
    let done = async || {
        let left: i64 = sqlx::query_scalar("select count(*) from todos where name = 'revoke-removed-node'").fetch_one(&suite.host.db().pool).await.unwrap();
        left == 0
    };
    suite.world.until("it is done again", Duration::from_secs(60), done).await;
    assert_eq!(renews(&second).await, 201);
    happened(&yard, &[NodeEvent::Removed { node: node.clone() }], &node).await;
    suite.world.until("the next removal counts for these", Duration::from_secs(60), || async { renews(&second).await == 403 }).await;
}

/// The first certificate of a node for a token of its own: who shows it, and what it is.
async fn joined(suite: &Suite, admin: &str, node: &str) -> (reqwest::Client, Value) {
    let (_, token) = suite.post(admin, "/api/v1/node-join-tokens", json!({ "node": node })).await;
    let (key, pem) = request();
    let body = json!({ "node": node, "token": token["secret"], "request": pem });
    let (status, signed) = suite.json(Method::POST, "/api/v1/node-certificates", None, Some(body)).await;
    assert_eq!(status, 201, "{signed}");
    (client(suite, &key, &signed), signed)
}

async fn renewed(suite: &Suite, client: &reqwest::Client) -> u16 {
    let url = format!("{}/api/v1/node-certificates/renewals", suite.base);
    client.post(url).json(&json!({ "request": request().1 })).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joined_anew_renews_by_its_new_certificate_alone() {
    gantry_testkit::clause("7.4.3.c");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let (old, first) = joined(&suite, &admin, "n1").await;
    assert_eq!(renewed(&suite, &old).await, 201);
    let (new, second) = joined(&suite, &admin, "n1").await;
    assert_eq!((renewed(&suite, &old).await, renewed(&suite, &new).await), (403, 201), "the name alone is not looked at");
    let (_, list) = suite.get(&admin, "/api/v1/node-certificates?node=n1").await;
    let reasons = list["items"].as_array().unwrap().iter().filter(|c| c["reason"] == "rejoined").count();
    assert_eq!(reasons, 2, "what it renewed before it joined anew is void, too: {list}");
    let of = |signed: &Value| list["items"].as_array().unwrap().iter().find(|c| c["serial"] == signed["serial"]).unwrap()["reason"].clone();
    assert_eq!((of(&first), of(&second)), (json!("rejoined"), Value::Null));

    // A token for any new node is for new nodes: nobody takes the place of another by it.
    let (_, token) = suite.post(&admin, "/api/v1/node-join-tokens", json!({})).await;
    let join = async |node: &str| {
        let body = json!({ "node": node, "token": token["secret"], "request": request().1 });
        suite.json(Method::POST, "/api/v1/node-certificates", None, Some(body)).await.0
    };
    assert_eq!((join("n1").await, join("n2").await, join("n3").await), (401, 201, 401));
    assert_eq!(renewed(&suite, &new).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_and_a_revocation_at_once_do_not_overlook_each_other() {
    gantry_testkit::clause("7.4.3.c");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let pool = &suite.host.db().pool;
    // Of this test alone: locks are the database's, and tests share it.
    let name = |what: &str| format!("{what}-{}", &suite.host.env.uuid().simple().to_string()[20..]);
    // Both are held up at the node, in this order, and then let go.
    let held_up = async |node: &str, revocation_first: bool| {
        let (client, _) = joined(&suite, &admin, node).await;
        let mut held = pool.begin().await.unwrap();
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7203330))").bind(node).execute(&mut *held).await.unwrap();
        let waiting = async |many: i64| {
            let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                         and ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 7203330)";
            let are = async || sqlx::query_scalar::<_, i64>(sql).bind(node).fetch_one(pool).await.unwrap() == many;
            suite.world.until("they wait at the node", Duration::from_secs(30), are).await;
        };
        let (before_renewal, before_revocation) = if revocation_first { (1, 0) } else { (0, 1) };
        let renewal = async {
            waiting(before_renewal).await;
            renewed(&suite, &client).await
        };
        let revocation = async {
            waiting(before_revocation).await;
            suite.delete(&admin, &format!("/api/v1/node-certificates/{node}?reason=stolen")).await
        };
        let let_go = async {
            waiting(2).await;
            held.rollback().await.unwrap();
        };
        let (renewal, revocation, ()) = tokio::join!(renewal, revocation, let_go);
        let (_, list) = suite.get(&admin, &format!("/api/v1/node-certificates?node={node}")).await;
        let all = list["items"].as_array().unwrap();
        assert!(all.iter().all(|c| c["revoked_at"].is_string()), "nothing of it lives: {list}");
        assert_eq!(renewed(&suite, &client).await, 403);
        (renewal, revocation, all.len())
    };
    assert_eq!(held_up(&name("first"), true).await, (403, 204, 1), "nothing is given after the revocation");
    assert_eq!(held_up(&name("second"), false).await, (201, 204, 2), "what was just given is revoked with the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_counts_whatever_the_clock_of_the_scheduler_says() {
    gantry_testkit::clause("7.4.3.c");
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    for (node, ahead) in [("n1", -3_600_f64), ("n2", 3_600.0)] {
        let removed = async || {
            gantry_es_pg::Todo::enqueue(&suite.host.db().orm, "revoke-removed-node", node, &Value::Null).await.unwrap();
        };
        let (first, _) = joined(&suite, &admin, node).await;
        sqlx::query("insert into removed_nodes (node, at, actor) values ($1, now() + $2 * interval '1 second', 'user:op')")
            .bind(node)
            .bind(ahead)
            .execute(&suite.host.db().pool)
            .await
            .unwrap();
        removed().await;
        suite.world.until("what it had does not count any more", Duration::from_secs(60), || async { renewed(&suite, &first).await == 403 }).await;
        let (second, _) = joined(&suite, &admin, node).await;
        removed().await;
        let done = async || {
            let sql = "select count(*) from todos where name = 'revoke-removed-node'";
            sqlx::query_scalar::<_, i64>(sql).fetch_one(&suite.host.db().pool).await.unwrap() == 0
        };
        suite.world.until("it is read once more", Duration::from_secs(60), done).await;
        assert_eq!(renewed(&suite, &second).await, 201, "{node}");
    }
}
