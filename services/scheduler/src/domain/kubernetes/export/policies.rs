//! Who may reach whom, as NetworkPolicies; and what their parts are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::pod;
use crate::domain::export::Fields;
use crate::domain::model::{Peer, Policy, PolicyPort, PolicyRule, Selector};

pub fn selector(s: &Selector) -> Value {
    let mut out = Fields::default();
    out.put("matchLabels", json!(s.labels));
    out.put("matchExpressions", pod::expressions(&s.matches, str::to_owned));
    out.into()
}

pub fn policy(p: &Policy) -> Value {
    let mut spec = Fields::default();
    spec.set("podSelector", selector(&p.selector));
    let mut types = Vec::new();
    for (key, kind, peers, rules) in [("ingress", "Ingress", "from", &p.ingress), ("egress", "Egress", "to", &p.egress)] {
        let Some(rules) = rules else { continue };
        types.push(kind);
        let one = |rule: &PolicyRule| {
            let mut out = Fields::default();
            let peer = |p: &Peer| {
                let mut out = Fields::default();
                if let Some(s) = &p.workloads {
                    out.set("podSelector", selector(s));
                }
                if let Some(s) = &p.spaces {
                    out.set("namespaceSelector", selector(s));
                }
                if !p.cidr.is_empty() {
                    let mut blocks = Fields::default();
                    blocks.put("cidr", block(&p.cidr));
                    blocks.put("except", json!(p.except.iter().map(|network| block(network)).collect::<Vec<_>>()));
                    out.put("ipBlock", blocks);
                }
                Value::from(out)
            };
            let port = |p: &PolicyPort| {
                let mut out = Fields::default();
                out.put("protocol", p.protocol.to_uppercase());
                out.put("port", p.port.parse::<u32>().map_or_else(|_| Value::from(p.port.as_str()), Value::from));
                out.put("endPort", p.end_port);
                Value::from(out)
            };
            out.put(peers, rule.peers.iter().map(peer).collect::<Vec<_>>());
            out.put("ports", rule.ports.iter().map(port).collect::<Vec<_>>());
            Value::from(out)
        };
        spec.set(key, rules.iter().map(one).collect::<Vec<_>>());
    }
    spec.set("policyTypes", json!(types));
    spec.into()
}

/// A network as the API takes it: with its length, and nothing behind that (KEP-4858; newer servers refuse `192.0.2.7/24`).
pub fn block(network: &str) -> String {
    let (address, length) = network.split_once('/').map_or((network, None), |(address, length)| (address, length.parse::<u32>().ok()));
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let length = length.unwrap_or(32).min(32);
            format!("{}/{length}", Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)))
        }
        Ok(IpAddr::V6(ip)) => {
            let length = length.unwrap_or(128).min(128);
            format!("{}/{length}", Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)))
        }
        // The cluster says what is wrong with it.
        Err(_) => network.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn networks_are_written_as_newer_servers_take_them() {
        let told = ["192.0.2.0/24", "192.0.2.7/24", "192.0.2.7", "0.0.0.0/0", "2001:DB8::7/32", "2001:db8::7", "::/0", "any"].map(super::block);
        let expected = ["192.0.2.0/24", "192.0.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8::7/128", "::/0", "any"];
        assert_eq!(told, expected);
    }
}
