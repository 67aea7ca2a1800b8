//! Signing in by a foreign provider. The OpenID provider is a second Gantry, over the network and through its real code
//! flow. The social providers are played by a server here that follows each one's documented wire form (GitHub, GitLab,
//! Google, WeCom, DingTalk, Feishu); none of them can be reached from a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_identity::Identity;
use gantry_identity::config::{ClientConfig, Config};
use gantry_testkit::World;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::support::{Browser, ISSUER, PASSWORD, Pkce, Seen, Suite};

const CALLBACK: &str = "https://gantry.test/login/upstream/partner/callback";

/// The plain door of a second platform.
struct Door {
    http: reqwest::Client,
    base: String,
    /// While set, nobody is told about anybody: the UserInfo endpoint is away.
    silent: Arc<AtomicBool>,
}

/// A second platform behind a plain door of its own, as its issuer says.
pub async fn partner() -> (Suite, String) {
    partner_behind(Arc::default()).await
}

/// The same, whose UserInfo endpoint is away while `silent` is set.
pub async fn partner_behind(silent: Arc<AtomicBool>) -> (Suite, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let public = issuer.clone();
    let world = World::with(move |platform| platform.public_url = public).await;
    let secret = world.home.path().join("downstream.secret");
    std::fs::write(&secret, "a-long-enough-shared-secret").unwrap();
    let client = ClientConfig {
        id: "downstream".into(),
        name: "The other platform".into(),
        secret_file: Some(secret),
        redirect_uris: vec![CALLBACK.into()],
        post_logout_redirect_uris: vec![],
        grants: vec!["authorization_code".into(), "refresh_token".into()],
    };
    let host = world.start::<Identity>(Config { clients: vec![client], ..Config::default() }).await;
    let base = host.url_of("identity").unwrap();
    let suite = Suite { world, host, base };
    let set = suite.json(Method::GET, "/oauth2/jwks", None, None).await.1;
    suite.host.auth.verifier.keys().set(&serde_json::from_value(set).unwrap());
    let door = Router::new().fallback(pass).with_state(Arc::new(Door { http: suite.world.http.clone(), base: suite.base.clone(), silent }));
    tokio::spawn(async move { axum::serve(listener, door).await });
    (suite, issuer)
}

async fn pass(State(door): State<Arc<Door>>, request: Request) -> Response {
    let Door { http, base, silent } = &*door;
    if request.uri().path() == "/oauth2/userinfo" && silent.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = http.request(parts.method, format!("{base}{}", parts.uri)).headers(headers).body(body).send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(n, _)| *n != "transfer-encoding" && *n != "content-length") {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

pub async fn create(suite: &Suite, admin: &str, body: Value) -> Value {
    let (status, made) = suite.json(Method::POST, "/api/v1/upstreams", Some(admin), Some(body)).await;
    assert_eq!(status, 201, "{made}");
    made
}

fn path_of(address: &str) -> String {
    let url = Url::parse(address).unwrap_or_else(|e| panic!("{address}: {e}"));
    url.query().map_or_else(|| url.path().to_owned(), |q| format!("{}?{q}", url.path()))
}

/// At the partner: signs `name` in and gives the address the browser is sent back to.
pub async fn at_partner(up: &Suite, address: &str, name: &str) -> String {
    let mut browser = up.browser();
    let seen = browser.get(&path_of(address)).await;
    assert_eq!(seen.status, 303, "{}", seen.body);
    let page = browser.get(&relative(seen.location())).await;
    let answer = browser.submit_login(&page, name, PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let back = browser.get(&relative(answer.location())).await;
    assert!(back.location().starts_with(CALLBACK), "{} {}", back.status, back.location());
    back.location().to_owned()
}

fn relative(location: &str) -> String {
    if location.starts_with('/') { location.to_owned() } else { path_of(location) }
}

pub async fn leave(browser: &mut Browser<'_>) -> String {
    let seen = browser.get("/login/upstream/partner?continue=%2Foauth2%2Fdevice").await;
    assert_eq!(seen.status, 303, "{}", seen.body);
    seen.location().to_owned()
}

/// Who is signed in, by a code of the session at hand.
pub async fn me(suite: &Suite, browser: &mut Browser<'_>) -> Value {
    let pkce = Pkce::new("f");
    let code = browser.code(&pkce).await;
    let (status, tokens) = suite.exchange(&code, &pkce.verifier).await;
    assert_eq!(status, 200, "{tokens}");
    suite.json(Method::GET, "/api/v1/me", tokens["access_token"].as_str(), None).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gantry_signs_people_in() {
    gantry_testkit::clause("6.5.2.1.b");
    gantry_testkit::clause("6.5.2.2.g");
    let (up, issuer) = partner().await;
    let down = Suite::start().await;
    let admin = down.admin().await;
    let there = up.admin_at(&issuer).await;
    up.register("ada").await;
    up.register("bob").await;
    assert_eq!(up.json(Method::POST, "/api/v1/orgs", Some(&there), Some(json!({ "name": "acme" }))).await.0, 201);
    assert_eq!(up.json(Method::PUT, "/api/v1/orgs/acme/members/ada", Some(&there), Some(json!({ "role": "editor" }))).await.0, 204);
    assert_eq!(down.json(Method::POST, "/api/v1/orgs", Some(&admin), Some(json!({ "name": "partners" }))).await.0, 201);
    let settings = json!({
        "display_name": "Partner", "allow_private": true, "domains": ["example.org"],
        "mappings": [{ "group": "acme:editor", "role": "editor", "at": "partners" }],
        "connection": { "oidc": { "issuer": issuer, "client_id": "downstream", "scopes": ["profile", "email", "groups"] }},
    });
    let trial = json!({ "settings": settings.clone() });
    let (_, tried) = down.json(Method::POST, "/api/v1/upstream-trials", Some(&admin), Some(trial)).await;
    assert_eq!(tried["ok"], true, "{tried}");
    create(&down, &admin, json!({ "name": "partner", "secret": "a-long-enough-shared-secret", "settings": settings })).await;

    // The page offers it, and the domain leads to it.
    let mut browser = down.browser();
    assert!(browser.get("/login").await.body.contains("/login/upstream/partner?continue="));
    let realm = browser.get("/login/upstream?email=ada%40example.org").await;
    assert!(onward_of(&realm).starts_with("/login/upstream/partner?continue="), "{}", realm.body);
    assert!(browser.get("/login/upstream?email=ada%40else.example").await.body.contains("no company sign-in"));

    let away = leave(&mut browser).await;
    for part in ["code_challenge_method=S256", "nonce=", "state=", "response_type=code", "client_id=downstream"] {
        assert!(away.contains(part), "{part}: {away}");
    }
    let home = at_partner(&up, &away, "ada").await;

    // Nobody else can use the answer, and no changed one is taken.
    let mut thief = down.browser();
    assert_eq!(thief.get(&home).await.status, 400, "another browser");
    leave(&mut thief).await;
    assert_eq!(thief.get(&home).await.status, 400, "a browser with a question of its own");
    let with = |name: &str, value: &str| {
        let mut url = Url::parse(&home).unwrap();
        let pairs: Vec<(String, String)> = url.query_pairs().map(|(n, v)| (n.to_string(), if n == name { value.to_owned() } else { v.to_string() })).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
        url.to_string()
    };
    let cookies = browser.cookies.clone();
    let mut attempt = down.browser();
    for (changed, status) in
        [(with("state", "x"), 400), (with("iss", "https://evil.example"), 401), (home.replace("iss=", "was="), 401), (with("code", "gc_x"), 401)]
    {
        attempt.cookies = cookies.clone();
        let seen = attempt.get(&changed).await;
        assert_eq!(seen.status, status, "{changed}: {}", seen.body);
        assert!(!attempt.cookies.contains_key("__Host-gantry_session"), "{changed}");
    }

    let away = leave(&mut browser).await;
    let home = at_partner(&up, &away, "ada").await;
    let seen = browser.get(&home).await;
    assert_eq!((seen.status, seen.location()), (303, "/oauth2/device"), "{}", seen.body);
    let ada = me(&down, &mut browser).await;
    assert_eq!(
        (ada["username"].as_str(), ada["email"].as_str(), ada["groups"].to_string().as_str()),
        (Some("ada"), Some("ada@example.org"), "[\"partners:editor\"]"),
        "{ada}"
    );
    assert_eq!(browser.get(&home).await.status, 400, "an answer counts once");

    // What changes there counts here at the next sign-in, for the same account.
    assert_eq!(up.json(Method::PUT, "/api/v1/orgs/acme/members/ada", Some(&there), Some(json!({ "role": "viewer" }))).await.0, 204);
    let mut again = down.browser();
    let away = leave(&mut again).await;
    again.get(&at_partner(&up, &away, "ada").await).await;
    let later = me(&down, &mut again).await;
    assert_eq!((later["id"] == ada["id"], later["groups"].to_string().as_str()), (true, "[]"), "{later}");

    // The same address is not the same person by itself; who signs in to both may link them.
    let bob = down.register("bob").await;
    let mut browser = down.browser();
    let away = leave(&mut browser).await;
    let refused = browser.get(&at_partner(&up, &away, "bob").await).await;
    assert!(refused.status == 409 && refused.body.contains("with your e-mail address is here already"), "{} {}", refused.status, refused.body);
    browser.sign_in("bob", PASSWORD).await;
    let page = browser.get("/login/links").await;
    assert_eq!(browser.post("/login/links/make", &[("csrf", "AAAA"), ("upstream", "partner")]).await.status, 400, "not from elsewhere");
    let onward = browser.post("/login/links/make", &[("csrf", &page.field("csrf")), ("upstream", "partner")]).await;
    let away = onward_of(&onward);
    let home = at_partner(&up, &away, "bob").await;
    // Signed out meanwhile: nothing is linked.
    let mut gone = down.browser();
    gone.cookies.insert("__Host-gantry_errand".into(), browser.cookies["__Host-gantry_errand"].clone());
    assert_eq!(gone.get(&home).await.status, 400);
    let onward = browser.post("/login/links/make", &[("csrf", &page.field("csrf")), ("upstream", "partner")]).await;
    let home = at_partner(&up, &onward_of(&onward), "bob").await;
    assert_eq!(browser.get(&home).await.location(), "/login/links?done=linked");
    let mut fresh = down.browser();
    let away = leave(&mut fresh).await;
    fresh.get(&at_partner(&up, &away, "bob").await).await;
    assert_eq!(me(&down, &mut fresh).await["id"], bob.as_str());
    let page = fresh.get("/login/links").await;
    let removed = fresh.post("/login/links/remove", &[("csrf", &page.field("csrf")), ("id", &page.field("id"))]).await;
    assert_eq!(removed.location(), "/login/links?done=unlinked");
}

fn onward_of(page: &Seen) -> String {
    let start = page.body.find("class=\"way\" href=\"").unwrap_or_else(|| panic!("{}", page.body)) + 18;
    let text = &page.body[start..];
    text[..text.find('"').unwrap()].replace("&amp;", "&").replace("&#x2f;", "/").replace("&#x27;", "'")
}

/// All six providers, each below its own path; the code `good` is right, anything else is refused in the provider's manner.
async fn social(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let sent: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let q = |name: &str| query.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let f = |name: &str| form.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let bearer = header("authorization") == "Bearer token-1";
    let posted = f("grant_type") == "authorization_code" && f("client_id") == "client-1" && f("client_secret") == "secret-1" && f("code_verifier").len() >= 43;
    let (status, answer) = match (parts.method.as_str(), parts.uri.path()) {
        ("POST", "/github/token") if posted && f("code") == "good" && header("accept").contains("json") => {
            (200, json!({ "access_token": "token-1", "token_type": "bearer", "scope": "read:user" }))
        }
        // GitHub says no with 200.
        ("POST", "/github/token") => (200, json!({ "error": "bad_verification_code", "error_description": "The code passed is incorrect or expired." })),
        ("GET", "/github/person") if bearer && !header("user-agent").is_empty() => {
            (200, json!({ "id": 583_231, "login": "Octocat", "name": "The Octocat", "email": null }))
        }
        ("GET", "/github/details") if bearer => {
            (200, json!([{ "email": "other@x.example", "primary": false, "verified": true }, { "email": "octo@x.example", "primary": true, "verified": true }]))
        }
        ("POST", "/gitlab/token" | "/google/token") if posted && f("code") == "good" => {
            (200, json!({ "access_token": "token-1", "token_type": "Bearer", "expires_in": 7200 }))
        }
        ("POST", "/gitlab/token" | "/google/token") => (400, json!({ "error": "invalid_grant" })),
        ("GET", "/gitlab/person") if bearer => {
            (200, json!({ "id": 7, "username": "gitlabber", "name": "Git Labber", "email": "gl@x.example", "confirmed_at": "2020-01-01T00:00:00Z" }))
        }
        ("GET", "/google/person") if bearer => (200, json!({ "sub": "1084", "email": "goog@x.example", "email_verified": true, "name": "Goo Gle" })),
        ("GET", "/wecom/token") if q("corpid") == "client-1" && q("corpsecret") == "secret-1" => {
            (200, json!({ "errcode": 0, "errmsg": "ok", "access_token": "token-1", "expires_in": 7200 }))
        }
        ("GET", "/wecom/token") => (200, json!({ "errcode": 40_013, "errmsg": "invalid corpid" })),
        ("GET", "/wecom/person") if q("access_token") == "token-1" && q("code") == "good" => {
            (200, json!({ "errcode": 0, "errmsg": "ok", "userid": "ZhangSan" }))
        }
        ("GET", "/wecom/person") => (200, json!({ "errcode": 40_029, "errmsg": "invalid code" })),
        ("GET", "/wecom/details") if q("access_token") == "token-1" && q("userid") == "ZhangSan" => {
            (200, json!({ "errcode": 0, "errmsg": "ok", "userid": "ZhangSan", "name": "张三", "biz_mail": "zhangsan@x.example" }))
        }
        ("POST", "/dingtalk/token")
            if sent == json!({ "clientId": "client-1", "clientSecret": "secret-1", "code": "good", "grantType": "authorization_code" }) =>
        {
            (200, json!({ "accessToken": "token-1", "refreshToken": "r", "expireIn": 7200, "corpId": "c" }))
        }
        ("POST", "/dingtalk/token") => (400, json!({ "code": "invalidParameter.authCode.notFound", "message": "not found" })),
        ("GET", "/dingtalk/person") if header("x-acs-dingtalk-access-token") == "token-1" => {
            (200, json!({ "nick": "lisi", "unionId": "z21HjQliSzpw0Yxxxx", "openId": "o", "email": "lisi@x.example" }))
        }
        ("POST", "/feishu/token") if sent["grant_type"] == "authorization_code" && sent["client_secret"] == "secret-1" && sent["code"] == "good" => {
            (200, json!({ "code": 0, "access_token": "token-1", "expires_in": 7200, "token_type": "Bearer" }))
        }
        ("POST", "/feishu/token") => (400, json!({ "code": 20_003, "error": "invalid_grant", "error_description": "The authorization code is not found." })),
        ("GET", "/feishu/person") if bearer => (
            200,
            json!({ "code": 0, "msg": "success", "data": { "name": "王五", "en_name": "wangwu", "open_id": "ou-1", "union_id": "on-1", "enterprise_email": "ww@x.example" } }),
        ),
        _ => (401, json!({ "error": "unexpected" })),
    };
    (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn social_providers_are_understood_as_they_document_themselves() {
    gantry_testkit::clause("6.5.2.2.g");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(social)).await });
    let suite = Suite::start().await;
    let admin = suite.admin().await;
    for (preset, code, asks, name, email) in [
        ("github", "code", "client_id=client-1&", "octocat", "octo@x.example"),
        ("gitlab", "code", "scope=read_user", "gitlabber", "gl@x.example"),
        ("google", "code", "scope=openid+profile+email", "goog", "goog@x.example"),
        ("wecom", "code", "login_type=CorpApp", "zhangsan", "zhangsan@x.example"),
        ("dingtalk", "authCode", "prompt=consent", "lisi", "lisi@x.example"),
        ("feishu", "code", "code_challenge=", "wangwu", "ww@x.example"),
    ] {
        let endpoint = |what: &str| format!("{base}/{preset}/{what}");
        let mut endpoints = json!({ "authorize": endpoint("authorize"), "token": endpoint("token"), "person": endpoint("person") });
        if matches!(preset, "github" | "wecom") {
            endpoints["details"] = json!(endpoint("details"));
        }
        let agent = if preset == "wecom" { "1000002" } else { "" };
        let connection = json!({ "oauth2": { "preset": preset, "client_id": "client-1", "agent_id": agent, "endpoints": endpoints }});
        create(&suite, &admin, json!({ "name": preset, "secret": "secret-1", "settings": { "allow_private": true, "connection": connection }})).await;

        let mut browser = suite.browser();
        let back = async |browser: &mut Browser<'_>, value: &str| {
            let seen = browser.get(&format!("/login/upstream/{preset}")).await;
            assert!(seen.status == 303 && seen.location().contains(asks), "{preset}: {} {}", seen.status, seen.location());
            let state = seen.parameter("state").unwrap();
            browser.get(&format!("{ISSUER}/login/upstream/{preset}/callback?{code}={value}&state={state}")).await
        };
        let refused = back(&mut browser, "bad").await;
        assert!(refused.status == 401 && refused.body.contains("did not confirm"), "{preset}: {} {}", refused.status, refused.body);
        let seen = back(&mut browser, "good").await;
        assert_eq!((seen.status, seen.location()), (303, "/"), "{preset}: {}", seen.body);
        let person = me(&suite, &mut browser).await;
        assert_eq!((person["username"].as_str(), person["email"].as_str()), (Some(name), Some(email)), "{preset}: {person}");
    }
    // The rules admit whom they say, and nobody by an address that nobody verified.
    for preset in ["dingtalk", "github"] {
        let (_, now) = suite.json(Method::GET, &format!("/api/v1/upstreams/{preset}"), Some(&admin), None).await;
        let mut settings = now["settings"].clone();
        settings["rules"]["allowed_domains"] = json!(["corp.example"]);
        assert_eq!(suite.json(Method::PUT, &format!("/api/v1/upstreams/{preset}"), Some(&admin), Some(json!({ "settings": settings }))).await.0, 200);
        let (_, person) = suite.json(Method::GET, &format!("/api/v1/users/{}", if preset == "github" { "octocat" } else { "lisi" }), Some(&admin), None).await;
        assert_eq!(suite.json(Method::DELETE, &format!("/api/v1/users/{}", person["id"].as_str().unwrap()), Some(&admin), None).await.0, 204);
        let mut browser = suite.browser();
        let seen = browser.get(&format!("/login/upstream/{preset}")).await;
        let (state, code) = (seen.parameter("state").unwrap(), if preset == "dingtalk" { "authCode" } else { "code" });
        let seen = browser.get(&format!("/login/upstream/{preset}/callback?{code}=good&state={state}")).await;
        assert!(seen.status == 403 && seen.body.contains("not admitted"), "{preset}: {} {}", seen.status, seen.body);
    }
}
