//! Requests to one API server. What may be repeated without harm is repeated: after 429 and 503 as the server asks, after
//! other 5xx with growing pauses; after 401 once with a fresh credential.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use gantry_kernel::Env;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Certificate, Identity, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use crate::MANAGER;
use crate::access::{Access, Credential};
use crate::exec::{self, Given};
use crate::kinds::Kind;
use crate::trouble::Trouble;

mod socket;
mod warnings;

pub use socket::Socket;

/// Of answers that are read as a whole.
const LARGEST: usize = 64 << 20;
const TRIES: u32 = 5;
/// A longer wait is the caller's: it has other things to do meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Token and authority of a pod are read again so often (a token is renewed well before its end).
const REREAD: time::Duration = time::Duration::seconds(60);
/// A credential is renewed so long before its end.
const EARLY: time::Duration = time::Duration::seconds(30);
/// One that has ended already by our clock is used for so long all the same: whose clock is wrong is not known, the server's counts, and
/// a program for each request would be too much.
const AT_LEAST: time::Duration = time::Duration::seconds(10);

/// What the caller allows and knows.
#[derive(Clone)]
pub struct Options {
    /// Whose clock says when a credential ends.
    pub env: Env,
    /// Programs that may be run for credentials, as the access names them; no others.
    pub plugins: Vec<String>,
    /// Looks up the server's name; the machine's way if none.
    pub resolver: Option<Arc<dyn reqwest::dns::Resolve>>,
    /// Where the server is, if the access gives another name for its certificate.
    pub addresses: Vec<std::net::SocketAddr>,
}

impl Options {
    pub fn new(env: Env) -> Self {
        Self { env, plugins: Vec::new(), resolver: None, addresses: Vec::new() }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    access: Access,
    options: Options,
    base: Url,
    state: Mutex<State>,
    /// One renewal at a time.
    renewing: AsyncMutex<()>,
}

#[derive(Clone)]
struct State {
    http: reqwest::Client,
    token: Option<String>,
    /// When the token is to be renewed; `None`: never.
    until: Option<OffsetDateTime>,
    /// The authority in a pod's account, PEM, that `http` trusts.
    authority: Option<String>,
}

impl Client {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// When the access cannot be used: certificates that are none, a plugin that is not allowed.
    pub fn new(access: Access, options: Options) -> Result<Self, Trouble> {
        let mut base = Url::parse(&access.server).map_err(|_| Trouble::Access(format!("`{}` is no address", access.server)))?;
        if let Credential::Exec(exec) = &access.credential
            && !options.plugins.contains(&exec.command)
        {
            let why = format!(
                "the credential plugin `{}` would be run by the platform, which its operator has not allowed: add it to scheduler.kubernetes.plugins, or use a service account's token",
                exec.command
            );
            return Err(Trouble::Access(why));
        }
        if let Some(name) = &access.tls_server_name {
            base.set_host(Some(name)).map_err(|_| Trouble::Access(format!("`{name}` is no name of a server")))?;
        }
        let certificate = match &access.credential {
            Credential::Certificate { certificate_pem, key_pem } => Some((certificate_pem.as_str(), key_pem.as_str())),
            _ => None,
        };
        let token = match &access.credential {
            Credential::Token { token } => Some(token.trim().to_owned()),
            _ => None,
        };
        let until = matches!(access.credential, Credential::Exec(_) | Credential::InCluster { .. }).then_some(OffsetDateTime::UNIX_EPOCH);
        let authority = match &access.credential {
            Credential::InCluster { folder } if access.ca_pem.is_none() => {
                Some(std::fs::read_to_string(authority_of(folder)).map_err(|e| Trouble::Access(format!("ca.crt of the pod: {e}")))?)
            }
            _ => None,
        };
        let http = http(&access, &options, certificate, authority.as_deref())?;
        let state = Mutex::new(State { http, token, until, authority });
        Ok(Self(Arc::new(Inner { base, access, options, state, renewing: AsyncMutex::default() })))
    }

    pub fn server(&self) -> &str {
        &self.0.access.server
    }

    /// # Errors
    /// [`Trouble`]; so for all of this.
    pub async fn get(&self, path: &str) -> Result<Value, Trouble> {
        json_of(self.patiently(Method::GET, path, None).await?).await
    }

    /// Is the server there, and ready to serve (kubernetes.io/docs/reference/using-api/health-checks)? Asked once. Whoever answers
    /// that this may not be asked, or not now, is there.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`] or [`Trouble::Unavailable`], and no other.
    pub async fn ready(&self, within: Duration) -> Result<(), Trouble> {
        let asked = tokio::time::timeout(within, self.once(&Method::GET, "/readyz", None, false)).await;
        match asked.unwrap_or_else(|_| Err(Trouble::Unreachable { server: self.server().to_owned(), reason: "no answer in time".into() })) {
            Err(trouble @ (Trouble::Unreachable { .. } | Trouble::Unavailable { .. })) => Err(trouble),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Reviews and the like: nothing is kept, so repeating does no harm.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        json_of(self.patiently(Method::POST, path, Some(("application/json", body))).await?).await
    }

    /// As [`Self::post`], but what is refused for now is the caller's to ask again (an eviction that a budget forbids).
    pub async fn post_once(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        json_of(self.once(&Method::POST, path, Some(("application/json", body)), true).await?).await
    }

    /// The whole object; a conflict if it was changed since it was read.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Trouble> {
        json_of(self.patiently(Method::PUT, path, Some(("application/json", body))).await?).await
    }

    /// Server-side apply (kubernetes.io/docs/reference/using-api/server-side-apply). With `force` fields of others are taken over.
    /// The object as it is then, and what the server warns of.
    pub async fn apply(&self, kind: &Kind, namespace: Option<&str>, name: &str, object: &Value, force: bool) -> Result<(Value, Vec<String>), Trouble> {
        let path = format!("{}/{name}?fieldManager={MANAGER}&force={force}&fieldValidation=Strict", kind.path(namespace));
        // JSON is YAML.
        let answer = self.patiently(Method::PATCH, &path, Some(("application/apply-patch+yaml", object))).await?;
        let warnings = warnings::warnings(answer.headers());
        Ok((json_of(answer).await?, warnings))
    }

    /// Lays conditions and the like over an object's status.
    pub async fn patch_status(&self, kind: &Kind, namespace: &str, name: &str, change: &Value) -> Result<(), Trouble> {
        let path = format!("{}/{name}/status", kind.path(Some(namespace)));
        self.patiently(Method::PATCH, &path, Some(("application/strategic-merge-patch+json", change))).await.map(drop)
    }

    /// Lays fields over an object (RFC 7396), whoever holds them.
    pub async fn merge(&self, kind: &Kind, namespace: Option<&str>, name: &str, change: &Value) -> Result<Value, Trouble> {
        self.merge_as(MANAGER, kind, namespace, name, change).await
    }

    /// As [`Self::merge`], under another manager's name: what is applied and what is laid over it are told apart by it.
    pub(crate) async fn merge_as(&self, manager: &str, kind: &Kind, namespace: Option<&str>, name: &str, change: &Value) -> Result<Value, Trouble> {
        let path = format!("{}/{name}?fieldManager={manager}", kind.path(namespace));
        json_of(self.patiently(Method::PATCH, &path, Some(("application/merge-patch+json", change))).await?).await
    }

    /// What depends on it goes, too, in the background. Gone already is as good. With `uid`, only that very object.
    pub async fn delete(&self, kind: &Kind, namespace: Option<&str>, name: &str, uid: Option<&str>) -> Result<(), Trouble> {
        self.delete_so(kind, namespace, name, uid, "Background").await
    }

    /// As [`Self::delete`], but what depends on it stays, for one that is made anew to take in.
    pub async fn orphan(&self, kind: &Kind, namespace: Option<&str>, name: &str, uid: Option<&str>) -> Result<(), Trouble> {
        self.delete_so(kind, namespace, name, uid, "Orphan").await
    }

    async fn delete_so(&self, kind: &Kind, namespace: Option<&str>, name: &str, uid: Option<&str>, policy: &str) -> Result<(), Trouble> {
        let mut body = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy });
        if let Some(uid) = uid {
            body["preconditions"] = json!({ "uid": uid });
        }
        let path = format!("{}/{name}", kind.path(namespace));
        match self.patiently(Method::DELETE, &path, Some(("application/json", &body))).await {
            Ok(_) | Err(Trouble::NotFound(_)) => Ok(()),
            // Another object has the name by now.
            Err(Trouble::Conflict(_)) if uid.is_some() => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// An answer that goes on: a watch, or logs that are followed. Not repeated: the caller knows from where to go on.
    pub async fn stream(&self, path: &str) -> Result<impl Stream<Item = Result<Bytes, reqwest::Error>> + Send + use<>, Trouble> {
        Ok(self.once(&Method::GET, path, None, false).await?.bytes_stream())
    }

    async fn patiently(&self, method: Method, path: &str, body: Option<(&str, &Value)>) -> Result<Response, Trouble> {
        let mut tried = 0;
        loop {
            tried += 1;
            let trouble = match self.once(&method, path, body, true).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            let pause = match &trouble {
                Trouble::TooMany(after) => *after,
                Trouble::Unavailable { .. } => Duration::from_millis(200 << tried.min(5)),
                // Nothing has been sent, or nothing was answered; what we send may come twice.
                Trouble::Unreachable { .. } if tried < 3 => Duration::from_millis(200),
                _ => return Err(trouble),
            };
            if tried >= TRIES || pause > LONGEST_PAUSE {
                return Err(trouble);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(&self, method: &Method, path: &str, body: Option<(&str, &Value)>, whole: bool) -> Result<Response, Trouble> {
        for last in [false, true] {
            let state = self.credential(last).await?;
            let url = self.url(path)?;
            let mut request: RequestBuilder = state.http.request(method.clone(), url);
            if whole {
                request = request.timeout(Duration::from_secs(60));
            }
            if let Some(token) = &state.token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            if let Some((kind, value)) = body {
                request = request.header(CONTENT_TYPE, kind).body(value.to_string());
            }
            let answer = match request.send().await.map_err(|e| self.unreachable(&e)) {
                Ok(answer) => answer,
                Err(trouble) if !last && self.may_be_renewed(&trouble) => continue,
                Err(trouble) => return Err(trouble),
            };
            let status = answer.status().as_u16();
            if answer.status().is_success() {
                return Ok(answer);
            }
            let after = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
            let trouble = Trouble::of(status, after, &answer.bytes().await.unwrap_or_default());
            if matches!(trouble, Trouble::Unauthenticated(_)) && !last && state.until.is_some() {
                continue;
            }
            // A busy server says with 503 when to come back, too.
            return Err(match (trouble, after) {
                (Trouble::Unavailable { .. }, Some(after)) => Trouble::TooMany(after),
                (trouble, _) => trouble,
            });
        }
        Err(Trouble::Unauthenticated(String::new()))
    }

    /// Below the server's own path: some stand behind a proxy (`https://host/k8s/clusters/x`).
    fn url(&self, path: &str) -> Result<Url, Trouble> {
        let whole = format!("{}{path}", self.0.base.as_str().trim_end_matches('/'));
        Url::parse(&whole).map_err(|e| Trouble::Malformed(e.to_string()))
    }

    /// What to send now; renewed if it is time, or if `fresh` asks for it.
    async fn credential(&self, fresh: bool) -> Result<State, Trouble> {
        let now = self.0.options.env.now();
        let state = || self.0.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let due = |s: &State| s.until.is_some_and(|until| fresh || until <= now);
        let held = state();
        if !due(&held) {
            return Ok(held);
        }
        let _one = self.0.renewing.lock().await;
        let again = state();
        // Somebody else has done it while we waited.
        if again.until != held.until {
            return Ok(again);
        }
        let renewed = match &self.0.access.credential {
            Credential::Exec(exec) => {
                let Given { token, certificate, expires } = exec::run(exec, &self.0.access).await?;
                let http = match &certificate {
                    Some((certificate, key)) => http(&self.0.access, &self.0.options, Some((certificate, key)), None)?,
                    None => again.http,
                };
                let until = expires.map_or(now + time::Duration::days(365), |e| (e - EARLY).max(now + AT_LEAST));
                State { http, token, until: Some(until), authority: None }
            }
            Credential::InCluster { folder } => {
                let file = format!("{folder}/token");
                let token = tokio::fs::read_to_string(&file).await.map_err(|e| Trouble::Access(format!("{file}: {e}; does this run in a pod?")))?;
                let (http, authority) = match self.other_authority(folder, &again).await {
                    Some((http, authority)) => (http, Some(authority)),
                    None => (again.http, again.authority),
                };
                State { http, token: Some(token.trim().to_owned()), until: Some(now + REREAD), authority }
            }
            Credential::Token { .. } | Credential::Certificate { .. } => again,
        };
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = renewed.clone();
        Ok(renewed)
    }

    /// A client that trusts the authority of a pod's account, if that is another one by now. What cannot be used, as a file that is
    /// only half there, changes nothing: it is read again.
    async fn other_authority(&self, folder: &str, held: &State) -> Option<(reqwest::Client, String)> {
        let before = held.authority.as_ref()?;
        let now = tokio::fs::read_to_string(authority_of(folder)).await.ok().filter(|now| now != before)?;
        match http(&self.0.access, &self.0.options, None, Some(&now)) {
            Ok(http) => {
                tracing::info!(server = self.server(), "the cluster has another authority");
                Some((http, now))
            }
            Err(trouble) => {
                tracing::warn!(server = self.server(), error = %trouble, "the cluster's authority was replaced by one that cannot be used");
                None
            }
        }
    }

    /// May the same be trusted with what the pod's account says by now?
    fn may_be_renewed(&self, trouble: &Trouble) -> bool {
        matches!(trouble, Trouble::Untrusted { .. }) && matches!(self.0.access.credential, Credential::InCluster { .. })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Trouble {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        let server = self.server().to_owned();
        if reason.contains("certificate") || reason.contains("UnknownIssuer") || reason.contains("NotValidForName") {
            return Trouble::Untrusted { server, reason };
        }
        Trouble::Unreachable { server, reason: if error.is_timeout() { "no answer in time".into() } else { reason } }
    }
}

fn authority_of(folder: &str) -> String {
    format!("{folder}/ca.crt")
}

/// `authority`: PEM, what is trusted if the access does not say it.
fn http(access: &Access, options: &Options, certificate: Option<(&str, &str)>, authority: Option<&str>) -> Result<reqwest::Client, Trouble> {
    let unusable = |what: &str, e: String| Trouble::Access(format!("{what}: {e}"));
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        // A watch and a followed log are a connection each: over HTTP/2 they would share one, and requests wait for its free streams.
        .http1_only()
        // A watch that has been silent for longer has lost its connection: bookmarks come every minute.
        .read_timeout(Duration::from_secs(120))
        .pool_idle_timeout(Duration::from_secs(60))
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = access.ca_pem.as_deref().or(authority) {
        let trusted = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| unusable("certificate-authority", e.to_string()))?;
        if trusted.is_empty() {
            return Err(unusable("certificate-authority", "there is no certificate in it".into()));
        }
        builder = builder.tls_certs_only(trusted);
    }
    if access.insecure {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some((certificate, key)) = certificate {
        let both = format!("{}\n{}\n", certificate.trim(), key.trim());
        builder = builder.identity(Identity::from_pem(both.as_bytes()).map_err(|e| unusable("client-certificate", e.to_string()))?);
    }
    match &access.tls_server_name {
        // The name is the certificate's, and need be nobody's address.
        Some(name) if options.resolver.is_none() || !options.addresses.is_empty() => {
            let own = if options.addresses.is_empty() { addresses(&access.server).map_err(|e| unusable("the server", e))? } else { options.addresses.clone() };
            builder = builder.resolve_to_addrs(name, &own);
        }
        _ => {
            if let Some(resolver) = &options.resolver {
                builder = builder.dns_resolver(resolver.clone());
            }
        }
    }
    builder.build().map_err(|e| unusable("the connection", e.to_string()))
}

/// Where a server is, by the name or number in its own address.
fn addresses(server: &str) -> Result<Vec<std::net::SocketAddr>, String> {
    let url = Url::parse(server).map_err(|e| e.to_string())?;
    url.socket_addrs(|| None).map_err(|e| format!("{server} is not found: {e}"))
}

async fn json_of(mut answer: Response) -> Result<Value, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| Trouble::Malformed(format!("it breaks off: {e}")))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(Trouble::Malformed(format!("it is longer than {} MiB", LARGEST >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|e| Trouble::Malformed(e.to_string()))
}
