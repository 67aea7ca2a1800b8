//! Refuses addresses with a NUL in them before anything reads them: no name, id or search of ours has one, and the database cannot hold it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gantry_kernel::Problem;

pub async fn layer(request: Request, next: Next) -> Response {
    let uri = request.uri();
    if uri.path().contains("%00") || uri.query().is_some_and(|q| q.contains("%00")) {
        return Problem::invalid("address", "must not have a NUL (%00) in it").into_response();
    }
    next.run(request).await
}
