//! Requests to the platform: address, CA, token (refreshed when it is about to end), problems as errors.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_kernel::Env;
use reqwest::{Method, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::Duration as Span;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::args::Common;
use crate::failure::{Failure, Problem};
use crate::login;
use crate::session::{Session, Store};

/// A connection over which messages go both ways.
pub type Socket = WebSocketStream<reqwest::Upgraded>;

/// For an answer.
const USUAL: Duration = Duration::from_secs(60);
/// For one that comes when nodes have carried or written all that there is of a volume or of an instance's memory.
const LONG: Duration = Duration::from_secs(3_600);

/// A token that ends sooner is refreshed before use.
const MARGIN: Span = Span::seconds(30);

pub struct Client {
    http: reqwest::Client,
    /// For WebSockets, which need HTTP/1.1; made when the first one is wanted.
    upgrading: Option<reqwest::Client>,
    pub url: String,
    pub store: Store,
    pub session: Session,
    /// GANTRY_TOKEN: used as it is, never refreshed.
    given_token: Option<String>,
    /// How many entries the last list was cut to, if there are more.
    cut: Option<usize>,
    env: Env,
}

impl Client {
    /// # Errors
    /// When no address is known or the CA is not readable.
    pub fn new(common: &Common, store: Store) -> Result<Self> {
        let mut session = store.read()?;
        let missing = || Failure::Usage("which platform? name it with --url or GANTRY_URL, for example https://localhost:7443".to_owned());
        let url = common.url.clone().or_else(|| session.url.clone()).ok_or_else(missing)?;
        let url = url.trim_end_matches('/').to_owned();
        if session.url.as_ref().is_some_and(|known| *known != url) {
            // Tokens and CA of one platform are of no use, and no business, of another.
            session = Session { at: session.at, ..Session::default() };
        }
        let ca = common.ca.clone().or_else(|| session.ca.clone());
        let http = http_client(ca.as_ref(), None)?;
        (session.url, session.ca) = (Some(url.clone()), ca);
        Ok(Self { http, upgrading: None, url, store, session, given_token: given_token(), cut: None, env: Env::system() })
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Whether GANTRY_TOKEN is used, whoever is signed in.
    pub fn has_given_token(&self) -> bool {
        self.given_token.is_some()
    }

    /// How many entries the last [`Self::list`] has, if there are more than it was asked for.
    pub fn cut(&self) -> Option<usize> {
        self.cut
    }

    /// # Errors
    /// A refusal, or no connection.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str, query: &[(&str, String)]) -> Result<T> {
        let answer = self.send(Method::GET, path, query, None, &[]).await?;
        read(answer).await
    }

    /// With the version that was read (`ETag`), for [`Self::put_over`]; none where the platform gives none.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn get_with_version<T: DeserializeOwned>(&mut self, path: &str) -> Result<(T, Option<i64>)> {
        let answer = self.send(Method::GET, path, &[], None, &[]).await?;
        let etag = answer.headers().get(header::ETAG).and_then(|v| v.to_str().ok());
        let version = etag.and_then(|tag| tag.trim_matches('"').parse().ok());
        Ok((read(answer).await?, version))
    }

    /// All pages of a list, at most `limit` entries.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn list(&mut self, path: &str, query: &[(&str, String)], limit: usize) -> Result<Vec<Value>> {
        self.cut = None;
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.take().map(|c| ("cursor", c)));
            let page: Page = self.get(path, &query).await?;
            items.extend(page.items);
            let more = page.next.is_some() || items.len() > limit;
            match page.next {
                Some(next) if items.len() < limit => cursor = Some(next),
                _ => {
                    items.truncate(limit);
                    self.cut = more.then_some(limit);
                    return Ok(items);
                }
            }
        }
    }

    /// # Errors
    /// A refusal, or no connection.
    pub async fn post<B: Serialize + Sync>(&mut self, path: &str, query: &[(&str, String)], body: &B) -> Result<Value> {
        // A repeated call of this program is a new command; a retry inside reqwest is not.
        let key = self.env.uuid().to_string();
        let answer = self.send(Method::POST, path, query, Some(serde_json::to_value(body)?), &[("idempotency-key", key)]).await?;
        read(answer).await
    }

    /// The same for what nodes do with as many bytes as there are.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn post_long<B: Serialize + Sync>(&mut self, path: &str, query: &[(&str, String)], body: &B) -> Result<Value> {
        let key = self.env.uuid().to_string();
        let answer = self.send_within(Some(LONG), Method::POST, path, query, Some(serde_json::to_value(body)?), &[("idempotency-key", key)]).await?;
        read(answer).await
    }

    /// By somebody who has no account yet.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn post_open<B: Serialize + Sync>(&mut self, path: &str, body: &B) -> Result<Value> {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await;
        let answer = answer.map_err(|source| Failure::Unreachable { url: self.url.clone(), source })?;
        if answer.status().is_success() { read(answer).await } else { Err(refusal(answer).await.into()) }
    }

    /// # Errors
    /// A refusal, or no connection.
    pub async fn put<B: Serialize + Sync>(&mut self, path: &str, body: &B, version: i64) -> Result<Value> {
        let if_match = [("if-match", format!("\"{version}\""))];
        let answer = self.send(Method::PUT, path, &[], Some(serde_json::to_value(body)?), &if_match).await?;
        read(answer).await
    }

    /// Over what was read with [`Self::get_with_version`]: refused if somebody has changed it since.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn put_over<B: Serialize + Sync>(&mut self, path: &str, body: &B, version: Option<i64>) -> Result<Value> {
        match version {
            Some(version) => self.put(path, body, version).await,
            None => self.put_new(path, body).await,
        }
    }

    /// A change of whatever version is there.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn patch<B: Serialize + Sync>(&mut self, path: &str, body: &B) -> Result<Value> {
        let answer = self.send(Method::PATCH, path, &[], Some(serde_json::to_value(body)?), &[]).await?;
        read(answer).await
    }

    /// Puts something in its place, whether or not it is there.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn put_new<B: Serialize + Sync>(&mut self, path: &str, body: &B) -> Result<Value> {
        let answer = self.send(Method::PUT, path, &[], Some(serde_json::to_value(body)?), &[]).await?;
        read(answer).await
    }

    /// To an address of the platform that asks for a certificate: `identity` is PEM, the certificate and its key.
    ///
    /// # Errors
    /// A certificate or key that is none, a refusal, or no connection.
    pub async fn post_as<B: Serialize + Sync>(&mut self, url: &str, identity: &[u8], body: &B) -> Result<Value> {
        let token = self.token().await?;
        let identity = reqwest::Identity::from_pem(identity).context("the files are no certificate with its private key in PEM")?;
        let http = http_client(self.session.ca.as_ref(), Some(identity))?;
        let answer = http.post(url).bearer_auth(token).json(body).send().await;
        let answer = answer.map_err(|source| Failure::Unreachable { url: url.to_owned(), source })?;
        if answer.status().is_success() { read(answer).await } else { Err(refusal(answer).await.into()) }
    }

    /// A body that is no JSON value of ours, such as a file. It may take minutes.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn post_raw(&mut self, path: &str, query: &[(&str, String)], kind: &str, body: Vec<u8>) -> Result<Value> {
        let token = self.token().await?;
        let request = self.http.post(format!("{}{path}", self.url)).query(query).bearer_auth(token).header(header::CONTENT_TYPE, kind).body(body);
        let answer = request.send().await.map_err(|source| Failure::Unreachable { url: self.url.clone(), source })?;
        if answer.status().is_success() { read(answer).await } else { Err(self.refused(answer).await.into()) }
    }

    /// # Errors
    /// A refusal, or no connection.
    pub async fn delete(&mut self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, &[], None, &[]).await.map(drop)
    }

    /// What the deletion would do.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn delete_dry(&mut self, path: &str) -> Result<Value> {
        let answer = self.send(Method::DELETE, path, &[("dry_run", "true".to_owned())], None, &[]).await?;
        read(answer).await
    }

    /// The same for what nodes do with as many bytes as there are.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn delete_long(&mut self, path: &str) -> Result<()> {
        self.send_within(Some(LONG), Method::DELETE, path, &[], None, &[]).await.map(drop)
    }

    /// A stream, or plain text: without the limit on how long an answer may take.
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn stream(&mut self, path: &str, query: &[(&str, String)]) -> Result<Response> {
        self.send_within(None, Method::GET, path, query, None, &[("accept", "text/event-stream, text/plain, */*".to_owned())]).await
    }

    /// A WebSocket of the platform (RFC 6455).
    ///
    /// # Errors
    /// A refusal, or no connection.
    pub async fn socket(&mut self, path: &str, query: &[(&str, String)]) -> Result<Socket> {
        let token = self.token().await?;
        if self.upgrading.is_none() {
            self.upgrading = Some(builder(self.session.ca.as_ref())?.http1_only().build()?);
        }
        let http = self.upgrading.as_ref().unwrap_or(&self.http);
        let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, self.env.uuid().as_bytes());
        let request = http.get(format!("{}{path}", self.url)).query(query).bearer_auth(token);
        let request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "websocket");
        let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", key).header("sec-websocket-protocol", "v5.channel.k8s.io");
        let answer = request.send().await.map_err(|source| Failure::Unreachable { url: self.url.clone(), source })?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refused(answer).await.into());
        }
        let upgraded = answer.upgrade().await.map_err(|source| Failure::Unreachable { url: self.url.clone(), source })?;
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
    }

    async fn send(&mut self, method: Method, path: &str, query: &[(&str, String)], body: Option<Value>, headers: &[(&str, String)]) -> Result<Response> {
        self.send_within(Some(USUAL), method, path, query, body, headers).await
    }

    async fn send_within(
        &mut self,
        limit: Option<Duration>,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Value>,
        headers: &[(&str, String)],
    ) -> Result<Response> {
        let token = self.token().await?;
        let mut request = self.http.request(method, format!("{}{path}", self.url)).query(query).bearer_auth(token);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|source| Failure::Unreachable { url: self.url.clone(), source })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.refused(answer).await.into())
    }

    async fn refused(&self, answer: Response) -> Failure {
        match refusal(answer).await {
            Failure::Refused(mut problem) => {
                problem.given_token = self.given_token.is_some();
                Failure::Refused(problem)
            }
            other => other,
        }
    }

    /// A token that is good for a while.
    async fn token(&mut self) -> Result<String> {
        if let Some(token) = &self.given_token {
            return Ok(token.clone());
        }
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        let _lock = self.store.lock()?;
        // Another call may have refreshed while this one waited.
        let stored = self.store.read()?;
        if stored.url == self.session.url {
            self.session.tokens = stored.tokens;
        }
        if let Some(token) = self.fresh() {
            return Ok(token);
        }
        let refresh = self.session.tokens.as_ref().and_then(|t| t.refresh_token.clone());
        let refresh = refresh.ok_or_else(|| Failure::SignedOut(self.url.clone()))?;
        let tokens = login::refresh(self, &refresh).await.map_err(|error| match error.downcast_ref::<Failure>() {
            Some(Failure::Refused(_)) => Failure::SignedOut(self.url.clone()).into(),
            _ => error,
        })?;
        self.session.tokens = Some(tokens);
        self.store.write(&self.session)?;
        self.fresh().context("the platform gave a token that has ended already; is this machine's clock right?")
    }

    fn fresh(&self) -> Option<String> {
        let tokens = self.session.tokens.as_ref()?;
        (tokens.expires_at - self.env.now() > MARGIN).then(|| tokens.access_token.clone())
    }
}

#[derive(serde::Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
}

#[allow(clippy::disallowed_methods, reason = "scripts hand over a token by the environment")]
fn given_token() -> Option<String> {
    std::env::var("GANTRY_TOKEN").ok().filter(|t| !t.is_empty())
}

fn http_client(ca: Option<&PathBuf>, identity: Option<reqwest::Identity>) -> Result<reqwest::Client> {
    let mut builder = builder(ca)?;
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    Ok(builder.build()?)
}

fn builder(ca: Option<&PathBuf>) -> Result<reqwest::ClientBuilder> {
    let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).user_agent(concat!("gantry-cli/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = ca {
        let pem = std::fs::read(file).with_context(|| format!("cannot read the CA {}", file.display()))?;
        let ca = reqwest::Certificate::from_pem_bundle(&pem).with_context(|| format!("{} is no certificate", file.display()))?;
        builder = builder.tls_certs_only(ca);
    }
    Ok(builder)
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T> {
    if answer.status() == StatusCode::NO_CONTENT {
        return Ok(serde_json::from_value(Value::Null)?);
    }
    let bytes = answer.bytes().await?;
    let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(bytes).context("the platform's answer is not what this version expects")
}

/// The refusal an answer carries, whatever its body is.
pub async fn refusal(answer: Response) -> Failure {
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let text = answer.text().await.unwrap_or_default();
    let mut problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    if problem.detail.is_empty() {
        // OAuth endpoints answer in their own format.
        let oauth: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = ["error_description", "error"].iter().find_map(|k| oauth[k].as_str());
        problem.detail =
            said.map(str::to_owned).or(Some(problem.title.clone())).filter(|d| !d.is_empty()).unwrap_or_else(|| format!("the platform answers {status}"));
    }
    (problem.status, problem.retry_after) = (status, retry_after);
    Failure::Refused(Box::new(problem))
}
