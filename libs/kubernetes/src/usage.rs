//! What pods and nodes use, as a metrics server tells it (metrics.k8s.io/v1beta1, kubernetes.io/docs/tasks/debug/debug-cluster/
//! resource-metrics-pipeline): means over a window of some seconds, looked at anew every quarter of a minute.

use serde_json::Value;

use crate::client::Client;
use crate::kinds::{NODE, NODE_METRICS, POD_METRICS};
use crate::quantity;
use crate::trouble::Trouble;
use crate::watch::encoded;

/// Of one container, or of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Billionths of a core: the mean over the window.
    pub cpu_nanos: u64,
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    pub namespace: String,
    pub name: String,
    pub containers: Vec<(String, Usage)>,
}

/// A node, with what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUsage {
    pub name: String,
    pub used: Usage,
    /// Of `status.capacity`; nothing if the node is not known.
    pub capacity: Option<Usage>,
}

/// Of the pods that a selector of labels chooses.
///
/// # Errors
/// [`Trouble::NotFound`] if the cluster has no metrics server; so for all of this.
pub async fn pods(client: &Client, selector: &str) -> Result<Vec<PodUsage>, Trouble> {
    let list = client.get(&format!("{}?labelSelector={}", POD_METRICS.path(None), encoded(selector))).await?;
    Ok(items(&list)?.iter().filter_map(pod).collect())
}

pub async fn nodes(client: &Client) -> Result<Vec<NodeUsage>, Trouble> {
    let used = client.get(&NODE_METRICS.path(None)).await?;
    let all = client.get(&NODE.path(None)).await?;
    let there = items(&all)?;
    let capacity = |name: &str| there.iter().find(|n| n["metadata"]["name"] == name).and_then(|n| usage(&n["status"]["capacity"]));
    let node = |item: &Value| {
        let name = item["metadata"]["name"].as_str()?;
        Some(NodeUsage { name: name.to_owned(), used: usage(&item["usage"])?, capacity: capacity(name) })
    };
    Ok(items(&used)?.iter().filter_map(node).collect())
}

fn items(list: &Value) -> Result<&Vec<Value>, Trouble> {
    list["items"].as_array().ok_or_else(|| Trouble::Malformed("a list without items".into()))
}

fn pod(item: &Value) -> Option<PodUsage> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let containers = item["containers"].as_array()?.iter().filter_map(|c| Some((text(&c["name"])?, usage(&c["usage"])?)));
    Some(PodUsage { namespace: text(&item["metadata"]["namespace"])?, name: text(&item["metadata"]["name"])?, containers: containers.collect() })
}

fn usage(of: &Value) -> Option<Usage> {
    let memory = quantity::of(&of["memory"])? / 1000;
    Some(Usage { cpu_nanos: nanos(&of["cpu"])?, memory_bytes: u64::try_from(memory).ok()? })
}

/// Metrics servers write `12345678n`, which is finer than thousandths.
fn nanos(value: &Value) -> Option<u64> {
    if let Some(fine) = value.as_str().and_then(|t| t.strip_suffix('n')).and_then(|t| t.parse().ok()) {
        return Some(fine);
    }
    u64::try_from(quantity::of(value)?.checked_mul(1_000_000)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written() {
        assert_eq!(usage(&json!({"cpu": "12345678n", "memory": "2048Ki"})), Some(Usage { cpu_nanos: 12_345_678, memory_bytes: 2 << 20 }));
        assert_eq!(usage(&json!({"cpu": "250m", "memory": "1Gi"})), Some(Usage { cpu_nanos: 250_000_000, memory_bytes: 1 << 30 }));
        assert_eq!(usage(&json!({"cpu": "8", "memory": 1000})), Some(Usage { cpu_nanos: 8_000_000_000, memory_bytes: 1000 }));
        assert_eq!(usage(&json!({"cpu": "much", "memory": "1"})), None);
        let item =
            json!({"metadata": {"name": "web-1", "namespace": "x"}, "containers": [{"name": "web", "usage": {"cpu": "0", "memory": "1Mi"}}, {"name": "odd"}]});
        let read = pod(&item).unwrap();
        assert_eq!((read.containers.len(), read.containers[0].1.memory_bytes), (1, 1 << 20));
    }
}
