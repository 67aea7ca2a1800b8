//! `[scheduler]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use gantry_host::Section;
use gantry_kernel::Secret;
use serde::{Deserialize, Serialize};

use crate::domain::placement::Policy;

/// Agents speak every two seconds. With less than three of these a single late message makes a node lost, and `fenced` instances, which stop
/// three seconds before their lease ends, would stop between two messages.
pub const LEAST_NODE_TIMEOUT: u32 = 6;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A node that is not heard from for so long is lost, and its instances are placed elsewhere. At least [`LEAST_NODE_TIMEOUT`].
    pub node_timeout_seconds: u32,
    /// How often reserved resources are metered.
    pub usage_interval_seconds: u32,
    /// How often the metrics store is asked for what releases and the number of instances depend on.
    pub measure_interval_seconds: u32,
    /// What a workload reserves if its document says nothing.
    pub default_cpu_millis: u32,
    pub default_memory_bytes: u64,
    /// Published ports lie in this range of the nodes, both ends included.
    pub first_port: u16,
    pub last_port: u16,
    /// The nodes' port for routes by host name, for the addresses shown to people.
    pub route_port: u16,
    /// The same for routes over HTTPS.
    pub secure_route_port: u16,
    /// The host name under which the nodes' ports are reached, for the addresses shown to people.
    pub ingress_host: String,
    /// How long a node's credential for images holds.
    pub credential_seconds: u32,
    /// Largest document that may be deployed.
    pub document_bytes: usize,
    /// Commands, terminals, forwarded ports and copies that one user may have at a time.
    pub sessions_per_user: u32,
    /// A session over which nothing goes for so long is ended.
    pub session_idle_seconds: u32,
    /// A session is ended after so long in any case.
    pub session_seconds: u32,
    pub placement: Policy,
    /// Where backups of volumes are kept.
    pub backups: BackupStore,
    pub kubernetes: Kubernetes,
}

/// How clusters are reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Programs that kubeconfigs may name as credential plugins; the platform runs them, so none are allowed by default.
    pub plugins: Vec<String>,
    /// May the clusters of organisations be at private addresses? Those of the platform may.
    pub private_addresses: bool,
    /// So long the pods of a set stay that get no requests any more: until every node and gateway of the cluster knows.
    pub drain_seconds: u32,
    /// The image of the pods that read and write volumes of clusters: with `sh`, `tar` and `sleep`, and for 1.28 and 1.29 `sed` and `base64`.
    pub volume_image: String,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self { plugins: Vec::new(), private_addresses: false, drain_seconds: 10, volume_image: "docker.io/library/busybox:1.37".into() }
    }
}

/// A bucket of an S3-compatible store, or a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupStore {
    /// Without a bucket; empty: `volume-backups` in the platform's home.
    pub folder: PathBuf,
    /// Name of the bucket; empty: the folder is used.
    pub bucket: String,
    /// What every key begins with, without a slash at its end; empty: nothing.
    pub prefix: String,
    pub region: String,
    /// Address of the store; empty: Amazon's of the region.
    pub endpoint: String,
    /// Both or none; none: the usual AWS variables of the environment, web identity, or the machine's role.
    pub access_key_id: String,
    pub secret_access_key: Secret,
    /// Whether an `http://` endpoint is meant.
    pub allow_http: bool,
}

impl Default for BackupStore {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            bucket: String::new(),
            prefix: String::new(),
            region: "us-east-1".into(),
            endpoint: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            allow_http: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_timeout_seconds: 10,
            usage_interval_seconds: 10,
            measure_interval_seconds: 5,
            default_cpu_millis: 100,
            default_memory_bytes: 128 << 20,
            first_port: 20_000,
            last_port: 20_999,
            route_port: 7480,
            secure_route_port: 7481,
            ingress_host: "localhost".into(),
            credential_seconds: 900,
            document_bytes: 512 << 10,
            sessions_per_user: 20,
            session_idle_seconds: 1800,
            session_seconds: 12 * 3600,
            placement: Policy::default(),
            backups: BackupStore::default(),
            kubernetes: Kubernetes::default(),
        }
    }
}

impl Config {
    pub fn node_timeout(&self) -> Duration {
        Duration::from_secs(self.node_timeout_seconds.into())
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        let mut within = |name: &str, value: u64, from: u64, to: u64| {
            if !(from..=to).contains(&value) {
                faults.push(format!("{name} = {value}: must be {from} to {to}"));
            }
        };
        within("node_timeout_seconds", self.node_timeout_seconds.into(), LEAST_NODE_TIMEOUT.into(), 3600);
        within("kubernetes.drain_seconds", self.kubernetes.drain_seconds.into(), 0, 3600);
        within("usage_interval_seconds", self.usage_interval_seconds.into(), 1, 3600);
        within("measure_interval_seconds", self.measure_interval_seconds.into(), 1, 300);
        within("default_cpu_millis", self.default_cpu_millis.into(), 1, 1_000_000);
        within("default_memory_bytes", self.default_memory_bytes, 1 << 20, 1 << 50);
        within("first_port", self.first_port.into(), 1024, self.last_port.into());
        within("credential_seconds", self.credential_seconds.into(), 60, 3600);
        within("sessions_per_user", self.sessions_per_user.into(), 1, 1000);
        within("session_idle_seconds", self.session_idle_seconds.into(), 1, 7 * 86_400);
        within("session_seconds", self.session_seconds.into(), 1, 7 * 86_400);
        within("document_bytes", self.document_bytes as u64, 1024, 16 << 20);
        within("placement.overcommit_cpu_percent", self.placement.overcommit_cpu_percent.into(), 1, 10_000);
        within("placement.overcommit_memory_percent", self.placement.overcommit_memory_percent.into(), 1, 1000);
        let p = &self.placement;
        for (name, weight) in [("spread", p.spread), ("pack", p.pack), ("load", p.load), ("even", p.even), ("image", p.image), ("prefer", p.prefer)] {
            within(&format!("placement.{name}"), weight.into(), 0, 1000);
        }
        within("placement.rebalance_moves", self.placement.rebalance_moves.into(), 0, 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_listed_at_once() {
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        Config { node_timeout_seconds: 0, credential_seconds: 5, ..Config::default() }.validate(&mut faults);
        assert_eq!(faults.len(), 2);
    }

    #[test]
    fn a_node_is_not_lost_between_two_of_its_messages() {
        for (seconds, good) in [(0, false), (1, false), (5, false), (6, true), (10, true), (3600, true), (3601, false)] {
            let mut faults = Vec::new();
            Config { node_timeout_seconds: seconds, ..Config::default() }.validate(&mut faults);
            assert_eq!(faults.is_empty(), good, "{seconds}: {faults:?}");
            assert!(good || faults == [format!("node_timeout_seconds = {seconds}: must be 6 to 3600")], "{faults:?}");
        }
    }
}
