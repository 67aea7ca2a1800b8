//! What the measures of a workload's scaling are called in the metrics store, and what their values mean. Whatever a document
//! names, only series of its own space are asked for. Pure.

use super::kubernetes;
use super::model::{Metric, MetricSource, MetricTarget, Workload};
use super::scaling::Reading;

/// Whose series.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub org: &'a str,
    pub project: &'a str,
    pub space: &'a str,
    pub app: &'a str,
    pub workload: &'a str,
    /// Ids of the services in front of the workload.
    pub services: &'a [String],
}

/// One measure: what to ask, and how to read the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    pub name: String,
    pub query: String,
    unit: &'static str,
    /// The answer is divided by it before it is told.
    scale: f64,
    target: f64,
    shared: bool,
}

pub const REQUESTS: &str = "requests_per_second";
const REQUESTS_TOTAL: &str = "gantry_service_requests_total";
const MIB: f64 = 1_048_576.0;

impl Gauge {
    pub fn reading(&self, value: f64) -> Reading {
        Reading { name: self.name.clone(), unit: self.unit.into(), value: value / self.scale, target: self.target / self.scale, shared: self.shared }
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// # Errors
/// What is wrong with the measure, in words.
pub fn gauge(metric: &Metric, workload: &Workload, of: &Place<'_>) -> Result<Gauge, String> {
    let space = [("org", of.org), ("project", of.project), ("space", of.space)];
    let own = space.into_iter().chain([("app", of.app), ("workload", of.workload)]).map(|(k, v)| format!("{k}={}", quoted(v))).collect::<Vec<_>>().join(",");
    let name = metric.name.clone();
    let utilization = metric.target == MetricTarget::Utilization;
    let number = || amount(&metric.value).filter(|n| *n > 0.0).ok_or_else(|| format!("`{}`: must be a number above 0", metric.value));
    let shared = metric.target == MetricTarget::Value;
    match (metric.source, metric.name.as_str()) {
        (MetricSource::Resource, "cpu") => {
            let target = if utilization { f64::from(workload.requests.cpu_millis) * number()? / 100.0 } else { number()? * 1000.0 };
            Ok(Gauge {
                name,
                query: format!("1000 * sum(rate(gantry_container_cpu_seconds_total{{{own}}}[1m]))"),
                unit: "m",
                scale: 1.0,
                target,
                shared: false,
            })
        }
        (MetricSource::Resource, "memory") => {
            let target = if utilization { workload.requests.memory_bytes as f64 * number()? / 100.0 } else { number()? };
            Ok(Gauge { name, query: format!("sum(gantry_container_memory_bytes{{{own}}})"), unit: " MiB", scale: MIB, target, shared: false })
        }
        (MetricSource::Resource, other) => Err(format!("`{other}` is not measured: cpu and memory are")),
        (_, _) if utilization => Err("percent are for cpu and memory: give `average` or `value`".into()),
        (MetricSource::Instances, REQUESTS) => {
            // 0 where it is measured and nobody asks; where nothing is known there is no number, and nothing is taken away.
            let counted = series(REQUESTS_TOTAL, of);
            let query = format!("sum(rate({counted}[60s])) or 0 * sum({counted})");
            Ok(Gauge { name, query, unit: "/s", scale: 1.0, target: number()?, shared })
        }
        (MetricSource::Query, _) if metric.query.trim().is_empty() => Err("needs a `query` in PromQL".into()),
        (MetricSource::Query, _) => Ok(Gauge { name, query: metric.query.clone(), unit: "", scale: 1.0, target: number()?, shared }),
        (source, text) => {
            let good = |text: &str, colon: bool| {
                let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
                first && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || (colon && b == b':'))
            };
            if !good(text, true) {
                return Err(format!("`{text}` is no name of a measure"));
            }
            let labels = if source == MetricSource::Instances { own } else { space.map(|(k, v)| format!("{k}={}", quoted(v))).join(",") };
            let mut selected = String::new();
            for (label, value) in &metric.selector.labels {
                if !good(label, false) {
                    return Err(format!("`{label}` is no name of a label"));
                }
                // Twice the same label: both have to match, so no other space is reached.
                selected.push_str(&format!(",{label}={}", quoted(value)));
            }
            Ok(Gauge { name, query: format!("sum({text}{{{labels}{selected}}})"), unit: "", scale: 1.0, target: number()?, shared })
        }
    }
}

/// How many requests to a workload came within some time or are under way. No number where nothing is known: that does not say
/// that nobody asked.
pub fn asked(of: &Place<'_>, seconds: u32) -> String {
    format!("sum(increase({}[{seconds}s])) + sum({})", series(REQUESTS_TOTAL, of), series("gantry_service_sessions", of))
}

/// Of the services in front of a workload.
fn series(name: &str, of: &Place<'_>) -> String {
    let ids = of.services.iter().map(|id| escaped(id)).collect::<Vec<_>>().join("|");
    format!("{name}{{service_id=~{}}}", quoted(&ids))
}

/// For a regular expression.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| (!c.is_ascii_alphanumeric() && c != '-' && c != '_').then_some('\\').into_iter().chain([c])).collect()
}

/// A Kubernetes quantity or a plain number.
fn amount(text: &str) -> Option<f64> {
    let text = text.trim();
    text.parse::<f64>().ok().filter(|n| n.is_finite()).or_else(|| kubernetes::thousandths(text).map(|n| n as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::{Resources, Selector};

    fn of(services: &[String]) -> Place<'_> {
        Place { org: "acme", project: "shop", space: "test", app: "web", workload: "front", services }
    }

    fn metric(source: MetricSource, name: &str, target: MetricTarget, value: &str) -> Metric {
        Metric {
            source,
            name: name.into(),
            target,
            value: value.into(),
            selector: Selector::default(),
            container: String::new(),
            object: String::new(),
            query: String::new(),
        }
    }

    fn workload() -> Workload {
        Workload { requests: Resources { cpu_millis: 200, memory_bytes: 64 << 20, ..Resources::default() }, ..Workload::default() }
    }

    #[test]
    fn percent_are_of_what_is_reserved() {
        let cpu = gauge(&metric(MetricSource::Resource, "cpu", MetricTarget::Utilization, "60"), &workload(), &of(&[])).unwrap();
        let reading = cpu.reading(300.0);
        assert_eq!((reading.value, reading.target, reading.unit.as_str()), (300.0, 120.0, "m"));
        assert!(cpu.query.contains("{org=\"acme\",project=\"shop\",space=\"test\",app=\"web\",workload=\"front\"}"));
        let memory = gauge(&metric(MetricSource::Resource, "memory", MetricTarget::Average, "32Mi"), &workload(), &of(&[])).unwrap();
        assert_eq!(memory.reading(96.0 * MIB).target, 32.0);
        let half = gauge(&metric(MetricSource::Resource, "cpu", MetricTarget::Average, "500m"), &workload(), &of(&[])).unwrap();
        assert_eq!(half.reading(0.0).target, 500.0);
    }

    #[test]
    fn requests_are_those_of_the_services_in_front() {
        let ids = ["a.web.c80.tcp".to_owned(), "a.web.r-x".to_owned()];
        let rps = gauge(&metric(MetricSource::Instances, REQUESTS, MetricTarget::Average, "10"), &workload(), &of(&ids)).unwrap();
        let counted = "gantry_service_requests_total{service_id=~\"a\\\\.web\\\\.c80\\\\.tcp|a\\\\.web\\\\.r-x\"}";
        assert_eq!(rps.query, format!("sum(rate({counted}[60s])) or 0 * sum({counted})"));
        let asked = asked(&of(&ids[..1]), 300);
        assert_eq!(
            asked,
            "sum(increase(gantry_service_requests_total{service_id=~\"a\\\\.web\\\\.c80\\\\.tcp\"}[300s])) + sum(gantry_service_sessions{service_id=~\"a\\\\.web\\\\.c80\\\\.tcp\"})"
        );
    }

    #[test]
    fn a_named_measure_never_leaves_its_space() {
        let mut queue = metric(MetricSource::External, "queue_length", MetricTarget::Average, "5");
        queue.selector.labels.insert("space".into(), "other\"} or up{a=\"".into());
        let query = gauge(&queue, &workload(), &of(&[])).unwrap().query;
        assert_eq!(query, "sum(queue_length{org=\"acme\",project=\"shop\",space=\"test\",space=\"other\\\"} or up{a=\\\"\"})");
        for (name, target, value) in
            [("a}", MetricTarget::Value, "1"), ("a", MetricTarget::Value, "none"), ("a", MetricTarget::Utilization, "5"), ("a", MetricTarget::Value, "0")]
        {
            assert!(gauge(&metric(MetricSource::External, name, target, value), &workload(), &of(&[])).is_err(), "{name}");
        }
        assert!(gauge(&metric(MetricSource::Resource, "gpu", MetricTarget::Average, "1"), &workload(), &of(&[])).is_err());
    }
}
