//! The scheduler's word, read once at the door: every id is an id, every path is safe, no instance is named twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::InstanceId;

use super::nics;

/// Everything this node is to run. The wire types are kept inside: they are plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub generation: u64,
    pub instances: BTreeMap<InstanceId, wire::WantedInstance>,
    pub services: BTreeMap<String, Service>,
    /// Names of spaces for what runs elsewhere.
    pub outside: Vec<wire::OutsideName>,
    /// What of the network instances are given, by the name that they call it by.
    pub isolations: BTreeMap<String, wire::Isolation>,
    /// Instances anywhere that do not take in everything.
    pub guarded: BTreeSet<IpAddr>,
    /// Where the nodes are.
    pub nodes: BTreeSet<IpAddr>,
}

/// A balanced name, with its backends by instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub wire: wire::WantedService,
    pub backends: BTreeMap<InstanceId, wire::Backend>,
}

/// Why a part of the wanted state was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{id}`: {why}")]
pub struct Fault {
    pub what: &'static str,
    pub id: String,
    pub why: String,
}

impl Wanted {
    /// Takes in what is right and names what is not; one bad instance must not stop the others.
    pub fn parse(state: wire::WantedState) -> (Self, Vec<Fault>) {
        let mut wanted = Self { generation: state.generation, ..Self::default() };
        let mut faults = Vec::new();
        wanted.isolations = state.isolations.into_iter().map(|i| (i.id.clone(), i)).collect();
        for (all, said, what) in [(&mut wanted.guarded, &state.guarded, "instance"), (&mut wanted.nodes, &state.node_addresses, "node")] {
            for address in said {
                match address.parse() {
                    Ok(address) => drop(all.insert(address)),
                    Err(_) => {
                        faults.push(Fault { what, id: address.clone(), why: "it is no address, so what is said of it on the network is left out".into() })
                    }
                }
            }
        }
        for instance in state.instances {
            match checked(&instance) {
                Ok(id) => drop(wanted.instances.insert(id, instance)),
                Err(why) => faults.push(Fault { what: "instance", id: instance.instance_id, why }),
            }
        }
        let unknown = wanted.instances.values().map(|i| &i.isolation).filter(|id| !id.is_empty() && !wanted.isolations.contains_key(*id));
        for id in unknown.cloned().collect::<BTreeSet<String>>() {
            // Rather nothing than what may be forbidden.
            wanted.isolations.insert(id.clone(), wire::Isolation { id: id.clone(), ingress: true, egress: true, ..Default::default() });
            faults.push(Fault { what: "isolation", id, why: "it is not said what it is, so its instances reach nothing".into() });
        }
        for service in state.services {
            let mut backends = BTreeMap::new();
            for backend in &service.backends {
                match backend.instance_id.parse() {
                    Ok(id) if port(backend.port) => drop(backends.insert(id, backend.clone())),
                    _ => faults.push(Fault { what: "backend", id: backend.instance_id.clone(), why: "bad id or port".into() }),
                }
            }
            if service.service_id.is_empty() || !name(&service.name) {
                let why = format!("bad name `{}`", service.name);
                faults.push(Fault { what: "service", id: service.service_id, why });
                continue;
            }
            let mut service = service;
            service.aliases.retain(|alias| name(alias));
            service.singles.retain(|one| one.names.iter().all(|n| name(n)) && one.address.parse::<IpAddr>().is_ok());
            service.public_addresses.retain(|at| {
                let good = at.address.parse::<Ipv4Addr>().is_ok() && port(at.port);
                if !good {
                    faults.push(Fault { what: "public address", id: at.address.clone(), why: format!("it is no address of IPv4, or {} no port", at.port) });
                }
                good
            });
            wanted.services.insert(service.service_id.clone(), Service { wire: service, backends });
        }
        for outside in state.outside {
            // Both go into files that others read line by line.
            if name(&outside.name) && (name(&outside.address) || outside.address.parse::<IpAddr>().is_ok()) {
                wanted.outside.push(outside);
            } else {
                faults.push(Fault { what: "outside name", id: outside.name, why: format!("it, or its address `{}`, is no name", outside.address) });
            }
        }
        (wanted, faults)
    }

    /// Is there something that another node must not have at the same time?
    pub fn is_exclusive(&self) -> bool {
        self.instances.values().any(|i| i.fenced) || self.services.values().any(|s| !s.wire.public_addresses.is_empty())
    }

    /// The same with all that must not run twice stopping, within `grace`. No request is waited for: clients of the other side of
    /// a partition are not to be served by it either.
    #[must_use]
    pub fn fenced(&self, grace: std::time::Duration) -> Self {
        let mut out = self.clone();
        let seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
        for instance in out.instances.values_mut().filter(|i| i.fenced) {
            instance.stopping = true;
            instance.stop_grace_seconds = instance.stop_grace_seconds.min(seconds);
            instance.pre_stop.clear();
        }
        let gone: Vec<InstanceId> = out.instances.iter().filter(|(_, i)| i.fenced).map(|(id, _)| *id).collect();
        for service in out.services.values_mut() {
            service.backends.retain(|id, _| !gone.contains(id));
            // Another node has them soon.
            service.wire.public_addresses.clear();
        }
        out
    }

    /// Services of the same space as an instance: the names it may call.
    pub fn neighbours<'a>(&'a self, of: &'a wire::WantedInstance) -> impl Iterator<Item = &'a Service> {
        let space = space_of(of.labels.as_ref());
        self.services.values().filter(move |s| space_of(s.wire.labels.as_ref()) == space)
    }

    /// Names that an instance may call although what they mean runs elsewhere.
    pub fn elsewhere<'a>(&'a self, of: &'a wire::WantedInstance) -> impl Iterator<Item = &'a wire::OutsideName> {
        let space = space_of(of.labels.as_ref());
        self.outside.iter().filter(move |o| space_of(o.labels.as_ref()) == space)
    }

    /// TCP ports of an instance that stand behind a balancer.
    pub fn balanced_ports(&self, id: InstanceId) -> BTreeSet<u16> {
        let behind = self.services.values().filter(|s| s.wire.protocol != "udp");
        behind.filter_map(|s| s.backends.get(&id)).filter_map(|b| u16::try_from(b.port).ok()).collect()
    }
}

/// The further containers of an instance that run as long as its main one does.
pub fn staying(instance: &wire::WantedInstance) -> impl Iterator<Item = &wire::WantedInstance> {
    instance.init.iter().filter(|c| c.keeps_running).chain(&instance.sidecars)
}

fn space_of(labels: Option<&wire::Labels>) -> Option<(&str, &str, &str)> {
    labels.map(|l| (l.org.as_str(), l.project.as_str(), l.space.as_str()))
}

fn checked(instance: &wire::WantedInstance) -> Result<InstanceId, String> {
    let id = instance.instance_id.parse().map_err(|_| "the id is not a UUID".to_owned())?;
    if instance.image.is_empty() {
        return Err("no image".into());
    }
    parts(instance)?;
    instance.nics.iter().try_for_each(nics::checked)?;
    for container in instance.init.iter().chain(&instance.sidecars) {
        if container.image.is_empty() || container.name == "main" || gantry_kernel::Name::parse(&container.name).is_err() {
            return Err(format!("container `{}` has no image, or a name that is none", container.name));
        }
        parts(container)?;
    }
    Ok(id)
}

/// What every container has.
fn parts(instance: &wire::WantedInstance) -> Result<(), String> {
    for mount in &instance.mounts {
        if !mount.target.starts_with('/') {
            return Err(format!("mount target `{}` is not absolute", mount.target));
        }
        let inside = !mount.source.is_empty() && !mount.source.starts_with('/') && mount.source.split('/').all(|p| !p.is_empty() && p != "." && p != "..");
        if mount.kind == "volume" && !inside {
            return Err(format!("volume `{}` leaves the volumes' folder", mount.source));
        }
        if mount.sub_path.split('/').any(|part| part == "..") {
            return Err(format!("`{}` leaves its volume", mount.sub_path));
        }
        if mount.kind == "nfs" {
            nfs(&mount.source)?;
        }
    }
    if let Some(file) = instance.files.iter().find(|f| !f.path.starts_with('/') || f.path.split('/').any(|p| p == "..")) {
        return Err(format!("file `{}` is not an absolute path", file.path));
    }
    for file in instance.files.iter().filter(|f| !f.folder.is_empty()) {
        let below = file.path.strip_prefix(file.folder.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let plain = |rest: &str| rest.split('/').all(|part| !part.is_empty() && part != "." && !part.starts_with(".."));
        if !file.folder.starts_with('/') || !below.is_some_and(plain) {
            return Err(format!("file `{}` does not lie in the folder `{}`", file.path, file.folder));
        }
    }
    Ok(())
}

/// `server:/path`: a name or an address (of IPv6 in brackets), and an absolute path without steps upwards. It goes into a command.
fn nfs(source: &str) -> Result<(), String> {
    let wrong = || format!("`{source}` is no `server:/path`");
    let (server, path) = source.split_once(":/").ok_or_else(wrong)?;
    let host = !server.is_empty() && !server.starts_with('-') && server.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_[]:".contains(&b));
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'\\' | b'\'' | b'"'));
    if host && plain && path.split('/').all(|part| part != "..") { Ok(()) } else { Err(wrong()) }
}

fn port(number: u32) -> bool {
    (1..=65_535).contains(&number)
}

/// A DNS name of one or more labels; it goes into configuration files.
fn name(text: &str) -> bool {
    !text.is_empty() && text.len() < 254 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str) -> wire::WantedInstance {
        wire::WantedInstance { instance_id: id.into(), image: "x".into(), ..Default::default() }
    }

    #[test]
    fn one_bad_instance_does_not_stop_the_others() {
        let good = "0190b3e0-0000-7000-8000-000000000001";
        let state = wire::WantedState { generation: 3, instances: vec![instance("nonsense"), instance(good)], ..Default::default() };
        let (wanted, faults) = Wanted::parse(state);
        assert_eq!((wanted.instances.len(), faults.len(), wanted.generation), (1, 1, 3));
    }

    #[test]
    fn names_for_what_runs_elsewhere_are_those_of_the_instances_space_and_nothing_but_names() {
        let labels = |space: &str| Some(wire::Labels { org: "o".into(), project: "p".into(), space: space.into(), ..Default::default() });
        let name = |name: &str, address: &str, space| wire::OutsideName { name: name.into(), address: address.into(), labels: labels(space) };
        let outside = vec![
            name("bank", "bank.example.org", "test"),
            name("bank6", "fd00::7", "test"),
            name("other", "192.0.2.7", "production"),
            name("a b", "192.0.2.7", "test"),
            name("bad", "192.0.2.7\nlocalhost", "test"),
        ];
        let of = wire::WantedInstance { labels: labels("test"), ..instance("0190b3e0-0000-7000-8000-000000000001") };
        let (wanted, faults) = Wanted::parse(wire::WantedState { outside, ..Default::default() });
        assert_eq!(wanted.elsewhere(&of).map(|o| o.name.as_str()).collect::<Vec<_>>(), ["bank", "bank6"]);
        assert_eq!(faults.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["a b", "bad"]);
    }

    #[test]
    fn public_addresses_are_addresses_and_go_with_the_lease() {
        let at = |address: &str, port| wire::PublicAddress { address: address.into(), port };
        let service = wire::WantedService {
            service_id: "s".into(),
            name: "web".into(),
            public_addresses: vec![at("203.0.113.7", 80), at("::1", 80), at("203.0.113.8", 0)],
            ..Default::default()
        };
        let (wanted, faults) = Wanted::parse(wire::WantedState { services: vec![service], ..Default::default() });
        assert_eq!((wanted.services["s"].wire.public_addresses.len(), faults.len()), (1, 2));
        assert!(wanted.is_exclusive() && !Wanted::default().is_exclusive());
        let fenced = wanted.fenced(std::time::Duration::ZERO);
        assert!(fenced.services["s"].wire.public_addresses.is_empty() && !fenced.is_exclusive());
    }

    #[test]
    fn a_network_file_system_is_a_server_and_a_path() {
        for good in ["nas.example.org:/exports/app", "10.0.0.7:/a", "[2001:db8::7]:/a/b", "nas:/"] {
            assert_eq!(nfs(good), Ok(()), "{good}");
        }
        for bad in ["/exports", "nas", ":/x", "-o:/x", "nas:/a/../b", "nas:/a,rw", "nas:/a b", "n s:/a"] {
            assert!(nfs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_isolation_of_which_nothing_is_known_lets_nothing_through() {
        let one = wire::WantedInstance { isolation: "a.web.1".into(), ..instance("0190b3e0-0000-7000-8000-000000000001") };
        let known = wire::WantedInstance { isolation: "a.db.1".into(), ..instance("0190b3e0-0000-7000-8000-000000000002") };
        let state = wire::WantedState {
            instances: vec![one, known],
            isolations: vec![wire::Isolation { id: "a.db.1".into(), ..Default::default() }],
            guarded: vec!["10.0.0.1".into(), "nowhere".into()],
            node_addresses: vec!["192.168.0.2".into()],
            ..Default::default()
        };
        let (wanted, faults) = Wanted::parse(state);
        assert_eq!(faults.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["nowhere", "a.web.1"]);
        let closed = |id: &str| (wanted.isolations[id].ingress, wanted.isolations[id].egress);
        assert_eq!((closed("a.web.1"), closed("a.db.1")), ((true, true), (false, false)));
        assert_eq!((wanted.guarded.len(), wanted.nodes.len()), (1, 1));
    }

    #[test]
    fn a_volume_outside_of_its_folder_is_refused() {
        for source in ["../etc", "/etc", "a/../../b", ""] {
            let mut bad = instance("0190b3e0-0000-7000-8000-000000000001");
            bad.mounts.push(wire::Mount { kind: "volume".into(), source: source.into(), target: "/data".into(), ..Default::default() });
            assert!(checked(&bad).is_err(), "{source}");
        }
        let of = |sub_path: &str| {
            let mount = wire::Mount { kind: "volume".into(), source: "a".into(), target: "/data".into(), sub_path: sub_path.into(), ..Default::default() };
            checked(&wire::WantedInstance { mounts: vec![mount], ..instance("0190b3e0-0000-7000-8000-000000000001") })
        };
        assert!(of("a/..b/").is_ok() && of("a/../../b").is_err());
    }
}
