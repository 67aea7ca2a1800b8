//! HTTP to foreign providers: no redirects, no private addresses unless allowed, answers of bounded size and time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use gantry_contract::upstream::Settings;
use gantry_host::reach::{self, Guarded, ReachError};
use openidconnect::{HttpClientError, HttpRequest, HttpResponse};
use serde_json::Value;
use thiserror::Error;
use url::Url;

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

/// Cheap to clone.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    private: bool,
}

impl Http {
    /// # Errors
    /// When the authority's certificates cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, ProviderError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would look names up itself.
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private: settings.allow_private }))
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(15))
            // GitHub refuses requests without one.
            .user_agent("gantry");
        if let Some(pem) = &settings.ca_pem {
            builder = builder.tls_backend_preconfigured(reach::trusting(pem).map_err(ProviderError::Settings)?);
        }
        Ok(Self { client: builder.build()?, private: settings.allow_private })
    }

    pub fn request(&self, method: http::Method, url: &str) -> reqwest::RequestBuilder {
        self.client.request(method, url).header(http::header::ACCEPT, "application/json")
    }

    /// Sends a request and reads a JSON answer.
    ///
    /// # Errors
    /// When it cannot be reached, says no, or sends no JSON.
    pub async fn json(&self, request: reqwest::RequestBuilder) -> Result<Value, ProviderError> {
        let response = self.send(request.build()?).await?;
        let status = response.status();
        let body = bounded(response).await?;
        let value = serde_json::from_slice::<Value>(&body);
        if !status.is_success() {
            let said = value.as_ref().ok().and_then(|v| v["error"].as_str().or(v["message"].as_str())).unwrap_or_default();
            return Err(ProviderError::Status { status: status.as_u16(), text: said.chars().take(200).collect() });
        }
        value.map_err(|e| ProviderError::Answer(e.to_string()))
    }

    async fn send(&self, request: reqwest::Request) -> Result<reqwest::Response, ProviderError> {
        self.check(request.url()).await?;
        Ok(self.client.execute(request).await?)
    }

    /// Addresses written as numbers do not pass the resolver.
    async fn check(&self, url: &Url) -> Result<(), ProviderError> {
        if matches!(url.host(), Some(url::Host::Ipv4(_) | url::Host::Ipv6(_))) {
            reach::resolve(url.host_str().unwrap_or_default(), 0, self.private).await?;
        }
        Ok(())
    }
}

async fn bounded(mut response: reqwest::Response) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LARGEST {
            return Err(ProviderError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
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
            let other = |e: ProviderError| HttpClientError::Other(e.to_string());
            let (parts, body) = request.into_parts();
            let request = http.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).build().map_err(Box::new)?;
            let response = http.send(request).await.map_err(other)?;
            let mut answer = http::Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                headers.extend(response.headers().clone());
            }
            Ok(answer.body(bounded(response).await.map_err(other)?)?)
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
