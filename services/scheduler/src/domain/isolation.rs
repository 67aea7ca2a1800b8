//! Who may reach whom, by the network policies of a space: what Kubernetes means by a NetworkPolicy
//! (kubernetes.io/docs/concepts/services-networking/network-policies and the API's `NetworkPolicySpec`), worked out for the instances
//! on nodes. Pure. A policy selects instances of its own space by their labels; those that one selects take in (or send) only what
//! some policy allows. Clusters are given the same [`Policy`] as an object and enforce it themselves.
//!
//! Requests under a service's name come from the node's balancer, so that the instance behind it does not see who asks, and neither
//! does it of instances on other nodes, whose addresses their node hides. What one instance asks of another is therefore kept where it
//! begins: each is told the ports of guarded instances that are open to it, and which services it may not ask.

mod faults;
mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use gantry_kernel::{AppId, Name};
use gantry_kubernetes::{OWNER, WORKLOAD};

use super::app::Home;
use super::block::Block;
use super::engine::{Isolation, Opening, PortRange};
use super::model::{Model, Peer, Policy, PolicyPort, PolicyRule, Protocol, Selector, Service, Workload};
use super::placement::selects;
use super::traffic;
use super::wanted::{AppView, Reports, Standing};

pub use faults::sound;
pub use kept::Isolated;

/// Labels that every instance has besides its own, on nodes as on clusters.
const APPLICATION: &str = "gantry.io/application";
const SPACE: &str = "gantry.io/space";

/// A rule, and the space whose policy it is of.
type Ruled<'a> = (&'a PolicyRule, &'a Home);

/// The instances of one workload in one revision: policies cannot tell them apart.
struct Group<'a> {
    app: AppId,
    home: &'a Home,
    workload: &'a Name,
    revision: u64,
    labels: BTreeMap<String, String>,
    port_names: &'a BTreeMap<String, u16>,
    addresses: BTreeSet<IpAddr>,
    /// It has instances.
    stands: bool,
    /// Published or routed: everybody reaches them.
    open: BTreeSet<PortRange>,
    /// It is in internal networks alone: of what its policies allow only the instances of its space are reached.
    closed: bool,
    /// `<application>/<policy>` of those that select it.
    policies: Vec<String>,
    /// What may come in; anything if there is no such policy.
    ingress: Option<Vec<Ruled<'a>>>,
    /// What may go out.
    egress: Option<Vec<Ruled<'a>>>,
}

/// A balanced name and what stands behind it.
struct Asked {
    id: String,
    protocol: &'static str,
    /// The groups by their places, with the port that each has for the name.
    behind: Vec<(usize, u16)>,
    /// One of them does not take in everything.
    guarded: bool,
}

/// All that stands on nodes.
pub struct Neighbourhood<'a> {
    groups: Vec<Group<'a>>,
    services: Vec<Asked>,
    /// Nobody is selected by a policy.
    open: bool,
}

/// A policy with the application that brought it.
pub struct Bound<'a> {
    pub app: &'a str,
    pub name: &'a str,
    pub policy: &'a Policy,
}

/// Those that select an instance with these labels. `policies`: of its space.
pub fn selecting<'a>(policies: &'a [Bound<'a>], labels: &BTreeMap<String, String>) -> Vec<&'a Bound<'a>> {
    policies.iter().filter(|b| selects(&b.policy.selector, labels)).collect()
}

/// What selectors see of an instance. `app`: its id and its name.
pub fn labels(own: &BTreeMap<String, String>, app: (AppId, &str), workload: &str, space: &str) -> BTreeMap<String, String> {
    let (id, name) = app;
    let placed = [(OWNER, id.to_string()), (APPLICATION, name.to_owned()), (WORKLOAD, workload.to_owned()), (SPACE, space.to_owned())];
    own.clone().into_iter().chain(placed.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// What selectors see of a space: the labels of its namespace on a cluster, whose name is the space's own here.
fn space_labels(home: &Home) -> BTreeMap<String, String> {
    let pairs = [
        ("gantry.io/org", &home.org_name),
        ("gantry.io/project", &home.project_name),
        (SPACE, &home.space_name),
        ("kubernetes.io/metadata.name", &home.space_name),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_string())).into()
}

/// By which an instance finds its isolation.
pub fn id(app: AppId, workload: &Name, revision: u64) -> String {
    format!("{app}.{workload}.{revision}")
}

impl<'a> Neighbourhood<'a> {
    /// `apps`: all that have instances on nodes. Of each the policies of its current revision count, as long as it is there.
    pub fn of(apps: &[&'a AppView], reports: &Reports) -> Self {
        let bound: Vec<(&'a AppView, &'a String, &'a Policy)> =
            apps.iter().copied().flat_map(|app| current(app).map(move |(name, policy)| (app, name, policy))).collect();
        if bound.is_empty() && !apps.iter().any(|app| has_closed(app)) {
            return Self { groups: Vec::new(), services: Vec::new(), open: true };
        }
        let mut groups: Vec<Group<'a>> = apps.iter().copied().flat_map(|app| groups(app, reports)).collect();
        let mut open = true;
        for group in &mut groups {
            for (app, name, policy) in &bound {
                if app.home.space != group.home.space || !selects(&policy.selector, &group.labels) {
                    continue;
                }
                open = false;
                group.policies.push(format!("{}/{name}", app.name));
                let home: &'a Home = &app.home;
                for (all, own) in [(&mut group.ingress, &policy.ingress), (&mut group.egress, &policy.egress)] {
                    if let Some(rules) = own {
                        all.get_or_insert_default().extend(rules.iter().map(|rule| (rule, home)));
                    }
                }
            }
            if group.closed {
                open = false;
                let home = group.home;
                group.egress.get_or_insert_with(|| vec![(&*OWN_SPACE, home)]);
            }
        }
        let services = if open { Vec::new() } else { asked(apps, &groups) };
        Self { groups, services, open }
    }

    /// What of the network the instances of each workload and revision are given; nothing if nobody is selected by a policy.
    pub fn all(&self) -> Vec<(AppId, u64, &'a Name, Isolation)> {
        let stand = self.groups.iter().filter(|g| g.stands && !self.open);
        stand.map(|g| (g.app, g.revision, g.workload, self.isolation(g))).collect()
    }

    /// The addresses of all instances that do not take in everything, wherever they are.
    pub fn guarded(&self) -> BTreeSet<IpAddr> {
        self.guards().flat_map(|g| g.addresses.iter().copied()).collect()
    }

    fn guards(&self) -> impl Iterator<Item = &Group<'a>> {
        self.groups.iter().filter(|g| g.ingress.is_some())
    }

    fn isolation(&self, group: &Group<'a>) -> Isolation {
        let ids = |of: &dyn Fn(&Asked) -> bool| self.services.iter().filter(|s| of(s)).map(|s| s.id.clone()).collect();
        // One list is enough, and this is the shorter one.
        let (services, refused) = match group.egress {
            Some(_) => (ids(&|s: &Asked| self.may_ask(group, s)), BTreeSet::new()),
            None => (BTreeSet::new(), ids(&|s: &Asked| s.guarded && !self.may_ask(group, s))),
        };
        Isolation {
            policies: group.policies.clone(),
            ingress: group.ingress.as_ref().map(|rules| self.taken_in(group, rules)),
            egress: group.egress.as_ref().map(|rules| self.sent_out(group, rules)),
            opened: openings(self.guards().map(|to| (group.admitted_by(to), &to.addresses))),
            services,
            refused,
        }
    }

    /// Does everything that stands behind the name take its requests?
    fn may_ask(&self, group: &Group<'a>, service: &Asked) -> bool {
        if service.behind.is_empty() {
            return group.egress.is_none();
        }
        let takes = |ranges: BTreeSet<PortRange>, port: u16| ranges.iter().any(|r| r.holds(service.protocol, port));
        let mut behind = service.behind.iter().filter_map(|(at, port)| Some((self.groups.get(*at)?, *port)));
        behind.all(|(to, port)| takes(group.admitted_by(to), port) && takes(group.sends_to(to), port))
    }

    /// What comes in by these rules.
    fn taken_in(&self, group: &Group<'a>, rules: &[Ruled<'a>]) -> Vec<Opening> {
        let mut out: Vec<Opening> = everywhere(group.open.clone()).into_iter().collect();
        for (rule, home) in rules {
            let ports = ranges(rule, Some(group.port_names));
            if rule.peers.is_empty() {
                out.extend(everywhere(ports.clone()));
            }
            out.extend(openings(self.groups.iter().filter(|g| g.is_chosen(rule, home)).map(|g| (ports.clone(), &g.addresses))));
            out.extend(blocks(rule, &ports));
        }
        out.dedup();
        out
    }

    /// What goes out by these rules. A port's name is what each of the others calls so; what has no names has none of that.
    fn sent_out(&self, group: &Group<'a>, rules: &[Ruled<'a>]) -> Vec<Opening> {
        let mut out = Vec::new();
        for (rule, home) in rules {
            let ports = ranges(rule, None);
            let named = rule.ports.iter().any(is_named);
            if rule.peers.is_empty() && !group.closed {
                out.extend(everywhere(ports.clone()));
            }
            let all = rule.peers.is_empty() && (named || group.closed);
            let chosen = self.groups.iter().filter(|g| (all || g.is_chosen(rule, home)) && group.may_meet(g));
            out.extend(openings(chosen.map(|g| (ranges(rule, Some(g.port_names)), &g.addresses))));
            if !group.closed {
                out.extend(blocks(rule, &ports));
            }
        }
        out.dedup();
        out
    }
}

impl<'a> Group<'a> {
    /// The ports at which `to` takes in what it sends.
    fn admitted_by(&self, to: &Group<'a>) -> BTreeSet<PortRange> {
        match &to.ingress {
            None => BTreeSet::from([PortRange::ALL]),
            Some(rules) => to.open.iter().cloned().chain(self.matched(rules, to)).collect(),
        }
    }

    /// The ports of `to` that it may send to.
    fn sends_to(&self, to: &Group<'a>) -> BTreeSet<PortRange> {
        match &self.egress {
            None => BTreeSet::from([PortRange::ALL]),
            Some(_) if !self.may_meet(to) => BTreeSet::new(),
            Some(rules) => to.matched(rules, to).into_iter().collect(),
        }
    }

    /// Whatever the rules say: from an internal network nothing outside of its space is reached.
    fn may_meet(&self, to: &Group<'a>) -> bool {
        !self.closed || self.home.space == to.home.space
    }

    /// The ports of `to` by those of the rules that mean this group.
    fn matched(&self, rules: &[Ruled<'a>], to: &Group<'a>) -> Vec<PortRange> {
        let means = |(rule, home): &&Ruled<'a>| rule.peers.is_empty() || self.is_chosen(rule, home) || rule.peers.iter().any(|p| self.is_in(p));
        rules.iter().filter(means).flat_map(|(rule, _)| ranges(rule, Some(to.port_names))).collect()
    }

    /// Is it chosen by labels? A selector for instances alone means those of the policy's space; spaces are those of one organisation.
    fn is_chosen(&self, rule: &PolicyRule, home: &Home) -> bool {
        let of_space = |spaces: Option<&Selector>| match spaces {
            None => self.home.space == home.space,
            Some(selector) => self.home.org == home.org && selects(selector, &space_labels(self.home)),
        };
        let selected = |own: Option<&Selector>| own.is_none_or(|s| selects(s, &self.labels));
        rule.peers.iter().filter(|p| p.workloads.is_some() || p.spaces.is_some()).any(|p| of_space(p.spaces.as_ref()) && selected(p.workloads.as_ref()))
    }

    /// Are all of its instances in a block of addresses? One without an address may get any.
    fn is_in(&self, peer: &Peer) -> bool {
        let Some(whole) = Block::parse(&peer.cidr) else { return false };
        let parts: Vec<Block> = peer.except.iter().filter_map(|e| Block::parse(e)).collect();
        if self.addresses.is_empty() {
            return whole.is_all() && parts.is_empty();
        }
        self.addresses.iter().all(|a| whole.holds(*a) && !parts.iter().any(|p| p.holds(*a)))
    }
}

/// Of the revision that is, or shall be, at work.
fn current(app: &AppView) -> impl Iterator<Item = (&String, &Policy)> {
    app.models.get(&app.current).into_iter().flat_map(|model| &model.policies)
}

/// All instances of the space.
static OWN_SPACE: LazyLock<PolicyRule> =
    LazyLock::new(|| PolicyRule { peers: vec![Peer { workloads: Some(Selector::default()), ..Peer::default() }], ..PolicyRule::default() });

/// In internal networks alone. One that is in another network as well reaches the outside by that.
fn closed(model: &Model, workload: &Workload) -> bool {
    let internal = |name: &str| model.networks.get(if name.is_empty() { "default" } else { name }).is_some_and(|n| n.internal && !n.is_of_nodes());
    if workload.nics.is_empty() { internal("") } else { workload.nics.iter().all(|nic| internal(&nic.network)) }
}

fn has_closed(app: &AppView) -> bool {
    let any = |model: &Model| model.networks.values().any(|n| n.internal) && model.workloads.values().any(|w| closed(model, w));
    app.models.values().any(|model| any(model))
}

fn groups<'a>(app: &'a AppView, reports: &Reports) -> Vec<Group<'a>> {
    let mut addresses: BTreeMap<(&Name, u64), BTreeSet<IpAddr>> = BTreeMap::new();
    // Also of those that stop: what they still answer is not cut off.
    for instance in &app.instances {
        addresses.entry((&instance.workload, instance.revision)).or_default().extend(address_of(instance, reports));
    }
    let mut out = Vec::new();
    for (revision, model) in &app.models {
        for (name, workload) in &model.workloads {
            let found = addresses.remove(&(name, *revision));
            let reached = |s: &&Service| s.workload == *name && s.port > 0 && (s.publish.is_some() || !s.routes.is_empty());
            out.push(Group {
                app: app.id,
                home: &app.home,
                workload: name,
                revision: *revision,
                labels: labels(&workload.labels, (app.id, app.name.as_str()), name.as_str(), app.home.space_name.as_str()),
                port_names: &workload.port_names,
                stands: found.is_some(),
                addresses: found.unwrap_or_default(),
                open: model.services.iter().filter(reached).map(|s| PortRange::one(transport(s), s.port)).collect(),
                closed: closed(model, workload),
                policies: Vec::new(),
                ingress: None,
                egress: None,
            });
        }
    }
    out
}

fn address_of(instance: &Standing, reports: &Reports) -> Option<IpAddr> {
    let seen = reports.get(&instance.node).and_then(|r| r.instances.get(&instance.id));
    seen.map_or(instance.address.as_str(), |o| o.address.as_str()).parse().ok()
}

/// The names that nodes balance, with their previews.
fn asked(apps: &[&AppView], groups: &[Group<'_>]) -> Vec<Asked> {
    let places: BTreeMap<(AppId, &Name, u64), usize> = groups.iter().enumerate().map(|(at, g)| ((g.app, g.workload, g.revision), at)).collect();
    let mut out = Vec::new();
    for app in apps {
        for (_, service) in app.services().into_iter().filter(|(_, s)| s.port > 0) {
            let mut behind = Vec::new();
            for (revision, model) in &app.models {
                let own = model.services.iter().find(|s| s.key() == service.key());
                behind.extend(own.and_then(|s| Some((*places.get(&(app.id, &s.workload, *revision))?, s.port))));
            }
            let guarded = behind.iter().any(|(at, _)| groups.get(*at).is_some_and(|g| g.ingress.is_some()));
            let id = app.service_id(service);
            let preview = service.preview.is_some().then(|| traffic::preview_id(&id));
            for id in std::iter::once(id).chain(preview) {
                out.push(Asked { id, protocol: transport(service), behind: behind.clone(), guarded });
            }
        }
    }
    out
}

fn transport(service: &Service) -> &'static str {
    if service.protocol == Protocol::Udp { "udp" } else { "tcp" }
}

fn is_named(port: &PolicyPort) -> bool {
    !port.port.is_empty() && port.port.parse::<u16>().is_err()
}

/// The ports of a rule. `names`: what those who are reached call their ports; a name that they do not have means nothing.
fn ranges(rule: &PolicyRule, names: Option<&BTreeMap<String, u16>>) -> BTreeSet<PortRange> {
    if rule.ports.is_empty() {
        return BTreeSet::from([PortRange::ALL]);
    }
    let one = |p: &PolicyPort| {
        let protocol = match p.protocol.as_str() {
            "" | "tcp" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            _ => return None,
        };
        let (first, last) = match p.port.parse::<u16>() {
            _ if p.port.is_empty() => (0, u16::MAX),
            Ok(first) => (first, first.max(p.end_port)),
            Err(_) => names.and_then(|all| all.get(&p.port)).map(|port| (*port, *port))?,
        };
        Some(PortRange { protocol, first, last })
    };
    rule.ports.iter().filter_map(one).collect()
}

/// Nothing, where there is no port or nobody.
fn openings<'g>(of: impl Iterator<Item = (BTreeSet<PortRange>, &'g BTreeSet<IpAddr>)>) -> Vec<Opening> {
    let mut by_ports: BTreeMap<BTreeSet<PortRange>, BTreeSet<String>> = BTreeMap::new();
    for (ports, addresses) in of.filter(|(ports, addresses)| !ports.is_empty() && !addresses.is_empty()) {
        by_ports.entry(ports).or_default().extend(addresses.iter().map(ToString::to_string));
    }
    by_ports.into_iter().map(|(ports, networks)| Opening { everywhere: false, networks, except: BTreeSet::new(), ports }).collect()
}

fn everywhere(ports: BTreeSet<PortRange>) -> Option<Opening> {
    (!ports.is_empty()).then(|| Opening { everywhere: true, networks: BTreeSet::new(), except: BTreeSet::new(), ports })
}

fn blocks(rule: &PolicyRule, ports: &BTreeSet<PortRange>) -> Vec<Opening> {
    let stands = |p: &&Peer| !ports.is_empty() && Block::parse(&p.cidr).is_some();
    let opening =
        |p: &Peer| Opening { everywhere: false, networks: BTreeSet::from([p.cidr.clone()]), except: p.except.iter().cloned().collect(), ports: ports.clone() };
    rule.peers.iter().filter(stands).map(opening).collect()
}

#[cfg(test)]
mod tests;
