//! Keeps HAProxy and the services' addresses as they should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gantry_kernel::InstanceId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::adapters::addresses;
use crate::adapters::disk::Disk;
use crate::adapters::haproxy::{Haproxy, HaproxyError};
use crate::domain::balance::{self, Access, Change, Facts, HeaderRule, Layout, Server, Shape, Target};
use crate::domain::guard::is_network;
use crate::domain::pressure::{self, RESOURCES};
use crate::domain::wanted::{Service, Wanted};

mod datagrams;
mod public;
mod recovering;

const FILE: &str = "balancer.json";
const DRAIN_LIMIT_MS: i64 = 30_000;
/// Containers must not wait for a balancer that does not start.
const RETRY_MS: i64 = 3_000;
const BACK_AGAIN_MS: i64 = 60_000;
/// HAProxy is looked after this often.
const LOOK_MS: i64 = 1_000;

/// What survives a restart of the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Saved {
    layout: Layout,
    /// Address of each service inside the node, by service id.
    addresses: BTreeMap<String, Ipv4Addr>,
    /// The packet filter may have the table of datagrams.
    #[serde(default)]
    filtered: bool,
    /// Its name, by which whoever takes down the node finds it.
    #[serde(default)]
    table: String,
    /// The kernel leads packets of the loopback elsewhere because the table needs it.
    #[serde(default)]
    from_loopback: bool,
    /// Public addresses that this node has, with the interface of each.
    #[serde(default)]
    public: BTreeMap<Ipv4Addr, String>,
    /// Networks in which the node's pods are.
    #[serde(default)]
    pods: BTreeSet<String>,
}

/// Where the balancer listens.
#[derive(Clone, Debug)]
pub struct Listen {
    /// For `listen_port` of services.
    pub address: IpAddr,
    /// Network from which every service gets an address that containers reach by name; `None` = no such addresses.
    pub service_network: Option<Ipv4Addr>,
    /// Network interface that gets public addresses; empty: the one by which the machine would reach them.
    pub public_interface: String,
}

pub struct Balancer {
    haproxy: Arc<Haproxy>,
    disk: Disk,
    listen: Listen,
    saved: Saved,
    /// HAProxy is known to run with the layout we hold.
    loaded: bool,
    /// HAProxy failed; not again before.
    not_before_ms: i64,
    /// When HAProxy was last seen alive.
    seen_ms: i64,
    /// A service's address could not be taken away; not again before.
    back_not_before_ms: i64,
    /// Ports that somebody else has; told in the log once.
    refused: BTreeSet<String>,
    /// Addresses of pods whose network was looked for; false: it is none of the machine's interfaces'.
    placed: BTreeMap<String, bool>,
    filter: datagrams::Filter,
    public: public::Public,
}

impl Balancer {
    /// Takes up what an earlier agent left. `own`: what no other agent of the machine has; its table of the packet filter goes by it.
    pub async fn open(haproxy: Arc<Haproxy>, disk: Disk, listen: Listen, own: &str) -> Self {
        let (mut saved, damaged): (Saved, bool) = disk.recall(FILE).await;
        let filter = datagrams::Filter::new(&name_hash(own));
        filter.succeed(&saved).await;
        filter.name().clone_into(&mut saved.table);
        let public = public::Public::new(listen.public_interface.clone());
        let (not_before_ms, seen_ms, back_not_before_ms) = (0, 0, 0);
        let (refused, placed) = Default::default();
        let mut opened = Self { haproxy, disk, listen, saved, loaded: false, not_before_ms, seen_ms, back_not_before_ms, refused, placed, filter, public };
        if damaged {
            opened.recover().await;
        }
        opened
    }

    pub fn layout(&self) -> &Layout {
        &self.saved.layout
    }

    /// The services whose requests are held while nobody is there, with the sockets for it.
    pub fn held(&self, wanted: &Wanted) -> BTreeMap<String, String> {
        let held = wanted.services.iter().filter(|(_, s)| s.wire.hold && s.wire.protocol != "udp");
        held.map(|(id, _)| (id.clone(), self.haproxy.hold_socket(&name_hash(id)).display().to_string())).collect()
    }

    /// Names and addresses that an instance's containers can call: the services of its space, and what its space names elsewhere.
    /// `elsewhere`: where those host names lead that were found.
    pub fn names(
        &self,
        wanted: &Wanted,
        of: &gantry_contract::proto::scheduler::WantedInstance,
        elsewhere: &BTreeMap<String, IpAddr>,
    ) -> BTreeMap<String, IpAddr> {
        let app = |labels: Option<&gantry_contract::proto::scheduler::Labels>| labels.map(|l| l.app.clone()).unwrap_or_default();
        let own = app(of.labels.as_ref());
        let mut said = Vec::new();
        for service in wanted.neighbours(of) {
            let Some(address) = self.saved.addresses.get(&named(service)) else { continue };
            let of_app = app(service.wire.labels.as_ref());
            let rank = if of_app == own { Rank::Own } else { Rank::Others };
            let names = std::iter::once(&service.wire.name).chain(&service.wire.aliases);
            said.extend(names.map(|name| (rank, name.clone(), of_app.clone(), IpAddr::V4(*address))));
        }
        for outside in wanted.elsewhere(of) {
            let Some(address) = outside.address.parse().ok().or_else(|| elsewhere.get(&outside.address).copied()) else { continue };
            let of_app = app(outside.labels.as_ref());
            let rank = if of_app == own { Rank::OwnElsewhere } else { Rank::OthersElsewhere };
            said.push((rank, outside.name.clone(), of_app, address));
        }
        let mut names = meant(said);
        // What the document says of a name counts most.
        names.extend(of.extra_hosts.iter().filter_map(|(name, address)| Some((name.clone(), address.parse().ok()?))));
        names
    }

    /// Gives each service that has none yet its address inside the node, so that instances can be told of all names before the balancer
    /// is brought up to date.
    pub async fn assign(&mut self, wanted: &Wanted) {
        for service in wanted.services.values() {
            self.address(&named(service), false).await;
        }
    }

    /// Those of `ready` that the balancer sends requests to, as far as they are behind a service of its own: whoever depends on one asks it
    /// there.
    pub fn served(&self, wanted: &Wanted, ready: impl Iterator<Item = InstanceId>) -> BTreeSet<InstanceId> {
        let rotation = self.saved.layout.in_rotation();
        let there = |id: &InstanceId, service: &str| rotation.get(service).is_some_and(|instances| instances.contains(id));
        let services = || wanted.services.iter().filter(|(_, s)| s.wire.protocol != "udp");
        ready.filter(|id| services().filter(|(_, s)| s.backends.contains_key(id)).all(|(service, _)| there(id, service))).collect()
    }

    /// One round: brings HAProxy, and the kernel for datagrams, to what is wanted now. `ready` = address of each instance here that may get
    /// requests; `gone` = instances here whose container does not run; `pressed` = how hard instances here are, in percent.
    ///
    /// # Errors
    /// When HAProxy could not be brought there; the next round tries again.
    pub async fn round(
        &mut self,
        wanted: &Wanted,
        ready: &BTreeMap<InstanceId, String>,
        gone: BTreeSet<InstanceId>,
        pressed: &BTreeMap<InstanceId, u8>,
        now_ms: i64,
    ) -> Result<(), HaproxyError> {
        self.shorten_pauses(now_ms);
        self.hold_public(wanted, now_ms).await;
        self.place(ready).await;
        self.lead_datagrams(wanted, ready, &gone, pressed, now_ms).await;
        if now_ms < self.not_before_ms {
            return Ok(());
        }
        if self.loaded && now_ms - self.seen_ms >= LOOK_MS {
            self.seen_ms = now_ms;
            self.loaded = self.haproxy.runs().await;
            self.haproxy.bound_log().await;
            if !self.loaded {
                tracing::error!("HAProxy is gone; starting it again");
            }
        }
        // Its ports are its own only as long as it runs.
        let runs = self.loaded || self.haproxy.runs().await;
        let mut targets = BTreeMap::new();
        for (id, service) in wanted.services.iter().filter(|(_, s)| s.wire.protocol != "udp") {
            let shape = self.shape(id, service, wanted, runs).await;
            targets.insert(id.clone(), Target { shape, servers: servers(service, wanted, ready, pressed) });
        }
        if targets.is_empty() && self.saved.layout.services.is_empty() && !runs {
            // Nothing to balance yet; the shared port opens with the first service. An agent that never came to balance may have left addresses.
            self.give_back(wanted, now_ms).await;
            return Ok(());
        }
        let sessions = if self.saved.layout.drains_requests() { self.sessions().await } else { BTreeMap::new() };
        let facts = Facts { now_ms, sessions, gone, drain_limit_ms: DRAIN_LIMIT_MS };
        let (layout, change) = balance::next(&self.saved.layout, &targets, &facts);
        // A process of an earlier agent may or may not be as its file says; loading it anew costs nobody a connection.
        let change = if self.loaded { change } else { Change::Reload };
        if change == Change::Commands(Vec::new()) && layout == self.saved.layout {
            self.give_back(wanted, now_ms).await;
            return Ok(());
        }
        let reached = match &change {
            Change::Commands(commands) => self.haproxy.run(commands).await,
            Change::Reload => self.haproxy.load(&layout).await,
        };
        if let Err(error) = reached {
            // What it holds now is unknown; the next round loads everything.
            self.loaded = false;
            self.not_before_ms = now_ms + RETRY_MS;
            return Err(error);
        }
        self.loaded = true;
        self.saved.layout = layout;
        self.save().await;
        self.give_back(wanted, now_ms).await;
        Ok(())
    }

    /// A clock that is set back must not make any pause longer than it is meant to be.
    fn shorten_pauses(&mut self, now_ms: i64) {
        self.not_before_ms = self.not_before_ms.min(now_ms.saturating_add(RETRY_MS));
        self.back_not_before_ms = self.back_not_before_ms.min(now_ms.saturating_add(BACK_AGAIN_MS));
        self.seen_ms = self.seen_ms.min(now_ms);
        self.public.shorten_pauses(now_ms);
        self.filter.shorten_pauses(now_ms);
    }

    /// Not waited for the disk: nothing of it is on the machine any more when that has started anew.
    async fn save(&self) {
        if let Err(error) = self.disk.note(FILE, &self.saved).await {
            tracing::error!(%error, "the balancer's state cannot be saved");
        }
    }

    async fn sessions(&self) -> BTreeMap<(String, usize), u64> {
        match self.haproxy.sessions().await {
            Ok(by_name) => {
                let ids: BTreeMap<_, _> = self.saved.layout.services.iter().map(|(id, s)| (s.shape.name.clone(), id.clone())).collect();
                by_name.into_iter().filter_map(|((name, slot), count)| Some(((ids.get(&name)?.clone(), slot), count))).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "the balancer does not tell its sessions");
                BTreeMap::new()
            }
        }
    }

    /// `runs`: HAProxy has the ports that it had.
    async fn shape(&mut self, id: &str, service: &Service, wanted: &Wanted, runs: bool) -> Shape {
        let name = backend_name(id, service);
        let before = self.saved.layout.services.get(id).map(|s| s.shape.clone());
        let mut binds = BTreeSet::new();
        if let Some(port) = u16::try_from(service.wire.listen_port).ok().filter(|p| *p > 0) {
            binds.insert(format!("{}:{port}", self.listen.address));
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
        }
    }

    /// Finds out in which networks the pods are, by those that run.
    async fn place(&mut self, ready: &BTreeMap<InstanceId, String>) {
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
    fn near(&self) -> Vec<String> {
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

    /// The service's address on this node, made on first use. `unsure`: whether the machine has it is not known.
    async fn address(&mut self, id: &str, unsure: bool) -> Option<Ipv4Addr> {
        self.listen.service_network?;
        if let Some(address) = self.saved.addresses.get(id) {
            // After a reboot the file is there and the address is not.
            if unsure {
                put(*address).await;
            }
            return Some(*address);
        }
        let address = self.chosen(id)?;
        // Before it is used: one that nobody remembers would stay on the machine for ever.
        self.save().await;
        put(address).await;
        Some(address)
    }

    /// Remembers a new address for a service: its own of before, if it is among those of which nobody knows whose they were.
    fn chosen(&mut self, id: &str) -> Option<Ipv4Addr> {
        let network = self.listen.service_network?;
        let taken: BTreeSet<_> = self.saved.addresses.iter().filter(|(of, _)| !recovering::is_left(of)).map(|(_, address)| *address).collect();
        let address = free_address(network, id, &taken)?;
        self.saved.addresses.retain(|_, held| *held != address);
        self.saved.addresses.insert(id.to_owned(), address);
        Some(address)
    }

    /// Takes away the addresses of services that are no more. One that stays on the machine is kept in mind, and tried again later.
    async fn give_back(&mut self, wanted: &Wanted, now_ms: i64) {
        if now_ms < self.back_not_before_ms {
            return;
        }
        let kept: BTreeSet<_> = wanted.services.values().map(named).collect();
        let gone: Vec<_> = self.saved.addresses.iter().filter(|(id, _)| !kept.contains(id.as_str())).map(|(id, a)| (id.clone(), *a)).collect();
        for (id, address) in &gone {
            match addresses::remove(*address, "lo").await {
                Ok(()) => drop(self.saved.addresses.remove(id)),
                Err(error) => {
                    tracing::warn!(%address, %error, "a service's address cannot be taken from this machine");
                    self.back_not_before_ms = now_ms + BACK_AGAIN_MS;
                }
            }
        }
        if !gone.is_empty() {
            self.save().await;
        }
    }
}

/// Whose word counts for a name that several say: an application's own, and what the space runs itself before what runs elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Own,
    OwnElsewhere,
    Others,
    OthersElsewhere,
}

/// What each name means, given who says it: the name, the application, and where it leads. With its application a name is never in doubt.
fn meant(mut said: Vec<(Rank, String, String, IpAddr)>) -> BTreeMap<String, IpAddr> {
    said.sort_by_key(|(rank, ..)| *rank);
    let mut names = BTreeMap::new();
    for (_, name, app, address) in said {
        names.entry(format!("{name}.{app}")).or_insert(address);
        names.entry(name).or_insert(address);
    }
    names
}

fn backend_name(id: &str, service: &Service) -> String {
    format!("{}_{}", service.wire.name.replace('.', "-"), name_hash(id))
}

fn name_hash(id: &str) -> String {
    hex::encode(&Sha256::digest(id)[..4])
}

/// They go into HAProxy's configuration, so they must be nothing but a header's name and a plain text.
fn headers(service: &Service, wanted: &Wanted) -> Vec<HeaderRule> {
    let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let plain = |text: &str| text.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && b != b'\'');
    let rules = service.wire.headers.iter().filter(|h| token(&h.name) && plain(&h.value));
    rules
        .filter_map(|h| {
            let to = wanted.services.get(&h.service_id).filter(|s| s.wire.protocol == service.wire.protocol)?;
            Some(HeaderRule { name: h.name.clone(), value: h.value.clone(), to: backend_name(&h.service_id, to) })
        })
        .collect()
}

/// Networks go into HAProxy's configuration, so they must be nothing else. One that is none and was to be allowed allows nobody, so that a
/// list never becomes wider than it was meant.
fn access(service: &Service, services: Option<Ipv4Addr>, near: &[String]) -> Access {
    let inside = services.map(|network| format!("{network}/16")).unwrap_or_default();
    let ground = Access { inside, from: near.to_vec(), ..Access::default() };
    let Some(wire) = &service.wire.access else { return ground };
    let networks = |all: &[String]| all.iter().filter(|n| is_network(n)).cloned().collect::<Vec<_>>();
    let mut allow = networks(&wire.allow);
    if allow.is_empty() && !wire.allow.is_empty() {
        allow.push("255.255.255.255".to_owned());
    }
    Access { allow, deny: networks(&wire.deny), requests_per_second: wire.requests_per_second, concurrent: wire.concurrent, ..ground }
}

/// The ports under the service's name.
fn called_at(service: &Service) -> BTreeSet<u32> {
    let own = service.wire.port;
    if own > 0 { BTreeSet::from([own]) } else { service.backends.values().map(|b| b.port).collect() }
}

/// The ports of one name share one address: it is the name that people call.
fn named(service: &Service) -> String {
    let app = service.wire.labels.as_ref().map(|l| l.app_id.as_str()).unwrap_or_default();
    format!("{app}.{}", service.wire.name)
}

async fn put(address: Ipv4Addr) {
    if let Err(error) = addresses::put(address, "lo").await {
        tracing::error!(%error, "a service's address cannot be added to this machine");
    }
}

/// By the id's hash, so that a service has the same address on every node and after every restart if nobody else has it.
fn free_address(network: Ipv4Addr, id: &str, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let digest = Sha256::digest(id);
    let first = u16::from_be_bytes([digest[0], digest[1]]);
    let [a, b, _, _] = network.octets();
    (0..u16::MAX).map(|step| first.wrapping_add(step)).filter(|n| n & 0xff != 0 && n & 0xff != 0xff).find_map(|n| {
        let [c, d] = n.to_be_bytes();
        Some(Ipv4Addr::new(a, b, c, d)).filter(|address| !taken.contains(address))
    })
}

fn routes(service: &Service) -> BTreeSet<(String, String)> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let routes = service.wire.routes.iter().filter(|r| plain(&r.host) && plain(&r.path_prefix));
    routes.map(|r| (r.host.to_ascii_lowercase(), format!("/{}", r.path_prefix.trim_start_matches('/')))).collect()
}

/// Instances that may get requests: those here that are ready and not stopping, and those elsewhere that the scheduler names.
fn servers(service: &Service, wanted: &Wanted, ready: &BTreeMap<InstanceId, String>, pressed: &BTreeMap<InstanceId, u8>) -> BTreeMap<InstanceId, Server> {
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
    use super::*;

    #[test]
    fn addresses_are_stable_and_never_shared() {
        let network = Ipv4Addr::new(10, 87, 0, 0);
        let first = free_address(network, "a", &BTreeSet::new()).unwrap();
        assert_eq!(free_address(network, "a", &BTreeSet::new()), Some(first));
        let second = free_address(network, "a", &BTreeSet::from([first])).unwrap();
        assert_ne!(first, second);
        assert_eq!(&second.octets()[..2], [10, 87]);
    }

    #[test]
    fn an_application_means_its_own_by_a_name_and_what_the_space_runs_before_what_runs_elsewhere() {
        let at = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let said = |rank, name: &str, app: &str, n| (rank, name.to_owned(), app.to_owned(), at(n));
        let names = meant(vec![
            said(Rank::OthersElsewhere, "db", "c", 4),
            said(Rank::Others, "db", "b", 3),
            said(Rank::OwnElsewhere, "db", "a", 2),
            said(Rank::OthersElsewhere, "bank", "c", 5),
            said(Rank::Others, "bank", "b", 6),
            said(Rank::Own, "web", "a", 1),
        ]);
        assert_eq!((names["db"], names["bank"], names["web"]), (at(2), at(6), at(1)));
        assert_eq!((names["db.b"], names["db.c"], names["bank.c"]), (at(3), at(4), at(5)));
    }

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

    #[tokio::test]
    async fn whoever_is_ready_is_served_only_when_the_balancer_has_it() {
        use gantry_contract::proto::scheduler as wire;
        let folder = tempfile::tempdir().unwrap();
        let haproxy = Haproxy::new("/nowhere/haproxy".into(), folder.path().join("haproxy"), folder.path().join("log"), "127.0.0.1:0".into());
        let disk = Disk::open(folder.path().join("state")).await.unwrap();
        let listen = Listen { address: Ipv4Addr::LOCALHOST.into(), service_network: None, public_interface: String::new() };
        let mut balancer = Balancer::open(Arc::new(haproxy), disk, listen, "a-test").await;
        let id = |n: u128| InstanceId(gantry_kernel::Uuid::from_u128(n));
        let backend = wire::Backend { instance_id: id(1).to_string(), port: 80, ..Default::default() };
        let instance = |n| wire::WantedInstance { instance_id: id(n).to_string(), image: "x".into(), ..Default::default() };
        let service = wire::WantedService { service_id: "s".into(), name: "db".into(), protocol: "tcp".into(), backends: vec![backend], ..Default::default() };
        let (wanted, _) = Wanted::parse(wire::WantedState { instances: vec![instance(1), instance(2)], services: vec![service], ..Default::default() });
        let ready = BTreeMap::from([(id(1), "127.0.0.1".to_owned()), (id(2), "127.0.0.1".to_owned())]);
        let served = |balancer: &Balancer| balancer.served(&wanted, ready.keys().copied());
        assert!(balancer.round(&wanted, &ready, BTreeSet::new(), &BTreeMap::new(), 1_000).await.is_err(), "there is no HAProxy");
        assert_eq!(served(&balancer), BTreeSet::from([id(2)]), "nobody reaches the other one at its name yet");
        let shape = balancer.shape("s", &wanted.services["s"], &wanted, false).await;
        let server = Server { address: "127.0.0.1".into(), port: 80, weight: 100 };
        let slots = vec![balance::Slot::Serving { instance: id(1), server }];
        balancer.saved.layout.services.insert("s".into(), balance::Service { shape, slots });
        assert_eq!(served(&balancer), BTreeSet::from([id(1), id(2)]));
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
