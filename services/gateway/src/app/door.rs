//! Every request comes through here, in this order: one spelling of its path, the rate limit, whose it is, whose token it
//! carries, and on. The answer gets its id and its security headers on the way out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse;
use axum::{Router, extract::Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gantry_host::telemetry::{self, Trace};
use gantry_kernel::{Env, Kind, Problem};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tower::ServiceExt;
use tracing::Instrument;

use super::kept::{Kept, kept_in};
use super::limiter::Limiter;
use super::proxy::Proxy;
use super::sessions::{self, Sessions};
use crate::domain::forwarding::{self, REQUEST_ID, Seen};
use crate::domain::gcra::Limit;
use crate::domain::path;
use crate::domain::routes::{self, Class, Target};

/// Limits of the door, each per client address; the first also per credential.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub requests: Limit,
    /// Changes at sign-in pages and token endpoints, and exchanges of kept tokens: what guesses.
    pub sign_ins: Limit,
}

pub struct Door {
    pub env: Env,
    pub limiter: Limiter,
    /// `None`: no limit.
    pub limits: Option<Limits>,
    pub proxy: Proxy,
    pub sessions: Sessions,
    pub kept: Kept,
    /// What the door answers itself: `/auth/*`, health, the merged document, the console.
    pub own: Router,
    /// `host[:port]` of the public URL.
    pub authority: String,
    /// Whether browsers may be told to use HTTPS for this host name for ever (not for `localhost`).
    pub strict_transport: bool,
    /// All headers of one request together, in bytes.
    pub header_bytes: usize,
    pub started: Instant,
}

impl Door {
    /// Answers one request of `client`.
    pub async fn answer(self: &Arc<Self>, client: IpAddr, mut request: Request) -> Response<Body> {
        let began = Instant::now();
        let method = request.method().clone();
        let telemetry::Began { trace, span } = telemetry::begin("gateway", &self.env, request.headers(), || format!("{method} door"));
        // On the heap at once: it has room for a session's renewal and an exchange of tokens, and would be copied on its way to here and
        // into the connection, several times for every request.
        let routed = Box::pin(self.routed(client, &mut request, trace));
        let (mut answer, route) = trace.around(routed).instrument(span.clone()).await;
        let status = answer.status();
        let took = began.elapsed();
        telemetry::record_request("gateway", &method, route, status, took);
        let problem = answer.extensions().get::<Problem>().map(Problem::chain);
        span.in_scope(|| tracing::info!(%method, status = status.as_u16(), service = route, %client, duration_ms = took.as_secs_f64() * 1e3, problem, "request through the door"));
        self.secure(answer.headers_mut());
        answer
    }

    /// The answer, and who gave it.
    async fn routed(self: &Arc<Self>, client: IpAddr, request: &mut Request, trace: Trace) -> (Response<Body>, &'static str) {
        let request_id = self.env.uuid().to_string();
        let traceparent = trace.to_string();
        let host =
            request.uri().authority().map(ToString::to_string).or_else(|| text(request.headers(), &header::HOST)).unwrap_or_else(|| self.authority.clone());
        let seen = Seen { client, host: &host, request_id: &request_id, traceparent: &traceparent };
        let rpc = request.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
        let (mut answer, route) = match self.bounded(request.headers()).and_then(|()| normalised(request)) {
            Ok(()) => {
                let target = routes::target(request.uri().path());
                let route = match target {
                    Target::Service(upstream, _) => upstream.name(),
                    Target::Console | Target::Nowhere => "gateway",
                };
                let answer = self.enter(target, std::mem::take(request), &seen).await;
                (answer.unwrap_or_else(IntoResponse::into_response), route)
            }
            Err(problem) => (problem.into_response(), "gateway"),
        };
        if rpc && let Some(problem) = answer.extensions().get::<Problem>().cloned() {
            // Whoever speaks gRPC reads statuses, not documents.
            answer = tonic::Status::from(problem.clone()).into_http();
            answer.extensions_mut().insert(problem);
        }
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            answer.headers_mut().insert(REQUEST_ID, value);
        }
        (answer, route)
    }

    async fn enter(self: &Arc<Self>, target: Target, mut request: Request, seen: &Seen<'_>) -> Result<Response<Body>, Problem> {
        self.limit(target, request.method(), request.uri().path(), request.headers(), seen.client).await?;
        match target {
            Target::Service(upstream, class) => {
                if matches!(class, Class::Api | Class::Rpc) {
                    self.exchange_kept(&mut request, seen.client).await?;
                }
                if class == Class::Api {
                    self.authorize(&mut request).await?;
                }
                hide_cookies(request.headers_mut());
                Ok(self.proxy.forward(upstream, class, request, seen).await)
            }
            Target::Console => Ok(self.own_answer(request).await),
            Target::Nowhere if request.uri().path() == "/api/openapi.json" => Ok(self.own_answer(request).await),
            Target::Nowhere => Err(Problem::not_found("endpoint", request.uri().path())),
        }
    }

    async fn own_answer(&self, request: Request) -> Response<Body> {
        self.own.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    fn bounded(&self, headers: &HeaderMap) -> Result<(), Problem> {
        // 32 is what HTTP/2 counts for each entry (RFC 9113 section 6.5.2).
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        if bytes <= self.header_bytes {
            return Ok(());
        }
        Err(Problem::new(Kind::TooLarge, "gateway.headers_too_large", format!("the headers have {bytes} bytes; at most {} are allowed", self.header_bytes)))
    }

    async fn limit(&self, target: Target, method: &Method, path: &str, headers: &HeaderMap, client: IpAddr) -> Result<(), Problem> {
        let Some(limits) = self.limits else { return Ok(()) };
        let now_us = self.now_us();
        self.limiter.admit(&client.to_string(), limits.requests, now_us).await?;
        let guesses = matches!(target, Target::Service(_, Class::SignIn)) || path == "/api/v1/registrations";
        if guesses && !method.is_safe() && path != "/oauth2/registry-token" {
            self.limiter.admit(&format!("sign-in:{client}"), limits.sign_ins, now_us).await?;
        }
        if let Some(credential) = credential(headers) {
            self.limiter.admit(&credential, limits.requests, now_us).await?;
        }
        Ok(())
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A token that is kept (personal, or a service account's key) becomes the access token for it.
    async fn exchange_kept(&self, request: &mut Request, client: IpAddr) -> Result<(), Problem> {
        let brought = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(kept) = brought.and_then(kept_in).map(str::to_owned) else { return Ok(()) };
        // Asking is as a sign-in: it can guess, and each try stands in identity's record.
        let admitted = async {
            let Some(limits) = self.limits else { return Ok(()) };
            self.limiter.admit(&format!("kept:{client}"), limits.sign_ins, self.now_us()).await
        };
        // Boxed, as the session's below: few requests need it, and all would carry its room.
        let access = Box::pin(self.kept.exchanged(&kept, client, admitted)).await?;
        let value = HeaderValue::try_from(format!("Bearer {access}")).map_err(Problem::internal)?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// A browser's request gets its session's token. A request that brings its own is left alone.
    async fn authorize(&self, request: &mut Request) -> Result<(), Problem> {
        if request.headers().contains_key(header::AUTHORIZATION) {
            return Ok(());
        }
        let Some(cookie) = forwarding::cookie(request.headers(), sessions::COOKIE).map(str::to_owned) else { return Ok(()) };
        let session = Box::pin(self.sessions.fresh(&cookie)).await?.ok_or_else(|| Problem::unauthenticated("your session has ended; sign in again"))?;
        self.check_same_site(request, &session.csrf)?;
        let value = HeaderValue::try_from(format!("Bearer {}", session.access())).map_err(Problem::internal)?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// A change (or an upgrade, which the browser lets any site begin) made with the cookie must come from the console.
    fn check_same_site(&self, request: &Request, csrf: &str) -> Result<(), Problem> {
        let headers = request.headers();
        let foreign = |detail: &str| Err(Problem::new(Kind::Forbidden, "gateway.cross_site", detail));
        let upgrade = headers.contains_key(header::UPGRADE);
        if request.method().is_safe() && !upgrade {
            return Ok(());
        }
        if let Some(origin) = text(headers, &header::ORIGIN)
            && origin != format!("https://{}", self.authority)
        {
            return foreign("the request comes from another site");
        }
        if !upgrade && headers.get("x-csrf").is_none_or(|value| value.as_bytes() != csrf.as_bytes()) {
            return foreign("the X-CSRF header is missing or old; reload the page");
        }
        Ok(())
    }

    /// What no answer of this door lacks; a service's own stricter or looser choice stays.
    fn secure(&self, headers: &mut HeaderMap) {
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (header::HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        ];
        for (name, value) in fixed {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if self.strict_transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
        }
        headers.remove(header::SERVER);
    }
}

fn normalised(request: &mut Request) -> Result<(), Problem> {
    // `OPTIONS *` and `CONNECT host:port` have no path and no meaning here.
    if request.method() == Method::CONNECT || !request.uri().path().starts_with('/') {
        return Err(Problem::invalid("path", "must begin with `/`"));
    }
    if path::is_normal(request.uri().path()) {
        return Ok(());
    }
    let path = path::normalise(request.uri().path()).map_err(|fault| Problem::invalid("path", fault.to_string()))?;
    let whole = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).map_err(|fault| Problem::invalid("path", fault.to_string()))?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|fault| Problem::invalid("path", fault.to_string()))?;
    Ok(())
}

/// The name of the bucket of the credential a request brings, if any. Never the credential itself.
fn credential(headers: &HeaderMap) -> Option<String> {
    let secret = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).or_else(|| forwarding::cookie(headers, sessions::COOKIE).map(str::as_bytes))?;
    Some(format!("credential:{}", STANDARD_NO_PAD.encode(&Sha256::digest(secret)[..12])))
}

fn hide_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let cookies: Vec<String> = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    headers.remove(header::COOKIE);
    if let Some(Ok(value)) = forwarding::without_cookies(&cookies.join("; "), &[sessions::COOKIE, sessions::LOGIN_COOKIE]).map(HeaderValue::try_from) {
        headers.insert(header::COOKIE, value);
    }
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
