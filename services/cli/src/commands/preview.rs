//! What a dry run says, for people.

use anyhow::Result;
use serde_json::Value;

use super::{Context, document};
use crate::args::Format;
use crate::output::print;

/// # Errors
/// When standard output is closed.
pub fn show(cx: &Context, seen: &Value) -> Result<()> {
    if cx.common.output != Format::Table {
        return cx.one(seen);
    }
    if seen["changed"] == false {
        return print("nothing changes");
    }
    for line in texts(&seen["diff"]) {
        print(line)?;
    }
    for on in items(&seen["clusters"]) {
        print(document::on_cluster(on).trim_end())?;
    }
    print(told(seen).trim_end())
}

/// Everything but the differences.
pub fn told(seen: &Value) -> String {
    let mut out = String::new();
    for workload in items(&seen["workloads"]) {
        let words = ["added", "removed", "replaced"].map(|what| (what, workload[what].as_u64().unwrap_or(0)));
        let changes: Vec<String> = words.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
        let changes = if changes.is_empty() { "as it is".to_owned() } else { changes.join(", ") };
        let pause = workload["pause_seconds"].as_u64().filter(|s| *s > 0).map_or_else(String::new, |s| format!(", {s} s between two steps"));
        out.push_str(&format!("{}: {} → {} instances, {changes}{pause}\n", text(workload, "workload"), workload["before"], workload["after"]));
    }
    for (n, batch) in items(&seen["batches"]).enumerate() {
        let names = |key: &str| items(&batch[key]).map(|i| text(i, "name")).collect::<Vec<_>>().join(", ");
        let parts = [("start", names("starts")), ("stop", names("stops"))];
        let parts: Vec<String> = parts.into_iter().filter(|(_, names)| !names.is_empty()).map(|(verb, names)| format!("{verb} {names}")).collect();
        let step = batch["step"].as_u64().filter(|s| *s > 0).map_or_else(String::new, |s| format!(" (step {s})"));
        out.push_str(&format!("{}. {}{step}\n", n + 1, parts.join("; ")));
    }
    if seen["more_batches"] == true {
        out.push_str("... and so on\n");
    }
    for step in items(&seen["steps"]) {
        let waits = match text(step, "waits_for") {
            "promotion" => "when it is promoted".to_owned(),
            "resumption" => "when it is resumed".to_owned(),
            "time" => format!("after {} s", step["seconds"]),
            _ => "when its instances are ready".to_owned(),
        };
        out.push_str(&format!("step {}, {waits}: {} % of the requests go to the new revision\n", step["step"], step["percent"]));
    }
    let reserves = &seen["reserves"];
    if reserves.is_object() {
        let amounts = ["cpu_millis", "memory_bytes", "storage_bytes", "containers"].map(|k| &reserves[k]);
        let [cpu, memory, storage, containers] = amounts;
        out.push_str(&format!("reserves {cpu} millicores, {memory} bytes of memory, {storage} bytes of storage, {containers} containers\n"));
    }
    let back: Vec<&str> = texts(&seen["given_back"]).collect();
    if !back.is_empty() {
        out.push_str(&format!("gives back: {}\n", back.join(", ")));
    }
    for volume in items(&seen["volumes"]) {
        let fate = if volume["kept"] == true { "stays on" } else { "goes with its instance on" };
        out.push_str(&format!("volume {} {fate} {}\n", text(volume, "volume"), text(volume, "node")));
    }
    for node in items(&seen["nodes"]) {
        let against: Vec<&str> = texts(&node["reasons"]).collect();
        let verdict = if against.is_empty() { "would do".to_owned() } else { against.join("; ") };
        out.push_str(&format!("{}: {verdict}\n", text(node, "node")));
    }
    for note in texts(&seen["notes"]) {
        out.push_str(&format!("{note}\n"));
    }
    out
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    items(list).filter_map(Value::as_str)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_steps_of_a_change_are_told_in_their_order() {
        let seen = json!({
            "changed": true,
            "workloads": [{ "workload": "web", "before": 2, "after": 3, "added": 1, "removed": 0, "replaced": 2, "pause_seconds": 5 }],
            "batches": [{ "step": 0, "starts": [{ "name": "shop-web-2" }], "stops": [] }, { "step": 1, "starts": [], "stops": [{ "name": "shop-web-0" }] }],
            "steps": [{ "step": 2, "percent": 50, "waits_for": "time", "seconds": 60 }],
            "reserves": { "cpu_millis": 300, "memory_bytes": 1, "storage_bytes": 0, "containers": 3 },
            "given_back": ["port 20080/tcp"],
            "volumes": [{ "volume": "a.data", "node": "n1", "kept": true }],
            "notes": ["it waits"],
        });
        let expected = "web: 2 → 3 instances, 1 added, 2 replaced, 5 s between two steps\n\
                        1. start shop-web-2\n2. stop shop-web-0 (step 1)\n\
                        step 2, after 60 s: 50 % of the requests go to the new revision\n\
                        reserves 300 millicores, 1 bytes of memory, 0 bytes of storage, 3 containers\n\
                        gives back: port 20080/tcp\nvolume a.data stays on n1\nit waits\n";
        assert_eq!(told(&seen), expected);
        assert_eq!(told(&json!({ "nodes": [{ "node": "n1", "reasons": [] }, { "node": "n2", "reasons": ["a", "b"] }] })), "n1: would do\nn2: a; b\n");
    }
}
