//! Which instance stands in which server slot of the balancer, and how the balancer gets from one layout to the next.
//!
//! A service has a fixed number of slots, so that instances come and go by runtime commands; only a new or changed service, or
//! one that outgrows its slots, needs a new configuration. A slot is drained before it is given away.

use std::collections::{BTreeMap, BTreeSet};

use gantry_kernel::InstanceId;
use serde::{Deserialize, Serialize};

use super::datagrams::Relays;
use super::matching::Rule;

const LEAST_SLOTS: usize = 8;

/// What the configuration of one service depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Name of the backend in the balancer: safe characters only.
    pub name: String,
    pub http: bool,
    /// The balancer's own word: roundrobin, leastconn, random, source.
    pub algorithm: String,
    /// Addresses `ip:port` to listen on, for this service alone.
    pub binds: BTreeSet<String>,
    /// Host (lower case, empty = any) and path prefix (beginning with `/`) on the shared port.
    pub routes: BTreeSet<(String, String)>,
    /// Requests that another backend answers, by a header.
    #[serde(default)]
    pub headers: Vec<HeaderRule>,
    /// While there is no server, requests go to this socket, where they are held.
    #[serde(default)]
    pub hold: String,
    /// Who may connect from outside, and how much.
    #[serde(default)]
    pub access: Access,
    #[serde(default)]
    pub layer7: Layer7,
}

/// What is done with single requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer7 {
    /// On the shared port, besides `routes`.
    pub rules: Vec<Rule>,
    /// Whose it is: services of one space can share a rule by weight.
    pub space: String,
    pub certificates: Vec<Certified>,
    /// For how long requests of one client go to one instance; 0: not so.
    pub sticky_seconds: u32,
    /// Of the numbers in cookies that instances are known by.
    pub sticky_key: String,
    /// Instances speak HTTP/2, without encryption.
    pub h2: bool,
}

/// A host that is served over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// In lower case; `*.example.org`: all names right below.
    pub host: String,
    /// Names the file with certificate and key.
    pub print: String,
    /// Plain HTTP is answered as well, and not led to HTTPS.
    pub plain_http: bool,
}

impl Shape {
    /// The state of a server that gets no new requests and answers those it has. One that drains would still get those of clients that stay.
    pub fn leaving(&self) -> &'static str {
        if self.layer7.sticky_seconds > 0 { "maint" } else { "drain" }
    }
}

/// Networks are addresses with or without a length: they go into the configuration as they are. Zero: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    /// Of one address, as a mean over ten seconds.
    pub requests_per_second: u32,
    /// Of one address at once.
    pub concurrent: u32,
    /// The network of the services' own addresses on the node: what comes to these comes from inside. Empty: there is none.
    pub inside: String,
    /// Networks of IPv4 from which these addresses may be asked: the node's own, and its pods'. Another machine beside the node can send to
    /// any address that the node has, whatever it is published at. Empty: not known.
    pub from: Vec<String>,
}

impl Access {
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && !self.is_counted()
    }

    pub fn is_counted(&self) -> bool {
        self.requests_per_second > 0 || self.concurrent > 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderRule {
    /// A token of RFC 9110.
    pub name: String,
    /// The whole value, without control characters; empty: whatever it says.
    pub value: String,
    /// Name of the backend.
    pub to: String,
}

/// One service with the instances that are to get requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub shape: Shape,
    pub servers: BTreeMap<InstanceId, Server>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub address: String,
    pub port: u16,
    /// 1 to 256.
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    Free,
    Serving { instance: InstanceId, server: Server },
    Draining { instance: InstanceId, server: Server, since_ms: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub shape: Shape,
    pub slots: Vec<Slot>,
}

/// All services by id: what the balancer does, or is to do. Kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub services: BTreeMap<String, Service>,
    /// Those of datagrams, which the kernel leads.
    #[serde(default)]
    pub datagrams: Relays,
}

/// What is known about draining.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub now_ms: i64,
    /// Requests under way by service id and slot; not named = not known yet.
    pub sessions: BTreeMap<(String, usize), u64>,
    /// Instances whose container has ended: nothing to wait for.
    pub gone: BTreeSet<InstanceId>,
    /// Not to be waited for any longer than this.
    pub drain_limit_ms: i64,
}

/// How to reach the next layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Runtime commands, possibly none.
    Commands(Vec<String>),
    /// A new configuration must be loaded.
    Reload,
}

/// The layout that comes next and the way there.
pub fn next(now: &Layout, targets: &BTreeMap<String, Target>, facts: &Facts) -> (Layout, Change) {
    let mut layout = Layout { services: BTreeMap::new(), datagrams: now.datagrams.clone() };
    let mut commands = Vec::new();
    // New ones come before old ones go: when all are exchanged at once, somebody must be there at every moment.
    let mut leaving = Vec::new();
    let mut reload = now.services.keys().any(|id| !targets.contains_key(id));
    for (id, target) in targets {
        let before = now.services.get(id);
        let mut slots = before.map_or_else(Vec::new, |s| s.slots.clone());
        reload |= before.is_none_or(|s| s.shape != target.shape);
        let name = &target.shape.name;
        let (mut freed, mut placed) = (BTreeSet::new(), Vec::new());
        release(id, name, &mut slots, target, facts, &mut freed, &mut leaving);
        for (instance, server) in &target.servers {
            reload |= place(name, &mut slots, *instance, server, &freed, &mut placed);
        }
        for index in freed {
            // One that is given away at once goes first; the others may be the last that the balancer has.
            let before = if slots[index] == Slot::Free { &mut leaving } else { &mut commands };
            before.push(format!("set server {name}/s{index} state maint"));
        }
        commands.extend(placed);
        if slots.len() < LEAST_SLOTS {
            slots.resize(LEAST_SLOTS, Slot::Free);
        }
        layout.services.insert(id.clone(), Service { shape: target.shape.clone(), slots });
    }
    commands.extend(leaving);
    (layout, if reload { Change::Reload } else { Change::Commands(commands) })
}

/// Slots of instances that are not wanted (there) any more begin to drain; drained ones become `freed` and may be given away at once.
fn release(id: &str, name: &str, slots: &mut [Slot], target: &Target, facts: &Facts, freed: &mut BTreeSet<usize>, leaving: &mut Vec<String>) {
    for (index, slot) in slots.iter_mut().enumerate() {
        let unwanted =
            |instance: &InstanceId, server: &Server| target.servers.get(instance).is_none_or(|s| (&s.address, s.port) != (&server.address, server.port));
        match slot.clone() {
            Slot::Serving { instance, server } if unwanted(&instance, &server) => {
                if facts.gone.contains(&instance) {
                    freed.insert(index);
                    *slot = Slot::Free;
                } else {
                    leaving.push(format!("set server {name}/s{index} state {}", target.shape.leaving()));
                    *slot = Slot::Draining { instance, server, since_ms: facts.now_ms };
                }
            }
            Slot::Draining { instance, server, since_ms } if unwanted(&instance, &server) => {
                let idle = facts.sessions.get(&(id.to_owned(), index)) == Some(&0);
                let ago = facts.now_ms - since_ms;
                // Less than nothing: the clock was set back.
                let late = ago >= facts.drain_limit_ms || ago < 0;
                // Sessions counted in the moment the drain began may belong to a request that was just being handed over.
                let settled = ago >= SETTLE_MS;
                if facts.gone.contains(&instance) || late || (idle && settled) {
                    freed.insert(index);
                    *slot = Slot::Free;
                }
            }
            Slot::Free | Slot::Serving { .. } | Slot::Draining { .. } => {}
        }
    }
}

/// A request that chose its server before the drain is counted as a session well within this time.
const SETTLE_MS: i64 = 200;

/// Gives an instance its slot, and one of those that were just freed only if there is no other; true = there was none free, so the slots were
/// doubled.
fn place(name: &str, slots: &mut Vec<Slot>, instance: InstanceId, server: &Server, freed: &BTreeSet<usize>, commands: &mut Vec<String>) -> bool {
    let own = slots.iter().position(|slot| match slot {
        Slot::Free => false,
        Slot::Serving { instance: i, server: s } | Slot::Draining { instance: i, server: s, .. } => {
            *i == instance && (&s.address, s.port) == (&server.address, server.port)
        }
    });
    let mut grown = false;
    let free = || slots.iter().enumerate().filter(|(_, s)| **s == Slot::Free).map(|(index, _)| index).min_by_key(|index| freed.contains(index));
    let index = own.or_else(free).unwrap_or_else(|| {
        let index = slots.len();
        grown = index > 0;
        slots.resize((index * 2).max(LEAST_SLOTS), Slot::Free);
        index
    });
    let wanted = Slot::Serving { instance, server: server.clone() };
    match &slots[index] {
        same if *same == wanted => {}
        Slot::Free => {
            commands.push(format!("set server {name}/s{index} addr {} port {}", server.address, server.port));
            commands.push(format!("set server {name}/s{index} weight {}", server.weight));
            commands.push(format!("set server {name}/s{index} state ready"));
        }
        Slot::Serving { .. } => commands.push(format!("set server {name}/s{index} weight {}", server.weight)),
        Slot::Draining { .. } => {
            commands.push(format!("set server {name}/s{index} weight {}", server.weight));
            commands.push(format!("set server {name}/s{index} state ready"));
        }
    }
    slots[index] = wanted;
    grown
}

impl Layout {
    /// By service id: the instances that get new requests.
    pub fn in_rotation(&self) -> BTreeMap<String, BTreeSet<InstanceId>> {
        let serving = |slot: &Slot| if let Slot::Serving { instance, .. } = slot { Some(*instance) } else { None };
        let balanced = self.services.iter().map(|(id, s)| (id.clone(), s.slots.iter().filter_map(serving).collect()));
        balanced.chain(self.datagrams.iter().map(|(id, r)| (id.clone(), r.servers.keys().copied().collect()))).collect()
    }

    /// Instances that get requests or still answer some.
    pub fn in_use(&self) -> BTreeSet<InstanceId> {
        let slots = self.services.values().flat_map(|s| &s.slots).filter_map(|slot| match slot {
            Slot::Free => None,
            Slot::Serving { instance, .. } | Slot::Draining { instance, .. } => Some(*instance),
        });
        slots.chain(self.datagrams.values().flat_map(|r| r.servers.keys().chain(r.leaving.keys()).copied())).collect()
    }

    pub fn draining(&self) -> bool {
        self.drains_requests() || self.datagrams.values().any(|r| !r.leaving.is_empty())
    }

    /// Does HAProxy wait for answers?
    pub fn drains_requests(&self) -> bool {
        self.services.values().flat_map(|s| &s.slots).any(|s| matches!(s, Slot::Draining { .. }))
    }

    /// Adds to the requests under way those that have reached an instance beside its slot: they were held until it was there.
    pub fn count_passed_on(&self, passed_on: &BTreeMap<InstanceId, u64>, sessions: &mut BTreeMap<(String, usize), u64>) {
        for (id, service) in &self.services {
            for (index, slot) in service.slots.iter().enumerate() {
                if let Slot::Draining { instance, .. } = slot
                    && let Some(count) = passed_on.get(instance)
                {
                    *sessions.entry((id.clone(), index)).or_default() += count;
                }
            }
        }
    }

    /// Instances that get no new requests, and of which some may not be answered yet.
    pub fn leaving(&self) -> BTreeSet<InstanceId> {
        let leaving = |slot: &Slot| if let Slot::Draining { instance, .. } = slot { Some(*instance) } else { None };
        let balanced = self.services.values().flat_map(|s| &s.slots).filter_map(leaving);
        balanced.chain(self.datagrams.values().flat_map(|r| r.leaving.keys().copied())).collect()
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> InstanceId {
        InstanceId(Uuid::from_u128(u128::from(n)))
    }

    fn target(servers: impl IntoIterator<Item = u8>) -> BTreeMap<String, Target> {
        let shape = Shape {
            name: "web".into(),
            http: true,
            algorithm: "roundrobin".into(),
            binds: BTreeSet::new(),
            routes: BTreeSet::new(),
            headers: Vec::new(),
            hold: String::new(),
            access: Access::default(),
            layer7: Layer7::default(),
        };
        let server = |n: u8| (id(n), Server { address: format!("10.88.0.{n}"), port: 80, weight: 100 });
        BTreeMap::from([("svc".to_owned(), Target { shape, servers: servers.into_iter().map(server).collect() })])
    }

    fn facts(now_ms: i64) -> Facts {
        Facts { now_ms, drain_limit_ms: 10_000, ..Facts::default() }
    }

    #[test]
    fn a_new_service_needs_a_reload_and_its_instances_none() {
        let (layout, change) = next(&Layout::default(), &target([1]), &facts(0));
        assert_eq!(change, Change::Reload);
        let (layout, change) = next(&layout, &target([1, 2]), &facts(0));
        let expected = ["set server web/s1 addr 10.88.0.2 port 80", "set server web/s1 weight 100", "set server web/s1 state ready"];
        assert_eq!(change, Change::Commands(expected.map(str::to_owned).to_vec()));
        assert_eq!(layout.in_rotation()["svc"], BTreeSet::from([id(1), id(2)]));
    }

    #[test]
    fn an_instance_leaves_only_when_its_requests_are_answered() {
        let (layout, _) = next(&Layout::default(), &target([1, 2]), &facts(0));
        let (layout, change) = next(&layout, &target([2]), &facts(0));
        assert_eq!(change, Change::Commands(vec!["set server web/s0 state drain".into()]));
        assert!(layout.in_use().contains(&id(1)) && !layout.in_rotation()["svc"].contains(&id(1)));
        assert_eq!(layout.leaving(), BTreeSet::from([id(1)]));
        let busy = Facts { sessions: BTreeMap::from([(("svc".into(), 0), 1)]), ..facts(5_000) };
        assert_eq!(next(&layout, &target([2]), &busy), (layout.clone(), Change::Commands(vec![])));
        let idle = Facts { sessions: BTreeMap::from([(("svc".into(), 0), 0)]), ..facts(5_000) };
        let (left, change) = next(&layout, &target([2]), &idle);
        assert_eq!(change, Change::Commands(vec!["set server web/s0 state maint".into()]));
        assert!(!left.in_use().contains(&id(1)));
        let late = Facts { sessions: BTreeMap::from([(("svc".into(), 0), 1)]), ..facts(10_000) };
        assert!(!next(&layout, &target([2]), &late).0.in_use().contains(&id(1)));
        let set_back = Facts { now_ms: -3_600_000, ..late };
        assert!(!next(&layout, &target([2]), &set_back).0.in_use().contains(&id(1)), "nobody waits until the clock is there again");
    }

    #[test]
    fn an_instance_that_clients_stay_with_gets_none_of_them_when_it_leaves() {
        let sticky = |servers: &[u8]| {
            let mut all = target(servers.iter().copied());
            all.get_mut("svc").unwrap().shape.layer7.sticky_seconds = 60;
            all
        };
        let (layout, _) = next(&Layout::default(), &sticky(&[1, 2]), &facts(0));
        let (layout, change) = next(&layout, &sticky(&[2]), &facts(0));
        assert_eq!(change, Change::Commands(vec!["set server web/s0 state maint".into()]));
        assert!(layout.leaving().contains(&id(1)), "what it has begun is waited for");
    }

    #[test]
    fn an_instance_waits_for_a_request_that_was_held_until_it_was_there() {
        let (layout, _) = next(&Layout::default(), &target([1, 2]), &facts(0));
        let (layout, _) = next(&layout, &target([2]), &facts(0));
        let counted = |passed_on: &[(u8, u64)]| {
            let mut sessions = BTreeMap::from([(("svc".to_owned(), 0), 0)]);
            layout.count_passed_on(&passed_on.iter().map(|(n, count)| (id(*n), *count)).collect(), &mut sessions);
            next(&layout, &target([2]), &Facts { sessions, ..facts(5_000) }).0.in_use().contains(&id(1))
        };
        assert!(counted(&[(1, 1)]) && !counted(&[(2, 1)]) && !counted(&[]));
    }

    #[test]
    fn when_all_are_exchanged_at_once_the_new_ones_come_first() {
        let (layout, _) = next(&Layout::default(), &target([1, 2]), &facts(0));
        let (_, Change::Commands(commands)) = next(&layout, &target([3, 4]), &facts(0)) else { panic!("no reload is needed") };
        let ready = commands.iter().rposition(|c| c.ends_with("state ready")).unwrap();
        let drain = commands.iter().position(|c| c.ends_with("state drain")).unwrap();
        assert!(ready < drain, "{commands:?}");
    }

    #[test]
    fn whoever_comes_when_the_last_ones_have_died_is_there_before_those_are_taken_out() {
        let (layout, _) = next(&Layout::default(), &target([1, 2]), &facts(0));
        let dead = Facts { gone: BTreeSet::from([id(1), id(2)]), ..facts(0) };
        let (layout, change) = next(&layout, &target([3]), &dead);
        let expected = ["s2 addr 10.88.0.3 port 80", "s2 weight 100", "s2 state ready", "s0 state maint", "s1 state maint"];
        assert_eq!(change, Change::Commands(expected.map(|c| format!("set server web/{c}")).to_vec()));
        // Where all other slots are taken, one of those that were freed is emptied first.
        let (layout, _) = next(&layout, &target(3..=10), &facts(1));
        let dead = Facts { gone: BTreeSet::from([id(3)]), ..facts(2) };
        let (_, change) = next(&layout, &target(4..=11), &dead);
        let expected = ["s2 state maint", "s2 addr 10.88.0.11 port 80", "s2 weight 100", "s2 state ready"];
        assert_eq!(change, Change::Commands(expected.map(|c| format!("set server web/{c}")).to_vec()));
    }

    #[test]
    fn a_new_weight_is_a_command() {
        let (layout, _) = next(&Layout::default(), &target([1]), &facts(0));
        let mut heavier = target([1]);
        heavier.get_mut("svc").unwrap().servers.get_mut(&id(1)).unwrap().weight = 7;
        assert_eq!(next(&layout, &heavier, &facts(0)).1, Change::Commands(vec!["set server web/s0 weight 7".into()]));
    }

    #[test]
    fn a_dead_instance_is_not_waited_for() {
        let (layout, _) = next(&Layout::default(), &target([1, 2]), &facts(0));
        let dead = Facts { gone: BTreeSet::from([id(1)]), ..facts(0) };
        assert_eq!(next(&layout, &target([2]), &dead).0.in_use(), BTreeSet::from([id(2)]));
    }

    #[test]
    fn an_instance_that_comes_back_while_draining_serves_again() {
        let (layout, _) = next(&Layout::default(), &target([1]), &facts(0));
        let (layout, _) = next(&layout, &target([]), &facts(0));
        let (layout, change) = next(&layout, &target([1]), &facts(1));
        assert_eq!(change, Change::Commands(vec!["set server web/s0 weight 100".into(), "set server web/s0 state ready".into()]));
        assert!(layout.in_rotation()["svc"].contains(&id(1)));
    }

    #[test]
    fn more_instances_than_slots_reload_once() {
        let (layout, _) = next(&Layout::default(), &target(1..=8), &facts(0));
        let (layout, change) = next(&layout, &target(1..=9), &facts(0));
        assert_eq!((change, layout.services["svc"].slots.len()), (Change::Reload, 16));
        assert!(matches!(next(&layout, &target(1..=16), &facts(0)).1, Change::Commands(_)));
    }

    proptest! {
        #[test]
        fn every_wanted_instance_has_one_slot_and_the_same_want_changes_nothing(
            steps in proptest::collection::vec(proptest::collection::btree_set(1..30u8, 0..20), 1..12),
        ) {
            let mut layout = Layout::default();
            for (round, step) in steps.into_iter().enumerate() {
                let targets = target(step.iter().copied());
                let now = facts(round as i64 * 1000);
                layout = next(&layout, &targets, &now).0;
                prop_assert_eq!(layout.in_rotation()["svc"].clone(), step.iter().map(|n| id(*n)).collect::<BTreeSet<_>>());
                let serving = layout.services["svc"].slots.iter().filter(|s| matches!(s, Slot::Serving { .. })).count();
                prop_assert_eq!(serving, step.len());
                prop_assert_eq!(next(&layout, &targets, &now), (layout.clone(), Change::Commands(vec![])));
            }
        }
    }
}
