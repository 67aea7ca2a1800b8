//! `/healthz` (the process lives) and `/readyz` (each part, with what is wrong).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use futures::future::{BoxFuture, join_all};
use serde::Serialize;

use crate::context::Host;

const PATIENCE: Duration = Duration::from_secs(2);

type Probe = Arc<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// Something the service cannot do without.
#[derive(Clone)]
pub struct Part {
    name: String,
    probe: Probe,
}

impl Part {
    pub fn new<F>(name: impl Into<String>, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name: name.into(), probe: Arc::new(move || Box::pin(probe())) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct PartState {
    pub name: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The parts every service with a database has.
pub(crate) fn standard(host: &Host) -> Vec<Part> {
    let mut parts = Vec::new();
    if host.has_database() {
        let db = host.db().clone();
        parts.push(Part::new("database", move || {
            let db = db.clone();
            async move {
                sqlx::query("select 1").execute(&db.pool).await?;
                Ok(())
            }
        }));
        let db = host.db().clone();
        parts.push(Part::new("projections", move || {
            let db = db.clone();
            async move {
                let stopped = gantry_es_pg::checkpoints(&db).await?.into_iter().find_map(|c| c.error.map(|e| format!("{}: {e}", c.name)));
                stopped.map_or(Ok(()), |error| Err(anyhow::anyhow!(error)))
            }
        }));
    }
    let bus = host.bus.clone();
    parts.push(Part::new("bus", move || {
        let state = bus.client.connection_state();
        async move {
            anyhow::ensure!(state == async_nats::connection::State::Connected, "NATS is away");
            Ok(())
        }
    }));
    parts
}

pub(crate) async fn readyz(parts: Arc<Vec<Part>>) -> (StatusCode, Json<serde_json::Value>) {
    let states = join_all(parts.iter().map(|part| async {
        let result = match tokio::time::timeout(PATIENCE, (part.probe)()).await {
            Ok(result) => result.map_err(|e| format!("{e:#}")),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        PartState { name: part.name.clone(), ok: result.is_ok(), error: result.err() }
    }))
    .await;
    let ready = states.iter().all(|s| s.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({ "ready": ready, "parts": states })))
}
