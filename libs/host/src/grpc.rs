//! REST and gRPC behind one port: told apart by content type. What surrounds every gRPC call: the caller's trace and deadline,
//! a bound on how many are under way, one log line, metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use gantry_auth::Peer;
use http::{HeaderMap, Request, header};
use tokio::sync::Semaphore;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};
use tracing::Instrument;

use crate::channel;
use crate::context::Host;
use crate::telemetry;

#[derive(Clone)]
pub(crate) struct OnePort {
    rest: Router,
    grpc: Router,
    host: Host,
    room: Arc<Semaphore>,
}

impl OnePort {
    pub fn new(rest: Router, grpc: Router, host: &Host) -> Self {
        Self { rest, grpc, host: host.clone(), room: Arc::new(Semaphore::new(host.platform.max_concurrency)) }
    }

    async fn call(self, request: Request<Body>) -> Response {
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        let began = telemetry::begin(self.host.name, &self.host.env, request.headers(), || path.clone());
        let peer = request.extensions().get::<Peer>().map(|p| p.0.clone()).unwrap_or_default();
        let limit = channel::timeout(request.headers());
        let work = began.trace.around(self.grpc.oneshot(request)).instrument(began.span.clone());
        let answer = match (self.room.try_acquire(), limit) {
            (Err(_), _) => Err(Status::unavailable("this service has as much to do as it can; try again")),
            (Ok(_permit), Some(limit)) => channel::within(limit, work).await,
            (Ok(_permit), None) => Ok(work.await),
        };
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(status) => status.into_http(),
        };
        let (code, took) = (code(response.headers()), started.elapsed());
        // Made-up names must not fill the metrics.
        let method = if code == Code::Unimplemented { "other" } else { &path };
        telemetry::record_call(self.host.name, method, code as i32, took);
        began.span.in_scope(|| report(self.host.name, &path, &peer, code, response.headers(), took));
        response
    }
}

/// Errors that come before any message are told in the head; what a stream ends with is not seen here.
fn code(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |v| Code::from_bytes(v.as_bytes()))
}

fn report(service: &str, path: &str, peer: &str, code: Code, headers: &HeaderMap, took: Duration) {
    let duration_ms = took.as_secs_f64() * 1e3;
    let message = headers.get("grpc-message").and_then(|m| m.to_str().ok()).unwrap_or_default();
    match code {
        Code::Ok => tracing::info!(service, path, peer, duration_ms, "call"),
        Code::Internal | Code::Unknown | Code::DataLoss | Code::DeadlineExceeded | Code::Unavailable => {
            tracing::warn!(service, path, peer, duration_ms, ?code, message, "call failed")
        }
        _ => tracing::info!(service, path, peer, duration_ms, ?code, message, "call refused"),
    }
}

impl Service<Request<Body>> for OnePort {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let grpc = request.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
        if grpc {
            let this = self.clone();
            return Box::pin(async move { Ok(this.call(request).await) });
        }
        Box::pin(self.rest.clone().oneshot(request))
    }
}
