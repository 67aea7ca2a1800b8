//! The public REST API with one person's token.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};
use serde_json::Value;

/// Between two looks at something that changes.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone)]
pub struct Api {
    client: Client,
    url: String,
    pub token: String,
}

impl Api {
    pub fn new(client: Client, url: &str, token: String) -> Self {
        Self { client, url: url.to_owned(), token }
    }

    /// Status and body, whatever they are.
    ///
    /// # Errors
    /// When the suite does not answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}: no answer"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.call(method.clone(), path, body).await?;
        if status >= 300 {
            bail!("{method} {path} answers {status}: {}", detail(&answer));
        }
        Ok(answer)
    }

    /// # Errors
    /// When it is refused.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.must(Method::GET, path, None).await
    }

    /// # Errors
    /// When it is refused.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.must(Method::POST, path, Some(body)).await
    }

    /// # Errors
    /// When it is refused.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.must(Method::PUT, path, Some(body)).await
    }

    /// Looks at `path` until `seen` gives something; says what it saw last if that takes too long.
    ///
    /// # Errors
    /// When it is refused, when `seen` fails, or after `limit`.
    pub async fn until<T>(&self, what: &str, limit: Duration, path: &str, mut seen: impl FnMut(&Value) -> Result<Option<T>>) -> Result<T> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let (status, answer) = self.call(Method::GET, path, None).await?;
            if status < 300 {
                if let Some(found) = seen(&answer)? {
                    return Ok(found);
                }
            } else if status != 404 && status < 500 {
                bail!("GET {path} answers {status}: {}", detail(&answer));
            }
            if tokio::time::Instant::now() > deadline {
                bail!("not within {} s: {what}; last seen at {path}: {status} {}", limit.as_secs(), short(&answer));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The sentence of a problem, or the whole answer.
pub fn detail(answer: &Value) -> String {
    answer["detail"].as_str().map_or_else(|| short(answer), str::to_owned)
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(1500).collect()
}

/// The items of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

/// A text of an object, empty if it is not there.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
