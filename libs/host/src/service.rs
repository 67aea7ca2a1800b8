//! What a service is to its host.

use async_trait::async_trait;

use crate::config::Section;
use crate::context::Host;
use crate::health::Part;

/// Gives Prometheus text.
pub type MoreMetrics = std::sync::Arc<dyn Fn() -> futures::future::BoxFuture<'static, String> + Send + Sync>;

/// What a started service gives its host to serve.
#[derive(Default)]
pub struct Parts {
    pub router: axum::Router,
    pub grpc: Option<tonic::service::Routes>,
    /// gRPC service names, for the health service.
    pub grpc_names: Vec<&'static str>,
    /// gRPC services of `schemas/proto` whose RPCs are calls of the REST API (`google.api.http`): the host answers them.
    pub transcoded: &'static [&'static str],
    /// Asked by `/readyz`, beside database, bus and projections.
    pub ready: Vec<Part>,
    /// Largest body; `None`: the platform's. `Some(0)`: none (streams).
    pub max_body_bytes: Option<usize>,
    /// Serve TLS to anybody (the gateway) instead of mTLS to services, on this address.
    pub public: Option<std::net::SocketAddr>,
    /// More text for `/metrics`, gathered when asked for.
    pub metrics: Option<MoreMetrics>,
}

/// One of the platform's services.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    const NAME: &'static str;
    /// Whether it has an event log and projections of its own.
    const DATABASE: bool = true;
    /// Whether it waits for NATS and Redis before it starts. One that does not uses them as soon as they are there.
    const BUS: bool = true;
    type Config: Section;

    /// Tables that are no projections (facts, pending things): name and SQL, forward only.
    fn migrations() -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Its REST API; served at `/openapi.json` and kept as a golden file.
    fn openapi() -> utoipa::openapi::OpenApi;

    /// Wires it up: projections, processes, routes. Tasks go on `host.tracker` and end with `host.cancel`.
    ///
    /// # Errors
    /// When something it cannot be without is missing.
    async fn start(config: Self::Config, host: Host) -> anyhow::Result<Parts>;
}
