//! Nodes and pods of Kubernetes in the planner's words. What the planner has no rule for is told, and such a pod waits:
//! binding it anyhow would break a promise.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gantry_planner::{
    Amounts, Effect, HostPort, Match, Near, Node, Operator, Preference, Rules, Selector, Spec, Spread, Taint, Toleration, Transport, UNLIMITED,
};
use serde_json::Value;

use self::requests::{amount, amounts, counted, is_counted, requests};
use crate::storage::Asked;

pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The label of a pod that is its namespace: no document can say it. All pods are of one scope, because selectors reach over
/// namespaces.
const NAMESPACE: &str = "(namespace)";

/// Labels of each namespace.
pub type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

pub fn list<'a>(value: &'a Value) -> impl Iterator<Item = &'a Value> {
    value.as_array().into_iter().flatten()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The attribute that a label is to the planner. The host's name is a label as any other: it may differ from the node's.
pub fn attribute(label: &str) -> String {
    match label {
        ZONE => "node.zone".into(),
        other => format!("node.labels.{other}"),
    }
}

pub fn node(object: &Value) -> Option<Node> {
    let name = object["metadata"]["name"].as_str()?.to_owned();
    let labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let mut attributes: BTreeMap<String, String> = labels.iter().map(|(k, v)| (attribute(k), text(v))).collect();
    for (label, known) in [("kubernetes.io/arch", "node.arch"), ("kubernetes.io/os", "node.os")] {
        if let Some(value) = labels.get(label) {
            attributes.insert(known.into(), text(value));
        }
    }
    let taints = list(&object["spec"]["taints"]);
    let taints = taints.filter_map(|t| Some(Taint { key: text(&t["key"]), value: text(&t["value"]), effect: Effect::parse(t["effect"].as_str()?)? }));
    let mut taints: Vec<Taint> = taints.collect();
    // What the control plane says with a taint a moment later; so those that tolerate it (DaemonSets' pods) may come all the same.
    let ready = list(&object["status"]["conditions"]).any(|c| c["type"] == "Ready" && c["status"] == "True");
    for (holds, key) in [(!ready, "node.kubernetes.io/not-ready"), (object["spec"]["unschedulable"] == true, "node.kubernetes.io/unschedulable")] {
        if holds && !taints.iter().any(|t| t.key == key) {
            taints.push(Taint { key: key.into(), value: String::new(), effect: Effect::NoSchedule });
        }
    }
    let room = &object["status"]["allocatable"];
    let extended = room.as_object().into_iter().flatten().filter(|(k, _)| !is_counted(k)).map(|(k, v)| (k.clone(), counted(k, v)));
    let capacity = Amounts { pids: UNLIMITED, bandwidth_kbps: UNLIMITED, instances: amount(&room["pods"], 1000), ..amounts(room) };
    let images = list(&object["status"]["images"]).flat_map(|i| list(&i["names"])).map(text).collect();
    Some(Node {
        name,
        attributes,
        taints,
        // Which runtimes a node has is not told; a RuntimeClass brings a node selector of its own.
        runtime_classes: BTreeSet::new(),
        capacity,
        overcommit_percent: Amounts::plain_percent(),
        system: Amounts::default(),
        extended: extended.collect(),
        images,
        load: 0,
        present: true,
        cordoned: false,
    })
}

fn matches(terms: &Value, key: impl Fn(&str) -> String) -> Result<Vec<Match>, String> {
    let one = |m: &Value| {
        let operator = match m["operator"].as_str().unwrap_or_default() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::NotExists,
            "Gt" => Operator::Above,
            "Lt" => Operator::Below,
            other => return Err(format!("the operator `{other}` is not known here")),
        };
        Ok(Match { attribute: key(m["key"].as_str().unwrap_or_default()), operator, values: list(&m["values"]).map(text).collect() })
    };
    list(terms).map(one).collect()
}

pub fn node_term(term: &Value) -> Result<Vec<Match>, String> {
    let mut all = matches(&term["matchExpressions"], attribute)?;
    // The one field that the API knows is the name.
    all.extend(matches(&term["matchFields"], |_| "node.name".into())?);
    Ok(all)
}

pub fn selector(of: &Value) -> Result<Selector, String> {
    // None at all selects nothing, an empty one everything (meta/v1 LabelSelector).
    if of.is_null() {
        return Ok(Selector { labels: BTreeMap::new(), matches: vec![Match { attribute: String::new(), operator: Operator::In, values: Vec::new() }] });
    }
    let labels = of["matchLabels"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
    Ok(Selector { labels, matches: matches(&of["matchExpressions"], str::to_owned)? })
}

/// Whose rules are read.
struct Own<'a> {
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
    namespaces: &'a Namespaces,
}

impl Own<'_> {
    /// With the pod's own values of `matchLabelKeys` (KEP-3243, KEP-3633). Servers that have put them into the selector lose nothing.
    fn selector(&self, of: &Value, rule: &Value) -> Result<Selector, String> {
        let mut selector = selector(of)?;
        for (keys, operator) in [("matchLabelKeys", Operator::In), ("mismatchLabelKeys", Operator::NotIn)] {
            for key in list(&rule[keys]).filter_map(Value::as_str) {
                if let Some(value) = self.labels.get(key) {
                    selector.matches.push(Match { attribute: key.to_owned(), operator, values: vec![value.clone()] });
                }
            }
        }
        Ok(selector)
    }

    fn near(&self, term: &Value, apart: bool, weight: Option<u32>) -> Result<Near, String> {
        let mut selected = self.selector(&term["labelSelector"], term)?;
        let mut names: BTreeSet<String> = list(&term["namespaces"]).map(text).collect();
        let by_label = &term["namespaceSelector"];
        if by_label.is_null() && names.is_empty() {
            names.insert(self.namespace.to_owned());
        }
        // An empty one is all namespaces.
        let all =
            !by_label.is_null() && list(&by_label["matchExpressions"]).next().is_none() && by_label["matchLabels"].as_object().is_none_or(|l| l.is_empty());
        if !all {
            if !by_label.is_null() {
                let wanted = selector(by_label)?;
                names.extend(self.namespaces.iter().filter(|(_, labels)| wanted.selects(labels)).map(|(name, _)| name.clone()));
            }
            selected.matches.push(within(names.into_iter().collect()));
        }
        Ok(Near { apart, topology: attribute(term["topologyKey"].as_str().unwrap_or_default()), selector: selected, weight })
    }

    fn spread(&self, one: &Value) -> Result<Spread, String> {
        let mut selector = self.selector(&one["labelSelector"], one)?;
        selector.matches.push(within(vec![self.namespace.to_owned()]));
        Ok(Spread {
            topology: attribute(one["topologyKey"].as_str().unwrap_or_default()),
            max_skew: u32::try_from(one["maxSkew"].as_u64().unwrap_or(1)).unwrap_or(u32::MAX),
            hard: one["whenUnsatisfiable"] == "DoNotSchedule",
            selector,
            min_places: u32::try_from(one["minDomains"].as_u64().unwrap_or(0)).unwrap_or(u32::MAX),
            // The defaults: affinity counts, taints do not (KEP-3094).
            tainted: one["nodeTaintsPolicy"] != "Honor",
            unchosen: one["nodeAffinityPolicy"] == "Ignore",
        })
    }
}

fn within(namespaces: Vec<String>) -> Match {
    Match { attribute: NAMESPACE.into(), operator: Operator::In, values: namespaces }
}

/// Do the pod's rules depend on which namespaces there are?
pub fn chooses_namespaces(pod: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let of = &pod["spec"]["affinity"][kind];
        let terms = list(&of["requiredDuringSchedulingIgnoredDuringExecution"]);
        terms.chain(list(&of["preferredDuringSchedulingIgnoredDuringExecution"]).map(|t| &t["podAffinityTerm"])).any(|t| !t["namespaceSelector"].is_null())
    })
}

fn weight(term: &Value) -> u32 {
    u32::try_from(term["weight"].as_u64().unwrap_or(1)).unwrap_or(100).clamp(1, 100)
}

fn rules(spec: &Value, own: &Own<'_>) -> Result<Rules, String> {
    let mut out = Rules::default();
    for (label, value) in spec["nodeSelector"].as_object().into_iter().flatten() {
        out.required.push(Match { attribute: attribute(label), operator: Operator::In, values: vec![text(value)] });
    }
    let affinity = &spec["affinity"];
    let (required, preferred) = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
    for term in list(&affinity["nodeAffinity"][required]["nodeSelectorTerms"]) {
        out.any_of.push(node_term(term)?);
    }
    for term in list(&affinity["nodeAffinity"][preferred]) {
        out.preferred.push(Preference { weight: weight(term), matches: node_term(&term["preference"])? });
    }
    for (kind, apart) in [("podAffinity", false), ("podAntiAffinity", true)] {
        for term in list(&affinity[kind][required]) {
            out.near.push(own.near(term, apart, None)?);
        }
        for term in list(&affinity[kind][preferred]) {
            out.near.push(own.near(&term["podAffinityTerm"], apart, Some(weight(term)))?);
        }
    }
    for one in list(&spec["topologySpreadConstraints"]) {
        out.spread.push(own.spread(one)?);
    }
    // Numbers are compared by servers that know how (KEP-5471); a toleration that is not understood tolerates nothing.
    let understood = |t: &&Value| matches!(t["operator"].as_str(), None | Some("" | "Equal" | "Exists"));
    for one in list(&spec["tolerations"]).filter(understood) {
        let value = (one["operator"] != "Exists").then(|| text(&one["value"]));
        out.tolerations.push(Toleration { key: text(&one["key"]), value, effect: one["effect"].as_str().and_then(Effect::parse) });
    }
    Ok(out)
}

/// A pod as a group of the planner: pods that are equal in everything that placing looks at are one. `volumes`: where those that
/// it uses can be reached, or why that cannot be said. `Err`: what it asks and cannot be kept here.
pub fn spec(pod: &Value, volumes: Result<&Asked, String>, namespaces: &Namespaces) -> Result<Spec, String> {
    if list(&pod["spec"]["resourceClaims"]).next().is_some() {
        return Err("it claims devices (DRA): leave such pods to the default scheduler".into());
    }
    // As 1.36 calls it, and 1.35: some of the group without the others is what it is there to prevent (KEP-4671).
    if !pod["spec"]["schedulingGroup"].is_null() || !pod["spec"]["workloadRef"].is_null() {
        return Err("it is to be placed together with its group (gang scheduling): leave such pods to the default scheduler".into());
    }
    let asked = volumes?;
    let labels = labels(pod);
    let mut rules = rules(&pod["spec"], &Own { namespace: pod["metadata"]["namespace"].as_str().unwrap_or_default(), labels: &labels, namespaces })?;
    rules.any_of = all_of(std::mem::take(&mut rules.any_of), asked.nodes.clone())?;
    Ok(whole(pod, labels, rules, &asked.attached))
}

/// A pod that has its place: it takes its room and keeps others away, whatever brought it there.
pub fn standing(pod: &Value, attached: &BTreeMap<String, u64>, namespaces: &Namespaces) -> Spec {
    let labels = labels(pod);
    let own = Own { namespace: pod["metadata"]["namespace"].as_str().unwrap_or_default(), labels: &labels, namespaces };
    let rules = rules(&pod["spec"], &own).unwrap_or_default();
    whole(pod, labels, rules, attached)
}

fn labels(pod: &Value) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = pod["metadata"]["labels"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
    labels.insert(NAMESPACE.into(), text(&pod["metadata"]["namespace"]));
    labels
}

fn whole(pod: &Value, labels: BTreeMap<String, String>, rules: Rules, attached: &BTreeMap<String, u64>) -> Spec {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let (requests, mut extended) = requests(pod);
    extended.extend(attached.iter().map(|(name, count)| (name.clone(), *count)));
    let owner = list(&metadata["ownerReferences"]).find(|o| o["controller"] == true).map(|o| text(&o["uid"]));
    let family = owner.unwrap_or_else(|| text(&metadata["uid"]));
    let staying = list(&spec["initContainers"]).filter(|c| c["restartPolicy"] == "Always");
    let ports = list(&spec["containers"]).chain(staying).flat_map(|c| list(&c["ports"]));
    let ports: BTreeSet<HostPort> = ports.filter_map(host_port).collect();
    let image = text(&spec["containers"][0]["image"]);
    let (priority, never_preempts) = (i32::try_from(spec["priority"].as_i64().unwrap_or(0)).unwrap_or(0), spec["preemptionPolicy"] == "Never");
    let key = format!("{family}/{labels:?}/{requests:?}/{extended:?}/{ports:?}/{rules:?}/{priority}/{never_preempts}/{image}");
    Spec {
        key,
        family,
        // A cluster's priorities are for all of it.
        tenant: String::new(),
        scope: String::new(),
        labels,
        requests,
        extended,
        priority,
        never_preempts,
        rules,
        formulas: Vec::new(),
        ports,
        max_per_node: 0,
        image,
        reservation: String::new(),
    }
}

fn host_port(port: &Value) -> Option<HostPort> {
    let number = u16::try_from(port["hostPort"].as_u64()?).ok().filter(|n| *n > 0)?;
    let transport = match port["protocol"].as_str() {
        Some("UDP") => Transport::Udp,
        Some("SCTP") => Transport::Sctp,
        _ => Transport::Tcp,
    };
    // `0.0.0.0` and `::` are all of them.
    let address = port["hostIP"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok()).filter(|ip| !ip.is_unspecified());
    Some(HostPort { number, transport, address })
}

type Choices = Vec<Vec<Match>>;

/// One of each of several lists of choices has to hold: as one list.
pub fn all_of(first: Choices, more: Vec<Choices>) -> Result<Choices, String> {
    let mut out = first;
    for choices in more {
        if choices.len().saturating_mul(out.len()) > 4_096 {
            return Err("its volumes and its node affinity have more than 4096 combinations".into());
        }
        out = if out.is_empty() { choices } else { out.iter().flat_map(|a| choices.iter().map(move |b| [a.as_slice(), b.as_slice()].concat())).collect() };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_read_and_what_is_not_known_is_told() {
        let pod = |spec: Value| json!({ "metadata": { "name": "p", "namespace": "x", "uid": "u", "labels": { "v": "1" } }, "spec": spec });
        let namespaces = Namespaces::from([("x".into(), BTreeMap::new()), ("y".into(), BTreeMap::from([("team".to_owned(), "a".to_owned())]))]);
        let (asked, read) = (Asked::default(), |pod: &Value, asked: &Asked| spec(pod, Ok(asked), &namespaces));
        let all = read(&pod(json!({
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "gpu", "operator": "Exists" }],
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "a": "b" } } }] } },
            "topologySpreadConstraints": [{ "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {} }],
            "containers": [{ "ports": [{ "hostPort": 80 }] }],
        })), &asked)
        .unwrap();
        assert_eq!(all.rules.required[0].attribute, "node.labels.disk");
        assert_eq!((all.rules.near[0].topology.as_str(), all.rules.near[0].apart), ("node.labels.kubernetes.io/hostname", true));
        assert_eq!((all.rules.spread[0].topology.as_str(), all.ports.len()), ("node.zone", 1));
        assert!(spec(&pod(json!({})), Err("no claim".into()), &namespaces).is_err());
        // An empty selector is all of the namespace, not the own workload; a version is spread by itself.
        let of = |ns: &str, v: &str| BTreeMap::from([(NAMESPACE.to_owned(), ns.to_owned()), ("v".to_owned(), v.to_owned())]);
        assert!(all.rules.spread[0].selector.selects(&of("x", "2")) && !all.rules.spread[0].selector.selects(&of("y", "1")));
        let keyed = json!({ "topologySpreadConstraints": [{ "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "matchLabelKeys": ["v"], "nodeTaintsPolicy": "Honor" }] });
        let keyed = read(&pod(keyed), &asked).unwrap().rules.spread.remove(0);
        assert!(keyed.selector.selects(&of("x", "1")) && !keyed.selector.selects(&of("x", "2")) && !keyed.tainted && all.rules.spread[0].tainted);
        // Other namespaces: by name, by their labels, all.
        let near = |more: Value| {
            let mut term = json!({ "topologyKey": "z", "labelSelector": {} });
            term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let pod = pod(json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } }));
            let selector = read(&pod, &asked).unwrap().rules.near.remove(0).selector;
            ["x", "y", "z"].map(|ns| selector.selects(&of(ns, "1")))
        };
        assert_eq!(near(json!({})), [true, false, false]);
        assert_eq!(near(json!({ "namespaces": ["z"], "namespaceSelector": { "matchLabels": { "team": "a" } } })), [false, true, true]);
        assert_eq!(near(json!({ "namespaceSelector": {} })), [true, true, true]);
    }

    #[test]
    fn what_stands_takes_its_room_whatever_it_asked_for() {
        let pod = json!({
            "metadata": { "name": "p", "namespace": "x", "uid": "u" },
            "spec": { "resourceClaims": [{ "name": "gpu" }], "containers": [{ "resources": { "requests": { "cpu": "2" } } }] },
        });
        assert!(spec(&pod, Ok(&Asked::default()), &Namespaces::new()).is_err());
        for one in [json!({ "schedulingGroup": { "podGroupName": "g" } }), json!({ "workloadRef": { "name": "w", "podGroup": "g" } })] {
            let grouped = json!({ "metadata": { "name": "p", "namespace": "x", "uid": "u" }, "spec": one });
            assert!(spec(&grouped, Ok(&Asked::default()), &Namespaces::new()).is_err_and(|why| why.contains("group")));
        }
        assert_eq!(standing(&pod, &BTreeMap::new(), &Namespaces::new()).requests.cpu_millis, 2000);
    }

    #[test]
    fn one_of_each_list_has_to_hold() {
        let is = |v: &str| vec![Match { attribute: "a".into(), operator: Operator::In, values: vec![v.into()] }];
        assert_eq!(all_of(Vec::new(), vec![vec![is("1"), is("2")]]).unwrap().len(), 2);
        let both = all_of(vec![is("1"), is("2")], vec![vec![is("3")]]).unwrap();
        assert_eq!((both.len(), both[1].len()), (2, 2));
    }

    #[test]
    fn a_node_that_takes_nothing_says_so_by_a_taint() {
        let node = node(&json!({ "metadata": { "name": "n" }, "spec": { "unschedulable": true }, "status": {} })).unwrap();
        let keys: Vec<&str> = node.taints.iter().map(|t| t.key.as_str()).collect();
        assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"]);
        assert!(node.present && !node.cordoned);
    }

    #[test]
    fn no_selector_selects_nothing_and_an_empty_one_everything() {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert!(!selector(&Value::Null).unwrap().selects(&labels) && !selector(&Value::Null).unwrap().selects(&BTreeMap::new()));
        assert!(selector(&json!({})).unwrap().selects(&labels));
    }

    #[test]
    fn a_node_is_what_it_can_give_away() {
        let node = node(&json!({
            "metadata": { "name": "n1", "labels": { "topology.kubernetes.io/zone": "a", "kubernetes.io/hostname": "n1", "kubernetes.io/arch": "amd64" } },
            "spec": { "taints": [{ "key": "gpu", "effect": "NoSchedule" }] },
            "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2" }, "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap();
        assert_eq!((node.capacity.cpu_millis, node.capacity.memory_bytes, node.capacity.instances), (4000, 8 << 30, 110));
        assert_eq!((node.attributes["node.zone"].as_str(), node.extended["nvidia.com/gpu"], node.present, node.taints.len()), ("a", 2, true, 1));
    }

    #[test]
    fn a_port_of_the_host_is_one_of_an_address_and_a_protocol() {
        let read = |port: Value| host_port(&port);
        assert_eq!(read(serde_json::json!({ "containerPort": 80 })), None);
        assert_eq!(read(serde_json::json!({ "hostPort": 80, "hostIP": "0.0.0.0" })), Some(HostPort::from(80_u16)));
        let one = read(serde_json::json!({ "hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1" })).unwrap();
        assert_eq!((one.transport, one.address), (Transport::Udp, Some(IpAddr::from([10, 0, 0, 1]))));
    }
}
