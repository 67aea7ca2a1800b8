//! Where a pod may run: selectors, affinity, spread, tolerations.

use std::collections::BTreeMap;

use gantry_kernel::Name;

use crate::domain::fields::{At, Fields};
use crate::domain::model::{Affinity, Match, Operator, Preference, Rule, Selector, Spread, Toleration, Workload};
use crate::domain::placement::selects;

pub fn read(f: &Fields<'_>, name: &Name, w: &mut Workload) {
    let here = |part: &str| format!("workloads.{name}.placement.{part}");
    if let Some(at) = f.take("nodeSelector") {
        at.place(here("rules"));
        w.placement.rules.extend(at.map().into_iter().map(|(label, value)| Rule { attribute: attribute(&label), equals: true, value }));
    }
    if let Some(at) = f.take("nodeName") {
        at.place(here("rules"));
        w.placement.rules.push(Rule { attribute: "node.name".into(), equals: true, value: at.text() });
    }
    if let Some(at) = f.take("affinity") {
        at.place(here("affinity"));
        let affinity = at.fields();
        if let Some(node) = affinity.below("nodeAffinity") {
            of_nodes(&node, w);
        }
        for (key, apart) in [("podAffinity", false), ("podAntiAffinity", true)] {
            if let Some(pods) = affinity.below(key) {
                of_pods(&pods, apart, w);
            }
        }
    }
    if let Some(at) = f.take("topologySpreadConstraints") {
        at.place(here("spread"));
        for at in at.list() {
            let s = at.fields();
            let hard = s.take("whenUnsatisfiable").is_none_or(|at| at.one_of(&["DoNotSchedule", "ScheduleAnyway"]) == Some(0));
            w.placement.spread.push(Spread {
                topology: attribute(&s.text("topologyKey")),
                max_skew: s.number("maxSkew", 1000).unwrap_or(1),
                hard,
                selector: s.take("labelSelector").map(|at| selector(&at)).unwrap_or_default(),
                min_places: s.number("minDomains", 1000).unwrap_or(0),
            });
            s.note(&["nodeAffinityPolicy", "nodeTaintsPolicy", "matchLabelKeys"], "has no effect here");
        }
    }
    for at in f.list("tolerations") {
        let t = at.fields();
        let exists = t.take("operator").is_some_and(|at| at.one_of(&["Equal", "Exists"]) == Some(1));
        let value = t.take("value").map(|at| at.text());
        w.placement.tolerations.push(Toleration {
            key: t.text("key"),
            value: if exists { None } else { Some(value.unwrap_or_default()) },
            effect: t.text("effect"),
            seconds: t.number("tolerationSeconds", u32::MAX),
        });
    }
}

fn of_nodes(f: &Fields<'_>, w: &mut Workload) {
    if let Some(required) = f.below("requiredDuringSchedulingIgnoredDuringExecution") {
        let terms: Vec<Vec<Match>> = required.list("nodeSelectorTerms").iter().map(term).collect();
        // One term with plain values is the same as simple rules, which people read more easily.
        match simple(&terms) {
            Some(rules) => w.placement.rules.extend(rules),
            None => w.placement.any_of.extend(terms),
        }
    }
    for at in f.list("preferredDuringSchedulingIgnoredDuringExecution") {
        let p = at.fields();
        let weight = p.number("weight", 100).unwrap_or(1);
        if let Some(preference) = p.take("preference") {
            w.placement.preferences.push(Preference { weight, matches: term(&preference) });
        }
    }
}

fn simple(terms: &[Vec<Match>]) -> Option<Vec<Rule>> {
    let [term] = terms else { return None };
    let rule = |m: &Match| match (m.operator, m.values.as_slice()) {
        (Operator::In, [value]) => Some(Rule { attribute: m.attribute.clone(), equals: true, value: value.clone() }),
        (Operator::NotIn, [value]) => Some(Rule { attribute: m.attribute.clone(), equals: false, value: value.clone() }),
        _ => None,
    };
    term.iter().map(rule).collect()
}

fn term(at: &At<'_>) -> Vec<Match> {
    let f = at.fields();
    let mut out = matches(&f, "matchExpressions", attribute);
    out.extend(matches(&f, "matchFields", |field| if field == "metadata.name" { "node.name".into() } else { field.to_owned() }));
    out
}

pub fn matches(f: &Fields<'_>, key: &str, attribute: impl Fn(&str) -> String) -> Vec<Match> {
    let mut out = Vec::new();
    for at in f.list(key) {
        let m = at.fields();
        let operator = m.take("operator").and_then(|at| at.one_of(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]));
        let operator = match operator {
            Some(0) => Operator::In,
            Some(1) => Operator::NotIn,
            Some(2) => Operator::Exists,
            Some(3) => Operator::NotExists,
            Some(4) => Operator::Above,
            Some(_) => Operator::Below,
            None => {
                if !m.has("operator") {
                    at.wrong("needs `operator`");
                }
                Operator::Exists
            }
        };
        out.push(Match { attribute: attribute(&m.text("key")), operator, values: m.texts("values") });
    }
    out
}

fn of_pods(f: &Fields<'_>, apart: bool, w: &mut Workload) {
    for at in f.list("requiredDuringSchedulingIgnoredDuringExecution") {
        w.placement.affinity.push(pod_term(&at, apart, None));
    }
    for at in f.list("preferredDuringSchedulingIgnoredDuringExecution") {
        let p = at.fields();
        let weight = p.number("weight", 100).unwrap_or(1);
        if let Some(term) = p.take("podAffinityTerm") {
            w.placement.affinity.push(pod_term(&term, apart, Some(weight)));
        }
    }
}

fn pod_term(at: &At<'_>, apart: bool, weight: Option<u32>) -> Affinity {
    let t = at.fields();
    let topology = attribute(&t.text("topologyKey"));
    let selector = t.take("labelSelector").map(|at| selector(&at)).unwrap_or_default();
    t.unsupported(&["namespaces", "namespaceSelector"], "workloads of other spaces are not looked at");
    t.note(&["matchLabelKeys", "mismatchLabelKeys"], "has no effect here");
    Affinity { apart, topology, selector, weight }
}

pub fn selector(at: &At<'_>) -> Selector {
    let f = at.fields();
    Selector { labels: f.map("matchLabels"), matches: matches(&f, "matchExpressions", str::to_owned) }
}

/// Labels that every cluster's nodes have, by our names for them.
const KNOWN: [(&str, &str); 6] = [
    ("kubernetes.io/arch", "node.arch"),
    ("kubernetes.io/os", "node.os"),
    ("kubernetes.io/hostname", "node.name"),
    ("topology.kubernetes.io/zone", "node.zone"),
    ("beta.kubernetes.io/arch", "node.arch"),
    ("failure-domain.beta.kubernetes.io/zone", "node.zone"),
];

pub fn attribute(label: &str) -> String {
    KNOWN.iter().find(|(l, _)| *l == label).map_or_else(|| format!("node.labels.{label}"), |(_, ours)| (*ours).to_owned())
}

/// The label of an attribute.
pub fn label(attribute: &str) -> String {
    let known = KNOWN.iter().find(|(_, ours)| *ours == attribute).map(|(label, _)| (*label).to_owned());
    known.unwrap_or_else(|| attribute.strip_prefix("node.labels.").unwrap_or(attribute).to_owned())
}

/// Do the labels of a workload match the selector of what owns it?
pub fn owns(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selects(selector, labels)
}
