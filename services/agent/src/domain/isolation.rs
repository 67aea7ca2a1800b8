//! What an instance may send and take in, as a table of the packet filter in its own network namespace. It goes with the instance,
//! stays over restarts of the agent, and is exchanged as a whole: one transaction of nftables. Pure: from the scheduler's word to the text.
//!
//! Packets of whoever began a connection are held against the rules, each of them: what is not allowed any more ends, what stays allowed
//! goes on. Answers pass with what they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use gantry_contract::proto::scheduler as wire;

use super::balance::Layout;
use super::guard::network;

/// Takes the table away, whether it is there or not.
pub const OPEN: &str = "table inet gantry_policy\ndelete table inet gantry_policy\n";

/// Refused at once rather than after a time-out: an application hears that it may not.
const REFUSE: &str = "reject with icmpx admin-prohibited";

/// What neighbours on a network need of each other before anything else (RFC 4861).
const NEIGHBOURS: &str = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert } accept";

/// What the table depends on besides the isolation itself.
pub struct Ground<'a> {
    /// The node as its pods see it.
    pub gateway: Option<Ipv4Addr>,
    /// Where the nodes are; what their balancers pass on comes from there.
    pub nodes: &'a BTreeSet<IpAddr>,
    /// Instances anywhere that do not take in everything.
    pub guarded: &'a BTreeSet<IpAddr>,
    /// The network of the node's balanced names.
    pub services: Option<Ipv4Addr>,
    pub resolvers: &'a [String],
    /// Where each balanced name is asked by instances.
    pub asked_at: &'a Asked,
}

/// Addresses and ports by the service's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub tcp: BTreeMap<String, BTreeSet<SocketAddrV4>>,
    pub udp: BTreeMap<String, BTreeSet<SocketAddrV4>>,
}

/// Where the balancer listens for the instances of the node.
pub fn asked_at(layout: &Layout, services: Option<Ipv4Addr>) -> Asked {
    let within = |address: &SocketAddrV4| services.is_some_and(|network| network.octets()[..2] == address.ip().octets()[..2]);
    let of = |(id, service): (&String, &super::balance::Service)| {
        let binds = service.shape.binds.iter().filter_map(|bind| bind.parse().ok()).filter(within);
        (id.clone(), binds.collect())
    };
    let led = |(id, relay): (&String, &super::datagrams::Relay)| {
        let doors = relay.doors.iter().filter_map(|door| Some(SocketAddrV4::new(door.address?, door.port))).filter(within);
        (id.clone(), doors.collect())
    };
    Asked { tcp: layout.services.iter().map(of).collect(), udp: layout.datagrams.iter().map(led).collect() }
}

/// The script that puts the table there, or in place of the one before it.
pub fn table(of: &wire::Isolation, ground: &Ground<'_>) -> String {
    let mut script = Script::default();
    let (mut output, mut guarded, mut input) = (String::new(), String::new(), String::new());
    for opening in &of.opened {
        script.rules(opening, "daddr", "return", &mut guarded);
    }
    for (family, set) in script.addresses(ground.guarded) {
        let _ = writeln!(output, "    {family} daddr @{set} jump guarded");
    }
    script.services(of, ground, &mut output);
    if of.egress {
        for resolver in ground.resolvers.iter().filter_map(|r| r.parse::<IpAddr>().ok()) {
            let _ = writeln!(output, "    {} daddr {resolver} meta l4proto {{ tcp, udp }} th dport 53 accept", family(resolver));
        }
        for opening in &of.to {
            script.rules(opening, "daddr", "accept", &mut output);
        }
        let _ = writeln!(output, "    {REFUSE}");
    }
    if of.ingress {
        let node: BTreeSet<IpAddr> = ground.gateway.map(IpAddr::V4).into_iter().chain(ground.nodes.iter().copied()).collect();
        for (family, set) in script.addresses(&node) {
            let _ = writeln!(input, "    {family} saddr @{set} accept");
        }
        for opening in &of.from {
            script.rules(opening, "saddr", "accept", &mut input);
        }
        let _ = writeln!(input, "    {REFUSE}");
    }
    format!(
        "{OPEN}table inet gantry_policy {{
{sets}  chain guarded {{
{guarded}    {REFUSE}
  }}
  chain output {{
    type filter hook output priority 10; policy accept;
    oifname \"lo\" accept
    ct state related accept
    ct direction reply accept
    {NEIGHBOURS}
{output}  }}
  chain input {{
    type filter hook input priority 10; policy accept;
    iifname \"lo\" accept
    ct state related accept
    ct direction reply accept
    {NEIGHBOURS}
{input}  }}
}}
",
        sets = script.sets
    )
}

/// The named sets of a table.
#[derive(Default)]
struct Script {
    sets: String,
    count: usize,
}

impl Script {
    /// A set of its own for each kind of address that there is, with the kind.
    fn networks<'t>(&mut self, of: impl Iterator<Item = &'t str>) -> Vec<(&'static str, String)> {
        let (mut four, mut six) = (BTreeSet::new(), BTreeSet::new());
        for one in of.filter_map(network) {
            if one.contains(':') {
                six.insert(one)
            } else {
                four.insert(one)
            };
        }
        let mut out = Vec::new();
        for (family, kind, all) in [("ip", "ipv4_addr", four), ("ip6", "ipv6_addr", six)] {
            if all.is_empty() {
                continue;
            }
            self.count += 1;
            let name = format!("n{}", self.count);
            let elements = all.into_iter().collect::<Vec<_>>().join(", ");
            let _ = writeln!(self.sets, "  set {name} {{ type {kind}; flags interval; auto-merge; elements = {{ {elements} }}; }}");
            out.push((family, name));
        }
        out
    }

    fn addresses(&mut self, of: &BTreeSet<IpAddr>) -> Vec<(&'static str, String)> {
        let texts: Vec<String> = of.iter().map(ToString::to_string).collect();
        self.networks(texts.iter().map(String::as_str))
    }

    /// `side`: saddr | daddr. An opening whose addresses are none lets nothing through.
    fn rules(&mut self, opening: &wire::Opening, side: &str, verdict: &str, out: &mut String) {
        let whom = if opening.everywhere {
            vec![String::new()]
        } else {
            let except = self.networks(opening.except.iter().map(String::as_str));
            let but = |family: &str| except.iter().filter(|(f, _)| *f == family).map(|(f, set)| format!("{f} {side} != @{set} ")).collect::<String>();
            let networks = self.networks(opening.networks.iter().map(String::as_str));
            networks.into_iter().map(|(family, set)| format!("{family} {side} @{set} {}", but(family))).collect()
        };
        for whom in whom {
            for ports in ports(&opening.ports) {
                let _ = writeln!(out, "    {whom}{ports}{verdict}");
            }
        }
    }

    /// Balanced names: the node asks in the instance's place, so whom it may ask is kept here.
    fn services(&mut self, of: &wire::Isolation, ground: &Ground<'_>, out: &mut String) {
        let may = |id: &String| if of.egress { of.services.contains(id) } else { !of.refused.contains(id) };
        let text = |all: Vec<(&String, &BTreeSet<SocketAddrV4>)>| {
            let binds: BTreeSet<SocketAddrV4> = all.into_iter().flat_map(|(_, binds)| binds).copied().collect();
            binds.iter().map(|bind| format!("{} . {}", bind.ip(), bind.port())).collect::<Vec<_>>().join(", ")
        };
        for (protocol, suffix, all) in [("tcp", "", &ground.asked_at.tcp), ("udp", "_udp", &ground.asked_at.udp)] {
            let (asked, shut): (Vec<_>, Vec<_>) = all.iter().partition(|(id, _)| may(id));
            for (name, binds, verdict) in [("shut", text(shut), REFUSE), ("asked", if of.egress { text(asked) } else { String::new() }, "accept")] {
                if !binds.is_empty() {
                    let _ = writeln!(self.sets, "  set {name}{suffix} {{ type ipv4_addr . inet_service; elements = {{ {binds} }}; }}");
                    let _ = writeln!(out, "    ip daddr . {protocol} dport @{name}{suffix} {verdict}");
                }
            }
        }
        if let Some(network) = ground.services.filter(|_| of.egress) {
            // A name that has gone may still be answering.
            let _ = writeln!(out, "    ip daddr {network}/16 ct state new {REFUSE}");
            let _ = writeln!(out, "    ip daddr {network}/16 accept");
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "ip6" } else { "ip" }
}

/// One condition for each protocol; the empty one if there are no limits, and none if nothing is open.
fn ports(all: &[wire::PortRange]) -> Vec<String> {
    if all.iter().any(|p| p.protocol.is_empty()) {
        return vec![String::new()];
    }
    let mut out = Vec::new();
    for protocol in ["tcp", "udp", "sctp"] {
        let ranges = merged(all.iter().filter(|p| p.protocol == protocol).map(|p| (p.first, p.last.min(65_535))).collect());
        if ranges.is_empty() {
            continue;
        }
        let all = ranges == [(0, 65_535)];
        let texts = ranges.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
        let dport = if all { String::new() } else { format!("th dport {{ {} }} ", texts.collect::<Vec<_>>().join(", ")) };
        out.push(format!("meta l4proto {protocol} {dport}"));
    }
    out
}

/// Ranges that do not meet: nftables takes no others in one list.
fn merged(mut all: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    all.retain(|(first, last)| first <= last);
    all.sort_unstable();
    let mut out: Vec<(u32, u32)> = Vec::new();
    for (first, last) in all {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

/// The address that a namespace's default route leads to by its first interface, from its `/proc/<pid>/net/route`; addresses there are
/// numbers in the machine's order of bytes (proc_pid_net(5)).
pub fn gateway(routes: &str) -> Option<Ipv4Addr> {
    let mut defaults: Vec<(&str, u32)> = Vec::new();
    for line in routes.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [interface, "00000000", gateway, ..] = words[..]
            && let Ok(number) = u32::from_str_radix(gateway, 16)
            && number != 0
        {
            defaults.push((interface, number));
        }
    }
    let chosen = defaults.iter().find(|(interface, _)| *interface == "eth0").or(defaults.first())?;
    Some(Ipv4Addr::from(chosen.1.to_ne_bytes()))
}

#[cfg(test)]
mod tests;
