//! What scales a workload.

use gantry_kernel::Name;
use serde_json::{Value, json};

use super::policies::selector;
use crate::domain::export::Fields;
use crate::domain::model::{MetricSource, MetricTarget, Pace, Scaling, Workload, WorkloadKind};

pub fn scaling(name: &Name, w: &Workload, s: &Scaling) -> Value {
    let kind = if w.kind == WorkloadKind::Stateful { "StatefulSet" } else { "Deployment" };
    let metric = |m: &crate::domain::model::Metric| {
        let target = match m.target {
            MetricTarget::Utilization => {
                json!({ "type": "Utilization", "averageUtilization": m.value.parse::<u32>().map_or_else(|_| Value::from(m.value.as_str()), Value::from) })
            }
            MetricTarget::Average => json!({ "type": "AverageValue", "averageValue": m.value }),
            MetricTarget::Value => json!({ "type": "Value", "value": m.value }),
        };
        let mut named = Fields::default();
        named.put("name", m.name.as_str());
        named.put("selector", selector(&m.selector));
        let named = Value::from(named);
        match m.source {
            MetricSource::Resource if !m.container.is_empty() => {
                json!({ "type": "ContainerResource", "containerResource": { "name": m.name, "container": m.container, "target": target } })
            }
            MetricSource::Resource => json!({ "type": "Resource", "resource": { "name": m.name, "target": target } }),
            MetricSource::Instances => json!({ "type": "Pods", "pods": { "metric": named, "target": target } }),
            MetricSource::Object => {
                let (kind, name) = m.object.split_once('/').unwrap_or(("", &m.object));
                json!({ "type": "Object", "object": { "metric": named, "describedObject": { "apiVersion": api(kind), "kind": kind, "name": name }, "target": target } })
            }
            // The query goes along in our own form.
            MetricSource::External | MetricSource::Query => json!({ "type": "External", "external": { "metric": named, "target": target } }),
        }
    };
    let pace = |p: &Pace| {
        let mut out = Fields::default();
        if let Some(seconds) = p.stabilization_seconds {
            out.set("stabilizationWindowSeconds", seconds);
        }
        out.put(
            "selectPolicy",
            match p.select.as_str() {
                "min" => "Min",
                "disabled" => "Disabled",
                _ => "",
            },
        );
        let steps = p.steps.iter().map(|s| json!({ "type": if s.percent { "Percent" } else { "Pods" }, "value": s.value, "periodSeconds": s.period_seconds }));
        out.put("policies", steps.collect::<Vec<_>>());
        Value::from(out)
    };
    let mut behaviour = Fields::default();
    behaviour.put("scaleUp", s.up.as_ref().map(pace));
    behaviour.put("scaleDown", s.down.as_ref().map(pace));
    let mut spec = Fields::default();
    spec.put("scaleTargetRef", json!({ "apiVersion": "apps/v1", "kind": kind, "name": name }));
    spec.set("minReplicas", s.min);
    spec.set("maxReplicas", s.max);
    spec.put("metrics", s.metrics.iter().map(metric).collect::<Vec<_>>());
    spec.put("behavior", behaviour);
    super::object("autoscaling/v2", "HorizontalPodAutoscaler", name.as_str(), vec![("spec", spec.into())])
}

/// Of a kind that a metric may be of.
fn api(kind: &str) -> &'static str {
    match kind {
        "Ingress" | "NetworkPolicy" => "networking.k8s.io/v1",
        "HTTPRoute" | "Gateway" => "gateway.networking.k8s.io/v1",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        _ => "v1",
    }
}
