//! One request as a program would send it, and what its refusal looks like.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Method};
use serde_json::Value;

pub struct Asking {
    pub client: Client,
    pub url: String,
}

pub enum Body {
    None,
    /// Sent as `application/json`, whatever it is.
    Json(Vec<u8>),
    /// Sent as `text/plain`.
    Text(&'static str),
}

pub struct Answer {
    pub status: u16,
    /// RFC 9457; null for another content type and for what was granted.
    pub problem: Value,
}

impl Answer {
    /// Refused in the form every program can read: a client error with a title and a code.
    pub fn refused(&self) -> bool {
        (400..500).contains(&self.status) && self.problem["status"] == self.status && self.problem["title"].is_string() && self.problem["code"].is_string()
    }
}

impl Asking {
    /// # Errors
    /// When no answer comes.
    pub async fn ask(&self, method: &Method, path: &str, token: Option<&str>, body: &Body) -> Result<Answer> {
        loop {
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request = match body {
                Body::None => request,
                Body::Json(bytes) => request.header("content-type", "application/json").body(bytes.clone()),
                Body::Text(text) => request.header("content-type", "text/plain").body(*text),
            };
            let answer = request.send().await.with_context(|| format!("{method} {path}: no answer"))?;
            let status = answer.status().as_u16();
            if status == 429 {
                // The gateway's own limit, not the operation's word.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            let form = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
            // What is granted may be a stream without an end.
            let readable = status >= 400 && form.starts_with("application/problem+json");
            let problem = if readable { answer.json().await? } else { Value::Null };
            return Ok(Answer { status, problem });
        }
    }

    /// What a GET grants.
    ///
    /// # Errors
    /// When no answer comes, or none that grants it.
    pub async fn text(&self, path: &str, token: &str) -> Result<String> {
        Ok(self.client.get(format!("{}{path}", self.url)).bearer_auth(token).send().await?.error_for_status()?.text().await?)
    }
}
