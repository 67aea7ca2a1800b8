//! What surrounds every REST handler: limits, extensions for extractors, one log line, metrics, audit of denials.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use gantry_auth::{Caller, CallerSlot};
use gantry_es_pg::Panicked;
use gantry_kernel::{Kind, Problem};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tracing::Instrument;

use crate::context::Host;
use crate::telemetry::{self, Trace};

/// How much of a body that is too large is taken in (bytes), and for how long.
const SWALLOWED: usize = 16 << 20;
const SWALLOWING: Duration = Duration::from_secs(5);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Wraps a service's routes.
pub(crate) fn wrap(router: Router, host: &Host, max_body: usize) -> Router {
    let router =
        router.fallback(|request: Request| async move { Problem::not_found("resource", request.uri().path()) }).method_not_allowed_fallback(|| async {
            with_status(StatusCode::METHOD_NOT_ALLOWED, Problem::new(Kind::Invalid, "request.method", "this method is not for this resource"))
        });
    // Layers that belong together are put around together, the first outermost: each time is one more box around every route, made anew
    // for every request together with all that it holds.
    let unlimited = DefaultBodyLimit::disable();
    let router = if max_body == 0 {
        router.layer(unlimited)
    } else {
        router.layer((from_fn_with_state(max_body, swallow_too_large), RequestBodyLimitLayer::new(max_body), unlimited))
    };
    let router = if host.has_database() { router.layer(from_fn_with_state(host.clone(), crate::idempotency::once)) } else { router };
    let panics = CatchPanicLayer::custom(|panic: Box<dyn std::any::Any + Send>| {
        tracing::error!(panic = Panicked::of(&*panic).words(), "a handler panicked");
        Problem::internal("a handler panicked").into_response()
    });
    router.layer((from_fn_with_state(Surround::new(host), surround), panics))
}

fn with_status(status: StatusCode, problem: Problem) -> Response {
    let mut response = problem.into_response();
    *response.status_mut() = status;
    response
}

/// Refuses a body that is announced as too large, after taking in what its sender writes before it reads: were the connection
/// closed at once, many clients would see a broken pipe instead of the answer. Who asks first (`Expect`) is answered first.
async fn swallow_too_large(State(max): State<usize>, request: Request, next: Next) -> Response {
    let length = request.headers().get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_none_or(|l| l <= max as u64) {
        return next.run(request).await;
    }
    if !request.headers().contains_key(http::header::EXPECT) {
        let mut body = http_body_util::Limited::new(request.into_body(), SWALLOWED);
        let all = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(SWALLOWING, all).await;
    }
    StatusCode::PAYLOAD_TOO_LARGE.into_response()
}

#[derive(Clone)]
struct Surround {
    host: Host,
    room: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Surround {
    fn new(host: &Host) -> Self {
        Self { host: host.clone(), room: std::sync::Arc::new(tokio::sync::Semaphore::new(host.platform.max_concurrency)) }
    }
}

async fn surround(State(Surround { host, room }): State<Surround>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let (path, route) = (uri.path(), matched.as_ref().map_or("other", MatchedPath::as_str));
    let one_by_one = request.version() <= http::Version::HTTP_11;
    let slot = CallerSlot::default();
    let telemetry::Began { trace, span } = telemetry::begin(host.name, &host.env, request.headers(), || format!("{method} {route}"));
    // What is written on behalf of this request continues its trace, whoever began it.
    if let Ok(traceparent) = HeaderValue::try_from(trace.to_string()) {
        request.headers_mut().insert(telemetry::TRACEPARENT, traceparent);
    }
    let forwarded = request.headers().get(FORWARDED_FOR).cloned();
    request.extensions_mut().insert(slot.clone());
    request.extensions_mut().insert(host.auth.clone());
    request.extensions_mut().insert(host.env.clone());
    let Ok(_permit) = room.try_acquire() else {
        return Problem::new(Kind::Unavailable, "request.overloaded", "this service has as much to do as it can; try again")
            .retry_after(Duration::from_secs(1))
            .into_response();
    };
    let response = trace.around(next.run(request)).instrument(span.clone()).await;
    let took = started.elapsed();
    let status = response.status();
    telemetry::record_request(host.name, &method, route, status, took);
    let actor = slot.0.get().map_or("anonymous", |i| i.subject.as_str());
    let problem = response.extensions().get::<Problem>().cloned();
    span.in_scope(|| report(host.name, &method, path, status, took, actor, problem.as_ref()));
    if let Some(outcome) = on_record(&method, status, actor) {
        let mut fact = host.fact(actor, format!("{method} {route}"), object_of(route, path), outcome);
        fact.org = org_of(&host, path);
        fact.reason = problem.as_ref().map(|p| p.detail.clone()).unwrap_or_default();
        let acting = slot.0.get().and_then(|i| i.acting.as_deref());
        fact.from = gantry_auth::from_of(Some(&client_address(forwarded.as_ref())), acting).unwrap_or_default();
        fact.trace_id = Some(trace.id());
        let host = host.clone();
        host.tracker.clone().spawn(async move { host.audit(fact).await });
    }
    let mut response = finish(response, problem, trace);
    if status == StatusCode::PAYLOAD_TOO_LARGE && one_by_one {
        // The rest of the body is not read, so the connection cannot be used again; say so before it closes.
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn client_address(forwarded: Option<&HeaderValue>) -> String {
    forwarded.and_then(|v| v.to_str().ok()).and_then(|v| v.split(',').next()).unwrap_or_default().trim().to_owned()
}

/// How an attempt that came to nothing stands in the audit trail. Missing rights are denials; a change that somebody known
/// asked for and did not get has failed. What worked is on record by its event; a missing or expired token of nobody in
/// particular is only noise of the road.
fn on_record(method: &Method, status: StatusCode, actor: &str) -> Option<&'static str> {
    let known = actor != "anonymous";
    match status {
        StatusCode::FORBIDDEN => Some("denied"),
        StatusCode::UNAUTHORIZED if known => Some("denied"),
        status if known && !method.is_safe() && (status.is_client_error() || status.is_server_error()) => Some("failed"),
        _ => None,
    }
}

/// The path without people's names: the trail is for ever, and a person can be erased.
fn object_of(route: &str, path: &str) -> String {
    let is_id = |part: &str| gantry_kernel::Uuid::parse_str(part.trim_start_matches("user:")).is_ok();
    let mut before = "";
    let parts = path.split('/').zip(route.split('/').chain(std::iter::repeat(""))).map(|(part, pattern)| {
        let personal = matches!(pattern, "{user}" | "{subject}") || (before == "users" && pattern == "{id}");
        before = pattern;
        if personal && !is_id(part) { "*" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The organisation that a path names: its administrators see who was turned away there.
fn org_of(host: &Host, path: &str) -> Option<gantry_kernel::OrgId> {
    let name = path.strip_prefix("/api/v1/orgs/")?.split('/').next()?;
    host.auth.org(name).ok().map(|org| org.id)
}

fn report(service: &str, method: &Method, path: &str, status: StatusCode, took: Duration, actor: &str, problem: Option<&Problem>) {
    let duration_ms = took.as_secs_f64() * 1e3;
    let status = status.as_u16();
    match problem {
        Some(problem) if status == 500 => {
            tracing::error!(service, %method, path, status, duration_ms, actor.id = actor, error = problem.chain(), "request failed")
        }
        Some(problem) if status >= 500 => {
            tracing::warn!(service, %method, path, status, duration_ms, actor.id = actor, error = problem.chain(), "request could not be served")
        }
        Some(problem) => tracing::info!(service, %method, path, status, duration_ms, actor.id = actor, code = problem.code, "request refused"),
        None => tracing::info!(service, %method, path, status, duration_ms, actor.id = actor, "request"),
    }
}

/// A problem's body gets the trace id, so that the user can tell the operator which line to look for.
fn finish(response: Response, problem: Option<Problem>, trace: Trace) -> Response {
    let too_large = response.status() == StatusCode::PAYLOAD_TOO_LARGE && problem.is_none();
    let response =
        if too_large { Problem::new(Kind::TooLarge, "request.too_large", "the body is larger than this endpoint takes").into_response() } else { response };
    let Some(problem) = problem.filter(|_| response.headers().get(http::header::CONTENT_TYPE).is_some_and(|v| v == "application/problem+json")) else {
        return response;
    };
    let (mut parts, _) = response.into_parts();
    let mut body = problem.body();
    body["status"] = parts.status.as_u16().into();
    body["trace_id"] = trace.id().into();
    parts.headers.remove(http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body.to_string()))
}

/// Reads the caller if there is one; for layers that must not refuse.
pub(crate) async fn caller_of(request: Request) -> (Request, Option<Caller>) {
    let (parts, body) = request.into_parts();
    let caller = Caller::from_parts(&parts).await.ok();
    (Request::from_parts(parts, body), caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_do_not_stand_in_the_trail() {
        let id = "01990000-0000-7000-8000-000000000001";
        let merge = format!("/api/v1/users/{id}/merge");
        for (route, path, object) in [
            ("/api/v1/users/{id}", "/api/v1/users/ada", "/api/v1/users/*".to_owned()),
            ("/api/v1/users/{id}/merge", merge.as_str(), merge.clone()),
            ("/api/v1/orgs/{org}/members/{user}", "/api/v1/orgs/acme/members/ada", "/api/v1/orgs/acme/members/*".to_owned()),
            ("/api/v1/orgs/{org}", "/api/v1/orgs/acme", "/api/v1/orgs/acme".to_owned()),
            ("other", "/api/v1/x/y", "/api/v1/x/y".to_owned()),
        ] {
            assert_eq!(object_of(route, path), object);
        }
    }

    #[test]
    fn denials_and_failed_changes_are_on_record_and_reading_what_is_not_there_is_not() {
        let ada = "user:1";
        for (method, status, actor, outcome) in [
            (Method::GET, 403, ada, Some("denied")),
            (Method::GET, 403, "anonymous", Some("denied")),
            (Method::POST, 401, ada, Some("denied")),
            (Method::POST, 401, "anonymous", None),
            (Method::POST, 409, ada, Some("failed")),
            (Method::PUT, 412, ada, Some("failed")),
            (Method::DELETE, 503, ada, Some("failed")),
            (Method::POST, 400, "anonymous", None),
            (Method::GET, 404, ada, None),
            (Method::POST, 201, ada, None),
        ] {
            assert_eq!(on_record(&method, StatusCode::from_u16(status).expect("a status"), actor), outcome, "{method} {status} {actor}");
        }
    }
}
