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

fn request() -> (rcgen::KeyPair, String) {
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
