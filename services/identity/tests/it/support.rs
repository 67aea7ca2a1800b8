//! One identity service per test, and a small browser with cookies.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_host::Host;
use gantry_identity::Identity;
use gantry_identity::config::Config;
use gantry_testkit::World;
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

pub const ISSUER: &str = "https://gantry.test";
pub const CALLBACK: &str = "https://gantry.test/auth/callback";
pub const PASSWORD: &str = "tr4ck-Pumice_olive";

pub struct Suite {
    pub world: World,
    pub host: Host,
    pub base: String,
}

impl Suite {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::on(World::new().await, config).await
    }

    pub async fn on(world: World, config: Config) -> Self {
        let host = world.start::<Identity>(config).await;
        let base = host.url_of("identity").unwrap();
        let suite = Self { world, host, base };
        // The real keys instead of the test's.
        let set = suite.json(Method::GET, "/oauth2/jwks", None, None).await.1;
        suite.host.auth.verifier.keys().set(&serde_json::from_value(set).unwrap());
        suite
    }

    pub async fn json(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        self.world.call(&self.host, method, path, token, body.as_ref()).await
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let response = self.world.http.post(format!("{}{path}", self.base)).form(fields).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    /// Synchronises an upstream and waits for the report.
    pub async fn synchronised(&self, admin: &str, upstream: &str, how: Value) -> Value {
        let path = format!("/api/v1/upstreams/{upstream}/syncs");
        let (status, run) = self.json(Method::POST, &path, Some(admin), Some(how)).await;
        assert_eq!(status, 202, "{run}");
        let done = async || {
            let (_, runs) = self.json(Method::GET, &path, Some(admin), None).await;
            runs["items"].as_array().unwrap().iter().find(|r| r["id"] == run["id"] && r["result"] != "running").cloned()
        };
        self.world.until("the synchronisation ends", Duration::from_secs(120), async || done().await.is_some()).await;
        done().await.unwrap()
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser { suite: self, cookies: BTreeMap::new() }
    }

    /// Registers `name`; gives the user's id.
    pub async fn register(&self, name: &str) -> String {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        let (status, user) = self.json(Method::POST, "/api/v1/registrations", None, Some(body)).await;
        assert_eq!(status, 201, "{user}");
        user["id"].as_str().unwrap().to_owned()
    }

    /// Tokens of a person at the console, through the whole code flow.
    pub async fn tokens(&self, name: &str) -> Value {
        self.tokens_with(name, PASSWORD).await
    }

    pub async fn tokens_with(&self, name: &str, password: &str) -> Value {
        let mut browser = self.browser();
        browser.sign_in(name, password).await;
        let pkce = Pkce::new("v");
        let code = browser.code(&pkce).await;
        let (status, tokens) = self.exchange(&code, &pkce.verifier).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    pub async fn exchange(&self, code: &str, verifier: &str) -> (u16, Value) {
        let fields =
            [("grant_type", "authorization_code"), ("client_id", "gantry-console"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", verifier)];
        self.form("/oauth2/token", &fields).await
    }

    pub async fn access(&self, name: &str) -> String {
        self.tokens(name).await["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.json(Method::POST, path, Some(token), Some(body)).await
    }

    pub async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        self.json(Method::GET, path, Some(token), None).await
    }

    pub async fn put(&self, token: &str, path: &str, body: Value) -> u16 {
        self.json(Method::PUT, path, Some(token), Some(body)).await.0
    }

    pub async fn patch(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.json(Method::PATCH, path, Some(token), Some(body)).await
    }

    pub async fn delete(&self, token: &str, path: &str) -> u16 {
        self.json(Method::DELETE, path, Some(token), None).await.0
    }

    /// Ada with her organisation `acme` and its project `shop`; Bob and Eve are members as viewers. Their tokens.
    pub async fn acme(&self) -> [String; 3] {
        for name in ["ada", "bob", "eve"] {
            self.register(name).await;
        }
        let tokens = [self.access("ada").await, self.access("bob").await, self.access("eve").await];
        let ada = &tokens[0];
        assert_eq!(self.post(ada, "/api/v1/orgs", json!({ "name": "acme" })).await.0, 201);
        assert_eq!(self.post(ada, "/api/v1/orgs/acme/projects", json!({ "name": "shop" })).await.0, 201);
        for name in ["bob", "eve"] {
            assert_eq!(self.put(ada, &format!("/api/v1/orgs/acme/members/{name}"), json!({})).await, 204);
        }
        tokens
    }

    /// The administrator's token of a suite with another issuer: its console's redirect address differs.
    pub async fn admin_at(&self, issuer: &str) -> String {
        let password = std::fs::read_to_string(self.world.home.path().join("admin-password")).unwrap();
        let mut browser = self.browser();
        browser.sign_in("admin", password.trim()).await;
        let (pkce, redirect) = (Pkce::new("w"), format!("{issuer}/auth/callback"));
        let seen = browser.get(&authorize_path(&pkce, &[("redirect_uri", &redirect)])).await;
        let code = seen.parameter("code").unwrap_or_else(|| panic!("no code: {} {}", seen.location(), seen.body));
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "gantry-console"),
            ("code", &code),
            ("redirect_uri", &redirect),
            ("code_verifier", &pkce.verifier),
        ];
        let (status, tokens) = self.form("/oauth2/token", &fields).await;
        assert_eq!(status, 200, "{tokens}");
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn admin(&self) -> String {
        let password = std::fs::read_to_string(self.world.home.path().join("admin-password")).unwrap();
        self.tokens_with("admin", password.trim()).await["access_token"].as_str().unwrap().to_owned()
    }
}

pub struct Pkce {
    pub verifier: String,
    pub challenge: String,
}

impl Pkce {
    pub fn new(seed: &str) -> Self {
        let verifier = URL_SAFE_NO_PAD.encode(Sha256::digest(seed));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        Self { verifier, challenge }
    }
}

pub fn authorize_path(pkce: &Pkce, more: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let fields = [
        ("response_type", "code"),
        ("client_id", "gantry-console"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile email groups offline_access api"),
        ("state", "s-1"),
        ("nonce", "n-1"),
        ("code_challenge", pkce.challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in fields.into_iter().filter(|(n, _)| !more.iter().any(|(m, _)| m == n)).chain(more.iter().copied()) {
        query.append_pair(name, value);
    }
    format!("/oauth2/authorize?{}", query.finish())
}

pub struct Browser<'a> {
    suite: &'a Suite,
    pub cookies: BTreeMap<String, String>,
}

pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn location(&self) -> &str {
        self.headers.get(LOCATION).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    /// A parameter of the address we are sent to.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = Url::parse(ISSUER).unwrap().join(self.location()).unwrap();
        url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let start = self.body.find(&mark).unwrap_or_else(|| panic!("no field {name}: {}", self.body)) + mark.len();
        let text = &self.body[start..];
        text[..text.find('"').unwrap()].replace("&amp;", "&").replace("&#x2f;", "/").replace("&#x27;", "'")
    }
}

impl Browser<'_> {
    pub async fn get(&mut self, path: &str) -> Seen {
        let request = self.suite.world.http.get(self.url(path)).header(COOKIE, self.cookie_header());
        let response = request.send().await.unwrap();
        self.take_in(response).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let request = self.suite.world.http.post(self.url(path)).header(COOKIE, self.cookie_header()).form(fields);
        let response = request.send().await.unwrap();
        self.take_in(response).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{}", self.suite.base, path.strip_prefix(ISSUER).unwrap_or(path))
    }

    fn cookie_header(&self) -> String {
        self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("; ")
    }

    async fn take_in(&mut self, response: Response) -> Seen {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for value in headers.get_all(SET_COOKIE) {
            let text = value.to_str().unwrap();
            assert!(text.contains("HttpOnly") && text.contains("Secure") && text.contains("SameSite=Lax") && text.contains("Path=/"), "{text}");
            let (name, rest) = text.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        Seen { status, headers, body: response.text().await.unwrap() }
    }

    /// Fills in the sign-in page as it comes; gives the answer.
    pub async fn submit_login(&mut self, page: &Seen, name: &str, password: &str) -> Seen {
        let (csrf, to) = (page.field("csrf"), page.field("continue"));
        self.post("/login", &[("csrf", &csrf), ("continue", &to), ("username", name), ("password", password)]).await
    }

    pub async fn sign_in(&mut self, name: &str, password: &str) {
        let page = self.get("/login").await;
        let answer = self.submit_login(&page, name, password).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }

    /// A code for the console, by the session at hand.
    pub async fn code(&mut self, pkce: &Pkce) -> String {
        let seen = self.get(&authorize_path(pkce, &[])).await;
        assert_eq!(seen.status, 303, "{}", seen.body);
        seen.parameter("code").unwrap_or_else(|| panic!("no code: {}", seen.location()))
    }
}
