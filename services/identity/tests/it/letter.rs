//! What the specifications say to the letter and strict relying parties look for: which endpoints pages of others may call, in whose words
//! strength is told, for whom an exchanged token is, what a hint is worth that nobody can read.

use reqwest::Method;
use serde_json::{Value, json};

use crate::party::{CB, ask, claims, exchange, settings};
use crate::support::{Pkce, Suite};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_call_what_needs_no_cookie_and_nothing_else() {
    let suite = Suite::start().await;
    let allowed = async |method: Method, path: &str| {
        let answer = suite.world.http.request(method, format!("{}{path}", suite.base)).header("origin", "https://spa.example").send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned()))
    };
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/oauth2/jwks"] {
        assert_eq!(allowed(Method::GET, path).await, (200, Some("*".to_owned())), "{path}");
        assert_eq!(allowed(Method::OPTIONS, path).await, (204, Some("*".to_owned())), "{path}");
    }
    for path in ["/oauth2/token", "/oauth2/userinfo", "/oauth2/revoke", "/oauth2/par", "/oauth2/device_authorization"] {
        assert_eq!(allowed(Method::OPTIONS, path).await, (204, Some("*".to_owned())), "{path}");
    }
    for path in ["/oauth2/authorize", "/oauth2/logout", "/login", "/oauth2/introspect"] {
        assert_eq!(allowed(Method::OPTIONS, path).await.1, None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strength_is_answered_in_the_words_of_the_request_for_as_long_as_it_is_renewed() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({})).await;
    let mut browser = suite.signed_in("ada").await;
    // As after a passkey.
    sqlx::query("update sessions set amr = 'hwk user mfa'").execute(&suite.host.db().pool).await.unwrap();
    let pkce = Pkce::new("acr");
    let acr = |tokens: &Value| claims(tokens["id_token"].as_str().unwrap())["acr"].as_str().unwrap().to_owned();
    let essential = r#"{"id_token":{"acr":{"essential":true,"values":["2"]}}}"#;
    for (name, value, told) in [("claims", essential, "2"), ("acr_values", "2 1", "2"), ("acr_values", "urn:other", "phr"), ("display", "page", "phr")] {
        let code = browser.get(&ask(&id, &pkce, &[(name, value)])).await.code();
        let (status, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
        assert_eq!((status, acr(&tokens).as_str()), (200, told), "{name}={value}");
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let fields = [("grant_type", "refresh_token"), ("client_id", id.as_str()), ("client_secret", secret.as_str()), ("refresh_token", refresh)];
        let (status, tokens) = suite.form("/oauth2/token", &fields).await;
        assert_eq!((status, acr(&tokens).as_str()), (200, told), "{name}={value}, renewed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_that_nobody_can_read_vouches_for_nobody_without_a_page() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, _) = suite.client(&admin, json!({})).await;
    let mut browser = suite.signed_in("ada").await;
    let pkce = Pkce::new("hint");
    let silent = browser.get(&ask(&id, &pkce, &[("prompt", "none"), ("id_token_hint", "eyJhbGciOiJub25lIn0.e30.")])).await;
    assert_eq!(silent.parameter("error").as_deref(), Some("login_required"));
    let with_a_page = browser.get(&ask(&id, &pkce, &[("id_token_hint", "eyJhbGciOiJub25lIn0.e30.")])).await;
    assert!(with_a_page.parameter("code").is_some(), "{}", with_a_page.location());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchanged_token_is_for_whom_it_was_asked_or_not_given() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({ "audience": "https://orders.example", "grant_types": ["authorization_code", EXCHANGE] })).await;
    let pkce = Pkce::new("target");
    let code = suite.signed_in("ada").await.get(&ask(&id, &pkce, &[("scope", "openid profile")])).await.code();
    let (status, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    assert_eq!(status, 200, "{tokens}");
    let subject = tokens["access_token"].as_str().unwrap();
    for (name, value, error) in [
        ("audience", "https://orders.example", None),
        ("resource", "https://orders.example", None),
        ("audience", "https://other.example", Some("invalid_target")),
        ("resource", "https://other.example", Some("invalid_target")),
        ("actor_token", subject, Some("invalid_request")),
    ] {
        let fields = [
            ("grant_type", EXCHANGE),
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
            ("subject_token", subject),
            ("subject_token_type", ACCESS),
            (name, value),
        ];
        let (status, answer) = suite.form("/oauth2/token", &fields).await;
        assert_eq!((status, answer["error"].as_str()), (if error.is_some() { 400 } else { 200 }, error), "{name}={value}: {answer}");
        if error.is_none() {
            assert_eq!(claims(answer["access_token"].as_str().unwrap())["aud"], value);
            assert_eq!((answer["issued_token_type"].as_str(), answer["token_type"].as_str()), (Some(ACCESS), Some("Bearer")), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_active_while_it_would_give_something() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let (id, secret) = suite.client(&admin, json!({})).await;
    let (asker, asker_secret) = suite.client(&admin, json!({ "client_name": "Asks" })).await;
    let pkce = Pkce::new("active");
    let code = suite.signed_in("ada").await.get(&ask(&id, &pkce, &[])).await.code();
    let (_, tokens) = suite.form("/oauth2/token", &exchange(&id, &secret, &code, &pkce)).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let active = async || {
        let fields = [("client_id", asker.as_str()), ("client_secret", asker_secret.as_str()), ("token", refresh)];
        let (status, told) = suite.form("/oauth2/introspect", &fields).await;
        assert_eq!(status, 200, "{told}");
        told["active"].as_bool().unwrap()
    };
    assert!(active().await);
    let path = format!("/api/v1/clients/{id}");
    for enabled in [false, true] {
        assert_eq!(suite.put(&admin, &path, settings(json!({ "enabled": enabled }))).await, 200);
        assert_eq!(active().await, enabled, "a client that is switched off gets nothing");
    }
    // The family is over, the last token of it would not be yet.
    sqlx::query("update families set expires_at = now() - interval '1 minute'").execute(&suite.host.db().pool).await.unwrap();
    assert!(!active().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_says_what_the_client_may_and_refuses_what_there_is_not() {
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    let (_, token) = suite.post(&admin, "/api/v1/client-registration-tokens", json!({ "uses": 3 })).await;
    let token = token["token"].as_str().unwrap();
    let send = async |body: Value| {
        let answer = suite.world.http.post(format!("{}/oauth2/register", suite.base)).bearer_auth(token).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    let (status, made) = send(json!({ "client_name": "Job", "grant_types": ["client_credentials"], "response_types": [] })).await;
    assert_eq!((status, &made["response_types"], &made["subject_type"]), (201, &json!([]), &json!("public")), "{made}");
    let (status, made) = send(json!({ "client_name": "Shop", "redirect_uris": [CB], "subject_type": "public" })).await;
    assert_eq!((status, &made["response_types"]), (201, &json!(["code"])), "{made}");
    let (status, refused) = send(json!({ "client_name": "Shop", "redirect_uris": [CB], "subject_type": "pairwise" })).await;
    assert_eq!((status, refused["error"].as_str()), (400, Some("invalid_client_metadata")), "{refused}");

    let nothing = suite.world.http.post(format!("{}/oauth2/register", suite.base)).json(&json!({})).send().await.unwrap();
    assert_eq!((nothing.status().as_u16(), nothing.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"), "no error is named to who shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_scheme_of_its_own_is_reached_from_our_pages() {
    const OWN: &str = "org.example.app:/cb";
    let suite = Suite::start().await;
    suite.register("ada").await;
    let admin = suite.admin().await;
    let native = json!({ "token_endpoint_auth_method": "none", "application_type": "native", "redirect_uris": [OWN] });
    let (id, _) = suite.client(&admin, native).await;
    let pkce = Pkce::new("native");
    let mut browser = suite.browser();
    let away = browser.get(&ask(&id, &pkce, &[("redirect_uri", OWN)])).await;
    let page = browser.get(away.location()).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' org.example.app:;"), "{policy}");
    let back = browser.submit_login(&page, "ada", crate::support::PASSWORD).await;
    let seen = browser.get(back.location()).await;
    assert!(seen.location().starts_with("org.example.app:/cb?code="), "{}", seen.location());
    let posted = browser.get(&ask(&id, &pkce, &[("redirect_uri", OWN), ("response_mode", "form_post")])).await;
    let policy = posted.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action org.example.app:;"), "{policy}");
}
