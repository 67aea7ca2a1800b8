//! Nodes join by a one-time token, renew by what they have, and are shut out by revocation.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Suite;

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
