//! HTTP to foreign providers, and what can go wrong with them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use gantry_contract::upstream::Settings;
use gantry_host::reach::{self, ReachError};
use openidconnect::{HttpClientError, HttpRequest, HttpResponse};
use serde_json::Value;
use thiserror::Error;

use super::guarded::{AskError, GuardedHttp, bounded};

const LARGEST: usize = 1 << 20;

/// What went wrong with a provider; for the administrator's log.
#[derive(Debug, Error)]
pub enum ProviderError {
    #[error("the provider cannot be reached")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("the client cannot be made: {0}")]
    Settings(String),
    #[error("the provider's answer is larger than a megabyte")]
    TooLarge,
    #[error("the provider answers {status}: {text}")]
    Status { status: u16, text: String },
    #[error("the provider's answer is not as specified: {0}")]
    Answer(String),
    #[error("the provider refuses: {0}")]
    Refused(String),
}

impl From<AskError> for ProviderError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Http(error) => Self::Http(error),
            AskError::Reach(error) => Self::Reach(error),
            AskError::TooLarge(_) => Self::TooLarge,
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Http(GuardedHttp);

impl Http {
    /// # Errors
    /// When the authority's certificates cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, ProviderError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            // GitHub refuses requests without one.
            .user_agent("gantry");
        if let Some(pem) = &settings.ca_pem {
            builder = builder.tls_backend_preconfigured(reach::trusting(pem).map_err(ProviderError::Settings)?);
        }
        Ok(Self(GuardedHttp::new(builder, settings.allow_private)?))
    }

    pub fn request(&self, method: http::Method, url: &str) -> reqwest::RequestBuilder {
        self.0.request(method, url).header(http::header::ACCEPT, "application/json")
    }

    /// Sends a request and reads a JSON answer.
    ///
    /// # Errors
    /// When it cannot be reached, says no, or sends no JSON.
    pub async fn json(&self, request: reqwest::RequestBuilder) -> Result<Value, ProviderError> {
        let response = self.0.send(request.build()?).await?;
        let status = response.status();
        let body = bounded(response, LARGEST).await?;
        let value = serde_json::from_slice::<Value>(&body);
        if !status.is_success() {
            let said = value.as_ref().ok().and_then(|v| v["error"].as_str().or(v["message"].as_str())).unwrap_or_default();
            return Err(ProviderError::Status { status: status.as_u16(), text: said.chars().take(200).collect() });
        }
        value.map_err(|e| ProviderError::Answer(e.to_string()))
    }
}

/// The openidconnect crate wants futures that are `Sync`: this one is polled by one task at a time anyway.
pub struct Alone<T>(Mutex<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Future for Alone<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.get_mut().0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).as_mut().poll(cx)
    }
}

impl<'c> openidconnect::AsyncHttpClient<'c> for Http {
    type Error = HttpClientError<reqwest::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Self::Error>> + Send + Sync + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let http = self.clone();
        Box::pin(Alone(Mutex::new(Box::pin(async move {
            let other = |e: AskError| HttpClientError::Other(ProviderError::from(e).to_string());
            let (parts, body) = request.into_parts();
            let request = http.0.request(parts.method, &parts.uri.to_string()).headers(parts.headers).body(body).build().map_err(Box::new)?;
            let response = http.0.send(request).await.map_err(other)?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                headers.extend(response.headers().clone());
            }
            Ok(answer.body(bounded(response, LARGEST).await.map_err(other)?)?)
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::upstream::settings::tests::ldap;

    #[tokio::test]
    async fn private_addresses_are_not_asked_unless_allowed() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Http::new(&ldap()).unwrap();
        for inside in ["http://127.0.0.1:9/", "http://[::1]:9/", "http://169.254.169.254/latest/meta-data", "http://localhost:9/", "http://2130706433/"] {
            let refused = http.json(http.request(http::Method::GET, inside)).await.unwrap_err();
            let text = format!("{refused:?}");
            assert!(text.contains("Private"), "{inside}: {text}");
        }
    }
}
