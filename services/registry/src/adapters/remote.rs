//! Another registry, as a client of the distribution-spec meets it: authentication by Docker's token specification or by
//! password, pulls, pushes, lists. Only addresses that may be reached, answers of bounded size, an end to every silence.

mod auth;
mod pull;
mod push;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_contract::registry::flow::Endpoint;
use gantry_host::reach::{self, Guarded, ReachError};
use gantry_kernel::Secret;
use http::{StatusCode, header};
use thiserror::Error;
use url::Url;

pub use auth::Scope;
use auth::Token;
pub use pull::{Listed, Pulled, fallback_tag};
pub use push::Begun;

const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence within an answer.
const SILENCE: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 5;
/// Bytes of a list or an error that are read.
const LARGEST_LIST: usize = 8 << 20;
const LARGEST_ERROR: usize = 16 << 10;

/// What went wrong with the other registry; for people.
#[derive(Debug, Error)]
pub enum RemoteError {
    #[error("the registry {0} cannot be reached: {1}")]
    Http(String, String),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("the endpoint's settings cannot be used: {0}")]
    Settings(String),
    #[error("the registry {0} refuses the credentials, or they do not allow this")]
    Denied(String),
    #[error("the registry {0} does not have it")]
    Unknown(String),
    #[error("the registry {0} asks to wait (too many requests)")]
    TooMany(String, Duration),
    #[error("the registry {0} answers {1}: {2}")]
    Status(String, u16, String),
    #[error("the answer of the registry {0} is not as specified: {1}")]
    Answer(String, String),
}

pub type Result<T, E = RemoteError> = std::result::Result<T, E>;

impl RemoteError {
    /// Whether the same again cannot go better.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Unknown(_) => true,
            Self::Status(_, status, _) => (400..500).contains(status) && !matches!(status, 408 | 425 | 429),
            // Rights and names change.
            Self::Denied(_) | Self::Reach(_) | Self::Http(..) | Self::TooMany(..) | Self::Answer(..) => false,
        }
    }
}

/// Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    base: Url,
    host: String,
    private: bool,
    credentials: Option<(String, Secret)>,
    tokens: Mutex<HashMap<String, Token>>,
    /// It asked for the password itself.
    basic: AtomicBool,
}

impl Remote {
    /// # Errors
    /// When the address or the authority's certificates cannot be used.
    pub fn new(endpoint: &Endpoint, password: Option<Secret>) -> Result<Self> {
        let base = Url::parse(&endpoint.url).map_err(|e| RemoteError::Settings(e.to_string()))?;
        let private = endpoint.allow_private;
        let mut builder = reqwest::Client::builder()
            .redirect(redirects(private))
            // A proxy of the environment would look names up itself.
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private }))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent("gantry-registry");
        if let Some(pem) = &endpoint.ca_pem {
            builder = builder.tls_backend_preconfigured(reach::trusting(pem).map_err(|e| RemoteError::Settings(format!("ca_pem: {e}")))?);
        }
        let http = builder.build().map_err(|e| RemoteError::Settings(e.to_string()))?;
        let host = base.host_str().unwrap_or_default();
        let host = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let credentials = password.filter(|_| !endpoint.username.is_empty()).map(|p| (endpoint.username.clone(), p));
        Ok(Self(Arc::new(Inner { http, base, host, private, credentials, tokens: Mutex::default(), basic: AtomicBool::new(false) })))
    }

    /// Name and port, as in an image's reference.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Whether it is a registry and takes the credentials.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn ping(&self) -> Result<()> {
        self.send(&Scope::Nothing, http::Method::GET, "/v2/", |r| r).await.map(|_| ())
    }

    fn url(&self, path: &str) -> Result<Url> {
        self.0.base.join(path).map_err(|e| RemoteError::Answer(self.0.host.clone(), e.to_string()))
    }

    /// Sends a request without a body, or with one at hand, and makes an error of everything but success.
    async fn send(
        &self,
        scope: &Scope,
        method: http::Method,
        path: &str,
        more: impl Fn(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response> {
        let url = self.url(path)?;
        reach::check_url(&url, self.0.private)?;
        let build = || more(self.0.http.request(method.clone(), url.clone()));
        let response = self.execute(self.authorized(scope, build(), &url)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.judge(response).await;
        }
        self.answer_challenge(scope, &response).await?;
        let response = self.execute(self.authorized(scope, build(), &url)).await?;
        self.judge(response).await
    }

    async fn execute(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        request.send().await.map_err(|e| self.unreachable(&e))
    }

    fn unreachable(&self, error: &reqwest::Error) -> RemoteError {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            let more = inner.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = inner.source();
        }
        RemoteError::Http(self.0.host.clone(), text)
    }

    async fn judge(&self, response: reqwest::Response) -> Result<reqwest::Response> {
        let host = || self.0.host.clone();
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RemoteError::Denied(host())),
            StatusCode::NOT_FOUND => Err(RemoteError::Unknown(host())),
            StatusCode::TOO_MANY_REQUESTS => {
                let seconds = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
                Err(RemoteError::TooMany(host(), Duration::from_secs(seconds.unwrap_or(30).min(3600))))
            }
            _ => {
                let body = bounded(response, LARGEST_ERROR).await.unwrap_or_default();
                let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let text = said["errors"][0]["message"].as_str().or(said["errors"][0]["code"].as_str()).unwrap_or_default();
                Err(RemoteError::Status(host(), status.as_u16(), text.chars().take(300).collect()))
            }
        }
    }

    /// The whole of a small answer.
    async fn whole(&self, response: reqwest::Response, limit: usize) -> Result<Vec<u8>> {
        bounded(response, limit).await.map_err(|e| match e {
            Some(error) => self.unreachable(&error),
            None => RemoteError::Answer(self.0.host.clone(), format!("it is larger than {limit} bytes")),
        })
    }
}

/// None: there is more than `limit`.
async fn bounded(mut response: reqwest::Response, limit: usize) -> std::result::Result<Vec<u8>, Option<reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Registries send clients to where their blobs are; never to the inside, and never out of TLS.
fn redirects(private: bool) -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error("too many redirects");
        }
        let downgrade = attempt.url().scheme() != "https" && attempt.previous().last().is_some_and(|p| p.scheme() == "https");
        match reach::check_url(attempt.url(), private) {
            Ok(()) if downgrade => attempt.error("a redirect from https to http is not followed"),
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_lies_inside_is_left_alone_unless_that_is_allowed() {
        for url in ["https://127.0.0.1:1", "https://localhost:1", "https://[::1]:1", "https://169.254.169.254"] {
            let endpoint = |allow_private| Endpoint { url: url.into(), username: String::new(), ca_pem: None, allow_private };
            let refused = Remote::new(&endpoint(false), None).unwrap().ping().await.unwrap_err().to_string();
            assert!(refused.contains("private address"), "{url}: {refused}");
        }
        let endpoint = Endpoint { url: "http://127.0.0.1:1".into(), username: String::new(), ca_pem: None, allow_private: true };
        let error = Remote::new(&endpoint, None).unwrap().ping().await.unwrap_err();
        assert!(matches!(error, RemoteError::Http(..)) && !error.is_final(), "{error}");
    }
}
