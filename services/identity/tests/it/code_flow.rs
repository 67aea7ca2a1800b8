//! The authorization code flow: with a foreign relying party library, and with every trick that must not work.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{AuthorizationCode, ClientId, CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, RedirectUrl, Scope, TokenResponse};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CALLBACK, ISSUER, PASSWORD, Pkce, Suite, authorize_path};

/// reqwest for the openidconnect crate; the issuer's name leads to the service under test.
#[derive(Clone)]
struct Http {
    client: reqwest::Client,
    base: String,
}

struct Shared<T>(Mutex<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Future for Shared<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.get_mut().0.get_mut().unwrap().as_mut().poll(cx)
    }
}

impl<'c> openidconnect::AsyncHttpClient<'c> for Http {
    type Error = openidconnect::HttpClientError<reqwest::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<openidconnect::HttpResponse, Self::Error>> + Send + Sync + 'c>>;

    fn call(&'c self, request: openidconnect::HttpRequest) -> Self::Future {
        let http = self.clone();
        Box::pin(Shared(Mutex::new(Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url = parts.uri.to_string().replace(ISSUER, &http.base);
            let response = http.client.request(parts.method, url).headers(parts.headers).body(body).send().await.map_err(Box::new)?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                headers.extend(response.headers().clone());
            }
            Ok(answer.body(response.bytes().await.map_err(Box::new)?.to_vec())?)
        }))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relying_party_signs_a_person_in_through_the_code_flow() {
    gantry_testkit::clause("6.5.2.1.b");
    let suite = Suite::start().await;
    let id = suite.register("ada").await;
    let http = Http { client: suite.world.http.clone(), base: suite.base.clone() };
    let metadata = CoreProviderMetadata::discover_async(IssuerUrl::new(ISSUER.into()).unwrap(), &http).await.unwrap();
    let client =
        CoreClient::from_provider_metadata(metadata, ClientId::new("gantry-console".into()), None).set_redirect_uri(RedirectUrl::new(CALLBACK.into()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state, nonce) = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("profile".into()))
        .add_scope(Scope::new("email".into()))
        .set_pkce_challenge(challenge)
        .url();

    let mut browser = suite.browser();
    let to_login = browser.get(url.as_str()).await;
    assert_eq!(to_login.status, 303);
    let page = browser.get(to_login.location()).await;
    assert_eq!(page.status, 200);
    let policy = page.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let answer = browser.submit_login(&page, "ada", PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let back = browser.get(answer.location()).await;
    assert_eq!(back.parameter("state").as_deref(), Some(state.secret().as_str()));
    assert_eq!(back.parameter("iss").as_deref(), Some(ISSUER));

    let code = AuthorizationCode::new(back.parameter("code").unwrap());
    let tokens = client.exchange_code(code).unwrap().set_pkce_verifier(verifier).request_async(&http).await.unwrap();
    let id_token = tokens.id_token().unwrap();
    let verifier = client.id_token_verifier();
    let claims = id_token.claims(&verifier, &nonce).unwrap();
    assert_eq!(claims.subject().as_str(), format!("user:{id}"));
    assert_eq!(claims.preferred_username().unwrap().as_str(), "ada");
    let expected =
        openidconnect::AccessTokenHash::from_token(tokens.access_token(), id_token.signing_alg().unwrap(), id_token.signing_key(&verifier).unwrap()).unwrap();
    assert_eq!(claims.access_token_hash(), Some(&expected));
    let info: openidconnect::core::CoreUserInfoClaims = client.user_info(tokens.access_token().clone(), None).unwrap().request_async(&http).await.unwrap();
    assert_eq!(info.email().unwrap().as_str(), "ada@example.org");
    assert!(tokens.refresh_token().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_and_its_replay_revokes_what_it_gave() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let pkce = Pkce::new("a");
    let code = browser.code(&pkce).await;
    let (status, tokens) = suite.exchange(&code, &pkce.verifier).await;
    assert_eq!(status, 200, "{tokens}");
    let (status, error) = suite.exchange(&code, &pkce.verifier).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let (status, error) = suite.form("/oauth2/token", &[("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", refresh)]).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")), "what the code gave is revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_whose_session_has_ended_gives_nothing_and_is_spent() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let pool = &suite.host.db().pool;
    sqlx::query("update sessions set last_seen_at = now() - interval '5 minutes'").execute(pool).await.unwrap();
    let pkce = Pkce::new("a");
    let code = browser.code(&pkce).await;
    let seen: bool = sqlx::query_scalar("select bool_and(last_seen_at > now() - interval '1 minute') from sessions").fetch_one(pool).await.unwrap();
    assert!(seen, "the session was used just now");
    sqlx::query("update sessions set ended_at = now()").execute(pool).await.unwrap();
    let (status, error) = suite.exchange(&code, &pkce.verifier).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")), "{error}");
    assert_eq!(error["error_description"], "the session has ended", "{error}");
    // Nor later, should somebody bring it back.
    sqlx::query("update sessions set ended_at = null").execute(pool).await.unwrap();
    assert_eq!(suite.exchange(&code, &pkce.verifier).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn pkce_and_the_redirect_address_cannot_be_bent() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let pkce = Pkce::new("a");

    let seen = browser.get(&authorize_path(&pkce, &[("code_challenge_method", "plain")])).await;
    assert_eq!(seen.parameter("error").as_deref(), Some("invalid_request"));
    assert_eq!(seen.parameter("state").as_deref(), Some("s-1"));
    let seen = browser.get(&authorize_path(&pkce, &[("code_challenge", "")])).await;
    assert_eq!(seen.parameter("error").as_deref(), Some("invalid_request"));

    for bad in [
        "https://evil.example/cb",
        "https://gantry.test/auth/callback/../x",
        "https://gantry.test@evil.example/auth/callback",
        "https://gantry.test/auth/callback#x",
    ] {
        let seen = browser.get(&authorize_path(&pkce, &[("redirect_uri", bad)])).await;
        assert_eq!((seen.status, seen.location()), (400, ""), "nobody is sent to {bad}");
    }

    let code = browser.code(&pkce).await;
    let (status, error) = suite.exchange(&code, &Pkce::new("other").verifier).await;
    assert_eq!((status, error["error"].as_str()), (400, Some("invalid_grant")));
    let (status, _) = suite.exchange(&code, &pkce.verifier).await;
    assert_eq!(status, 400, "a code that was tried is spent");

    let code = browser.code(&pkce).await;
    let fields =
        [("grant_type", "authorization_code"), ("client_id", "gantry-cli"), ("code", &code), ("redirect_uri", CALLBACK), ("code_verifier", &pkce.verifier)];
    assert_eq!(suite.form("/oauth2/token", &fields).await.0, 400, "another client cannot use it");
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_and_max_age_decide_whether_a_page_is_shown() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let pkce = Pkce::new("a");
    let mut browser = suite.browser();
    let seen = browser.get(&authorize_path(&pkce, &[("prompt", "none")])).await;
    assert_eq!(seen.parameter("error").as_deref(), Some("login_required"));
    browser.sign_in("ada", PASSWORD).await;
    assert!(browser.get(&authorize_path(&pkce, &[("prompt", "none")])).await.parameter("code").is_some());
    let seen = browser.get(&authorize_path(&pkce, &[("prompt", "login")])).await;
    assert!(seen.location().starts_with("/login?"), "{}", seen.location());
    let page = browser.get(seen.location()).await;
    let before = browser.cookies.clone();
    let answer = browser.submit_login(&page, "ada", PASSWORD).await;
    assert_ne!(before.get("__Host-gantry_session"), browser.cookies.get("__Host-gantry_session"), "a sign-in makes a new session");
    assert!(browser.get(answer.location()).await.parameter("code").is_some(), "the second round is satisfied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_looks_the_same_for_known_and_unknown_names_and_is_limited() {
    let suite = Suite::with(gantry_identity::config::Config { captcha_after: 0, ..Default::default() }).await;
    suite.register("ada").await;
    let mut answers = Vec::new();
    for name in ["ada", "nobody"] {
        let mut browser = suite.browser();
        let page = browser.get("/login").await;
        let answer = browser.submit_login(&page, name, "wrong").await;
        // What is random in every page does not count.
        let nonce = answer.body.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        answers.push((answer.status, answer.body.replace(&answer.field("csrf"), "").replace(nonce, "").replace(name, "")));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 401);
    let mut browser = suite.browser();
    let page = browser.get("/login").await;
    let mut last = 0;
    for _ in 0..10 {
        last = browser.submit_login(&page, "ada", "wrong").await.status;
    }
    assert_eq!(last, 429);
    assert_eq!(browser.submit_login(&page, "ada", PASSWORD).await.status, 429, "the right one does not help either now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_elsewhere_is_refused_and_pages_speak_chinese() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.get("/login").await;
    let answer = browser.post("/login", &[("csrf", "AAAA"), ("username", "ada"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 400);
    assert!(!browser.cookies.contains_key("__Host-gantry_session"));
    let page = browser.get("/login?ui_locales=zh-CN&continue=https%3A%2F%2Fevil.example").await;
    assert!(page.body.contains("登录 Gantry") && page.body.contains("lang=\"zh-CN\""));
    assert_eq!(page.field("continue"), "/", "no open redirect");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_and_its_tokens() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let mut browser = suite.browser();
    browser.sign_in("ada", PASSWORD).await;
    let pkce = Pkce::new("a");
    let code = browser.code(&pkce).await;
    let tokens: Value = suite.exchange(&code, &pkce.verifier).await.1;
    let asked = browser.get("/oauth2/logout").await;
    assert!(asked.status == 200 && browser.cookies.contains_key("__Host-gantry_session"), "without a hint the person is asked");
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("id_token_hint", tokens["id_token"].as_str().unwrap())
        .append_pair("post_logout_redirect_uri", "https://gantry.test/")
        .append_pair("state", "x")
        .finish();
    let seen = browser.get(&format!("/oauth2/logout?{query}")).await;
    assert_eq!(seen.location(), "https://gantry.test/?state=x");
    assert!(!browser.cookies.contains_key("__Host-gantry_session"));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let (status, _) = suite.form("/oauth2/token", &[("grant_type", "refresh_token"), ("client_id", "gantry-console"), ("refresh_token", refresh)]).await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_key_or_algorithm_is_refused() {
    let suite = Suite::start().await;
    suite.register("ada").await;
    let good = suite.access("ada").await;
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(&good), None).await.0, 200);
    let parts: Vec<&str> = good.split('.').collect();
    let encode = |value: Value| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, value.to_string());
    let header: Value = serde_json::from_slice(&base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, parts[0]).unwrap()).unwrap();
    let none = format!("{}.{}.", encode(json!({"alg": "none", "typ": "at+jwt"})), parts[1]);
    let symmetric = format!("{}.{}.{}", encode(json!({"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]})), parts[1], parts[2]);
    let foreign = format!("{}.{}.{}", encode(json!({"alg": "ES256", "typ": "at+jwt", "kid": "../../etc/passwd"})), parts[1], parts[2]);
    let tampered = format!("{}.{}x.{}", parts[0], parts[1], parts[2]);
    for bad in [none, symmetric, foreign, tampered, "x".repeat(100_000 / 10)] {
        assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(&bad), None).await.0, 401);
    }
    let issued = suite.tokens("ada").await;
    let id_token = issued["id_token"].as_str().unwrap();
    assert_eq!(suite.json(Method::GET, "/api/v1/me", Some(id_token), None).await.0, 401, "an ID token is no access token");
}
