//! Clients over REST: who may make them, what is refused, secrets that overlap, self-registration.

use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{CB, PartyKey, ask, claims, exchange, now, settings};
use crate::support::{ISSUER, Pkce, Suite};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_made_changed_and_deleted_by_its_administrators_only() {
    gantry_testkit::clause("6.5.2.1.b");
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("eve").await;
    let (admin, ada, eve) = (suite.admin().await, suite.access("ada").await, suite.access("eve").await);
    assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&ada), Some(json!({ "name": "acme" }))).await.0, 201);

    let new = |org: Option<&str>| json!({ "id": "shop", "org": org, "settings": settings(json!({})) });
    assert_eq!(suite.json(Method::POST, "/api/v1/clients", None, Some(new(None))).await.0, 401);
    assert_eq!(suite.json(Method::POST, "/api/v1/clients", Some(&ada), Some(new(None))).await.0, 403, "the platform's are for its administrators");
    assert_eq!(suite.json(Method::POST, "/api/v1/clients", Some(&eve), Some(new(Some("acme")))).await.0, 404, "a stranger does not even learn of acme");
    let (status, made) = suite.json(Method::POST, "/api/v1/clients", Some(&ada), Some(new(Some("acme")))).await;
    assert_eq!((status, made["org"].as_str()), (201, Some("acme")), "{made}");
    assert!(made["secret"].as_str().unwrap().starts_with("gcs_"));
    assert_eq!(made["settings"]["id_token_signed_response_alg"], "RS256");

    let path = "/api/v1/clients/shop";
    assert_eq!(suite.json(Method::GET, path, Some(&eve), None).await.0, 404);
    let (status, shown) = suite.json(Method::GET, path, Some(&ada), None).await;
    assert_eq!(status, 200);
    assert!(shown.get("secret").is_none() && !shown.to_string().contains("hash"), "{shown}");
    assert_eq!(suite.json(Method::GET, "/api/v1/clients?org=acme", Some(&ada), None).await.1["items"].as_array().unwrap().len(), 1);
    assert_eq!(suite.json(Method::GET, "/api/v1/clients", Some(&ada), None).await.0, 403);
    assert_eq!(suite.json(Method::GET, "/api/v1/clients", Some(&admin), None).await.1["items"].as_array().unwrap().len(), 1);

    let (status, refused) =
        suite.json(Method::PUT, path, Some(&ada), Some(settings(json!({ "redirect_uris": ["https://*.example"], "scopes": ["api"] })))).await;
    let fields: Vec<&str> = refused["errors"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (400, vec!["redirect_uris", "scopes"]), "{refused}");
    assert_eq!(suite.json(Method::PUT, path, Some(&eve), Some(settings(json!({})))).await.0, 404);
    let (status, changed) = suite.json(Method::PUT, path, Some(&ada), Some(settings(json!({ "client_name": "New" })))).await;
    assert_eq!((status, changed["settings"]["client_name"].as_str()), (200, Some("New")), "{changed}");

    assert_eq!(suite.json(Method::DELETE, path, Some(&eve), None).await.0, 404);
    assert_eq!(suite.json(Method::DELETE, path, Some(&ada), None).await.0, 204);
    let (status, taken) = suite.json(Method::POST, "/api/v1/clients", Some(&ada), Some(new(Some("acme")))).await;
    assert_eq!((status, taken["code"].as_str()), (409, Some("identity.client_exists")), "an id is never used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_without_a_gap() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let (id, first) = suite.client(&admin, json!({ "grant_types": ["client_credentials"], "redirect_uris": [] })).await;
    let works = async |secret: &str| {
        let basic = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{id}:{secret}")));
        suite.form_with("/oauth2/token", &[("authorization", &basic)], &[("grant_type", "client_credentials")]).await.0 == 200
    };
    assert!(works(&first).await && !works("gcs_wrong").await);
    let path = format!("/api/v1/clients/{id}/secrets");
    let (status, made) = suite.json(Method::POST, &path, Some(&admin), Some(json!({}))).await;
    assert_eq!(status, 201, "{made}");
    let second = made["secret"].as_str().unwrap();
    assert!(works(&first).await && works(second).await, "both are good");
    let (status, third) = suite.json(Method::POST, &path, Some(&admin), Some(json!({}))).await;
    assert_eq!((status, third["code"].as_str()), (409, Some("identity.too_many_secrets")));
    let (_, shown) = suite.json(Method::GET, &format!("/api/v1/clients/{id}"), Some(&admin), None).await;
    let old = shown["secrets"].as_array().unwrap().iter().find(|s| first.starts_with(s["hint"].as_str().unwrap())).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(suite.json(Method::DELETE, &format!("{path}/{old}"), Some(&admin), None).await.0, 204);
    assert!(!works(&first).await && works(second).await);
    let last = made["id"].as_str().unwrap();
    let (status, refused) = suite.json(Method::DELETE, &format!("{path}/{last}"), Some(&admin), None).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("identity.last_secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_by_a_signed_assertion_once() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let key = PartyKey::new("k1");
    let by_key = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": key.set(), "grant_types": ["client_credentials"], "redirect_uris": [] });
    let (id, _) = suite.client(&admin, by_key).await;
    let good = |jti: &str| json!({ "iss": id, "sub": id, "aud": ISSUER, "exp": now() + 60, "iat": now(), "jti": jti });
    let ask = async |assertion: &str| {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let fields = [("grant_type", "client_credentials"), ("client_assertion", assertion), ("client_assertion_type", kind)];
        suite.form("/oauth2/token", &fields).await
    };
    let assertion = key.sign(&good("a"));
    let (status, tokens) = ask(&assertion).await;
    assert_eq!(status, 200, "{tokens}");
    let (status, error) = ask(&assertion).await;
    assert_eq!((status, error["error"].as_str()), (401, Some("invalid_client")), "a replay");
    for (field, value) in [
        ("aud", json!("https://other.example")),
        ("aud", json!([ISSUER, "https://other.example"])),
        ("exp", json!(now() - 60)),
        ("exp", json!(now() + 86_400)),
        ("nbf", json!(now() + 600)),
        ("iat", json!(now() + 600)),
        ("iss", json!("other")),
        ("sub", json!("other")),
        ("jti", json!("")),
    ] {
        let mut bad = good(&format!("bad {field} {value}"));
        bad[field] = value;
        assert_eq!(ask(&key.sign(&bad)).await.0, 401, "{bad}");
    }
    let critical = jsonwebtoken::Header { kid: Some("k1".into()), crit: Some(vec!["b64".into()]), ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256) };
    assert_eq!(ask(&jsonwebtoken::encode(&critical, &good("d"), &key.signer).unwrap()).await.0, 401, "what must be understood is not");
    let stranger = PartyKey::new("k1");
    assert_eq!(ask(&stranger.sign(&good("b"))).await.0, 401, "another key under the same id");
    let hmac = jsonwebtoken::EncodingKey::from_secret(serde_json::to_string(&key.jwk).unwrap().as_bytes());
    let header = jsonwebtoken::Header { kid: Some("k1".into()), ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256) };
    assert_eq!(ask(&jsonwebtoken::encode(&header, &good("c"), &hmac).unwrap()).await.0, 401, "the public key as a symmetric one");
    let fields = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", "gcs_x")];
    assert_eq!(suite.form("/oauth2/token", &fields).await.0, 401, "no other way in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_by_a_certificate_and_its_tokens_are_bound_to_it() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    // A certificate of the installation's authority, as the gateway hands it on.
    let leaf = suite.world.running.pki().leaf("shop", &[]).unwrap();
    let der = leaf.der().unwrap().0[0].to_vec();
    let encode = |der: &[u8]| format!(":{}:", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der));
    let header = encode(&der);
    for (name, status) in [("shop", 400), ("shoe=1,CN=shop", 400), ("CN=shop,O=Acme\\, Inc", 201)] {
        let named = json!({ "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_subject_dn": name });
        let (got, told) = suite.post(&admin, "/api/v1/clients", json!({ "settings": settings(named) })).await;
        assert_eq!(got, status, "{name}: {told}");
    }
    let by_certificate = json!({
        "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_uri": "spiffe://gantry/shop", "grant_types": ["client_credentials"],
        "redirect_uris": [], "tls_client_certificate_bound_access_tokens": true,
    });
    let (id, _) = suite.client(&admin, by_certificate).await;
    let fields = [("grant_type", "client_credentials"), ("client_id", id.as_str())];
    let (status, tokens) = suite.form_with("/oauth2/token", &[("client-cert", &header)], &fields).await;
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["access_token"].as_str().unwrap();
    assert!(claims(token)["cnf"]["x5t#S256"].is_string());
    assert_eq!(suite.form("/oauth2/token", &fields).await.0, 401, "without a certificate");

    let bearer = format!("Bearer {token}");
    let call = async |headers: &[(&str, &str)]| suite.get_with("/api/v1/orgs", &[headers, &[("authorization", &bearer)]].concat()).await.0;
    assert_eq!(call(&[("client-cert", &header)]).await, 200);
    assert_eq!(call(&[]).await, 401, "a stolen token is worth nothing");
    let other = encode(&suite.world.running.pki().leaf("other", &[]).unwrap().der().unwrap().0[0]);
    assert_eq!(call(&[("client-cert", &other)]).await, 401);
    assert_eq!(suite.form_with("/oauth2/token", &[("client-cert", &other)], &fields).await.0, 401, "another name");

    // Only the gateway is believed: other services cannot speak for certificates.
    let scheduler = suite.world.client_as("scheduler");
    let asked = scheduler.post(format!("{}/oauth2/token", suite.base)).header("client-cert", &header).form(&fields).send().await.unwrap();
    assert_eq!(asked.status(), 401);

    // A certificate of an authority that nobody trusts, with the right name in it.
    let foreign_home = tempfile::tempdir().unwrap();
    let foreign = gantry_host::Pki::open(foreign_home.path()).unwrap();
    let foreign = encode(&foreign.leaf("shop", &[]).unwrap().der().unwrap().0[0]);
    assert_eq!(suite.form_with("/oauth2/token", &[("client-cert", &foreign)], &fields).await.0, 401);

    let own = json!({
        "token_endpoint_auth_method": "self_signed_tls_client_auth", "grant_types": ["client_credentials"], "redirect_uris": [],
        "jwks": { "keys": [{ "kty": "EC", "crv": "P-256", "x": "a", "y": "b", "x5c": [header.trim_matches(':')] }] },
    });
    let (id, _) = suite.client(&admin, own).await;
    let fields = [("grant_type", "client_credentials"), ("client_id", id.as_str())];
    assert_eq!(suite.form_with("/oauth2/token", &[("client-cert", &header)], &fields).await.0, 200);
    assert_eq!(suite.form_with("/oauth2/token", &[("client-cert", &other)], &fields).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registers_itself_with_an_administrators_token_and_manages_itself() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let send = async |method: Method, path: &str, token: Option<&str>, body: Value| {
        let mut request = suite.world.http.request(method, format!("{}{path}", suite.base)).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    let metadata =
        json!({ "client_name": "Chat", "redirect_uris": [CB], "scope": "openid email api", "logo_uri": "https://x.example/l.png", "consent_required": false });
    assert_eq!(send(Method::POST, "/oauth2/register", None, metadata.clone()).await.0, 401);
    assert_eq!(send(Method::POST, "/oauth2/register", Some("git_made-up"), metadata.clone()).await.0, 401);
    let (_, token) = suite.json(Method::POST, "/api/v1/client-registration-tokens", Some(&admin), Some(json!({ "uses": 2 }))).await;
    let token = token["token"].as_str().unwrap();
    let (status, refused) = send(Method::POST, "/oauth2/register", Some(token), json!({ "redirect_uris": ["http://shop.example/cb"] })).await;
    assert_eq!((status, refused["error"].as_str()), (400, Some("invalid_redirect_uri")), "{refused}");
    let (status, made) = send(Method::POST, "/oauth2/register", Some(token), metadata.clone()).await;
    assert_eq!((status, made["scope"].as_str()), (201, Some("openid email")), "{made}: the API is not for whom nobody knows");
    assert_eq!(send(Method::POST, "/oauth2/register", Some(token), metadata).await.0, 401, "two uses");

    let (id, secret) = (made["client_id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let (own, path) = (made["registration_access_token"].as_str().unwrap(), format!("/oauth2/register/{}", made["client_id"].as_str().unwrap()));
    assert_eq!(send(Method::GET, &path, Some(own), json!({})).await.1["client_name"], "Chat");
    assert_eq!(send(Method::GET, &path, Some(token), json!({})).await.0, 401);

    suite.register("ada").await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("dcr");
    let seen = browser.get(&ask(id, &pkce, &[("scope", "openid email")])).await;
    assert!(seen.location().starts_with("/oauth2/consent?"), "a third party asks: {}", seen.location());
    let page = browser.get(seen.location()).await;
    let (csrf, to) = (page.field("csrf"), page.field("continue"));
    let agreed = browser.post("/oauth2/consent", &[("csrf", &csrf), ("continue", &to), ("decision", "approve")]).await;
    let code = browser.get(agreed.location()).await.code();
    let (status, tokens) = suite.form("/oauth2/token", &exchange(id, secret, &code, &pkce)).await;
    assert_eq!(status, 200, "{tokens}");
    let active = async |token: &str| {
        let fields = [("client_id", id), ("client_secret", secret), ("token", token)];
        suite.form("/oauth2/introspect", &fields).await.1["active"].as_bool().unwrap()
    };
    assert!(active(tokens["access_token"].as_str().unwrap()).await, "its own");
    assert!(!active(&admin).await, "nobody else's");

    let (status, changed) = send(Method::PUT, &path, Some(own), json!({ "client_id": id, "client_name": "Chat 2", "redirect_uris": [CB] })).await;
    assert_eq!((status, changed["client_name"].as_str()), (200, Some("Chat 2")), "{changed}");
    assert_eq!(send(Method::DELETE, &path, Some(own), json!({})).await.0, 204);
    assert_eq!(send(Method::GET, &path, Some(own), json!({})).await.0, 401);
}
