//! What instances and nodes of Kubernetes clusters use, as series of the names that agents give theirs: so monitoring, sizing and
//! the console show both alike. A metrics server tells means; what has been used by then is summed up here, so that a rate over it
//! is the mean again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_kubernetes::usage::Usage;
use tokio::time::Instant;

/// A mean counts for no longer than this: what was in between nobody has seen.
const LONGEST: Duration = Duration::from_secs(60);

/// Labels of a series, in their order.
pub type Labels = Vec<(&'static str, String)>;

/// What one look at a cluster has found.
#[derive(Default)]
pub struct Look {
    /// Of containers: `node`, `org`, `project`, `space`, `app`, `workload`, `instance`, `container`.
    pub containers: Vec<(Labels, Usage)>,
    /// Of nodes by name, with what each has.
    pub nodes: Vec<(String, Usage, Option<Usage>)>,
}

#[derive(Clone)]
struct Series {
    cpu_seconds: f64,
    used: Usage,
}

struct Held {
    at: Instant,
    containers: BTreeMap<Labels, Series>,
    nodes: BTreeMap<String, (Series, Option<Usage>)>,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct ClusterUsage(Arc<Mutex<BTreeMap<String, Held>>>);

impl ClusterUsage {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not there any more is forgotten.
    pub fn seen(&self, cluster: &str, look: Look, now: Instant) {
        let mut all = self.lock();
        let before = all.remove(cluster);
        let passed = before.as_ref().map_or(Duration::ZERO, |b| now.saturating_duration_since(b.at)).min(LONGEST).as_secs_f64();
        let (mut containers, mut nodes) = before.map(|b| (b.containers, b.nodes)).unwrap_or_default();
        // A new one begins at nothing.
        let next = |before: Option<Series>, used: Usage| {
            let spent = before.map_or(0.0, |b| b.cpu_seconds + passed * used.cpu_nanos as f64 / 1e9);
            Series { cpu_seconds: spent, used }
        };
        let held = Held {
            at: now,
            containers: look
                .containers
                .into_iter()
                .map(|(labels, used)| {
                    let before = containers.remove(&labels);
                    (labels, next(before, used))
                })
                .collect(),
            nodes: look
                .nodes
                .into_iter()
                .map(|(name, used, capacity)| {
                    let before = nodes.remove(&name).map(|(series, _)| series);
                    (name, (next(before, used), capacity))
                })
                .collect(),
        };
        all.insert(cluster.to_owned(), held);
    }

    /// Figures that nobody renews are worse than none.
    pub fn lost(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    /// Only these are looked at.
    pub fn only(&self, clusters: &[String]) {
        self.lock().retain(|name, _| clusters.contains(name));
    }

    /// As Prometheus text.
    pub fn render(&self) -> String {
        let all = self.lock();
        let mut out = String::new();
        let containers = || all.values().flat_map(|held| &held.containers);
        let nodes = || all.values().flat_map(|held| &held.nodes);
        let node = |name: &String| vec![("node", name.clone())];
        let mut put = |name: &str, kind: &str, help: &str, lines: Vec<(Labels, f64)>| {
            if !lines.is_empty() {
                let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            for (labels, value) in lines {
                let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
                let _ = writeln!(out, "{name}{{{}}} {value}", labels.join(","));
            }
        };
        let spent = containers().map(|(labels, s)| (labels.clone(), s.cpu_seconds)).collect();
        put("gantry_container_cpu_seconds_total", "counter", "Processor time used.", spent);
        let memory = containers().map(|(labels, s)| (labels.clone(), s.used.memory_bytes as f64)).collect();
        put("gantry_container_memory_bytes", "gauge", "Memory in use that cannot be given back at once.", memory);
        let busy = nodes().map(|(name, (s, _))| (vec![("node", name.clone()), ("mode", "user".to_owned())], s.cpu_seconds)).collect();
        put("gantry_node_cpu_seconds_total", "counter", "Processor time by mode, all cores.", busy);
        let has = || nodes().filter_map(|(name, (s, capacity))| Some((name, s.used, (*capacity)?)));
        let cores = has().map(|(name, _, capacity)| (node(name), capacity.cpu_nanos as f64 / 1e9)).collect();
        put("gantry_node_cpus", "gauge", "Processor cores.", cores);
        let total = has().map(|(name, _, capacity)| (node(name), capacity.memory_bytes as f64)).collect();
        put("gantry_node_memory_total_bytes", "gauge", "Memory of the machine.", total);
        let free = has().map(|(name, used, capacity)| (node(name), capacity.memory_bytes.saturating_sub(used.memory_bytes) as f64)).collect();
        put("gantry_node_memory_available_bytes", "gauge", "Memory that programs can still have.", free);
        out
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(cpu_nanos: u64) -> Look {
        let used = Usage { cpu_nanos, memory_bytes: 64 << 20 };
        let capacity = Usage { cpu_nanos: 4_000_000_000, memory_bytes: 1 << 30 };
        Look { containers: vec![(vec![("instance", "i".into())], used)], nodes: vec![("east--n1".into(), used, Some(capacity))] }
    }

    #[test]
    fn what_was_used_is_summed_up_and_no_longer_than_somebody_has_looked() {
        let (usage, begin) = (ClusterUsage::default(), Instant::now());
        let has = |line: &str| assert!(usage.render().contains(line), "{line} in\n{}", usage.render());
        usage.seen("east", look(500_000_000), begin);
        has("gantry_container_cpu_seconds_total{instance=\"i\"} 0\n");
        usage.seen("east", look(500_000_000), begin + Duration::from_secs(20));
        has("gantry_container_cpu_seconds_total{instance=\"i\"} 10\n");
        usage.seen("east", look(1_000_000_000), begin + Duration::from_secs(3600));
        has("gantry_container_cpu_seconds_total{instance=\"i\"} 70\n");
        has("gantry_node_cpu_seconds_total{node=\"east--n1\",mode=\"user\"} 70\n");
        has("gantry_container_memory_bytes{instance=\"i\"} 67108864\n");
        has("gantry_node_cpus{node=\"east--n1\"} 4\n");
        has("gantry_node_memory_available_bytes{node=\"east--n1\"} 1006632960\n");
        usage.seen("east", Look::default(), begin + Duration::from_secs(3620));
        assert_eq!(usage.render(), "");
        usage.seen("east", look(1), begin);
        usage.only(&["west".to_owned()]);
        assert_eq!(usage.render(), "");
    }

    #[test]
    fn a_label_cannot_break_out() {
        assert_eq!(escaped("a\"b\n\\"), "a\\\"b\\n\\\\");
    }
}
