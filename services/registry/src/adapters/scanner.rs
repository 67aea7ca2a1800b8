//! A scanner outside, as a client of Harbor's pluggable scanner API meets it: one address, no redirects, no private addresses unless
//! allowed, answers of bounded size, an end to every silence.

use std::sync::Arc;
use std::time::Duration;

use gantry_contract::registry::flow::{Scanner, ScannerAuth};
use gantry_host::reach::{self, Guarded};
use gantry_kernel::Secret;
use http::{StatusCode, header};
use serde_json::Value;
use thiserror::Error;
use url::Url;

use crate::domain::scan::external::{self, Abilities};

const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);
const LARGEST: usize = 64 << 20;
const LARGEST_ERROR: usize = 16 << 10;
/// How long it is waited until the next look when the scanner does not say.
const PAUSE: u64 = 5;

/// What went wrong with the scanner; for people.
#[derive(Debug, Error)]
pub enum ScannerError {
    #[error("the scanner {0} cannot be reached: {1}")]
    Away(String, String),
    #[error("the scanner {0} answers {1}: {2}")]
    Status(String, u16, String),
    #[error("the answer of the scanner {0} cannot be used: {1}")]
    Answer(String, String),
    #[error("the scanner's settings cannot be used: {0}")]
    Settings(String),
}

/// A report, or when to look again.
#[derive(Debug)]
pub enum Looked {
    Report(Vec<u8>),
    Wait(Duration),
}

pub struct Client {
    http: reqwest::Client,
    base: Url,
    host: String,
    private: bool,
    auth: ScannerAuth,
    username: String,
    secret: Option<Secret>,
}

impl Client {
    /// # Errors
    /// When the address or the authority's certificates cannot be used.
    pub fn new(scanner: &Scanner, secret: Option<Secret>) -> Result<Self, ScannerError> {
        let settings = |e: &dyn std::fmt::Display| ScannerError::Settings(e.to_string());
        // A path without a slash at its end would be replaced, not gone on from.
        let base = Url::parse(&format!("{}/", scanner.url.trim_end_matches('/'))).map_err(|e| settings(&e))?;
        let private = scanner.allow_private;
        let mut builder = reqwest::Client::builder()
            // 302 means "not yet" here.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private }))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent("gantry-registry");
        if let Some(pem) = &scanner.ca_pem {
            builder = builder.tls_backend_preconfigured(reach::trusting(pem).map_err(|e| settings(&format!("ca_pem: {e}")))?);
        }
        let http = builder.build().map_err(|e| settings(&e))?;
        let host = base.host_str().unwrap_or_default().to_owned();
        Ok(Self { http, base, host, private, auth: scanner.auth, username: scanner.username.clone(), secret })
    }

    /// What it is and can.
    ///
    /// # Errors
    /// Not reached, or of no use here.
    pub async fn abilities(&self) -> Result<Abilities, ScannerError> {
        let answer = self.send(http::Method::GET, "api/v1/metadata", &[], external::METADATA, None).await?;
        let answer = self.expect(answer, StatusCode::OK).await?;
        let body = self.whole(answer, LARGEST_ERROR * 16).await?;
        external::abilities(&body).map_err(|why| ScannerError::Answer(self.host.clone(), why))
    }

    /// Asks for a scan; the id of it.
    ///
    /// # Errors
    /// Not reached, or refused.
    pub async fn begin(&self, request: &Value) -> Result<String, ScannerError> {
        let answer = self.send(http::Method::POST, "api/v1/scan", &[], external::RESPONSE, Some(request)).await?;
        let answer = self.expect(answer, StatusCode::ACCEPTED).await?;
        let body = self.whole(answer, LARGEST_ERROR).await?;
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        let id = read["id"].as_str().filter(|id| !id.is_empty() && id.len() <= 300 && !id.chars().any(char::is_control));
        id.map(str::to_owned).ok_or_else(|| ScannerError::Answer(self.host.clone(), "it gives no id for the scan".into()))
    }

    /// # Errors
    /// Not reached, or the scan failed there.
    pub async fn report(&self, id: &str, accept: &str, sbom: Option<&str>) -> Result<Looked, ScannerError> {
        let query: Vec<(&str, &str)> = sbom.map(|kind| ("sbom_media_type", kind)).into_iter().collect();
        // An id is one part of the path, whatever is in it.
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let answer = self.send(http::Method::GET, &format!("api/v1/scan/{}/report", id.replace('+', "%20")), &query, accept, None).await?;
        if answer.status() == StatusCode::FOUND {
            let seconds = answer.headers().get("refresh-after").and_then(|v| v.to_str().ok()?.trim().parse().ok());
            return Ok(Looked::Wait(Duration::from_secs(seconds.unwrap_or(PAUSE).clamp(1, 300))));
        }
        let answer = self.expect(answer, StatusCode::OK).await?;
        Ok(Looked::Report(self.whole(answer, LARGEST).await?))
    }

    async fn send(
        &self,
        method: http::Method,
        path: &str,
        query: &[(&str, &str)],
        accept: &str,
        body: Option<&Value>,
    ) -> Result<reqwest::Response, ScannerError> {
        let away = |why: String| ScannerError::Away(self.host.clone(), why);
        let url = self.base.join(path).map_err(|e| away(e.to_string()))?;
        reach::check_url(&url, self.private).map_err(|e| away(e.to_string()))?;
        let mut request = self.http.request(method, url).query(query).header(header::ACCEPT, accept);
        if let Some(secret) = &self.secret {
            request = match self.auth {
                ScannerAuth::None => request,
                ScannerAuth::Basic => request.basic_auth(&self.username, Some(secret.expose())),
                ScannerAuth::Bearer => request.bearer_auth(secret.expose()),
                ScannerAuth::ApiKey => request.header("x-scanneradapter-api-key", secret.expose()),
            };
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, external::REQUEST).body(body.to_string());
        }
        request.send().await.map_err(|e| away(chain(&e)))
    }

    async fn expect(&self, answer: reqwest::Response, wanted: StatusCode) -> Result<reqwest::Response, ScannerError> {
        // 200 and 201 instead of 202 are common.
        if answer.status() == wanted || (wanted == StatusCode::ACCEPTED && answer.status().is_success()) {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let body = self.whole(answer, LARGEST_ERROR).await.unwrap_or_default();
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = read["error"]["message"].as_str().map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
        Err(ScannerError::Status(self.host.clone(), status, said.replace('\0', "").chars().take(300).collect()))
    }

    async fn whole(&self, mut answer: reqwest::Response, limit: usize) -> Result<Vec<u8>, ScannerError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| ScannerError::Away(self.host.clone(), chain(&e)))? {
            if body.len() + piece.len() > limit {
                return Err(ScannerError::Answer(self.host.clone(), format!("it is larger than {limit} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
