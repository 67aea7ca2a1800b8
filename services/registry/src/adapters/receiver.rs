//! Receivers of webhooks: one POST, no redirects, no private addresses unless allowed, a bounded answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_host::reach::{self, Guarded};
use http::header;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(15);
/// Of an answer, so much is kept for the log.
const KEPT: usize = 1_000;
const MOST_CLIENTS: usize = 200;

/// What is sent, with the headers of the Standard Webhooks specification.
pub struct Message<'a> {
    pub url: &'a str,
    pub id: &'a str,
    pub timestamp: i64,
    pub signatures: &'a str,
    pub body: String,
}

/// What a receiver answered.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub text: String,
}

/// Clients by what they trust and may reach. Cheap to clone.
#[derive(Clone, Default)]
pub struct Receivers(Arc<Mutex<HashMap<(bool, Option<String>), reqwest::Client>>>);

impl Receivers {
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn post(&self, private: bool, ca_pem: Option<&str>, message: Message<'_>) -> Result<Answer, String> {
        let client = self.client(private, ca_pem)?;
        let url = Url::parse(message.url).map_err(|e| e.to_string())?;
        reach::check_url(&url, private).map_err(|e| e.to_string())?;
        let request = client
            .post(url)
            .header(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signatures)
            .body(message.body);
        let mut response = request.send().await.map_err(|e| chain(&e))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let mut text = Vec::new();
        while let (true, Ok(Some(piece))) = (text.len() < KEPT, response.chunk().await) {
            text.extend_from_slice(&piece[..piece.len().min(KEPT - text.len())]);
        }
        // Postgres keeps no U+0000.
        Ok(Answer { status, retry_after, text: String::from_utf8_lossy(&text).replace('\0', "") })
    }

    fn client(&self, private: bool, ca_pem: Option<&str>) -> Result<reqwest::Client, String> {
        let key = (private, ca_pem.map(str::to_owned));
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would look names up itself.
            .no_proxy()
            .dns_resolver(Arc::new(Guarded { private }))
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .user_agent("gantry-registry");
        if let Some(pem) = ca_pem {
            builder = builder.tls_backend_preconfigured(reach::trusting(pem).map_err(|e| format!("ca_pem: {e}"))?);
        }
        let client = builder.build().map_err(|e| e.to_string())?;
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { format!("no answer within {} seconds", PATIENCE.as_secs()) } else { error.to_string() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
