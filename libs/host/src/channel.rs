//! Calls to other services: each carries its trace and a deadline, so that nobody waits for ever for a peer that hangs.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::TryFutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Status, TimeoutExpired, transport};
use tower::Service;
use tracing::Instrument;

use crate::telemetry::{self, TRACEPARENT};

/// For calls that name none. Deploying asks three services in turn.
const DEADLINE: Duration = Duration::from_secs(15);
/// gRPC over HTTP/2, "Requests".
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

tokio::task_local! {
    /// When whoever called this service gives up.
    static UNTIL: Instant;
}

/// A connection to another service. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    inner: transport::Channel,
    peer: &'static str,
    deadline: Option<Duration>,
}

impl Channel {
    pub fn new(inner: transport::Channel, peer: &'static str) -> Self {
        Self { inner, peer, deadline: Some(DEADLINE) }
    }

    /// For streams that live as long as both ends do.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { deadline: None, ..self }
    }

    /// What the call itself says, else the channel's; never longer than whoever waits for us.
    fn limit(&self, headers: &HeaderMap) -> Option<Duration> {
        let own = timeout(headers).or(self.deadline)?;
        let left = UNTIL.try_with(|until| until.saturating_duration_since(Instant::now())).unwrap_or(own);
        Some(own.min(left))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, transport::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let limit = self.limit(request.headers());
        if let Some(limit) = limit {
            request.headers_mut().insert(TIMEOUT, written(limit));
        }
        let (span, trace) = telemetry::call_span(request.uri().path());
        if let Some(value) = trace.and_then(|t| HeaderValue::try_from(t.to_string()).ok()) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        let peer = self.peer;
        let answer = self.inner.call(request);
        let bounded = async move {
            let Some(limit) = limit else { return answer.await };
            let late = || Ok(Status::deadline_exceeded(format!("{peer} did not answer within {} ms", limit.as_millis())).into_http());
            match tokio::time::timeout(limit, answer).await {
                // The transport reads the header, too, and may be a tick earlier.
                Ok(Err(error)) if is_late(&error) => late(),
                Ok(answer) => answer,
                Err(_) => late(),
            }
        };
        Box::pin(bounded.instrument(span))
    }
}

fn is_late(error: &transport::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Does `work` for a caller that gives up after `limit`; calls it makes end with it. No `async fn`, which would hold `work` twice.
pub(crate) fn within<F: Future>(limit: Duration, work: F) -> impl Future<Output = Result<F::Output, Status>> {
    let until = Instant::now() + limit;
    let bounded = tokio::time::timeout_at(until, UNTIL.scope(until, work));
    bounded.map_err(move |_| Status::deadline_exceeded(format!("the call's deadline of {} ms has passed", limit.as_millis())))
}

/// The caller's patience.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// At most eight digits may be written.
fn written(limit: Duration) -> HeaderValue {
    let millis = limit.as_millis().clamp(1, 99_999_999);
    HeaderValue::try_from(format!("{millis}m")).unwrap_or(HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Option<Duration> {
        timeout(&HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static(text))]))
    }

    #[test]
    fn deadlines_are_read_in_every_unit_and_nonsense_is_none() {
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        for bad in ["", "5", "S", "-1S", "123456789S", "1.5S", "1s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(written(Duration::from_secs(15)), "15000m");
        assert_eq!(written(Duration::from_micros(3)), "1m");
    }
}
