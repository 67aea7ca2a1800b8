//! Objects that choose workloads: autoscalers, disruption budgets, network policies.

use super::objects::{Object, note_annotations};
use super::placing::selector;
use crate::domain::fields::{At, Fields};
use crate::domain::model::{Budget, MAX_REPLICAS, Metric, MetricSource, MetricTarget, Model, Pace, Peer, Policy, PolicyPort, PolicyRule, Scaling, Step};
use crate::domain::placement::selects;

pub fn scaling(object: &Object<'_>, model: &mut Model) {
    note_annotations(object);
    let Some(spec) = object.spec() else { return };
    let mut scaling = Scaling {
        min: spec.number("minReplicas", MAX_REPLICAS).unwrap_or(1),
        max: spec.number("maxReplicas", MAX_REPLICAS).unwrap_or(1),
        ..Scaling::default()
    };
    if let Some(at) = spec.take("targetCPUUtilizationPercentage") {
        scaling.metrics.push(resource("cpu", MetricTarget::Utilization, at.text()));
    }
    for at in spec.list("metrics") {
        scaling.metrics.extend(metric(&at));
    }
    if scaling.metrics.is_empty() {
        // As in Kubernetes.
        scaling.metrics.push(resource("cpu", MetricTarget::Utilization, "80".into()));
    }
    if let Some(behaviour) = spec.below("behavior") {
        scaling.up = behaviour.below("scaleUp").map(|f| pace(&f));
        scaling.down = behaviour.below("scaleDown").map(|f| pace(&f));
    }
    let target = spec.below("scaleTargetRef").map(|r| {
        r.skip(&["apiVersion", "kind"]);
        r.text("name")
    });
    let name = target.as_deref().and_then(crate::domain::check::name_of);
    match name.and_then(|name| Some((model.workloads.get_mut(&name)?, name))) {
        Some((w, name)) => {
            object.remarks.place(format!("workloads.{name}.scaling"), &object.path, object.line);
            w.scaling = Some(scaling);
        }
        None => object.unsupported(&format!("there is no workload `{}` in the document", target.unwrap_or_default())),
    }
}

fn resource(name: &str, target: MetricTarget, value: String) -> Metric {
    Metric {
        source: MetricSource::Resource,
        name: name.into(),
        target,
        value,
        selector: Default::default(),
        container: String::new(),
        object: String::new(),
        query: String::new(),
    }
}

fn target(f: &Fields<'_>) -> (MetricTarget, String) {
    let Some(target) = f.below("target") else {
        // As it was in autoscaling/v2beta1.
        let older =
            [("targetAverageUtilization", MetricTarget::Utilization), ("targetAverageValue", MetricTarget::Average), ("targetValue", MetricTarget::Value)];
        let found = older.into_iter().find_map(|(key, kind)| Some((kind, f.take(key)?.node.source().unwrap_or_default())));
        return found.unwrap_or((MetricTarget::Value, String::new()));
    };
    target.skip(&["type"]);
    for (key, kind) in [("averageUtilization", MetricTarget::Utilization), ("averageValue", MetricTarget::Average), ("value", MetricTarget::Value)] {
        if let Some(at) = target.take(key) {
            return (kind, at.node.source().unwrap_or_default());
        }
    }
    (MetricTarget::Value, String::new())
}

fn metric(at: &At<'_>) -> Option<Metric> {
    let m = at.fields();
    let kind = m.text("type");
    let (key, source) = match kind.as_str() {
        "Resource" => ("resource", MetricSource::Resource),
        "ContainerResource" => ("containerResource", MetricSource::Resource),
        "Pods" => ("pods", MetricSource::Instances),
        "Object" => ("object", MetricSource::Object),
        "External" => ("external", MetricSource::External),
        other => {
            at.wrong(format!("the metric type `{other}` is not known"));
            drop(m.rest());
            return None;
        }
    };
    let Some(f) = m.below(key) else {
        at.wrong(format!("needs `{key}`, as its type is {kind}"));
        return None;
    };
    let (target, value) = target(&f);
    let mut out = Metric { source, container: f.text("container"), ..resource(&f.text("name"), target, value) };
    if out.name.is_empty() {
        out.name = f.text("metricName");
    }
    if let Some(metric) = f.below("metric") {
        out.name = metric.text("name");
        out.selector = metric.take("selector").map(|at| selector(&at)).unwrap_or_default();
    }
    if let Some(object) = f.below("describedObject") {
        object.skip(&["apiVersion"]);
        out.object = format!("{}/{}", object.text("kind"), object.text("name"));
    }
    Some(out)
}

fn pace(f: &Fields<'_>) -> Pace {
    let step = |at: At<'_>| {
        let s = at.fields();
        let percent = s.take("type").is_some_and(|at| at.one_of(&["Pods", "Percent"]) == Some(1));
        Step { percent, value: s.number("value", 1 << 20).unwrap_or(0), period_seconds: s.number("periodSeconds", 1800).unwrap_or(0) }
    };
    let select = match f.take("selectPolicy").and_then(|at| at.one_of(&["Max", "Min", "Disabled"])) {
        Some(1) => "min".into(),
        Some(2) => "disabled".into(),
        _ => String::new(),
    };
    f.unsupported(&["tolerance"], "is not supported");
    Pace { stabilization_seconds: f.number("stabilizationWindowSeconds", 3600), select, steps: f.list("policies").into_iter().map(step).collect() }
}

pub fn budget(object: &Object<'_>, model: &mut Model) {
    note_annotations(object);
    let Some(spec) = object.spec() else { return };
    let text = |key: &str| spec.take(key).map(|at| at.text());
    let budget = Budget { min_available: text("minAvailable"), max_unavailable: text("maxUnavailable"), unhealthy: spec.text("unhealthyPodEvictionPolicy") };
    let chosen = spec.take("selector").map(|at| selector(&at)).unwrap_or_default();
    let mut any = false;
    for (name, w) in model.workloads.iter_mut().filter(|(_, w)| selects(&chosen, &w.labels)) {
        any = true;
        object.remarks.place(format!("workloads.{name}.budget"), &object.path, object.line);
        w.budget = Some(budget.clone());
    }
    if !any {
        object.unsupported("its selector chooses none of the document's workloads");
    }
}

pub fn network(object: &Object<'_>, model: &mut Model) {
    note_annotations(object);
    let Some(spec) = object.spec() else { return };
    let selector = spec.take("podSelector").map(|at| selector(&at)).unwrap_or_default();
    let rules = |key: &str, peers: &str| -> Option<Vec<PolicyRule>> { spec.take(key).map(|at| at.list().iter().map(|at| rule(at, peers)).collect()) };
    let (mut ingress, mut egress) = (rules("ingress", "from"), rules("egress", "to"));
    let types = spec.texts("policyTypes");
    // Without types, incoming traffic is always meant, outgoing if there is a rule for it.
    if types.is_empty() || types.iter().any(|t| t == "Ingress") {
        ingress.get_or_insert_default();
    } else {
        ingress = None;
    }
    if types.iter().any(|t| t == "Egress") {
        egress.get_or_insert_default();
    } else if !types.is_empty() {
        egress = None;
    }
    object.remarks.place(format!("policies.{}", object.name), &object.path, object.line);
    model.policies.insert(object.name.clone(), Policy { selector, ingress, egress });
}

fn rule(at: &At<'_>, peers: &str) -> PolicyRule {
    let f = at.fields();
    let peer = |at: At<'_>| {
        let p = at.fields();
        let mut peer =
            Peer { workloads: p.take("podSelector").map(|at| selector(&at)), spaces: p.take("namespaceSelector").map(|at| selector(&at)), ..Peer::default() };
        if let Some(block) = p.below("ipBlock") {
            (peer.cidr, peer.except) = (block.text("cidr"), block.texts("except"));
        }
        peer
    };
    let port = |at: At<'_>| {
        let p = at.fields();
        let protocol = p.take("protocol").map_or_else(|| "tcp".to_owned(), |at| at.text().to_lowercase());
        let end_port = p.number("endPort", 65_535).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
        PolicyPort { protocol, port: p.text("port"), end_port }
    };
    PolicyRule { peers: f.list(peers).into_iter().map(peer).collect(), ports: f.list("ports").into_iter().map(port).collect() }
}
