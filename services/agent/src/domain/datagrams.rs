//! Services of datagrams (UDP): which instances get them, and the table of the packet filter that leads them there. HAProxy balances none, so
//! the kernel does: each new flow (addresses and ports of both ends) is given an instance, and stays there as long as the instance serves.
//! Pure: from what is ready to the text. The table is exchanged as a whole, in one transaction of nftables; it works on while no agent runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

use gantry_kernel::InstanceId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::balance::{Access, Server};
use super::conntrack::Flow;

/// An instance that leaves goes on answering for so long what it was asked: new flows go elsewhere at once, then its old ones do.
pub const SETTLE_MS: i64 = 1_000;
/// Into so many parts the flows of a service are divided, at most: the least share of an instance.
const PARTS: usize = 256;
/// Packets of one address above its limit, in seconds of it.
const BURST_SECONDS: u32 = 10;

/// Where datagrams for a service come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Door {
    /// `None`: each address of this machine.
    pub address: Option<Ipv4Addr>,
    pub port: u16,
    /// For everybody, and not for the instances of the node alone.
    pub published: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    pub server: Server,
    pub until_ms: i64,
}

/// A service with the instances that are to get its datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    pub doors: BTreeSet<Door>,
    /// The balancer's word: roundrobin, leastconn (here the same), random, source.
    pub algorithm: String,
    pub servers: BTreeMap<InstanceId, Server>,
    /// What gets no new flows, and may not have answered yet.
    pub leaving: BTreeMap<InstanceId, Leaving>,
    /// At the published doors. Of datagrams a request is a packet; `concurrent` means nothing.
    pub access: Access,
}

pub type Relays = BTreeMap<String, Relay>;

/// What comes next: instances that are not wanted any more leave, those in `gone` at once.
pub fn next(now: &Relays, targets: Relays, gone: &BTreeSet<InstanceId>, now_ms: i64) -> Relays {
    let follow = |(id, mut relay): (String, Relay)| {
        if let Some(before) = now.get(&id) {
            let begin = |(id, server): (&InstanceId, &Server)| (*id, Leaving { server: server.clone(), until_ms: now_ms + SETTLE_MS });
            let all = before.servers.iter().map(begin).chain(before.leaving.iter().map(|(id, l)| (*id, l.clone())));
            // Longer than it can be: the clock was set back.
            let still = |l: &Leaving| l.until_ms > now_ms && l.until_ms <= now_ms + SETTLE_MS;
            let left = all.filter(|(id, l)| !relay.servers.contains_key(id) && !gone.contains(id) && still(l)).collect();
            relay.leaving = left;
        }
        (id, relay)
    };
    targets.into_iter().map(follow).collect()
}

/// Takes the table away, whether it is there or not.
pub fn none(name: &str) -> String {
    format!("table ip {name}\ndelete table ip {name}\n")
}

/// The script that puts the table there, or in place of the one before it. `name` must be a word.
///
/// What is led to an instance comes from the node for it, as what HAProxy passes on does: so answers find back over the node wherever the
/// instance runs, also to itself, and whom an instance may ask is kept where it asks (`domain/isolation.rs`).
pub fn table(name: &str, relays: &Relays) -> String {
    let mut parts = Parts::default();
    for (number, relay) in relays.values().enumerate() {
        parts.relay(number, relay);
    }
    let Parts { sets, chains, doors: (exact, any), checks: (exact_checks, any_checks), targets, .. } = parts;
    let mut leads = String::new();
    for (server, number) in &targets {
        let _ = writeln!(leads, "  chain to{number} {{\n    meta l4proto udp dnat to {server}\n  }}");
    }
    let led = if targets.is_empty() {
        String::new()
    } else {
        let all: Vec<String> = targets.keys().map(|server| format!("{} . {}", server.ip(), server.port())).collect();
        format!("    ct status dnat ip daddr . udp dport {{ {} }} masquerade\n", all.join(", "))
    };
    let (near, beside) = strangers(relays);
    let (access, pick) = (verdicts(&exact_checks, &any_checks), verdicts(&exact, &any));
    // Packets for 127.0.0.0/8 from elsewhere are dropped before anything looks at them: the kernel does not do it any more where a
    // published port is to be reached on the loopback (`route_localnet`).
    // Who is refused, and what nobody is there for, must not become a flow: a flow keeps to what it began with.
    format!(
        "{none}table ip {name} {{
{near}{sets}{leads}{chains}  chain access {{
{access}  }}
  chain pick {{
{pick}  }}
  chain martians {{
    type filter hook prerouting priority -310; policy accept;
    iifname != \"lo\" ip daddr 127.0.0.0/8 drop
  }}
  chain access_in {{
    type filter hook prerouting priority -110; policy accept;
{beside}    meta l4proto udp ct direction original jump access
  }}
  chain access_out {{
    type filter hook output priority -110; policy accept;
    meta l4proto udp ct direction original jump access
  }}
  chain come_in {{
    type nat hook prerouting priority -100; policy accept;
    meta l4proto udp jump pick
  }}
  chain come_out {{
    type nat hook output priority -100; policy accept;
    meta l4proto udp jump pick
  }}
  chain leave {{
    type nat hook postrouting priority 100; policy accept;
{led}  }}
}}
",
        none = none(name)
    )
}

/// The rules that keep packets from beside the node away from the addresses inside it, and the set that they need: from a network that may not
/// ask there, and by a way that does not lead back to their sender.
fn strangers(relays: &Relays) -> (String, String) {
    let known = relays.values().map(|r| &r.access).find(|a| !a.inside.is_empty() && !a.from.is_empty());
    let Some(Access { inside, from, .. }) = known else { return Default::default() };
    let set = format!("  set near {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {} }}; }}\n", from.join(", "));
    let beside = format!("    iifname != \"lo\" ip daddr {inside} ");
    (set, format!("{beside}ip saddr != @near drop\n{beside}fib saddr . iif oif missing drop\n"))
}

/// By door, the verdict for it.
type Doors<K> = BTreeMap<K, String>;

#[derive(Default)]
struct Parts {
    sets: String,
    chains: String,
    doors: (Doors<(Ipv4Addr, u16)>, Doors<u16>),
    checks: (Doors<(Ipv4Addr, u16)>, Doors<u16>),
    /// Where instances listen, with the number of the chain that leads there.
    targets: BTreeMap<SocketAddrV4, usize>,
    taken: BTreeSet<(Option<Ipv4Addr>, u16)>,
}

impl Parts {
    fn relay(&mut self, number: usize, relay: &Relay) {
        let checked = self.access(number, relay);
        let leads = self.spread(number, relay);
        for door in &relay.doors {
            // Of two services at one door the first has it: a list with both would make the whole table be refused.
            if !self.taken.insert((door.address, door.port)) {
                continue;
            }
            let checks = checked && door.published;
            let check = if leads { checks.then(|| format!("jump access{number}")) } else { Some("jump nobody".to_owned()) };
            match door.address {
                Some(address) => {
                    self.checks.0.extend(check.map(|verdict| ((address, door.port), verdict)));
                    self.doors.0.extend(leads.then(|| ((address, door.port), format!("goto spread{number}"))));
                }
                None => {
                    self.checks.1.extend(check.map(|verdict| (door.port, verdict)));
                    self.doors.1.extend(leads.then(|| (door.port, format!("goto spread{number}"))));
                }
            }
        }
        if !leads && !self.chains.contains("chain nobody ") {
            self.chains.push_str("  chain nobody {\n    reject\n  }\n");
        }
    }

    /// The chain that refuses strangers and floods; false if everybody may send.
    fn access(&mut self, number: usize, relay: &Relay) -> bool {
        const REFUSE: &str = "reject with icmp admin-prohibited";
        let access = &relay.access;
        let four = |all: &[String]| all.iter().filter(|n| !n.contains(':')).cloned().collect::<Vec<_>>();
        let (allow, deny) = (four(&access.allow), four(&access.deny));
        let mut rules = String::new();
        for (kind, all, condition) in [("deny", &deny, "=="), ("allow", &allow, "!=")] {
            if !all.is_empty() {
                let _ = writeln!(self.sets, "  set {kind}{number} {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {} }}; }}", all.join(", "));
                let _ = writeln!(rules, "    ip saddr {condition} @{kind}{number} {REFUSE}");
            }
        }
        if allow.is_empty() && !access.allow.is_empty() {
            // Addresses of IPv6 alone are allowed: none of these.
            let _ = writeln!(rules, "    {REFUSE}");
        }
        if access.requests_per_second > 0 {
            let (rate, burst) = (access.requests_per_second, access.requests_per_second.saturating_mul(BURST_SECONDS));
            let _ = writeln!(self.sets, "  set rate{number} {{ type ipv4_addr; size 65535; flags dynamic,timeout; timeout 30s; }}");
            let _ = writeln!(rules, "    update @rate{number} {{ ip saddr limit rate over {rate}/second burst {burst} packets }} drop");
        }
        if rules.is_empty() {
            return false;
        }
        let _ = writeln!(self.chains, "  chain access{number} {{\n{rules}  }}");
        true
    }

    /// The chain that gives each new flow its instance; false if there is none.
    fn spread(&mut self, number: usize, relay: &Relay) -> bool {
        let mut chain = BTreeMap::new();
        for (id, server) in &relay.servers {
            let Ok(ip) = server.address.parse::<Ipv4Addr>() else { continue };
            let next = self.targets.len();
            let target = *self.targets.entry(SocketAddrV4::new(ip, server.port)).or_insert(next);
            chain.insert(*id, (target, server.weight));
        }
        let weights: BTreeMap<InstanceId, u32> = chain.iter().map(|(id, (_, weight))| (*id, *weight)).collect();
        let parts = match relay.algorithm.as_str() {
            _ if weights.is_empty() => return false,
            "source" => by_hash(&weights),
            _ => in_turn(&weights),
        };
        let rule = if let [only] = parts[..] {
            format!("goto to{}", chain[&only].0)
        } else {
            let verdicts: Vec<String> = parts.iter().enumerate().map(|(n, id)| format!("{n} : goto to{}", chain[id].0)).collect();
            let by = match relay.algorithm.as_str() {
                "source" => format!("jhash ip saddr mod {} seed 0x67616e74", parts.len()),
                "random" => format!("numgen random mod {}", parts.len()),
                _ => format!("numgen inc mod {}", parts.len()),
            };
            format!("{by} vmap {{ {} }}", verdicts.join(", "))
        };
        let _ = writeln!(self.chains, "  chain spread{number} {{\n    {rule}\n  }}");
        true
    }
}

fn verdicts(exact: &Doors<(Ipv4Addr, u16)>, any: &Doors<u16>) -> String {
    let mut out = String::new();
    if !exact.is_empty() {
        let all: Vec<String> = exact.iter().map(|((address, port), verdict)| format!("{address} . {port} : {verdict}")).collect();
        let _ = writeln!(out, "    ip daddr . udp dport vmap {{ {} }}", all.join(", "));
    }
    if !any.is_empty() {
        let all: Vec<String> = any.iter().map(|(port, verdict)| format!("{port} : {verdict}")).collect();
        let _ = writeln!(out, "    fib daddr type local udp dport vmap {{ {} }}", all.join(", "));
    }
    out
}

/// Each as often as its weight has it, and well mixed: the one that is furthest behind comes next.
fn in_turn(weights: &BTreeMap<InstanceId, u32>) -> Vec<InstanceId> {
    let whole: u64 = weights.values().map(|w| u64::from((*w).max(1))).sum();
    let divisor = weights.values().map(|w| u64::from((*w).max(1))).fold(0, greatest_common);
    let count = usize::try_from(whole / divisor.max(1)).unwrap_or(PARTS).min(PARTS.max(weights.len()));
    let mut given: BTreeMap<InstanceId, u64> = BTreeMap::new();
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        // The least of (given + 1) / weight, without fractions.
        let behind = weights.iter().min_by(|(a, wa), (b, wb)| {
            let (a, b) = (given.get(*a).copied().unwrap_or(0) + 1, given.get(*b).copied().unwrap_or(0) + 1);
            (a * u64::from((**wb).max(1))).cmp(&(b * u64::from((**wa).max(1))))
        });
        let Some((id, _)) = behind else { break };
        *given.entry(*id).or_default() += 1;
        out.push(*id);
    }
    out
}

fn greatest_common(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common(b, a % b) }
}

/// Senders are divided into equal parts, and each part chooses for itself among all instances (rendezvous hashing): when one comes or goes,
/// only what was or becomes its own moves.
fn by_hash(weights: &BTreeMap<InstanceId, u32>) -> Vec<InstanceId> {
    if weights.len() == 1 {
        return weights.keys().copied().collect();
    }
    let mut out = Vec::with_capacity(PARTS);
    for part in 0..PARTS {
        let score = |id: &InstanceId, weight: u32| {
            let digest = Sha256::digest(format!("{part}/{id}"));
            let drawn = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            // Within (0, 1), so that the logarithm is negative and never zero.
            let unit = (f64::from(drawn) + 0.5) / (f64::from(u32::MAX) + 1.0);
            -f64::from(weight.max(1)) / unit.ln()
        };
        let best = weights.iter().max_by(|(a, wa), (b, wb)| score(*a, **wa).total_cmp(&score(*b, **wb)));
        out.extend(best.map(|(id, _)| *id));
    }
    out
}

/// Flows that keep to what is not there any more, or began when nobody was: without them the next datagram is given an instance anew.
/// `local`: the addresses of this machine. What leads somewhere else than services' doors is left alone.
pub fn stale<'f>(flows: &'f [Flow], before: &Relays, now: &Relays, local: &BTreeSet<Ipv4Addr>) -> Vec<&'f Flow> {
    let mut serving: BTreeMap<Door, BTreeSet<SocketAddrV4>> = BTreeMap::new();
    for relay in now.values() {
        let servers = relay.servers.values().chain(relay.leaving.values().map(|l| &l.server));
        let at: BTreeSet<SocketAddrV4> = servers.filter_map(|s| Some(SocketAddrV4::new(s.address.parse().ok()?, s.port))).collect();
        for door in &relay.doors {
            serving.entry(*door).or_insert_with(|| at.clone());
        }
    }
    let doors: BTreeSet<Door> = before.values().flat_map(|r| &r.doors).chain(serving.keys()).copied().collect();
    let is_stale = |flow: &&Flow| {
        let fits = |door: &&Door| door.port == flow.to.port() && door.address.map_or_else(|| local.contains(flow.to.ip()), |a| a == *flow.to.ip());
        // The door of one address counts before that of all, as in the table.
        let Some(door) = doors.iter().filter(fits).max_by_key(|door| door.address.is_some()) else { return false };
        match serving.get(door) {
            Some(at) => !at.contains(&flow.answers_from),
            // The door is not a service's any more: it may be somebody else's, who answers there.
            None => flow.answers_from != flow.to,
        }
    };
    flows.iter().filter(is_stale).collect()
}

#[cfg(test)]
mod tests;
