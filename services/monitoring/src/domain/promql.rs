//! The prepared queries. People who are not platform administrators get these and nothing else: a free query could name
//! another tenant's series, and rewriting PromQL safely needs a PromQL parser.
//!
//! The same goes for alert rules: they watch a figure, not an expression.
//!
//! Metric names are those the node agent exports (`services/agent`).

use gantry_contract::monitoring::Figure;

/// One series of a chart: its name, unit and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub name: &'static str,
    pub unit: &'static str,
    pub query: String,
}

/// A label's value between quotes (Prometheus: backslash, quote and newline are escaped).
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Partitions and mapped devices count what their disk has counted already.
const WHOLE_DISKS: &str = "device!~\"([shv]d|xvd)[a-z]+[0-9]+|nvme.*p[0-9]+|mmcblk.*p[0-9]+|dm-.*|md.*|zram.*\"";
/// What goes through a bridge also goes through a card; loopback leaves nobody's machine.
const REAL_CARDS: &str = "device!~\"lo|gantry.*|cni.*|docker.*|br-.*|veth.*|tap.*|tun.*\"";

/// `window`: what rates look back over, in seconds.
pub fn of_node(node: &str, window: u64) -> Vec<Prepared> {
    let at = format!("node={}", quoted(node));
    let rate = |metric: &str, of: &str| format!("sum(rate({metric}{{{at},{of}}}[{window}s]))");
    let sum = |metric: &str| format!("sum({metric}{{{at}}})");
    let less = |all: &str, free: &str| format!("{} - {}", sum(all), sum(free));
    vec![
        Prepared { name: "cpu", unit: "cores", query: rate("gantry_node_cpu_seconds_total", "mode!~\"idle|iowait\"") },
        Prepared { name: "cpu_capacity", unit: "cores", query: sum("gantry_node_cpus") },
        Prepared { name: "memory", unit: "bytes", query: less("gantry_node_memory_total_bytes", "gantry_node_memory_available_bytes") },
        Prepared { name: "memory_capacity", unit: "bytes", query: sum("gantry_node_memory_total_bytes") },
        Prepared { name: "disk", unit: "bytes", query: less("gantry_node_filesystem_size_bytes", "gantry_node_filesystem_available_bytes") },
        Prepared { name: "disk_capacity", unit: "bytes", query: sum("gantry_node_filesystem_size_bytes") },
        Prepared { name: "disk_read", unit: "bytes_per_second", query: rate("gantry_node_disk_read_bytes_total", WHOLE_DISKS) },
        Prepared { name: "disk_write", unit: "bytes_per_second", query: rate("gantry_node_disk_written_bytes_total", WHOLE_DISKS) },
        Prepared { name: "network_receive", unit: "bytes_per_second", query: rate("gantry_node_network_receive_bytes_total", REAL_CARDS) },
        Prepared { name: "network_transmit", unit: "bytes_per_second", query: rate("gantry_node_network_transmit_bytes_total", REAL_CARDS) },
    ]
}

/// The containers of one application, a series per instance. Organisation, project and space are always part of the question.
pub fn of_app(org: &str, project: &str, space: &str, app: &str, window: u64) -> Vec<Prepared> {
    let labels = [("org", org), ("project", project), ("space", space), ("app", app)];
    let at = labels.map(|(name, value)| format!("{name}={}", quoted(value))).join(",");
    let rate = |metric: &str| format!("sum by (workload, instance) (rate({metric}{{{at}}}[{window}s]))");
    let sum = |metric: &str| format!("sum by (workload, instance) ({metric}{{{at}}})");
    vec![
        Prepared { name: "cpu", unit: "cores", query: rate("gantry_container_cpu_seconds_total") },
        Prepared { name: "memory", unit: "bytes", query: sum("gantry_container_memory_bytes") },
        Prepared { name: "disk", unit: "bytes", query: sum("gantry_container_disk_bytes") },
        Prepared { name: "network_receive", unit: "bytes_per_second", query: rate("gantry_container_network_receive_bytes_total") },
        Prepared { name: "network_transmit", unit: "bytes_per_second", query: rate("gantry_container_network_transmit_bytes_total") },
    ]
}

/// What alerts look back over, in seconds: at least four scrapes of 15 s.
const ALERT_WINDOW: u64 = 60;

/// What an alert rule watches of an application, a sample per instance; none for what Prometheus does not know. `place` is organisation,
/// project and space, which are always part of the question.
pub fn of_figure(place: [&str; 3], app: &str, workload: Option<&str>, figure: Figure) -> Option<String> {
    let [org, project, space] = place;
    let labels = [("org", Some(org)), ("project", Some(project)), ("space", Some(space)), ("app", Some(app)), ("workload", workload)];
    let at = labels.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", quoted(value?)))).collect::<Vec<_>>().join(",");
    let rate = |metric: &str| format!("sum by (workload, instance) (rate({metric}{{{at}}}[{ALERT_WINDOW}s]))");
    // The newest of a minute: a scrape that fails once neither ends an alert nor begins it anew.
    let sum = |metric: &str| format!("sum by (workload, instance) (last_over_time({metric}{{{at}}}[{ALERT_WINDOW}s]))");
    match figure {
        Figure::Cpu => Some(rate("gantry_container_cpu_seconds_total")),
        Figure::Memory => Some(sum("gantry_container_memory_bytes")),
        Figure::Storage => Some(sum("gantry_container_disk_bytes")),
        Figure::Network => {
            Some(format!("{} + {}", rate("gantry_container_network_receive_bytes_total"), rate("gantry_container_network_transmit_bytes_total")))
        }
        Figure::Restarts => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_node_has_cpu_memory_disk_disk_io_and_network() {
        let names: Vec<_> = of_node("n1", 60).into_iter().map(|p| p.name).collect();
        for name in ["cpu", "memory", "disk", "disk_read", "disk_write", "network_receive", "network_transmit"] {
            assert!(names.contains(&name), "{name}");
        }
        assert_eq!(of_node("n1", 60)[0].query, "sum(rate(gantry_node_cpu_seconds_total{node=\"n1\",mode!~\"idle|iowait\"}[60s]))");
    }

    #[test]
    fn an_applications_queries_all_name_its_place() {
        for prepared in of_app("acme", "shop", "test", "web", 60) {
            assert!(prepared.query.contains("{org=\"acme\",project=\"shop\",space=\"test\",app=\"web\"}"), "{}", prepared.query);
        }
    }

    #[test]
    fn what_alert_rules_watch_names_its_place_in_every_part() {
        let place = ["acme", "shop", "test"];
        for figure in [Figure::Cpu, Figure::Memory, Figure::Storage, Figure::Network] {
            let query = of_figure(place, "web", Some("api"), figure).unwrap();
            let own = "{org=\"acme\",project=\"shop\",space=\"test\",app=\"web\",workload=\"api\"}";
            assert_eq!(query.matches('{').count(), query.matches(own).count(), "{query}");
            let whole = of_figure(place, "web", None, figure).unwrap();
            assert!(whole.contains("app=\"web\"}") && !whole.contains("workload="), "{whole}");
        }
        assert_eq!(of_figure(place, "web", None, Figure::Restarts), None, "those are counted by the scheduler's events");
    }

    proptest! {
        #[test]
        fn no_node_name_breaks_out_of_its_quotes(name in ".{0,30}") {
            let query = of_node(&name, 60).swap_remove(1).query;
            let inner = query.strip_prefix("sum(gantry_node_cpus{node=\"").and_then(|q| q.strip_suffix("\"})")).expect("its frame stands");
            let mut escaped = false;
            for c in inner.chars() {
                prop_assert!(escaped || c != '"');
                escaped = c == '\\' && !escaped;
            }
            prop_assert!(!escaped);
        }
    }
}
