//! What a Kubernetes API server that trusts this identity gets by the device flow (`gantry cluster credential`): an ID token for
//! the cluster's own client, with groups that name each role and where it holds (docs/kubernetes.md, "People on the cluster").

use reqwest::Method;
use serde_json::{Value, json};

use crate::party::claims;
use crate::support::{ISSUER, PASSWORD, Suite};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn holds(token: &Value) {
    let token = token.as_str().unwrap();
    let said = claims(token);
    assert_eq!((&said["iss"], &said["aud"], &said["preferred_username"]), (&json!(ISSUER), &json!("kubernetes"), &json!("ada")), "{said}");
    let groups = said["groups"].as_array().unwrap();
    assert!(groups.contains(&json!("acme")) && groups.contains(&json!("acme:admin")), "{said}");
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() <= 86_400, "the rule of our documentation");
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256, "what API servers take without being told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gets_an_id_token_whose_groups_name_roles_and_it_is_renewed() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let (admin, ada) = (suite.admin().await, suite.access("ada").await);
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&ada), Some(json!({ "name": "acme" }))).await.0, 201);
    let settings = json!({
        "client_name": "Kubernetes", "token_endpoint_auth_method": "none", "application_type": "native",
        "redirect_uris": ["http://127.0.0.1/callback", "http://localhost:8000"], "grant_types": ["authorization_code", "refresh_token", DEVICE],
    });
    let (status, made) = suite.json(Method::POST, "/api/v1/clients", Some(&admin), Some(json!({ "id": "kubernetes", "settings": settings }))).await;
    assert_eq!(status, 201, "{made}");
    let scope = ("scope", "openid profile groups offline_access");
    let (status, started) = suite.form("/oauth2/device_authorization", &[("client_id", "kubernetes"), scope]).await;
    assert_eq!(status, 200, "{started}");
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let ask = browser.get(&format!("/oauth2/device?user_code={}", started["user_code"].as_str().unwrap())).await;
    let (csrf, code) = (ask.field("csrf"), ask.field("user_code"));
    assert_eq!(browser.post("/oauth2/device", &[("csrf", &csrf), ("user_code", &code), ("decision", "approve")]).await.status, 200);
    let device = started["device_code"].as_str().unwrap();
    let (status, tokens) = suite.form("/oauth2/token", &[("grant_type", DEVICE), ("client_id", "kubernetes"), ("device_code", device)]).await;
    assert_eq!(status, 200, "{tokens}");
    holds(&tokens["id_token"]);
    let refresh = [("grant_type", "refresh_token"), ("client_id", "kubernetes"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let (status, renewed) = suite.form("/oauth2/token", &refresh).await;
    assert_eq!(status, 200, "{renewed}");
    holds(&renewed["id_token"]);
    // It opens nothing here.
    assert_eq!(suite.json(Method::GET, "/api/v1/me", renewed["id_token"].as_str(), None).await.0, 401);
}
