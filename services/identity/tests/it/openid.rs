//! The authorization endpoint and the tokens of third parties: consent, pushed requests, form answers, claims, strength,
//! mix-up, downgrade, fixation and every other trick.

use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{CB, ask, claims, exchange};
use crate::support::{Browser, ISSUER, PASSWORD, Pkce, Seen, Suite};

async fn agree(browser: &mut Browser<'_>, seen: &Seen, decision: &str) -> Seen {
    assert!(seen.location().starts_with("/oauth2/consent?"), "{} {}", seen.location(), seen.body);
    let page = browser.get(seen.location()).await;
    assert_eq!(page.status, 200);
    let (csrf, to) = (page.field("csrf"), page.field("continue"));
    browser.post("/oauth2/consent", &[("csrf", &csrf), ("continue", &to), ("decision", decision)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_party_gets_what_the_person_agreed_to_and_loses_it_again() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "consent_required": true, "client_name": "<b>Shop</b>" })).await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("c");
    assert_eq!(browser.get(&ask(&id, &pkce, &[("prompt", "none")])).await.parameter("error").as_deref(), Some("consent_required"));
    let seen = browser.get(&ask(&id, &pkce, &[("scope", "openid email")])).await;
    let page = browser.get(seen.location()).await;
    assert!(page.body.contains("Your e-mail address") && !page.body.contains("<b>Shop"), "{}", page.body);
    let policy = page.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("https://shop.example"), "{policy}");
    let chinese = browser.get(&format!("{}&ui_locales=zh-CN", seen.location())).await;
    assert!(chinese.body.contains("允许访问"));

    // Neither another site nor another browser can agree.
    let to = page.field("continue");
    assert_eq!(browser.post("/oauth2/consent", &[("csrf", "AAAA"), ("continue", &to), ("decision", "approve")]).await.status, 400);
    let denied = agree(&mut browser, &seen, "deny").await;
    assert_eq!((denied.parameter("error").as_deref(), denied.parameter("iss").as_deref()), (Some("access_denied"), Some(ISSUER)));

    let agreed = agree(&mut browser, &seen, "approve").await;
    let code = browser.get(agreed.location()).await.code();
    let (status, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    assert_eq!(status, 200, "{tokens}");
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((id_token["email"].as_str(), id_token.get("groups")), (Some("ada@example.org"), None));
    let again = browser.get(&ask(&id, &pkce, &[("scope", "openid"), ("prompt", "none")])).await;
    assert!(again.parameter("code").is_some(), "it is remembered");
    let more = browser.get(&ask(&id, &pkce, &[("scope", "openid groups")])).await;
    assert!(more.location().starts_with("/oauth2/consent?"), "more than was agreed to");
    let more = browser.get(&ask(&id, &pkce, &[("scope", "openid email"), ("prompt", "consent")])).await;
    let agreed = agree(&mut browser, &more, "approve").await;
    assert!(browser.get(agreed.location()).await.parameter("code").is_some(), "asked again, once");

    let token = tokens["access_token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await.2["email"], "ada@example.org");
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(token), None).await.0, 401, "a third party's token does not open the API");
    let ada = suite.access("ada").await;
    let (_, consents) = suite.json(Method::GET, "/api/v1/me/consents", Some(&ada), None).await;
    assert_eq!((consents["items"][0]["client"].as_str(), consents["items"].as_array().unwrap().len()), (Some(id.as_str()), 1), "{consents}");
    let path = format!("/api/v1/me/consents/{id}");
    suite.register("eve").await;
    assert_eq!(suite.json(Method::DELETE, &path, Some(&suite.access("eve").await), None).await.0, 404);
    assert_eq!(suite.json(Method::DELETE, &path, Some(&ada), None).await.0, 204);
    assert_eq!(suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await.0, 401);
    assert_eq!(browser.get(&ask(&id, &pkce, &[("scope", "openid"), ("prompt", "none")])).await.parameter("error").as_deref(), Some("consent_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_from_before_the_application_was_disconnected_gives_nothing() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "consent_required": true })).await;
    let ada = suite.access("ada").await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("d");
    for path in ["/api/v1/me/consents", "/api/v1/me/applications"] {
        let seen = browser.get(&ask(&id, &pkce, &[("scope", "openid email"), ("prompt", "consent")])).await;
        let agreed = agree(&mut browser, &seen, "approve").await;
        let code = browser.get(agreed.location()).await.code();
        assert_eq!(suite.delete(&ada, &format!("{path}/{id}")).await, 204, "{path}");
        let (status, refused) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
        assert_eq!((status, refused["error"].as_str()), (400, Some("invalid_grant")), "{path}: {refused}");
    }
    // A code from a session that ended before it was exchanged, too.
    let seen = browser.get(&ask(&id, &pkce, &[("scope", "openid email"), ("prompt", "consent")])).await;
    let agreed = agree(&mut browser, &seen, "approve").await;
    let code = browser.get(agreed.location()).await.code();
    assert_eq!(suite.delete(&ada, "/api/v1/sessions").await, 204);
    assert_eq!(suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await.1["error"], "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_request_is_its_clients_alone_and_good_for_one_code() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "require_pushed_authorization_requests": true })).await;
    let (other, _) = suite.client(&admin, json!({ "client_name": "Other" })).await;
    let pkce = Pkce::new("p");
    let mut browser = suite.signed_in("ada").await;
    let plain = browser.get(&ask(&id, &pkce, &[])).await;
    assert_eq!(plain.parameter("error").as_deref(), Some("invalid_request"), "this client pushes");

    let fields = |redirect: &'static str| {
        vec![
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
            ("response_type", "code"),
            ("redirect_uri", redirect),
            ("scope", "openid"),
            ("state", "par"),
            ("code_challenge", pkce.challenge.as_str()),
            ("code_challenge_method", "S256"),
        ]
    };
    assert_eq!(suite.form("/oauth2/par", &fields("https://evil.example/cb")).await.1["error"], "invalid_request");
    let mut wrong = fields(CB);
    wrong[1].1 = "gcs_wrong";
    assert_eq!(suite.form("/oauth2/par", &wrong).await.0, 401);
    let (status, pushed) = suite.form("/oauth2/par", &fields(CB)).await;
    assert_eq!(status, 201, "{pushed}");
    let uri = pushed["request_uri"].as_str().unwrap();
    let path = |client: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("client_id", client).append_pair("request_uri", uri).finish();
        format!("/oauth2/authorize?{query}")
    };
    assert_eq!(browser.get(&path(&other)).await.status, 400, "another client cannot use it");
    let seen = browser.get(&format!("{}&redirect_uri=https%3A%2F%2Fevil.example&scope=api", path(&id))).await;
    assert!(seen.location().starts_with(CB), "what the browser adds does not count: {}", seen.location());
    assert_eq!(seen.parameter("state").as_deref(), Some("par"));
    let code = seen.code();
    let (status, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    assert_eq!((status, tokens["scope"].as_str()), (200, Some("openid")));
    assert_eq!(browser.get(&path(&id)).await.status, 400, "it is used up");
    let foreign = ask(&id, &pkce, &[("request_uri", "https://evil.example/request.jwt")]);
    assert_eq!(browser.get(&foreign).await.parameter("error").as_deref(), Some("request_uri_not_supported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_travel_as_a_form_and_says_who_gave_it() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, _) = suite.client(&admin, json!({})).await;
    let pkce = Pkce::new("f");
    let mut browser = suite.signed_in("ada").await;
    let seen = browser.get(&ask(&id, &pkce, &[("response_mode", "form_post"), ("state", "\"><script>x")])).await;
    assert_eq!(seen.status, 200);
    assert!(seen.body.contains(&format!("action=\"{}\"", CB.replace('/', "&#x2f;"))) || seen.body.contains(&format!("action=\"{CB}\"")), "{}", seen.body);
    assert!(seen.field("code").starts_with("gc_"));
    assert_eq!(seen.field("iss"), ISSUER, "against mix-up (RFC 9207)");
    assert!(!seen.body.contains("\"><script>x"), "{}", seen.body);
    let policy = seen.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("form-action https://shop.example;") && policy.contains("script-src 'sha256-"), "{policy}");
    let failed = browser.get(&ask(&id, &pkce, &[("prompt", "none login")])).await;
    assert_eq!((failed.parameter("error").as_deref(), failed.parameter("iss").as_deref()), (Some("invalid_request"), Some(ISSUER)));
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_hints_and_strength_are_honoured() {
    let suite = Suite::start().await;
    let ada = suite.register("ada").await;
    suite.register("bob").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "scopes": ["openid", "email"] })).await;
    let pkce = Pkce::new("k");
    let mut browser = suite.signed_in("ada").await;
    let wanted = r#"{"id_token":{"email":null,"groups":null},"userinfo":{"email_verified":null}}"#;
    let code = browser.get(&ask(&id, &pkce, &[("scope", "openid"), ("claims", wanted)])).await.code();
    let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((id_token["email"].as_str(), id_token.get("groups")), (Some("ada@example.org"), None), "groups are not for this client");
    assert_eq!((id_token["acr"].as_str(), id_token["nonce"].as_str()), (Some("1"), Some("n-1")));
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let (_, _, info) = suite.get_with("/oauth2/userinfo", &[("authorization", &bearer)]).await;
    assert_eq!((info["email_verified"].as_bool(), info.get("email")), (Some(false), None), "{info}");

    let somebody = |sub: &str| json!({ "id_token": { "sub": { "value": sub } } }).to_string();
    let mine = somebody(&format!("user:{ada}"));
    assert!(browser.get(&ask(&id, &pkce, &[("prompt", "none"), ("claims", &mine)])).await.parameter("code").is_some());
    let other = somebody("user:00000000-0000-0000-0000-000000000001");
    assert_eq!(browser.get(&ask(&id, &pkce, &[("prompt", "none"), ("claims", &other)])).await.parameter("error").as_deref(), Some("login_required"));
    let hint = tokens["id_token"].as_str().unwrap().to_owned();
    assert!(browser.get(&ask(&id, &pkce, &[("prompt", "none"), ("id_token_hint", &hint)])).await.parameter("code").is_some());
    let mut bob = suite.signed_in("bob").await;
    assert_eq!(bob.get(&ask(&id, &pkce, &[("prompt", "none"), ("id_token_hint", &hint)])).await.parameter("error").as_deref(), Some("login_required"));

    let strong = r#"{"id_token":{"acr":{"essential":true,"values":["2"]}}}"#;
    let error = browser.get(&ask(&id, &pkce, &[("prompt", "none"), ("claims", strong)])).await.parameter("error");
    assert_eq!(error.as_deref(), Some("unmet_authentication_requirements"));
    let stale = browser.get(&ask(&id, &pkce, &[("max_age", "0")])).await;
    assert!(stale.location().starts_with("/login?"), "{}", stale.location());
    let page = browser.get(stale.location()).await;
    let back = browser.submit_login(&page, "ada", PASSWORD).await;
    assert!(browser.get(back.location()).await.parameter("code").is_some(), "signed in again, once");
    let forged = ask(&id, &pkce, &[("prompt", "login"), ("gantry_mark", "0.AAAA")]);
    assert!(browser.get(&forged).await.location().starts_with("/login?"), "nobody marks a request but us");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_redirects_cannot_be_bent_injected_or_shared() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("eve").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "redirect_uris": [CB, "https://shop.example/second"] })).await;
    let (other, other_secret) = suite.client(&admin, json!({ "client_name": "Other" })).await;
    let (public, _) =
        suite.client(&admin, json!({ "token_endpoint_auth_method": "none", "application_type": "native", "redirect_uris": ["http://127.0.0.1/cb", CB] })).await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("victim");

    // A stolen code in another session fails at PKCE; so does one without, and the verifier of `plain`.
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    assert_eq!(suite.form("/oauth2/token", &exchange(&id, &secret, &code, &Pkce::new("eve"))).await.1["error"], "invalid_grant");
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    let without: Vec<_> = exchange(&id, &secret, &code, &pkce).into_iter().filter(|(n, _)| *n != "code_verifier").collect();
    assert_eq!(suite.form("/oauth2/token", &without).await.1["error"], "invalid_request");
    let plain = Pkce { verifier: pkce.challenge.clone(), challenge: String::new() };
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    assert_eq!(suite.form("/oauth2/token", &exchange(&id, &secret, &code, &plain)).await.1["error"], "invalid_grant");
    for client in [id.as_str(), public.as_str()] {
        let seen = browser.get(&ask(client, &pkce, &[("code_challenge", ""), ("code_challenge_method", "")])).await;
        assert_eq!(seen.parameter("error").as_deref(), Some("invalid_request"), "no client goes without PKCE");
    }
    // Another client, and the other registered address.
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    assert_eq!(suite.form("/oauth2/token", &exchange(&other, &other_secret, &code, &pkce)).await.1["error"], "invalid_grant");
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    let mut swapped = exchange(&id, &secret, &code, &pkce);
    swapped[3].1 = "https://shop.example/second";
    assert_eq!(suite.form("/oauth2/token", &swapped).await.1["error"], "invalid_grant");
    // Without the secret, with an empty one, by somebody else's.
    let code = browser.get(&ask(&id, &pkce, &[])).await.code();
    for secret in ["", "gcs_wrong", other_secret.as_str()] {
        assert_eq!(suite.form("/oauth2/token", &exchange(&id, secret, &code, &pkce)).await.0, 401);
    }
    assert_eq!(suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await.0, 200, "none of this used the code up");

    for bad in [
        "https://shop.example/cb/",
        "https://shop.example/cb?x=1",
        "https://shop.example/cb#f",
        "https://shop.example@evil.example/cb",
        "https://shop.example.evil.example/cb",
        "https://SHOP.example/cb",
        "https://shop。example/cb",
        "https://shop.example/%63b",
        "https://shop.example/x/../cb",
        "//shop.example/cb",
        "javascript:alert(1)",
        "https://shop.example/cb\r\nset-cookie: a=b",
    ] {
        let seen = browser.get(&ask(&id, &pkce, &[("redirect_uri", bad)])).await;
        assert_eq!((seen.status, seen.location()), (400, ""), "nobody is sent to {bad}");
    }
    assert!(browser.get(&ask(&public, &pkce, &[("redirect_uri", "http://127.0.0.1:4711/cb")])).await.location().starts_with("http://127.0.0.1:4711/cb?"));
    assert_eq!(browser.get(&ask(&public, &pkce, &[("redirect_uri", "http://127.0.0.1:4711@evil.example/cb")])).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_come_once_and_in_reasonable_size() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "grant_types": ["client_credentials", "authorization_code"] })).await;
    let base = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
    assert_eq!(suite.form("/oauth2/token", &base).await.0, 200);
    for twice in base {
        let (status, error) = suite.form("/oauth2/token", &[&base[..], &[twice]].concat()).await;
        assert_eq!((status, error["error"].as_str()), (400, Some("invalid_request")), "{twice:?}");
    }
    let long = "x".repeat(70_000);
    assert_eq!(suite.form("/oauth2/token", &[&base[..], &[("scope", long.as_str())]].concat()).await.1["error"], "invalid_request");
    let browser_path = ask(&id, &Pkce::new("x"), &[("state", &"x".repeat(3_000))]);
    let mut browser = suite.browser();
    assert_eq!(browser.get(&browser_path).await.status, 400);
    let twice = format!("{}&redirect_uri=https%3A%2F%2Fevil.example", ask(&id, &Pkce::new("x"), &[]));
    assert_eq!(browser.get(&twice).await.status, 400);
    let json = suite.world.http.post(format!("{}/oauth2/token", suite.base)).json(&json!({ "grant_type": "client_credentials" })).send().await.unwrap();
    assert_eq!(json.status(), 400, "forms only");
    let broken = suite.world.http.post(format!("{}/oauth2/token", suite.base)).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(broken.body(&b"grant_type=%FF%FE&client_id=\xff"[..]).send().await.unwrap().status(), 401, "invalid UTF-8 is nobody's id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_session_is_worth_nothing_after_the_sign_in() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.cookies.insert("__Host-gantry_session".into(), "gs_planted".into());
    let page = browser.get("/login").await;
    browser.submit_login(&page, "ada", PASSWORD).await;
    assert_ne!(browser.cookies["__Host-gantry_session"], "gs_planted");
    let mut thief = suite.browser();
    thief.cookies.insert("__Host-gantry_session".into(), "gs_planted".into());
    let seen = thief.get(&crate::support::authorize_path(&Pkce::new("t"), &[("prompt", "none")])).await;
    assert_eq!(seen.parameter("error").as_deref(), Some("login_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisations_client_is_trusted_by_its_own_people_only() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    suite.register("eve").await;
    let ada = suite.access("ada").await;
    for org in ["acme", "elsewhere"] {
        assert_eq!(suite.json(Method::POST, "/api/v1/orgs", Some(&ada), Some(json!({ "name": org }))).await.0, 201);
    }
    let body = json!({ "org": "acme", "settings": crate::party::settings(json!({})) });
    let (_, made): (u16, Value) = suite.json(Method::POST, "/api/v1/clients", Some(&ada), Some(body)).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let pkce = Pkce::new("o");
    let code = suite.signed_in("ada").await.get(&ask(id, &pkce, &[])).await.code();
    let (_, tokens) = suite.form("/oauth2/token", &exchange(id, secret, &code, &pkce)).await;
    let read = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((read["groups"].clone(), read["roles"].clone()), (json!(["acme", "acme:admin"]), json!(["acme:admin"])), "and nothing of elsewhere");
    assert!(suite.signed_in("eve").await.get(&ask(id, &pkce, &[])).await.location().starts_with("/oauth2/consent?"));
}
