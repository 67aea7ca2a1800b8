//! Sends a request on to its service and the answer back, both streamed: no body is ever held here. The path, the
//! target and the credentials are settled before ([`super::door`]). A service of this process is handed the request itself;
//! what it and the client see is the same as over a connection.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::IntoResponse;
use gantry_host::Neighbour;
use gantry_kernel::{Kind, Problem};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy;
use hyper_util::rt::TokioIo;
use tokio_util::task::TaskTracker;

use crate::adapters::certificates::ClientCertificate;
use crate::adapters::upstreams::Upstreams;
use crate::domain::forwarding::{self, Seen};
use crate::domain::routes::{Class, Upstream};

/// Pauses before the second and third try of a request whose connection could not be made.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Bounds of one forwarded request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Largest body of a REST or sign-in request, in bytes. Layers and packs have no bound here.
    pub body: usize,
    /// Until an answer's head comes, for a request without a body.
    pub head: Duration,
    /// The same for one with a body, which has to arrive first.
    pub upload: Duration,
}

#[derive(Clone)]
pub struct Proxy {
    upstreams: Upstreams,
    bounds: Bounds,
    /// Upgraded connections live here until they end.
    tracker: TaskTracker,
}

impl Proxy {
    pub fn new(upstreams: Upstreams, bounds: Bounds, tracker: TaskTracker) -> Self {
        Self { upstreams, bounds, tracker }
    }

    /// `request` has a normalised path. The answer is a problem when the service is away, too slow, or the body too large.
    pub async fn forward(&self, upstream: Upstream, class: Class, mut request: Request<Body>, seen: &Seen<'_>) -> Response<Body> {
        let mut upgrade = wants_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
        let mut answer = match self.sent(upstream, class, request, seen, upgrade.is_some()).await {
            Ok(answer) => answer,
            Err(problem) => return problem.into_response(),
        };
        let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        match upgrade.take() {
            Some(client) if switched => self.join(client, answer),
            Some(_) | None if switched => Problem::new(Kind::Internal, "gateway.upgrade", "the service changed the protocol unasked").into_response(),
            Some(_) | None => {
                forwarding::strip_hop_by_hop(answer.headers_mut(), false);
                answer
            }
        }
    }

    async fn sent(&self, upstream: Upstream, class: Class, request: Request<Body>, seen: &Seen<'_>, upgrade: bool) -> Result<Response<Body>, Problem> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned().ok_or_else(|| Problem::invalid("path", "must not be empty"))?;
        // What becomes another protocol, or is HTTP/2 all the way, has a connection on both sides.
        let neighbour = if upgrade || class == Class::Rpc { None } else { self.upstreams.neighbour(upstream) };
        parts.uri = match &neighbour {
            Some(_) => Uri::from(path),
            None => self.upstreams.uri(upstream, path).ok_or_else(|| Problem::unavailable(upstream))?,
        };
        parts.version = if class == Class::Rpc { Version::HTTP_2 } else { Version::HTTP_11 };
        let certificate = parts.extensions.remove::<ClientCertificate>();
        parts.extensions.clear();
        forwarding::prepare(&mut parts.headers, seen, upgrade);
        if class == Class::Rpc {
            parts.headers.remove(header::HOST);
            // gRPC over HTTP/2, "Requests": the status comes in trailers, and the caller takes them.
            parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        // Only identity and the services' own checks look at it, and only because it comes from us.
        if let Some(value) = certificate.and_then(|ClientCertificate(text)| HeaderValue::from_str(&text).ok()) {
            parts.headers.insert(forwarding::CLIENT_CERT, value);
        }
        let bodyless = body.is_end_stream() && !parts.headers.contains_key(header::CONTENT_LENGTH);
        let bound = match class {
            // Messages of an RPC have their own bound, at the service.
            Class::Bulk | Class::Rpc => None,
            Class::Api | Class::SignIn => Some(self.bounds.body),
        };
        check_length(&parts.headers, bound)?;
        let wait = if bodyless { self.bounds.head } else { self.bounds.upload };
        if let Some(neighbour) = neighbour {
            // Whoever came by HTTP/2 sent none, and every request of HTTP/1.1 has one.
            if !parts.headers.contains_key(header::HOST)
                && let Ok(host) = HeaderValue::from_str(seen.host)
            {
                parts.headers.insert(header::HOST, host);
            }
            let bound = bound.filter(|_| !bodyless);
            return handed_over(&neighbour, upstream, Request::from_parts(parts, body), bound, wait).await;
        }
        if bodyless && parts.method.is_idempotent() {
            for pause in PAUSES {
                match self.attempt(upstream, class, rebuilt(&parts), self.bounds.head).await {
                    // A kept connection may be closed just as a request sets out on it (RFC 9112 section 9.5); this one may be repeated.
                    Err(Failure::Connect(_) | Failure::Closed(_)) => tokio::time::sleep(pause).await,
                    Err(Failure::Other(problem)) => return Err(problem),
                    Ok(answer) => return Ok(answer),
                }
            }
        }
        let body = match bound {
            Some(bound) if !bodyless => Body::new(Limited::new(body, bound)),
            Some(_) | None => body,
        };
        self.attempt(upstream, class, Request::from_parts(parts, body), wait).await.map_err(|failure| match failure {
            Failure::Connect(problem) | Failure::Closed(problem) | Failure::Other(problem) => problem,
        })
    }

    async fn attempt(&self, upstream: Upstream, class: Class, request: Request<Body>, wait: Duration) -> Result<Response<Body>, Failure> {
        let sent = async { if class == Class::Rpc { self.upstreams.call(request).await } else { self.upstreams.send(request).await } };
        match tokio::time::timeout(wait, sent).await {
            Ok(Ok(answer)) => Ok(answer.map(Body::new)),
            Ok(Err(error)) => Err(failure(upstream, error)),
            Err(elapsed) => Err(Failure::Other(late(upstream, wait, elapsed))),
        }
    }

    /// Both sides agreed on another protocol: carry bytes until one of them ends.
    fn join(&self, client: OnUpgrade, mut answer: Response<Body>) -> Response<Body> {
        let service = hyper::upgrade::on(&mut answer);
        self.tracker.spawn(async move {
            let joined = async {
                let (client, service) = (client.await?, service.await?);
                Ok::<_, hyper::Error>((TokioIo::new(client), TokioIo::new(service)))
            };
            match joined.await {
                // Either side may simply go away; that is the usual end of a WebSocket.
                Ok((mut client, mut service)) => drop(tokio::io::copy_bidirectional(&mut client, &mut service).await),
                Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
            }
        });
        let mut answer = answer.map(|_| Body::empty());
        forwarding::strip_hop_by_hop(answer.headers_mut(), true);
        answer
    }
}

/// The answer of a service in this process. `bound`: of the request's body, in bytes.
async fn handed_over(
    neighbour: &Neighbour,
    upstream: Upstream,
    request: Request<Body>,
    bound: Option<usize>,
    wait: Duration,
) -> Result<Response<Body>, Problem> {
    let (request, too_long) = match bound {
        Some(bound) => {
            let (request, seen) = bounded(request, bound);
            (request, Some(seen))
        }
        None => (request, None),
    };
    let mut answer = tokio::time::timeout(wait, neighbour.ask(request)).await.map_err(|elapsed| late(upstream, wait, elapsed))?;
    // Whatever the service made of a body that broke off.
    if too_long.is_some_and(|seen| seen.load(Ordering::Relaxed)) {
        return Err(oversized(None));
    }
    // What the service noted beside its answer would not have come over a connection.
    answer.extensions_mut().clear();
    Ok(answer)
}

/// The request with a body that breaks off after `bound` bytes, and whether it did.
fn bounded(request: Request<Body>, bound: usize) -> (Request<Body>, Arc<AtomicBool>) {
    let seen = Arc::new(AtomicBool::new(false));
    let tell = seen.clone();
    let request = request.map(|body| {
        Body::new(Limited::new(body, bound).map_err(move |error| {
            if too_large(&*error) {
                tell.store(true, Ordering::Relaxed);
            }
            error
        }))
    });
    (request, seen)
}

fn late(upstream: Upstream, wait: Duration, elapsed: tokio::time::error::Elapsed) -> Problem {
    let problem = Problem::new(Kind::Unavailable, "gateway.timeout", format!("{upstream} did not answer within {} s", wait.as_secs()));
    problem.retry_after(Duration::from_secs(5)).with_source(elapsed)
}

enum Failure {
    /// No byte of the request was sent.
    Connect(Problem),
    /// The connection ended before a byte of the answer came.
    Closed(Problem),
    Other(Problem),
}

fn failure(upstream: Upstream, error: legacy::Error) -> Failure {
    if too_large(&error) {
        return Failure::Other(oversized(None));
    }
    if error.is_connect() {
        return Failure::Connect(Problem::unavailable(upstream).with_source(error));
    }
    let detail = format!("the connection to {upstream} broke before it answered; look whether the change was made before you repeat it");
    let closed = error.source().and_then(|e| e.downcast_ref::<hyper::Error>()).is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed());
    let problem = Problem::new(Kind::Unavailable, "gateway.broken", detail).retry_after(Duration::from_secs(2)).with_source(error);
    if closed { Failure::Closed(problem) } else { Failure::Other(problem) }
}

fn too_large(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn oversized(bound: Option<usize>) -> Problem {
    let allowed = bound.map(|bound| format!("; at most {bound} bytes are allowed here")).unwrap_or_default();
    Problem::new(Kind::TooLarge, "request.too_large", format!("the body is too large{allowed}"))
}

fn check_length(headers: &HeaderMap, bound: Option<usize>) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<u64>().ok());
    match (length, bound) {
        (Some(length), Some(bound)) if length > bound as u64 => Err(oversized(Some(bound))),
        _ => Ok(()),
    }
}

fn wants_upgrade(request: &Request<Body>) -> bool {
    let websocket = request.headers().get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    websocket && request.version() == Version::HTTP_11 && request.method() == Method::GET
}

fn rebuilt(parts: &http::request::Parts) -> Request<Body> {
    Request::from_parts(parts.clone(), Body::empty())
}
