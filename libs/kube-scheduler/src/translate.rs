//! Nodes and pods of Kubernetes in the planner's words. What the planner has no rule for is told, and such a pod waits:
//! binding it anyhow would break a promise.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kubernetes::quantity;
use gantry_planner::{Amounts, Effect, Match, Near, Node, Operator, Preference, Rules, Selector, Spec, Spread, Taint, Toleration, UNLIMITED};
use serde_json::Value;

const ZONE: &str = "topology.kubernetes.io/zone";

fn list<'a>(value: &'a Value) -> impl Iterator<Item = &'a Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Thousandths of a quantity, as the whole number of `unit` thousandths.
fn amount(value: &Value, unit: i128) -> u64 {
    let thousandths = match value {
        Value::String(text) => quantity(text),
        Value::Number(number) => quantity(&number.to_string()),
        _ => None,
    };
    u64::try_from(thousandths.unwrap_or(0).max(0) / unit).unwrap_or(u64::MAX >> 1)
}

fn amounts(of: &Value) -> Amounts {
    Amounts {
        cpu_millis: amount(&of["cpu"], 1),
        memory_bytes: amount(&of["memory"], 1000),
        storage_bytes: amount(&of["ephemeral-storage"], 1000),
        pids: 0,
        bandwidth_kbps: 0,
        instances: 1,
    }
}

fn is_counted(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage" | "pods")
}

/// The attribute that a label is to the planner. The host's name is a label as any other: it may differ from the node's.
fn attribute(label: &str) -> String {
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
    let room = &object["status"]["allocatable"];
    let ready = list(&object["status"]["conditions"]).any(|c| c["type"] == "Ready" && c["status"] == "True");
    let extended = room.as_object().into_iter().flatten().filter(|(k, _)| !is_counted(k)).map(|(k, v)| (k.clone(), amount(v, 1000)));
    let capacity = Amounts { pids: UNLIMITED, bandwidth_kbps: UNLIMITED, instances: amount(&room["pods"], 1000), ..amounts(room) };
    let images = list(&object["status"]["images"]).flat_map(|i| list(&i["names"])).map(text).collect();
    Some(Node {
        name,
        attributes,
        taints: taints.collect(),
        // Which runtimes a node has is not told; a RuntimeClass brings a node selector of its own.
        runtime_classes: BTreeSet::new(),
        capacity,
        overcommit_percent: Amounts::plain_percent(),
        system: Amounts::default(),
        extended: extended.collect(),
        images,
        load: 0,
        present: ready,
        cordoned: object["spec"]["unschedulable"] == true,
    })
}

/// What all containers ask together: init containers run one after the other, sidecars among them stay.
fn requests(spec: &Value) -> (Amounts, BTreeMap<String, u64>) {
    let of = |container: &Value| container["resources"]["requests"].as_object().cloned().unwrap_or_default();
    let mut sum: BTreeMap<String, i128> = BTreeMap::new();
    let mut most: BTreeMap<String, i128> = BTreeMap::new();
    let parsed = |value: &Value| quantity(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str()).unwrap_or(0);
    for container in list(&spec["containers"]) {
        of(container).iter().for_each(|(k, v)| *sum.entry(k.clone()).or_default() += parsed(v));
    }
    let mut staying: BTreeMap<String, i128> = BTreeMap::new();
    for container in list(&spec["initContainers"]) {
        for (k, v) in of(container) {
            let amount = parsed(&v);
            let beside = staying.get(&k).copied().unwrap_or(0);
            let entry = most.entry(k.clone()).or_default();
            *entry = (*entry).max(beside + amount);
            if container["restartPolicy"] == "Always" {
                *staying.entry(k).or_default() += amount;
            }
        }
    }
    for (k, v) in staying {
        *sum.entry(k).or_default() += v;
    }
    for (k, v) in most {
        let entry = sum.entry(k).or_default();
        *entry = (*entry).max(v);
    }
    for (k, v) in spec["overhead"].as_object().into_iter().flatten() {
        *sum.entry(k.clone()).or_default() += parsed(v);
    }
    let whole = |name: &str, unit: i128| u64::try_from((sum.get(name).copied().unwrap_or(0) + unit - 1) / unit).unwrap_or(u64::MAX >> 1);
    let counted =
        Amounts { cpu_millis: whole("cpu", 1), memory_bytes: whole("memory", 1000), storage_bytes: whole("ephemeral-storage", 1000), ..Amounts::default() };
    let extended = sum.keys().filter(|k| !is_counted(k)).map(|k| (k.clone(), whole(k, 1000)));
    (counted, extended.collect())
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

fn node_term(term: &Value) -> Result<Vec<Match>, String> {
    let mut all = matches(&term["matchExpressions"], attribute)?;
    // The one field that the API knows is the name.
    all.extend(matches(&term["matchFields"], |_| "node.name".into())?);
    Ok(all)
}

fn selector(of: &Value) -> Result<Selector, String> {
    // None at all selects nothing, an empty one everything (meta/v1 LabelSelector).
    if of.is_null() {
        return Ok(Selector { labels: BTreeMap::new(), matches: vec![Match { attribute: String::new(), operator: Operator::In, values: Vec::new() }] });
    }
    let labels = of["matchLabels"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
    Ok(Selector { labels, matches: matches(&of["matchExpressions"], str::to_owned)? })
}

fn near(term: &Value, apart: bool, weight: Option<u32>) -> Result<Near, String> {
    if term.get("namespaces").is_some_and(|n| n.as_array().is_some_and(|a| !a.is_empty())) || term.get("namespaceSelector").is_some_and(|s| !s.is_null()) {
        return Err("affinity over namespaces is not known here".into());
    }
    Ok(Near { apart, topology: attribute(term["topologyKey"].as_str().unwrap_or_default()), selector: selector(&term["labelSelector"])?, weight })
}

fn weight(term: &Value) -> u32 {
    u32::try_from(term["weight"].as_u64().unwrap_or(1)).unwrap_or(100).clamp(1, 100)
}

fn rules(spec: &Value) -> Result<Rules, String> {
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
            out.near.push(near(term, apart, None)?);
        }
        for term in list(&affinity[kind][preferred]) {
            out.near.push(near(&term["podAffinityTerm"], apart, Some(weight(term)))?);
        }
    }
    for one in list(&spec["topologySpreadConstraints"]) {
        out.spread.push(Spread {
            topology: attribute(one["topologyKey"].as_str().unwrap_or_default()),
            max_skew: u32::try_from(one["maxSkew"].as_u64().unwrap_or(1)).unwrap_or(u32::MAX),
            hard: one["whenUnsatisfiable"] == "DoNotSchedule",
            selector: selector(&one["labelSelector"])?,
            min_places: u32::try_from(one["minDomains"].as_u64().unwrap_or(0)).unwrap_or(u32::MAX),
        });
    }
    for one in list(&spec["tolerations"]) {
        let value = (one["operator"] != "Exists").then(|| text(&one["value"]));
        out.tolerations.push(Toleration { key: text(&one["key"]), value, effect: one["effect"].as_str().and_then(Effect::parse) });
    }
    Ok(out)
}

/// A pod as a group of the planner: pods of one template are one. `Err`: what it asks and cannot be kept here.
pub fn spec(pod: &Value) -> Result<Spec, String> {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    for volume in list(&spec["volumes"]) {
        if volume.get("persistentVolumeClaim").is_some_and(|c| !c.is_null()) || volume.get("ephemeral").is_some_and(|c| !c.is_null()) {
            return Err("it uses a persistent volume, whose place is not known here: leave such pods to the default scheduler".into());
        }
    }
    if list(&spec["resourceClaims"]).next().is_some() {
        return Err("it claims devices (DRA): leave such pods to the default scheduler".into());
    }
    let (requests, extended) = requests(spec);
    let owner = list(&metadata["ownerReferences"]).find(|o| o["controller"] == true).map(|o| text(&o["uid"]));
    let namespace = text(&metadata["namespace"]);
    let family = owner.unwrap_or_else(|| text(&metadata["uid"]));
    let rules = rules(spec)?;
    let labels: BTreeMap<String, String> = metadata["labels"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
    let ports =
        list(&spec["containers"]).flat_map(|c| list(&c["ports"])).filter_map(|p| u16::try_from(p["hostPort"].as_u64()?).ok()).filter(|p| *p > 0).collect();
    // Equal in everything that placing looks at; what each pod has for itself (an index, a name) is not.
    let mut own = labels.clone();
    own.retain(|k, _| {
        !matches!(k.as_str(), "statefulset.kubernetes.io/pod-name" | "apps.kubernetes.io/pod-index" | "batch.kubernetes.io/job-completion-index")
    });
    let key = format!("{namespace}/{family}/{own:?}/{requests:?}/{extended:?}/{ports:?}/{rules:?}/{}", spec["priority"]);
    Ok(Spec {
        key,
        family,
        // A cluster's priorities are for all of it.
        tenant: String::new(),
        scope: namespace,
        labels,
        requests,
        extended,
        priority: i32::try_from(spec["priority"].as_i64().unwrap_or(0)).unwrap_or(0),
        never_preempts: spec["preemptionPolicy"] == "Never",
        rules,
        ports,
        max_per_node: 0,
        image: text(&spec["containers"][0]["image"]),
        reservation: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_those_of_the_scheduler_of_kubernetes() {
        let of = |cpu: &str| json!({ "resources": { "requests": { "cpu": cpu, "nvidia.com/gpu": 1 } } });
        let mut sidecar = of("100m");
        sidecar["restartPolicy"] = "Always".into();
        let pod = json!({ "containers": [of("200m"), of("1")], "initContainers": [sidecar, of("1500m")], "overhead": { "cpu": "50m" } });
        let (sum, extended) = requests(&pod);
        // 200 + 1000 + the sidecar's 100 against 100 + 1500 at the start; 50 on top.
        assert_eq!((sum.cpu_millis, extended["nvidia.com/gpu"]), (1650, 3));
    }

    #[test]
    fn rules_are_read_and_what_is_not_known_is_told() {
        let pod = |spec: Value| json!({ "metadata": { "name": "p", "namespace": "x", "uid": "u" }, "spec": spec });
        let all = spec(&pod(json!({
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "gpu", "operator": "Exists" }],
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "a": "b" } } }] } },
            "topologySpreadConstraints": [{ "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {} }],
            "containers": [{ "ports": [{ "hostPort": 80 }] }],
        })))
        .unwrap();
        assert_eq!(all.rules.required[0].attribute, "node.labels.disk");
        assert_eq!((all.rules.near[0].topology.as_str(), all.rules.near[0].apart), ("node.labels.kubernetes.io/hostname", true));
        assert_eq!((all.rules.spread[0].topology.as_str(), all.ports.len()), ("node.zone", 1));
        assert!(spec(&pod(json!({ "volumes": [{ "persistentVolumeClaim": { "claimName": "c" } }] }))).unwrap_err().contains("persistent volume"));
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
}
