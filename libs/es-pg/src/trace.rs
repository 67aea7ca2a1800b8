//! The trace that the work at hand belongs to (W3C Trace Context). It rides along with the task, from the request to the event it
//! writes, and from the event to whatever takes it in, whether or not spans are collected anywhere.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// A `traceparent`: a trace, the span in it, and whether it is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Not a `traceparent` of version 00 to fe.
#[derive(Debug, thiserror::Error)]
#[error("not a traceparent")]
pub struct NoTrace;

tokio::task_local! {
    static CURRENT: Trace;
}

impl Trace {
    /// A trace that begins here.
    pub fn new(trace: [u8; 16], span: [u8; 8]) -> Self {
        Self { trace, span, flags: 1 }
    }

    /// The next span of the same trace.
    #[must_use]
    pub fn next(self, span: [u8; 8]) -> Self {
        Self { span, ..self }
    }

    /// The trace of the task that calls this.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    /// Runs `work` as a part of this trace. Not an `async fn`: that would hold `work` twice, as its argument and as what it waits for, and
    /// every move of it would copy both.
    pub fn around<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// Where a span is, if spans are collected.
    pub fn of(span: &tracing::Span) -> Option<Self> {
        let context = span.context();
        let span = context.span();
        let at = span.span_context();
        at.is_valid().then(|| Self { trace: at.trace_id().to_bytes(), span: at.span_id().to_bytes(), flags: at.trace_flags().to_u8() })
    }

    /// Makes a span that was just made a child of this one.
    pub fn adopt(self, span: &tracing::Span) {
        let (trace, at) = (TraceId::from_bytes(self.trace), SpanId::from_bytes(self.span));
        let parent = SpanContext::new(trace, at, TraceFlags::new(self.flags), true, TraceState::default());
        // Fails where nothing collects spans, and then there is nothing to do.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }

    /// The trace's id, for people: 32 hexadecimal digits.
    pub fn id(self) -> String {
        hex::encode(self.trace)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 55];
        text[..3].copy_from_slice(b"00-");
        (text[35], text[52]) = (b'-', b'-');
        let parts: [(&[u8], usize); 3] = [(&self.trace, 3), (&self.span, 36), (&[self.flags], 53)];
        for (bytes, at) in parts {
            hex::encode_to_slice(bytes, &mut text[at..at + bytes.len() * 2]).map_err(|_| fmt::Error)?;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Trace {
    type Err = NoTrace;

    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let mut parts = text.split('-');
        let mut part = |length: usize| parts.next().filter(|p| p.len() == length && p.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        let (Some(version), Some(trace), Some(span), Some(flags)) = (part(2), part(32), part(16), part(2)) else { return Err(NoTrace) };
        let mut made = Self { trace: [0; 16], span: [0; 8], flags: u8::from_str_radix(flags, 16).map_err(|_| NoTrace)? };
        hex::decode_to_slice(trace, &mut made.trace).map_err(|_| NoTrace)?;
        hex::decode_to_slice(span, &mut made.span).map_err(|_| NoTrace)?;
        if version == "ff" || made.trace == [0; 16] || made.span == [0; 8] { Err(NoTrace) } else { Ok(made) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_one_survives_and_goes_on_and_bad_ones_are_refused() {
        let trace: Trace = GOOD.parse().unwrap();
        assert_eq!(trace.to_string(), GOOD);
        assert_eq!(trace.next([2; 8]).to_string(), "00-0af7651916cd43dd8448eb211c80319c-0202020202020202-01");
        assert_eq!(trace.id(), "0af7651916cd43dd8448eb211c80319c");
        let bad = [
            "",
            "x",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-\u{e9}af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ];
        for bad in bad {
            assert!(bad.parse::<Trace>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_task_knows_its_trace_and_others_do_not() {
        let trace: Trace = GOOD.parse().unwrap();
        assert_eq!(trace.around(async { Trace::current() }).await, Some(trace));
        assert_eq!(Trace::current(), None);
    }
}
