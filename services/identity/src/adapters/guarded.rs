//! HTTP to addresses that somebody outside named (clients, trusted issuers, upstreams): no redirects, no proxy, no private addresses unless
//! allowed, answers of bounded size. What is asked, and whom to trust, is the caller's.

use std::sync::Arc;

use gantry_host::reach::{self, Guarded, ReachError};
use reqwest::{ClientBuilder, Request, RequestBuilder, Response};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum AskError {
    #[error("cannot be reached")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct GuardedHttp {
    client: reqwest::Client,
    private: bool,
}

impl GuardedHttp {
    /// `builder` says whom to trust and how long to wait. `private`: addresses of this machine and private networks are reached, too.
    ///
    /// # Errors
    /// When the builder's certificates are damaged.
    pub fn new(builder: ClientBuilder, private: bool) -> Result<Self, reqwest::Error> {
        let client = builder
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would look names up itself.
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private }))
            .build()?;
        Ok(Self { client, private })
    }

    pub fn request(&self, method: http::Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// # Errors
    /// When the address may not be reached, or there is no answer.
    pub async fn send(&self, request: Request) -> Result<Response, AskError> {
        let url = request.url();
        // Addresses written as numbers do not pass the resolver.
        if matches!(url.host(), Some(url::Host::Ipv4(_) | url::Host::Ipv6(_))) {
            reach::resolve(url.host_str().unwrap_or_default(), 0, self.private).await?;
        }
        Ok(self.client.execute(request).await?)
    }
}

/// The whole body, if it has at most `largest` bytes.
///
/// # Errors
/// When it has more, or the connection ends early.
pub async fn bounded(mut response: Response, largest: usize) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > largest {
            return Err(AskError::TooLarge(largest));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
