//! What the door tells about the suite as a whole: its merged API document and whether its parts are ready. Both ask the
//! services; the document is kept for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::adapters::upstreams::Upstreams;
use crate::domain::openapi::{self, Part};
use crate::domain::routes::Upstream;

const WAIT: Duration = Duration::from_secs(3);
/// A document with all parts is kept so long; one with gaps is made anew each time.
const KEEP: Duration = Duration::from_secs(60);

/// One service's answer to "are you ready?".
#[derive(Serialize, utoipa::ToSchema)]
pub struct PartReady {
    pub name: &'static str,
    pub ready: bool,
    pub detail: String,
    pub duration_ms: u64,
    /// What the service says about its own parts.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub parts: Value,
}

/// `GET /readyz`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    pub ready: bool,
    pub parts: Vec<PartReady>,
}

#[derive(Clone)]
pub struct Documents {
    upstreams: Upstreams,
    public_url: String,
    own: Arc<Value>,
    kept: Arc<Mutex<Option<Kept>>>,
}

#[derive(Clone)]
struct Kept {
    made: Instant,
    document: Arc<Value>,
}

impl Documents {
    /// `own`: the door's own endpoints.
    pub fn new(upstreams: Upstreams, public_url: &str, own: Value) -> Self {
        Self { upstreams, public_url: public_url.trim_end_matches('/').to_owned(), own: Arc::new(own), kept: Arc::default() }
    }

    /// The merged OpenAPI document. Services that do not answer are named in `x-gantry-missing`.
    pub async fn openapi(&self) -> Arc<Value> {
        if let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
            && kept.made.elapsed() < KEEP
        {
            return kept.document;
        }
        let answers = join_all(Upstream::ALL.map(|upstream| async move {
            let answer = self.upstreams.get_json(upstream, "/openapi.json", WAIT).await;
            (upstream, answer.ok().filter(|(status, _)| *status == StatusCode::OK).map(|(_, document)| document))
        }))
        .await;
        let of_services = answers.iter().map(|(upstream, document)| Part { service: upstream.name(), document: document.as_ref() });
        let parts: Vec<Part<'_>> = std::iter::once(Part { service: "gateway", document: Some(&self.own) }).chain(of_services).collect();
        let whole = Arc::new(openapi::merge(env!("CARGO_PKG_VERSION"), &self.public_url, &parts));
        if parts.iter().all(|part| part.document.is_some()) {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { made: Instant::now(), document: Arc::clone(&whole) });
        }
        whole
    }

    pub async fn ready(&self) -> Ready {
        let parts = join_all(Upstream::ALL.map(|upstream| async move {
            let asked = Instant::now();
            let answer = self.upstreams.get_json(upstream, "/readyz", WAIT).await;
            let duration_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            let (ready, detail, parts) = match answer {
                Ok((status, mut body)) if status.is_success() => (true, "ready".to_owned(), body["parts"].take()),
                Ok((status, mut body)) => (false, format!("answers {status}"), body["parts"].take()),
                Err(problem) => (false, problem.detail, Value::Null),
            };
            PartReady { name: upstream.name(), ready, detail, duration_ms, parts }
        }))
        .await;
        Ready { ready: parts.iter().all(|part| part.ready), parts }
    }
}
