//! The part of the balancer for what HAProxy is to do for a service: where it listens, whom it lets in, and whom it sends requests to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gantry_kernel::InstanceId;
use sha2::{Digest, Sha256};

use super::Balancer;
use super::naming::named;
use super::ruling;
use crate::adapters::addresses;
use crate::domain::balance::{Access, HeaderRule, Layer7, Server, Shape};
use crate::domain::guard::network;
use crate::domain::pressure::{self, RESOURCES};
use crate::domain::wanted::{Service, Wanted};

impl Balancer {
    /// `runs`: HAProxy has the ports that it had.
    pub(super) async fn shape(&mut self, id: &str, service: &Service, wanted: &Wanted, runs: bool) -> Shape {
        let name = backend_name(id, service);
        let before = self.saved.layout.services.get(id).map(|s| s.shape.clone());
        let mut binds = BTreeSet::new();
        if let Some(port) = u16::try_from(service.wire.listen_port).ok().filter(|p| *p > 0) {
            binds.insert(SocketAddr::new(self.listen.address, port).to_string());
        }
        if let Some(address) = self.address(&named(service), !self.loaded).await {
            let ports = called_at(service);
            binds.extend(ports.iter().map(|port| format!("{address}:{port}")));
            if ports.is_empty() {
                // No backend at the moment: the ports stay as they were.
                let own = format!("{address}:");
                binds.extend(before.iter().flat_map(|s| s.binds.clone()).filter(|b| b.starts_with(&own)));
            }
        }
        let held = before.filter(|_| runs).map(|s| s.binds).unwrap_or_default();
        let mut binds: BTreeSet<String> = binds.into_iter().filter(|bind| held.contains(bind) || self.is_free(bind)).collect();
        for at in self.public_at(service) {
            if held.contains(&at.to_string()) || self.is_free_beside(at) {
                binds.insert(at.to_string());
            }
        }
        let certificates = self.certified(service).await;
        Shape {
            name,
            http: service.wire.protocol == "http",
            algorithm: match service.wire.balance.as_str() {
                word @ ("leastconn" | "random" | "source") => word.to_owned(),
                // In turn, but by weights that change, of those that are balanced by what they use.
                _ => "roundrobin".to_owned(),
            },
            binds,
            routes: routes(service),
            headers: headers(service, wanted),
            hold: if service.wire.hold { self.haproxy.hold_socket(&name_hash(id)).display().to_string() } else { String::new() },
            access: access(service, self.listen.service_network, &self.near()),
            layer7: Layer7 { certificates, ..layer7(service) },
        }
    }

    /// Finds out in which networks the pods are, by those that run.
    pub(super) async fn place(&mut self, ready: &BTreeMap<InstanceId, String>) {
        self.placed.retain(|address, _| ready.values().any(|ready| ready == address));
        for address in ready.values() {
            if self.placed.contains_key(address) {
                continue;
            }
            let network = match address.parse() {
                Ok(address) => addresses::network_of(address).await,
                Err(_) => None,
            };
            self.placed.insert(address.clone(), network.is_some());
            if network.is_some_and(|network| self.saved.pods.insert(network)) {
                self.save().await;
            }
        }
    }

    /// From where services may be asked at their addresses inside the node; nothing as long as that is not known of every pod.
    pub(super) fn near(&self) -> Vec<String> {
        let Some(network) = self.listen.service_network.filter(|_| !self.saved.pods.is_empty()) else { return Vec::new() };
        if self.placed.values().any(|known| !known) {
            return Vec::new();
        }
        // What the node itself asks there comes from the very address.
        let own = ["127.0.0.0/8".to_owned(), format!("{network}/16")];
        own.into_iter().chain(self.saved.pods.iter().cloned()).collect()
    }

    /// One port that cannot be opened would make HAProxy refuse its whole configuration.
    fn is_free(&mut self, bind: &str) -> bool {
        match std::net::TcpListener::bind(bind) {
            Ok(_) => {
                self.refused.remove(bind);
                true
            }
            Err(error) => {
                if self.refused.insert(bind.to_owned()) {
                    tracing::error!(address = bind, %error, "a service's port cannot be opened; the service is without it");
                }
                false
            }
        }
    }
}

fn backend_name(id: &str, service: &Service) -> String {
    format!("{}_{}", service.wire.name.replace('.', "-"), name_hash(id))
}

pub(super) fn name_hash(id: &str) -> String {
    hex::encode(&Sha256::digest(id)[..4])
}

/// What a client may send in one header; HAProxy refuses a configuration with patterns of some thousand characters.
const LONGEST_VALUE: usize = 1024;

/// They go into HAProxy's configuration, so they must be nothing but a header's name and a text on one line.
fn headers(service: &Service, wanted: &Wanted) -> Vec<HeaderRule> {
    let token = |text: &str| (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let text = |text: &str| text.len() <= LONGEST_VALUE && !text.bytes().any(|b| b.is_ascii_control());
    let rules = service.wire.headers.iter().filter(|h| token(&h.name) && text(&h.value));
    rules
        .filter_map(|h| {
            let to = wanted.services.get(&h.service_id).filter(|s| s.wire.protocol == service.wire.protocol)?;
            Some(HeaderRule { name: h.name.clone(), value: h.value.clone(), to: backend_name(&h.service_id, to) })
        })
        .collect()
}

/// Networks go into HAProxy's configuration, so they must be nothing else. One that is none and was to be allowed allows nobody, so that a
/// list never becomes wider than it was meant.
pub(super) fn access(service: &Service, services: Option<Ipv4Addr>, near: &[String]) -> Access {
    let inside = services.map(|network| format!("{network}/16")).unwrap_or_default();
    let ground = Access { inside, from: near.to_vec(), ..Access::default() };
    let Some(wire) = &service.wire.access else { return ground };
    let networks = |all: &[String]| all.iter().filter_map(|n| network(n)).collect::<Vec<_>>();
    let mut allow = networks(&wire.allow);
    if allow.is_empty() && !wire.allow.is_empty() {
        allow.push("255.255.255.255".to_owned());
    }
    Access { allow, deny: networks(&wire.deny), requests_per_second: wire.requests_per_second, concurrent: wire.concurrent, ..ground }
}

/// The ports under the service's name.
pub(super) fn called_at(service: &Service) -> BTreeSet<u32> {
    let own = service.wire.port;
    if own > 0 { BTreeSet::from([own]) } else { service.backends.values().map(|b| b.port).collect() }
}

fn layer7(service: &Service) -> Layer7 {
    let labels = service.wire.labels.as_ref();
    let space = labels.map(|l| format!("{}/{}/{}", l.org, l.project, l.space)).unwrap_or_default();
    Layer7 {
        rules: service.wire.rules.iter().filter_map(ruling::rule).collect(),
        space,
        certificates: Vec::new(),
        sticky_seconds: service.wire.sticky_seconds,
        // The same on every node, so that a cookie of one is good at the others.
        sticky_key: hex::encode(&Sha256::digest(format!("stays with {}", service.wire.service_id))[..16]),
        h2: service.wire.h2,
    }
}

fn routes(service: &Service) -> BTreeSet<(String, String)> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let routes = service.wire.routes.iter().filter(|r| plain(&r.host) && plain(&r.path_prefix));
    routes.map(|r| (r.host.to_ascii_lowercase(), format!("/{}", r.path_prefix.trim_start_matches('/')))).collect()
}

/// Instances that may get requests: those here that are ready and not stopping, and those elsewhere that the scheduler names.
pub(super) fn servers(
    service: &Service,
    wanted: &Wanted,
    ready: &BTreeMap<InstanceId, String>,
    pressed: &BTreeMap<InstanceId, u8>,
) -> BTreeMap<InstanceId, Server> {
    let by_use = service.wire.balance == RESOURCES;
    let servers = service.backends.iter().filter_map(|(id, backend)| {
        let address = match wanted.instances.get(id) {
            Some(instance) if instance.stopping => return None,
            Some(_) => ready.get(id)?,
            None if ready.contains_key(id) => return None,
            None => &backend.address,
        };
        // It goes into HAProxy's configuration, so it must be nothing but an address.
        let address: IpAddr = address.parse().ok()?;
        let whole = if backend.weight == 0 { 100 } else { backend.weight.min(256) };
        let weight = if by_use { pressure::weight(whole, pressed.get(id).copied().unwrap_or(0)) } else { whole };
        Some((*id, Server { address: address.to_string(), port: u16::try_from(backend.port).ok()?, weight }))
    });
    servers.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adapters::disk::Disk;
    use crate::adapters::haproxy::Haproxy;
    use crate::app::balancer::Listen;
    use crate::domain::balance;

    #[test]
    fn only_networks_reach_the_configuration_and_a_bad_list_opens_nothing() {
        use gantry_contract::proto::scheduler as wire;
        let access_of = |service: &Service| super::access(service, Some(Ipv4Addr::new(10, 100, 0, 0)), &["10.88.0.0/16".to_owned()]);
        let with = |allow: &[&str], deny: &[&str]| {
            let all = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
            let access = wire::ServiceAccess { allow: all(allow), deny: all(deny), ..Default::default() };
            let wire = wire::WantedService { access: Some(access), ..Default::default() };
            access_of(&Service { wire, backends: BTreeMap::new() })
        };
        let good = with(&["192.0.2.0/24", "2001:db8::1"], &["192.0.2.7\n  server x"]);
        assert_eq!((good.allow.len(), good.deny.len(), good.inside.as_str()), (2, 0, "10.100.0.0/16"));
        assert_eq!(with(&["nobody"], &[]).allow, ["255.255.255.255"]);
        let open = access_of(&Service { wire: wire::WantedService::default(), backends: BTreeMap::new() });
        assert!(open.is_open() && open.from == ["10.88.0.0/16"], "addresses inside the node are for the inside all the same");
    }

    #[test]
    fn only_ready_instances_here_and_named_ones_elsewhere_get_requests() {
        use gantry_contract::proto::scheduler as wire;
        let id = |n: u8| gantry_kernel::Uuid::from_u128(n.into()).to_string();
        let instance = |n, stopping| wire::WantedInstance { instance_id: id(n), image: "x".into(), stopping, ..Default::default() };
        let backend = |n, address: &str| wire::Backend { instance_id: id(n), port: 80, weight: 0, address: address.into() };
        let (wanted, faults) = Wanted::parse(wire::WantedState {
            generation: 1,
            instances: vec![instance(1, false), instance(2, true), instance(3, false)],
            services: vec![wire::WantedService {
                service_id: "s".into(),
                name: "web".into(),
                protocol: "http".into(),
                backends: vec![backend(1, ""), backend(2, ""), backend(3, ""), backend(4, "10.1.1.4"), backend(5, "no address")],
                ..Default::default()
            }],
            ..Default::default()
        });
        assert!(faults.is_empty());
        let here = |n: u8| (id(n).parse().unwrap(), format!("10.88.0.{n}"));
        let ready = BTreeMap::from([here(1), here(2)]);
        let pressed = BTreeMap::from([(id(1).parse().unwrap(), 100)]);
        let by_use = Service { wire: wire::WantedService { balance: RESOURCES.into(), ..wanted.services["s"].wire.clone() }, ..wanted.services["s"].clone() };
        let weights = |of: &Service| super::servers(of, &wanted, &ready, &pressed).values().map(|s| s.weight).collect::<Vec<_>>();
        assert_eq!((weights(&wanted.services["s"]), weights(&by_use)), (vec![100, 100], vec![10, 100]));
        let servers = servers(&wanted.services["s"], &wanted, &ready, &pressed);
        assert_eq!(servers.values().map(|s| s.address.as_str()).collect::<Vec<_>>(), ["10.88.0.1", "10.1.1.4"]);
    }

    #[test]
    fn a_header_that_is_asked_for_is_a_name_and_one_line() {
        use gantry_contract::proto::scheduler as wire;
        let header = |name: &str, value: &str| wire::HeaderTo { name: name.into(), value: value.into(), service_id: "b".into() };
        let long = "x".repeat(LONGEST_VALUE + 1);
        let headers = vec![header("X-A", "it's }, here"), header("X-B", "a\n  server x"), header("X C", ""), header("X-D", &long), header("X-E", "")];
        let service =
            |id: &str, headers| wire::WantedService { service_id: id.into(), name: "web".into(), protocol: "http".into(), headers, ..Default::default() };
        let (wanted, _) = Wanted::parse(wire::WantedState { services: vec![service("a", headers), service("b", Vec::new())], ..Default::default() });
        let rules = super::headers(&wanted.services["a"], &wanted);
        assert_eq!(rules.iter().map(|r| (r.name.as_str(), r.value.as_str())).collect::<Vec<_>>(), [("X-A", "it's }, here"), ("X-E", "")]);
    }

    #[tokio::test]
    async fn a_service_is_published_on_an_address_of_ipv6_too() {
        use gantry_contract::proto::scheduler as wire;
        let Ok(free) = std::net::TcpListener::bind("[::1]:0") else {
            eprintln!("skipped: nothing is published on an address of IPv6: this machine has none");
            return;
        };
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), folder.path().join("haproxy"), folder.path().join("log"), "127.0.0.1:0".into());
        let disk = Disk::open(folder.path().join("state")).await.unwrap();
        let listen = Listen { address: std::net::Ipv6Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
        let mut balancer = Balancer::open(Arc::new(haproxy), disk, listen, "a-test").await;
        let wire = wire::WantedService { name: "web".into(), protocol: "http".into(), listen_port: port.into(), ..Default::default() };
        let service = Service { wire, backends: BTreeMap::new() };
        let shape = balancer.shape("s", &service, &Wanted::default(), false).await;
        assert_eq!(shape.binds, BTreeSet::from([format!("[::1]:{port}")]));
    }

    #[tokio::test]
    async fn a_port_that_somebody_took_while_haproxy_was_away_is_left_out() {
        use gantry_contract::proto::scheduler as wire;
        let folder = tempfile::tempdir().unwrap();
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), folder.path().join("haproxy"), folder.path().join("log"), "127.0.0.1:0".into());
        let disk = Disk::open(folder.path().join("state")).await.unwrap();
        let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
        let mut balancer = Balancer::open(Arc::new(haproxy), disk, listen, "a-test").await;
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let wire = wire::WantedService { name: "web".into(), protocol: "http".into(), listen_port: port.into(), ..Default::default() };
        let service = Service { wire, backends: BTreeMap::new() };
        let mut shape = balancer.shape("s", &service, &Wanted::default(), false).await;
        assert!(shape.binds.is_empty());
        shape.binds.insert(format!("127.0.0.1:{port}"));
        balancer.saved.layout.services.insert("s".into(), balance::Service { shape: shape.clone(), slots: Vec::new() });
        assert_eq!(balancer.shape("s", &service, &Wanted::default(), true).await.binds, shape.binds, "it is HAProxy that has it");
        assert!(balancer.shape("s", &service, &Wanted::default(), false).await.binds.is_empty(), "with it, no service would be served");
        drop(taken);
        assert_eq!(balancer.shape("s", &service, &Wanted::default(), false).await.binds, shape.binds);
    }
}
