//! Why an application is as it is, as text for people.

use std::fmt::Write as _;

use serde_json::Value;

/// So many single nodes are told; the counts are over all.
const NODES: usize = 5;

/// From the answer of `.../why`.
pub fn told(why: &Value) -> String {
    let mut out = String::new();
    let list = |of: &Value, field: &str| of[field].as_array().cloned().unwrap_or_default();
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    let line = |out: &mut String, text: String| {
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{text}");
    };
    line(&mut out, format!("{}: {}", text(why, "state"), text(why, "reason")));
    for waiting in list(why, "waiting") {
        // A job that is held back or was given up waits for nothing.
        let who = if waiting["instances"] == 0 { String::new() } else { format!("{} of ", waiting["instances"]) };
        let waits = if who.is_empty() { "" } else { " wait" };
        line(&mut out, format!("\n{who}`{}`{waits} since {}", text(&waiting, "workload"), text(&waiting, "since")));
        if !text(&waiting, "reason").is_empty() {
            line(&mut out, format!("  {}", text(&waiting, "reason")));
        }
        for against in list(&waiting, "against") {
            line(&mut out, format!("  {} of {} nodes: {} ({})", against["nodes"], waiting["nodes_seen"], text(&against, "rule"), text(&against, "example")));
        }
        for node in list(&waiting, "nodes").iter().take(NODES) {
            let reasons: Vec<String> = list(node, "reasons").iter().filter_map(|r| r.as_str().map(str::to_owned)).collect();
            line(&mut out, format!("    {}: {}", text(node, "node"), reasons.join("; ")));
        }
        let remedies = list(&waiting, "remedies");
        if !remedies.is_empty() {
            line(&mut out, "  one of these would be enough:".into());
        }
        for remedy in remedies {
            line(&mut out, format!("    {} (on {} nodes, as {})", text(&remedy, "change"), remedy["nodes"], text(&remedy, "node")));
        }
    }
    for scaling in list(why, "scaling") {
        let paused = scaling["paused"].as_str().map(|reason| format!("; it is paused: {reason}")).unwrap_or_default();
        let head = format!("\n`{}` has {} of {} to {}", text(&scaling, "workload"), scaling["replicas"], scaling["min"], scaling["max"]);
        line(&mut out, format!("{head}: {}{paused}", text(&scaling, "reason")));
    }
    let cluster = &why["cluster"];
    if cluster.is_object() {
        let state = if cluster["applied"] == true { "all objects are there" } else { "not all objects are there yet" };
        line(&mut out, format!("\non the cluster {}: {state}", text(cluster, "name")));
        if !text(cluster, "problem").is_empty() {
            line(&mut out, format!("  {}", text(cluster, "problem")));
        }
        for drift in list(cluster, "drift") {
            let joined = |field: &str| list(&drift, field).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>().join(", ");
            // A field that somebody took away is nobody's by then.
            let by = Some(joined("managers")).filter(|who| !who.is_empty()).map(|who| format!(" by {who}")).unwrap_or_default();
            line(&mut out, format!("  {} was changed at {}{by}", text(&drift, "object"), joined("fields")));
        }
        for warning in list(cluster, "warnings").iter().filter_map(Value::as_str) {
            line(&mut out, format!("  the cluster warns of {warning}"));
        }
    }
    for share in list(why, "clusters").iter().filter(|s| s["replicas"] != 0 || s["target"] != 0) {
        let moving = if share["replicas"] == share["target"] { String::new() } else { format!(", {} when all has moved", share["target"]) };
        let head = format!(
            "\n`{}` on the cluster {}: {} wanted, {} ready{moving}",
            text(share, "workload"),
            text(share, "cluster"),
            share["replicas"],
            share["ready"]
        );
        line(&mut out, format!("{head}\n  {}", text(share, "reason")));
    }
    for share in list(why, "clusters").iter().filter(|s| s["replicas"] == 0 && s["target"] == 0) {
        line(&mut out, format!("\nnothing of `{}` on the cluster {}: {}", text(share, "workload"), text(share, "cluster"), text(share, "reason")));
    }
    for placed in list(why, "placed") {
        let chosen = &placed["chosen"];
        let next = chosen["next"].as_object().map(|n| format!("; the next best was {} with {}", n["node"].as_str().unwrap_or_default(), n["score"]));
        let by = match chosen["by"].as_str() {
            Some("volumes") => "its volumes are there",
            Some("external") => "chosen by the space's own scheduler",
            _ => "the best",
        };
        let head = format!("\n{} is on {}: {by} of {} that would do of {} nodes", text(&placed, "name"), text(chosen, "node"), chosen["fit"], chosen["nodes"]);
        line(&mut out, format!("{head}, score {}{}", chosen["score"], next.unwrap_or_default()));
        for against in list(chosen, "against") {
            line(&mut out, format!("  not on {} nodes: {} ({})", against["nodes"], text(&against, "rule"), text(&against, "example")));
        }
        if !text(chosen, "note").is_empty() {
            line(&mut out, format!("  {}", text(chosen, "note")));
        }
    }
    for policy in list(why, "policies") {
        let ways: Vec<&str> =
            [("ingress", "takes in"), ("egress", "sends")].into_iter().filter(|(way, _)| policy[*way] == true).map(|(_, word)| word).collect();
        let head = format!("\nthe network policy `{}` of {} selects `{}`", text(&policy, "name"), text(&policy, "app"), text(&policy, "workload"));
        line(&mut out, format!("{head}: it limits what it {}", ways.join(" and ")));
    }
    for instance in list(why, "instances") {
        let reason = [text(&instance, "displaced"), text(&instance, "reason")].into_iter().find(|r| !r.is_empty()).unwrap_or_default();
        line(&mut out, format!("\n{} on {}: {} {reason}", text(&instance, "name"), text(&instance, "node"), text(&instance, "state")));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_cluster_warns_of_is_told() {
        let why = json!({
            "state": "running", "reason": "",
            "cluster": { "name": "east", "applied": true, "problem": null, "drift": [
                { "object": "NetworkPolicy/shop", "fields": [".spec.ingress"], "managers": [] }, { "object": "Service/web", "fields": [".spec.type"], "managers": ["k9s"] },
            ], "warnings": ["Deployment/shop-web: apps/v9 goes"] },
        });
        let text = told(&why);
        assert!(text.contains("was changed at .spec.ingress\n") && text.contains("was changed at .spec.type by k9s\n"), "{text}");
        assert!(
            text.contains("on the cluster east: all objects are there") && text.contains("  the cluster warns of Deployment/shop-web: apps/v9 goes"),
            "{text}"
        );
    }

    #[test]
    fn what_waits_why_and_what_would_help_is_told() {
        let why = json!({
            "state": "pending", "reason": "web: no node has room",
            "waiting": [{"workload": "web", "instances": 2, "reason": "", "since": "now", "nodes_seen": 9,
                "nodes": [{"node": "n1", "reasons": ["cpu: 500 millicores asked, 100 of 1000 free"]}],
                "against": [{"rule": "cpu", "nodes": 9, "example": "cpu: 500 millicores asked, 100 of 1000 free"}],
                "remedies": [{"change": "free 400 millicores of cpu, or ask for so much less", "nodes": 9, "node": "n1"}]},
                {"workload": "migrate", "instances": 0, "reason": "failed 2 times and is given up", "since": "now", "nodes_seen": 0, "nodes": [], "against": [], "remedies": []}],
            "placed": [{"name": "shop-web-0", "chosen": {"node": "n2", "by": "planner", "score": 90, "next": {"node": "n3", "score": 80}, "fit": 2, "nodes": 9, "against": [], "note": ""}}],
            "instances": [],
            "clusters": [
                {"workload": "web", "cluster": "east", "replicas": 3, "target": 2, "ready": 2, "reason": "2 of 4 by its weight of 1 in 2"},
                {"workload": "web", "cluster": "west", "replicas": 0, "target": 0, "ready": 0, "reason": "the cluster is lost"}],
            "policies": [{"workload": "web", "app": "shop", "name": "closed", "ingress": true, "egress": true}],
            "scaling": [{"workload": "web", "min": 1, "max": 5, "replicas": 3, "paused": null, "reason": "cpu is 300m"}],
        });
        let text = told(&why);
        for part in [
            "2 of `web` wait since now",
            "\n`migrate` since now\n  failed 2 times and is given up",
            "`web` has 3 of 1 to 5: cpu is 300m",
            "`web` on the cluster east: 3 wanted, 2 ready, 2 when all has moved\n  2 of 4 by its weight",
            "nothing of `web` on the cluster west: the cluster is lost",
            "9 of 9 nodes: cpu",
            "one of these would be enough:\n    free 400 millicores",
            "the network policy `closed` of shop selects `web`: it limits what it takes in and sends",
            "shop-web-0 is on n2: the best of 2 that would do of 9 nodes, score 90; the next best was n3 with 80",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
