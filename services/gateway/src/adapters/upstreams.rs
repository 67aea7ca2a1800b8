//! The services behind the door: their addresses and one pool of connections to all of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use gantry_host::Neighbour;
use gantry_kernel::Problem;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use crate::domain::routes::Upstream;

/// Idle connections kept to each service.
const IDLE_PER_SERVICE: usize = 64;
/// Bytes of one call's answer, and of all on a connection, that a service sends before the client took in what came before.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A service's base URL (`https://127.0.0.1:7401`), as it is known now.
type Resolve = dyn Fn(&'static str) -> Option<String> + Send + Sync;
/// A service that runs in this process, if it does.
type Beside = dyn Fn(&'static str) -> Option<Neighbour> + Send + Sync;

/// Cheap to clone.
#[derive(Clone)]
pub struct Upstreams {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// gRPC needs HTTP/2; few connections carry many calls.
    calls: Client<HttpsConnector<HttpConnector>, Body>,
    resolve: Arc<Resolve>,
    beside: Arc<Beside>,
}

impl Upstreams {
    /// `resolve`: where a service is; services of this process are known only once they have started.
    /// `tls`: our client certificate and the CA the services' certificates come from.
    pub fn new(resolve: impl Fn(&'static str) -> Option<String> + Send + Sync + 'static, tls: rustls::ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(2)));
        // HTTP/1.1 only: one request a connection gives layers and event streams their own flow control, and lets a
        // WebSocket upgrade through.
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1().wrap_connector(tcp.clone());
        let both = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http2().wrap_connector(tcp);
        let calls = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .build(both);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(IDLE_PER_SERVICE)
            .build(connector);
        Self { client, calls, resolve: Arc::new(resolve), beside: Arc::new(|_| None) }
    }

    /// Services that `beside` gives are asked without a connection.
    #[must_use]
    pub fn with_neighbours(self, beside: impl Fn(&'static str) -> Option<Neighbour> + Send + Sync + 'static) -> Self {
        Self { beside: Arc::new(beside), ..self }
    }

    /// The service, if it runs in this process.
    pub fn neighbour(&self, upstream: Upstream) -> Option<Neighbour> {
        (self.beside)(upstream.name())
    }

    /// The same path and query at the service's address; `None` when it has no address.
    pub fn uri(&self, upstream: Upstream, path: PathAndQuery) -> Option<Uri> {
        let base: Uri = (self.resolve)(upstream.name())?.parse().ok()?;
        let mut parts = base.into_parts();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).ok()
    }

    /// # Errors
    /// When no answer's head came back.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
    }

    /// A gRPC call.
    ///
    /// # Errors
    /// When no answer's head came back.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        self.calls.request(request).await
    }

    /// A bounded GET of a JSON document, for the door's own questions.
    ///
    /// # Errors
    /// When the service does not answer in time, or answers something else. The status comes back with the document.
    pub async fn get_json(&self, upstream: Upstream, path: &'static str, wait: Duration) -> Result<(http::StatusCode, Value), Problem> {
        let away = || Problem::unavailable(upstream);
        let uri = self.uri(upstream, PathAndQuery::from_static(path)).ok_or_else(away)?;
        let request = Request::get(uri).body(Body::empty()).map_err(Problem::internal)?;
        let asked = async {
            let response = self.send(request).await.map_err(|error| away().with_source(error))?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), 8 << 20).collect().await.map_err(|error| away().with_source(error))?;
            let document = serde_json::from_slice(&body.to_bytes()).map_err(|error| away().with_source(error))?;
            Ok((status, document))
        };
        tokio::time::timeout(wait, asked).await.map_err(|late| away().with_source(late))?
    }
}
