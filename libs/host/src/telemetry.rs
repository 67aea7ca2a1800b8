//! Logs, traces and metrics of the process. The one thing that is global, because `tracing` is.

use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use opentelemetry::metrics::{Histogram, MeterProvider};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Platform;

struct Metrics {
    registry: prometheus::Registry,
    provider: SdkMeterProvider,
    requests: Histogram<f64>,
}

static METRICS: OnceLock<Metrics> = OnceLock::new();
static TRACES: OnceLock<SdkTracerProvider> = OnceLock::new();

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
    let tracer = provider.tracer("gantry");
    // Its own transport must not be traced, or every export would make another.
    let traced = EnvFilter::new("info,opentelemetry=off,h2=off,hyper=off,tonic=off,tower=off,reqwest=off");
    let filter = EnvFilter::try_new(&platform.log)?;
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
    let lines = if platform.log_format == "json" {
        lines.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        lines.with_ansi(false).with_filter(filter).boxed()
    };
    tracing_subscriber::registry().with(lines).with(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(traced)).try_init()?;
    let _ = TRACES.set(provider);
    Ok(())
}

/// Sends what is buffered.
pub fn shutdown() {
    if let Some(provider) = TRACES.get() {
        let _ = provider.shutdown();
    }
}

fn metrics() -> &'static Metrics {
    METRICS.get_or_init(|| {
        let registry = prometheus::Registry::new();
        let exporter =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).without_target_info().build().expect("a fresh registry takes the exporter");
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let requests = provider
            .meter("gantry")
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_description("Time from the request's head to the answer's head")
            .with_boundaries(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
            .build();
        Metrics { registry, provider, requests }
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
    let labels = [
        KeyValue::new(Key::from_static_str("service"), service),
        KeyValue::new(Key::from_static_str("http.request.method"), method.as_str().to_owned()),
        KeyValue::new(Key::from_static_str("http.route"), route.to_owned()),
        KeyValue::new(Key::from_static_str("http.response.status_code"), i64::from(status.as_u16())),
    ];
    metrics().requests.record(took.as_secs_f64(), &labels);
}

struct Headers<'a>(&'a HeaderMap);

impl opentelemetry::propagation::Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }
    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// A span that continues the caller's trace.
pub fn request_span(service: &'static str, method: &Method, route: &str, headers: &HeaderMap) -> tracing::Span {
    let span = tracing::info_span!("request", otel.name = format!("{method} {route}"), otel.kind = "server", service);
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    span
}

/// W3C `traceparent` of a span, if it is traced.
pub fn traceparent(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8()))
}

/// The trace's id, for people.
pub fn trace_id(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    span.span_context().is_valid().then(|| span.span_context().trace_id().to_string())
}
