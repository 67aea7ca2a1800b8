//! `Idempotency-Key` on POST: the first answer is kept for a day and given again. A crash between the change and its
//! answer is covered by the log, which knows the command id.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gantry_kernel::Problem;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::context::Host;
use crate::layers::caller_of;

const LARGEST: usize = 1 << 20;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

type Kept = (Vec<u8>, Option<i16>, Option<serde_json::Value>, Option<Vec<u8>>);

pub(crate) async fn once(State(host): State<Host>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(&KEY) {
        return next.run(request).await;
    }
    match guarded(host, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn guarded(host: Host, request: Request, next: Next) -> Result<Response, Problem> {
    let key = request.headers().get(&KEY).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::invalid("Idempotency-Key", "must have 1 to 255 visible characters"));
    }
    let (request, caller) = caller_of(request).await;
    // Without a caller there is nothing to guard: the handler will refuse.
    let Some(caller) = caller else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST)
        .await
        .map_err(|_| Problem::new(gantry_kernel::Kind::TooLarge, "request.too_large", "the body is too large for an idempotent request"))?;
    let key = format!("{}:{}:{key}", caller.subject, parts.uri.path());
    let fingerprint = Sha256::digest(&body).to_vec();
    let pool = &host.db().pool;
    let failed = |e: sqlx::Error| Problem::unavailable("the database").with_source(e);
    sqlx::query("delete from answers where at < now() - interval '1 day' and key = $1").bind(&key).execute(pool).await.map_err(failed)?;
    let kept: Option<Kept> =
        sqlx::query_as("select fingerprint, status, headers, body from answers where key = $1").bind(&key).fetch_optional(pool).await.map_err(failed)?;
    if let Some((first, status, headers, answer)) = kept {
        if first != fingerprint {
            return Err(Problem::conflict("request.key_reused", "this Idempotency-Key was used with another body"));
        }
        if let (Some(status), Some(answer)) = (status, answer) {
            return Ok(replay(status, headers.as_ref(), answer));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // Faults may be repeated; answers and refusals stand.
    if response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS {
        return Ok(response);
    }
    // An answer that must not be stored (it shows a secret once) is not stored here either.
    if response.headers().get(http::header::CACHE_CONTROL).is_some_and(|v| v == "no-store") {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LARGEST).await.map_err(Problem::internal)?;
    let headers: serde_json::Map<String, serde_json::Value> =
        parts.headers.iter().filter_map(|(n, v)| Some((n.to_string(), v.to_str().ok()?.into()))).collect();
    let kept = sqlx::query("insert into answers (key, fingerprint, status, headers, body) values ($1, $2, $3, $4, $5) on conflict (key) do nothing")
        .bind(&key)
        .bind(&fingerprint)
        .bind(i16::try_from(parts.status.as_u16()).unwrap_or(200))
        .bind(serde_json::Value::Object(headers))
        .bind(body.as_ref())
        .execute(pool)
        .await;
    if let Err(error) = kept {
        tracing::warn!(error = %error, "an idempotent answer could not be kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(status: i16, headers: Option<&serde_json::Value>, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = u16::try_from(status).ok().and_then(|s| StatusCode::from_u16(s).ok()).unwrap_or(StatusCode::OK);
    for (name, value) in headers.and_then(|h| h.as_object()).into_iter().flatten() {
        if let (Ok(name), Some(Ok(value))) = (HeaderName::try_from(name.as_str()), value.as_str().map(HeaderValue::try_from)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert("idempotent-replay", HeaderValue::from_static("true"));
    response
}
