//! REST and gRPC behind one port: told apart by content type.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use http::{Request, header};
use tower::{Service, ServiceExt};

#[derive(Clone)]
pub(crate) struct OnePort {
    pub rest: Router,
    pub grpc: Router,
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
        let router = if grpc { self.grpc.clone() } else { self.rest.clone() };
        Box::pin(router.oneshot(request))
    }
}
