//! `[agent]` of the configuration. Everything has a default that fits one machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use gantry_host::{Platform, Section};
use serde::{Deserialize, Serialize};

use crate::domain::routes::Network;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This node's name, a DNS label; empty = the machine's host name.
    pub node: String,
    pub zone: String,
    /// For placement: `gpu = "a100"`.
    pub labels: BTreeMap<String, String>,
    /// Shared HTTP port of applications; `None` = the platform's port base + 80 on its listen address.
    pub http_listen: Option<SocketAddr>,
    /// Shared HTTPS port of applications; `None` = the platform's port base + 81 on its listen address. Opened with the first certificate.
    pub https_listen: Option<SocketAddr>,
    /// Where services with a port of their own listen; `None` = the platform's listen address.
    pub service_listen: Option<IpAddr>,
    /// /16 network from which each service gets an address for containers of its space; `None` = one that goes with the port base.
    pub service_network: Option<Ipv4Addr>,
    /// Network interface that gets public addresses of services; empty = the one by which the machine would reach them.
    pub public_interface: String,
    /// Where other nodes reach this one, on a network that they share; with `pod_network`, instances on different nodes reach
    /// each other and every node balances over all of them.
    pub address: Option<Ipv4Addr>,
    /// The network of this node's pods as its container runtime gives it out, `10.88.0.0/16`; no other node may have the same.
    pub pod_network: Option<Network>,
    pub haproxy: PathBuf,
    /// CRIU, by which instances are moved as they run.
    pub criu: PathBuf,
    /// Host folders below which applications may mount; none by default.
    pub bind_allowed: Vec<PathBuf>,
    /// Processes a container may have if its application says nothing.
    pub default_pids: u32,
    /// Contents of configs and secrets lie on the node's disk, readable by root alone, rather than in memory: where the agent may not mount.
    pub files_on_disk: bool,
    /// The scheduler's last word, in which secrets are, is kept in memory alone: after a start of the machine nothing runs until the
    /// scheduler is there.
    pub word_in_memory: bool,
    /// Images that nobody needs are removed when more of the disk than this is used; 0: never.
    pub image_gc_percent: u8,
    /// What the container runtime and the balancer may use together, without the containers.
    pub daemon_limits: DaemonLimits,
}

/// 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonLimits {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    /// Threads count as processes.
    pub processes: u32,
}

impl DaemonLimits {
    fn faults(&self, faults: &mut Vec<String>) {
        // Less than this and no container could be started any more.
        for (name, value, least) in
            [("cpu_millis", self.cpu_millis, 100), ("memory_bytes", self.memory_bytes, 64 << 20), ("processes", self.processes.into(), 200)]
        {
            if value > 0 && value < least {
                faults.push(format!("daemon_limits.{name} = {value}: must be 0 (no limit) or at least {least}"));
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: String::new(),
            zone: String::new(),
            labels: BTreeMap::new(),
            http_listen: None,
            https_listen: None,
            service_listen: None,
            service_network: None,
            public_interface: String::new(),
            address: None,
            pod_network: None,
            haproxy: PathBuf::from("haproxy"),
            criu: PathBuf::from("criu"),
            bind_allowed: Vec::new(),
            default_pids: 4096,
            files_on_disk: false,
            word_in_memory: false,
            image_gc_percent: 85,
            daemon_limits: DaemonLimits::default(),
        }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if !self.node.is_empty() && gantry_kernel::Name::parse(&self.node).is_err() {
            faults.push(format!("node = {:?}: must be a DNS label", self.node));
        }
        if self.default_pids < 16 {
            faults.push(format!("default_pids = {}: must be at least 16", self.default_pids));
        }
        if self.image_gc_percent > 99 {
            faults.push(format!("image_gc_percent = {}: must be 0 to 99", self.image_gc_percent));
        }
        if let Some(network) = self.service_network.filter(|n| !n.is_private() || n.octets()[2..] != [0, 0]) {
            faults.push(format!("service_network = {network}: must be a private network with two free bytes, such as 10.100.0.0"));
        }
        if self.address.is_some() != self.pod_network.is_some() {
            faults.push("address and pod_network: one is of no use without the other".to_owned());
        }
        // The kernel's limit of a name (IFNAMSIZ); it goes into a command.
        if self.public_interface.len() > 15 || self.public_interface.starts_with('-') || !self.public_interface.bytes().all(|b| b.is_ascii_graphic()) {
            faults.push(format!("public_interface = {:?}: must be the name of a network interface", self.public_interface));
        }
        self.daemon_limits.faults(faults);
        for path in self.bind_allowed.iter().filter(|p| !p.is_absolute()) {
            faults.push(format!("bind_allowed: {} is not absolute", path.display()));
        }
    }
}

impl Config {
    /// The configured name, or the machine's.
    pub fn node_name(&self) -> String {
        if !self.node.is_empty() {
            return self.node.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let first = host.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
        let clean: String = first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        match clean.trim_matches('-') {
            "" => "node".to_owned(),
            name => name.to_owned(),
        }
    }

    pub fn http_address(&self, platform: &Platform) -> SocketAddr {
        let port = if platform.port_base == 0 { 0 } else { platform.port_base + 80 };
        self.http_listen.unwrap_or(SocketAddr::new(platform.listen, port))
    }

    pub fn https_address(&self, platform: &Platform) -> SocketAddr {
        let port = if platform.port_base == 0 { 0 } else { platform.port_base + 81 };
        self.https_listen.unwrap_or(SocketAddr::new(platform.listen, port))
    }

    pub fn network(&self, platform: &Platform) -> Ipv4Addr {
        // Suites with other port bases on the same machine must not share addresses.
        let shift = (i32::from(platform.port_base) - 7400).rem_euclid(1200) / 100;
        self.service_network.unwrap_or(Ipv4Addr::new(10, 100 + u8::try_from(shift).unwrap_or(0), 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_and_defaults_are_good() {
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert!(faults.is_empty());
        let bad = Config { node: "No Name".into(), default_pids: 1, service_network: Some(Ipv4Addr::new(8, 8, 0, 0)), ..Config::default() };
        bad.validate(&mut faults);
        assert_eq!(faults.len(), 3);
        let half = Config { address: Some(Ipv4Addr::new(192, 168, 1, 2)), ..Config::default() };
        half.validate(&mut faults);
        assert!(faults[3].contains("pod_network"), "{faults:?}");
        let tight = DaemonLimits { cpu_millis: 10, memory_bytes: 1 << 20, processes: 0 };
        Config { daemon_limits: tight, ..Config::default() }.validate(&mut faults);
        assert!(faults.len() == 6 && faults[5].starts_with("daemon_limits.memory_bytes"), "{faults:?}");
    }

    #[test]
    fn ports_and_networks_go_with_the_base() {
        let at = |port_base| Platform { port_base, ..Platform::default() };
        let config = Config::default();
        assert_eq!(config.http_address(&at(7400)).to_string(), "127.0.0.1:7480");
        assert_eq!(config.https_address(&at(7400)).to_string(), "127.0.0.1:7481");
        assert_eq!((config.network(&at(7400)).octets()[1], config.network(&at(7600)).octets()[1]), (100, 102));
    }
}
