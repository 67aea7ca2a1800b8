//! What conformance suites and strict clients look at beside the bodies: where a token may stand, challenges, caching, forms that
//! come from other sites.

use gantry_identity::config::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{CB, PartyKey, ask, exchange, now};
use crate::support::{ISSUER, Pkce, Suite};

fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Tokens of Ada at a client that may do everything a web application may.
async fn at_a_client(suite: &Suite) -> (String, String, Value) {
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "post_logout_redirect_uris": ["https://shop.example/out"] })).await;
    let pkce = Pkce::new("answers");
    let code = suite.signed_in("ada").await.get(&ask(&id, &pkce, &[])).await.code();
    let (status, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    assert_eq!(status, 200, "{tokens}");
    (id, secret, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn userinfo_takes_a_token_by_header_or_form_but_not_by_address_or_twice() {
    let suite = Suite::start().await;
    let (_, _, tokens) = at_a_client(&suite).await;
    let token = tokens["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let (status, info) = suite.form("/oauth2/userinfo", &[("access_token", token)]).await;
    assert_eq!((status, info["email"].as_str()), (200, Some("ada@example.org")), "{info}");
    let plain = suite.world.http.post(format!("{}/oauth2/userinfo", suite.base)).header("authorization", &bearer).send().await.unwrap();
    assert_eq!(plain.status(), 200, "a POST without a body");
    assert_eq!(plain.headers()["cache-control"], "no-store");

    let twice = suite.form_with("/oauth2/userinfo", &[("authorization", &bearer)], &[("access_token", token)]).await;
    assert_eq!(twice.0, 400, "one way only");
    assert_eq!(suite.form("/oauth2/userinfo", &[("access_token", token), ("access_token", token)]).await.1["error"], "invalid_request");
    let (status, headers, _) = suite.get_with(&format!("/oauth2/userinfo?access_token={token}"), &[]).await;
    assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"), "no error is named to who shows nothing");
    let (status, headers, _) = suite.get_with("/oauth2/userinfo", &[("authorization", "Bearer x")]).await;
    assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer error=\"invalid_token\""));
    let (status, headers, _) = suite.get_with("/oauth2/userinfo", &[("authorization", &format!("DPoP {token}"))]).await;
    let challenge = headers["www-authenticate"].to_str().unwrap();
    assert!(status == 401 && challenge.starts_with("DPoP error=\"invalid_token\"") && challenge.contains("algs=\"ES256"), "{challenge}");
    let (status, headers, _) = suite.get_with("/api/v1/me", &[("authorization", "Bearer x")]).await;
    assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (401, "Bearer error=\"invalid_token\""), "the API says it, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_openid_is_told_which_scope_is_missing() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({})).await;
    let pkce = Pkce::new("scope");
    let code = suite.signed_in("ada").await.get(&ask(&id, &pkce, &[("scope", "email")])).await.code();
    let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    assert!(tokens.get("id_token").is_none(), "{tokens}");
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let (status, headers, _) = suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await;
    assert_eq!((status, headers["www-authenticate"].to_str().unwrap()), (403, "Bearer error=\"insufficient_scope\", scope=\"openid\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_credentials_are_kept_by_nobody() {
    let suite = Suite::start().await;
    let (id, secret, tokens) = at_a_client(&suite).await;
    let client = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let pkce = Pkce::new("par");
    let pushed =
        [("response_type", "code"), ("redirect_uri", CB), ("scope", "openid"), ("code_challenge", pkce.challenge.as_str()), ("code_challenge_method", "S256")];
    let device = [("client_id", "gantry-cli")];
    for (path, fields, expected) in [
        ("/oauth2/token", [&client[..], &[("grant_type", "refresh_token"), ("refresh_token", refresh)]].concat(), 200),
        ("/oauth2/token", [&client[..], &[("grant_type", "refresh_token"), ("refresh_token", "gr_x")]].concat(), 400),
        ("/oauth2/token", vec![("grant_type", "refresh_token"), ("client_id", "nobody")], 401),
        ("/oauth2/introspect", [&client[..], &[("token", refresh)]].concat(), 200),
        ("/oauth2/device_authorization", device.to_vec(), 200),
        ("/oauth2/par", [&client[..], &pushed[..]].concat(), 201),
    ] {
        let answer = suite.world.http.post(format!("{}{path}", suite.base)).form(&fields).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
        if path == "/oauth2/token" {
            assert_eq!(answer.headers()["pragma"], "no-cache");
        }
        if path == "/oauth2/par" {
            let body: Value = answer.json().await.unwrap();
            assert!(body["expires_in"].as_i64().is_some_and(|seconds| (5..600).contains(&seconds)), "less than FAPI 2.0 allows: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_finds_the_session_that_its_address_would_find() {
    let suite = Suite::start().await;
    let (id, _, tokens) = at_a_client(&suite).await;
    let mut browser = suite.signed_in("ada").await;
    // The browser keeps the cookies of this site back.
    let kept = std::mem::take(&mut browser.cookies);
    let pkce = Pkce::new("post");
    let fields = [
        ("response_type", "code"),
        ("client_id", id.as_str()),
        ("redirect_uri", CB),
        ("scope", "openid"),
        ("state", "a&b=c"),
        ("prompt", "none"),
        ("code_challenge", pkce.challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let again = browser.post("/oauth2/authorize", &fields).await;
    assert_eq!(again.status, 303);
    browser.cookies = kept;
    let seen = browser.get(again.location()).await;
    assert_eq!((seen.parameter("state").as_deref(), seen.parameter("error")), (Some("a&b=c"), None));
    seen.code();

    let hint = tokens["id_token"].as_str().unwrap();
    let mut ended = suite.browser();
    let out = ended.post("/oauth2/logout", &[("id_token_hint", hint), ("post_logout_redirect_uri", "https://shop.example/out"), ("state", "s")]).await;
    assert!(out.status == 303 && out.location().starts_with("/oauth2/logout?"), "{}", out.location());
    assert_eq!(ended.get(out.location()).await.location(), "https://shop.example/out?state=s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_that_is_not_ours_sends_nobody_anywhere() {
    let suite = Suite::start().await;
    let (id, _, tokens) = at_a_client(&suite).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let out = ("post_logout_redirect_uri", "https://shop.example/out");
    let mut browser = suite.signed_in("ada").await;
    let changed = format!("{}x.{}", hint.split('.').take(2).collect::<Vec<_>>().join("."), hint.rsplit('.').next().unwrap());
    let asked = browser.get(&format!("/oauth2/logout?{}", query(&[("id_token_hint", &changed), out]))).await;
    assert_eq!((asked.status, asked.location()), (200, ""), "the person is asked");
    let csrf = asked.field("csrf");
    assert!(!asked.body.contains("name=\"post_logout_redirect_uri\""), "{}", asked.body);
    let done = browser.post("/oauth2/logout", &[("csrf", &csrf)]).await;
    assert_eq!((done.status, done.location()), (200, ""));
    let other = browser.get(&format!("/oauth2/logout?{}", query(&[("id_token_hint", hint), ("client_id", "gantry-console"), out]))).await;
    assert_eq!((other.status, other.location()), (400, ""), "a token of another client");
    let right = browser.get(&format!("/oauth2/logout?{}", query(&[("id_token_hint", hint), ("client_id", &id), out]))).await;
    assert_eq!(right.location(), "https://shop.example/out", "who is signed out already is sent on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_managed_in_the_forms_of_its_rfc() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let send = async |method: Method, path: &str, token: &str, body: Value| {
        let answer = suite.world.http.request(method, format!("{}{path}", suite.base)).bearer_auth(token).json(&body).send().await.unwrap();
        let challenge = answer.headers().get("www-authenticate").map(|v| v.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge, answer.json::<Value>().await.unwrap_or_default())
    };
    let (status, challenge, _) = send(Method::POST, "/oauth2/register", "git_made-up", json!({})).await;
    assert_eq!((status, challenge.as_deref()), (401, Some("Bearer error=\"invalid_token\"")));
    let (_, token) = suite.post(&admin, "/api/v1/client-registration-tokens", json!({ "uses": 1 })).await;
    let metadata = json!({ "client_name": "Chat", "redirect_uris": [CB] });
    let (status, _, made) = send(Method::POST, "/oauth2/register", token["token"].as_str().unwrap(), metadata).await;
    assert_eq!(status, 201, "{made}");
    let own = made["registration_access_token"].as_str().unwrap();
    let path = format!("/oauth2/register/{}", made["client_id"].as_str().unwrap());
    let (_, _, shown) = send(Method::GET, &path, own, json!({})).await;
    assert_eq!((&shown["registration_access_token"], &shown["registration_client_uri"]), (&json!(own), &made["registration_client_uri"]), "{shown}");
    let (status, _, error) = send(Method::PUT, &path, own, json!({ "client_name": "Chat", "redirect_uris": [CB] })).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_request")), "client_id is needed");
    let chosen = json!({ "client_id": made["client_id"], "client_secret": "chosen", "redirect_uris": [CB] });
    assert_eq!(send(Method::PUT, &path, own, chosen).await.0, 400, "nobody chooses a secret");
    let same = json!({ "client_id": made["client_id"], "client_secret": made["client_secret"], "client_name": "Chat 2", "redirect_uris": [CB] });
    let (status, _, changed) = send(Method::PUT, &path, own, same).await;
    assert_eq!((status, &changed["client_name"], &changed["registration_access_token"]), (200, &json!("Chat 2"), &json!(own)), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_are_taken_as_libraries_make_them() {
    let suite = Suite::with(Config { certificates_url: Some("https://gantry.test:7444/".into()), ..Config::default() }).await;
    let admin = suite.admin().await;
    let key = PartyKey::new("k1");
    let by_key = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": key.set(), "grant_types": ["client_credentials"], "redirect_uris": [] });
    let (id, _) = suite.client(&admin, by_key).await;
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let at = |path: &str| format!("{ISSUER}/oauth2/{path}");
    for (number, (path, aud)) in [
        ("token", json!([ISSUER, at("token")])),
        ("token", json!(at("token"))),
        ("token", json!("https://gantry.test:7444/oauth2/token")),
        ("introspect", json!(at("introspect"))),
        ("revoke", json!([at("revoke")])),
    ]
    .into_iter()
    .enumerate()
    {
        let assertion = key.sign(&json!({ "iss": id, "sub": id, "aud": aud, "exp": now() + 3_600, "iat": now(), "jti": format!("j{number}") }));
        let fields = [("grant_type", "client_credentials"), ("token", "x"), ("client_assertion", assertion.as_str()), ("client_assertion_type", kind)];
        assert_eq!(suite.form(&format!("/oauth2/{path}"), &fields).await.0, 200, "{path} {aud}");
    }
    for aud in
        [json!([]), json!(at("tokens")), json!(format!("{ISSUER}.evil.example")), json!("https://gantry.test:7444"), json!([ISSUER, "https://other.example"])]
    {
        let assertion = key.sign(&json!({ "iss": id, "sub": id, "aud": aud, "exp": now() + 60, "iat": now(), "jti": format!("bad {aud}") }));
        let fields = [("grant_type", "client_credentials"), ("client_assertion", assertion.as_str()), ("client_assertion_type", kind)];
        assert_eq!(suite.form("/oauth2/token", &fields).await.0, 401, "{aud}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_is_refused_by_its_own_name() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, _) = suite.client(&admin, json!({})).await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("n");
    for (name, value, error) in [
        ("request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"),
        ("request_uri", "https://shop.example/r.jwt", "request_uri_not_supported"),
        ("registration", "{}", "registration_not_supported"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("scope", "nothing known", "invalid_scope"),
        ("claims", "{\"userinfo\":1}", "invalid_request"),
    ] {
        let seen = browser.get(&ask(&id, &pkce, &[(name, value)])).await;
        assert_eq!((seen.parameter("error").as_deref(), seen.parameter("state").as_deref()), (Some(error), Some("s-1")), "{name}");
    }
    let unknown = browser.get(&ask(&id, &pkce, &[("claims", "{\"purpose\":1,\"userinfo\":{\"name\":{\"essential\":true}}}"), ("display", "wap")])).await;
    assert!(unknown.parameter("code").is_some(), "what nobody knows is passed over: {}", unknown.location());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_does_not_know_pkce_is_let_in_only_if_an_administrator_says_so() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (strict, _) = suite.client(&admin, json!({})).await;
    let (id, secret) = suite.client(&admin, json!({ "pkce_optional": true })).await;
    let public = json!({ "settings": crate::party::settings(json!({ "pkce_optional": true, "token_endpoint_auth_method": "none" })) });
    assert_eq!(suite.post(&admin, "/api/v1/clients", public).await.0, 400, "nothing else would protect it");
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("old");
    let none = [("code_challenge", ""), ("code_challenge_method", "")];
    assert_eq!(browser.get(&ask(&strict, &pkce, &none)).await.parameter("error").as_deref(), Some("invalid_request"));

    let code = browser.get(&ask(&id, &pkce, &none)).await.code();
    let all = exchange(&id, &secret, &code, &pkce);
    let plain: Vec<_> = all.iter().copied().filter(|(name, _)| *name != "code_verifier").collect();
    let (status, tokens) = suite.form("/oauth2/token", &plain).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(crate::party::claims(tokens["id_token"].as_str().unwrap())["nonce"], "n-1");
    let code = browser.get(&ask(&id, &pkce, &none)).await.code();
    let injected = exchange(&id, &secret, &code, &pkce);
    assert_eq!(suite.form("/oauth2/token", &injected).await.1["error"], "invalid_grant", "a verifier for a code without challenge: it was taken away");
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    let all = exchange(&id, &secret, &code, &pkce);
    let plain: Vec<_> = all.iter().copied().filter(|(name, _)| *name != "code_verifier").collect();
    assert_eq!(suite.form("/oauth2/token", &plain).await.1["error"], "invalid_grant", "who began with PKCE ends with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_may_name_the_door_for_certificates_and_no_other_place() {
    let config = Config { certificates_url: Some("https://gantry.test:7444/".into()), ..Config::default() };
    let suite = Suite::with(config).await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "grant_types": ["client_credentials"], "redirect_uris": [] })).await;
    let key = PartyKey::new("d");
    let fields = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
    for (htu, expected) in [
        ("https://gantry.test/oauth2/token", 200),
        ("https://gantry.test:7444/oauth2/token", 200),
        ("https://GANTRY.test:443/oauth2/token?x=1#y", 200),
        ("https://gantry.test:7445/oauth2/token", 400),
        ("http://gantry.test/oauth2/token", 400),
        ("https://gantry.test:7444/oauth2/par", 400),
    ] {
        let proof = key.proof("POST", "/oauth2/token", json!({ "htu": htu }));
        let (status, answer) = suite.form_with("/oauth2/token", &[("dpop", &proof)], &fields).await;
        assert_eq!(status, expected, "{htu}: {answer}");
        assert!(status == 200 || answer["error"] == "invalid_dpop_proof", "{answer}");
    }
}
