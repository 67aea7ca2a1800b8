//! Amounts: what a node can give away, and what a pod asks for (KEP-753, KEP-2837, KEP-1287).

use std::collections::BTreeMap;

use gantry_kubernetes::quantity;
use gantry_planner::Amounts;
use serde_json::Value;

use super::list;

type Thousandths = BTreeMap<String, i128>;

fn parsed(value: &Value) -> i128 {
    let found = match value {
        Value::String(text) => quantity(text),
        Value::Number(number) => quantity(&number.to_string()),
        _ => None,
    };
    found.unwrap_or(0).max(0)
}

/// The whole number of `unit` thousandths of a quantity.
pub fn amount(value: &Value, unit: i128) -> u64 {
    u64::try_from(parsed(value) / unit).unwrap_or(u64::MAX >> 1)
}

pub fn amounts(of: &Value) -> Amounts {
    Amounts {
        cpu_millis: amount(&of["cpu"], 1),
        memory_bytes: amount(&of["memory"], 1000),
        storage_bytes: amount(&of["ephemeral-storage"], 1000),
        pids: 0,
        bandwidth_kbps: 0,
        instances: 1,
    }
}

pub fn is_counted(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage" | "pods")
}

/// Thousandths that are one of a countable thing: huge pages are counted in MiB, the planner's numbers end at 2^30.
fn unit(name: &str) -> i128 {
    if name.starts_with("hugepages-") { 1000 << 20 } else { 1000 }
}

/// How many of a countable thing a node has.
pub fn counted(name: &str, value: &Value) -> u64 {
    amount(value, unit(name))
}

/// Its node has said that it can never have what it asks for by now.
fn is_refused(pod: &Value) -> bool {
    list(&pod["status"]["conditions"]).any(|c| c["type"] == "PodResizePending" && c["reason"] == "Infeasible")
}

/// What one container asks for; while it is being made smaller on its node, what it still has. What the node has `refused` to give it
/// takes no room there.
fn of_container(container: &Value, status: &Value, refused: bool) -> Thousandths {
    let mut out = Thousandths::new();
    let kept = list(status).find(|s| s["name"] == container["name"]);
    let has: Vec<&Value> = kept.into_iter().flat_map(|s| [&s["allocatedResources"], &s["resources"]["requests"]]).filter(|a| a.is_object()).collect();
    let asked = (!refused || has.is_empty()).then_some(&container["resources"]["requests"]);
    for amounts in asked.into_iter().chain(has) {
        for (name, value) in amounts.as_object().into_iter().flatten() {
            let most = out.entry(name.clone()).or_default();
            *most = (*most).max(parsed(value));
        }
    }
    out
}

fn add(sum: &mut Thousandths, more: &Thousandths) {
    more.iter().for_each(|(k, v)| *sum.entry(k.clone()).or_default() += v);
}

/// What all containers ask together: init containers run one after the other, sidecars among them stay. What the pod asks for as a
/// whole counts instead, and its runtime's overhead on top.
pub fn requests(pod: &Value) -> (Amounts, BTreeMap<String, u64>) {
    let (spec, status, refused) = (&pod["spec"], &pod["status"], is_refused(pod));
    let (mut sum, mut most, mut staying) = (Thousandths::new(), Thousandths::new(), Thousandths::new());
    for container in list(&spec["containers"]) {
        add(&mut sum, &of_container(container, &status["containerStatuses"], refused));
    }
    for container in list(&spec["initContainers"]) {
        let asked = of_container(container, &status["initContainerStatuses"], refused);
        for (k, amount) in &asked {
            let beside = staying.get(k).copied().unwrap_or(0);
            let entry = most.entry(k.clone()).or_default();
            *entry = (*entry).max(beside + amount);
        }
        if container["restartPolicy"] == "Always" {
            add(&mut staying, &asked);
        }
    }
    add(&mut sum, &staying);
    for (k, v) in most {
        let entry = sum.entry(k).or_default();
        *entry = (*entry).max(v);
    }
    for (k, v) in spec["resources"]["requests"].as_object().into_iter().flatten() {
        sum.insert(k.clone(), parsed(v));
    }
    for (k, v) in spec["overhead"].as_object().into_iter().flatten() {
        *sum.entry(k.clone()).or_default() += parsed(v);
    }
    let whole = |name: &str, unit: i128| u64::try_from((sum.get(name).copied().unwrap_or(0) + unit - 1) / unit).unwrap_or(u64::MAX >> 1);
    let counted =
        Amounts { cpu_millis: whole("cpu", 1), memory_bytes: whole("memory", 1000), storage_bytes: whole("ephemeral-storage", 1000), ..Amounts::default() };
    let extended = sum.keys().filter(|k| !is_counted(k)).map(|k| (k.clone(), whole(k, unit(k))));
    (counted, extended.collect())
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
        let mut pod = json!({ "spec": { "containers": [of("200m"), of("1")], "initContainers": [sidecar, of("1500m")], "overhead": { "cpu": "50m" } } });
        let (sum, extended) = requests(&pod);
        // 200 + 1000 + the sidecar's 100 against 100 + 1500 at the start; 50 on top.
        assert_eq!((sum.cpu_millis, extended["nvidia.com/gpu"]), (1650, 3));
        // As a whole less than its containers together.
        pod["spec"]["resources"] = json!({ "requests": { "cpu": "700m" } });
        assert_eq!((requests(&pod).0.cpu_millis, requests(&pod).1["nvidia.com/gpu"]), (750, 3));
    }

    #[test]
    fn a_container_that_is_made_smaller_holds_what_it_has_until_it_is() {
        let pod = json!({
            "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] },
            "status": { "containerStatuses": [{ "name": "c", "allocatedResources": { "cpu": "3" } }] },
        });
        assert_eq!(requests(&pod).0.cpu_millis, 3000);
    }

    #[test]
    fn what_a_node_can_never_give_takes_no_room_on_it() {
        let mut pod = json!({
            "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "100" } } }] },
            "status": {
                "containerStatuses": [{ "name": "c", "allocatedResources": { "cpu": "1" }, "resources": { "requests": { "cpu": "1" } } }],
                "conditions": [{ "type": "PodResizePending", "status": "True", "reason": "Infeasible" }],
            },
        });
        assert_eq!(requests(&pod).0.cpu_millis, 1_000);
        // Put off, it may come at any time.
        pod["status"]["conditions"][0]["reason"] = "Deferred".into();
        assert_eq!(requests(&pod).0.cpu_millis, 100_000);
    }

    #[test]
    fn huge_pages_are_counted_in_mebibytes() {
        assert_eq!(counted("hugepages-1Gi", &json!("64Gi")), 65_536);
        let pod = json!({ "spec": { "containers": [{ "resources": { "requests": { "hugepages-2Mi": "2Mi" } } }] } });
        assert_eq!(requests(&pod).1["hugepages-2Mi"], 2);
    }
}
