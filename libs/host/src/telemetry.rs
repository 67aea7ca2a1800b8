//! Logs, traces and metrics of the process. The one thing that is global, because `tracing` is.

use std::sync::OnceLock;
use std::time::Duration;

pub use gantry_es_pg::Trace;
use gantry_kernel::Env;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{HistogramOpts, HistogramVec, Registry};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Platform;
use crate::lines::Lines;

/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// From a millisecond to what people call broken.
const BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

struct Metrics {
    registry: Registry,
    provider: SdkMeterProvider,
    requests: HistogramVec,
    calls: HistogramVec,
}

static METRICS: OnceLock<Metrics> = OnceLock::new();
static TRACES: OnceLock<SdkTracerProvider> = OnceLock::new();
static LINES: OnceLock<Lines> = OnceLock::new();

/// Sets up logging and tracing; call once in `main`, inside the runtime.
///
/// # Errors
/// When the filter or the collector's address is not valid.
pub fn init(platform: &Platform) -> anyhow::Result<()> {
    let mut builder = SdkTracerProvider::builder();
    if !platform.otlp_endpoint.is_empty() {
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(&platform.otlp_endpoint).build()?;
        builder = builder.with_batch_exporter(exporter);
    }
    let provider = builder.with_resource(opentelemetry_sdk::Resource::builder().with_service_name("gantry").build()).build();
    let filter = EnvFilter::try_new(&platform.log)?;
    let out = Lines::start()?;
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(out.clone());
    let lines = if platform.log_format == "json" {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(false).with_filter(filter).boxed()
    };
    let traces = (!platform.otlp_endpoint.is_empty()).then(|| traces(&provider));
    tracing_subscriber::registry().with(lines).with(traces).try_init()?;
    let _ = TRACES.set(provider);
    let _ = LINES.set(out);
    // A panic may end the process before the next round.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        flush();
        hook(panic);
    }));
    Ok(())
}

/// What collects spans for `provider`.
pub fn traces<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    // Its own transport must not be traced, or every export would make another.
    let filter = EnvFilter::new("info,trace=debug,opentelemetry=off,h2=off,hyper=off,tonic=off,tower=off,reqwest=off");
    tracing_opentelemetry::layer().with_tracer(provider.tracer("gantry")).with_filter(filter)
}

fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// Sends what is buffered.
pub fn shutdown() {
    flush();
    if let Some(provider) = TRACES.get() {
        let _ = provider.shutdown();
    }
}

fn metrics() -> &'static Metrics {
    METRICS.get_or_init(|| {
        let registry = Registry::new();
        let exporter =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).without_target_info().build().expect("a fresh registry takes the exporter");
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        // Named as OpenTelemetry has it, but counted without its sets of attributes, which would be made anew for every request.
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let made = HistogramVec::new(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()), labels).expect("the names above are good");
            registry.register(Box::new(made.clone())).expect("each name is used once");
            made
        };
        let requests = histogram(
            "http_server_request_duration_seconds",
            "Time from the request's head to the answer's head",
            &["service", "http_request_method", "http_route", "http_response_status_code"],
        );
        let calls =
            histogram("rpc_server_call_duration_seconds", "Time from the call's head to the answer's head", &["service", "rpc_method", "rpc_grpc_status_code"]);
        Metrics { registry, provider, requests, calls }
    })
}

/// A meter for a service's own metrics (OpenTelemetry naming, units, bounded labels).
pub fn meter(name: &'static str) -> opentelemetry::metrics::Meter {
    metrics().provider.meter(name)
}

/// Everything measured by this process, in Prometheus' text format.
pub fn render_metrics() -> String {
    prometheus::TextEncoder::new().encode_to_string(&metrics().registry.gather()).unwrap_or_default()
}

/// Counts an answered request; for listeners that are not the host's.
pub fn record_request(service: &'static str, method: &Method, route: &str, status: StatusCode, took: Duration) {
    metrics().requests.with_label_values(&[service, method.as_str(), route, status.as_str()]).observe(took.as_secs_f64());
}

/// Counts an answered call of another service.
pub(crate) fn record_call(service: &'static str, method: &str, code: i32, took: Duration) {
    metrics().calls.with_label_values(&[service, method, &code.to_string()]).observe(took.as_secs_f64());
}

/// A piece of work done for somebody: where it is in the trace, and the span that its log lines and children hang on.
pub struct Began {
    pub trace: Trace,
    pub span: tracing::Span,
}

/// Begins work on a request, going on with the caller's trace if it sent a good one. `name`: for whoever looks at spans.
pub fn begin(service: &'static str, env: &Env, headers: &HeaderMap, name: impl FnOnce() -> String) -> Began {
    let parent: Option<Trace> = headers.get(TRACEPARENT).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let fresh = || match parent {
        Some(parent) => parent.next(env.random()),
        None => Trace::new(env.random(), env.random()),
    };
    if !collected() {
        let trace = fresh();
        let span = match parent {
            // The caller may be of this process, and its span around us: our lines name us alone, as in a process of our own.
            Some(_) => tracing::info_span!(parent: None, "request", service, trace_id = trace.id()),
            None => tracing::info_span!("request", service, trace_id = trace.id()),
        };
        return Began { span, trace };
    }
    let span = match parent {
        Some(parent) => {
            let span = tracing::info_span!(parent: None, "request", service, trace_id = tracing::field::Empty, otel.name = name(), otel.kind = "server");
            parent.adopt(&span);
            span
        }
        None => tracing::info_span!("request", service, trace_id = tracing::field::Empty, otel.name = name(), otel.kind = "server"),
    };
    let trace = Trace::of(&span).unwrap_or_else(fresh);
    span.record("trace_id", trace.id());
    Began { trace, span }
}

/// A span around a call to another service; gives what its `traceparent` says, if the call belongs to a trace.
pub(crate) fn call_span(name: &str) -> (tracing::Span, Option<Trace>) {
    let span = tracing::debug_span!(target: "trace", "call", otel.name = name, otel.kind = "client");
    if span.is_disabled() {
        return (span, Trace::current());
    }
    let trace = Trace::of(&span).or_else(Trace::current);
    (span, trace)
}

/// Whether anybody collects spans: without a collector they only name log lines.
fn collected() -> bool {
    tracing::enabled!(target: "trace", tracing::Level::DEBUG)
}
