//! Network policies that say nothing that could be kept: each fault is named where it stands.

use crate::domain::block::Block;
use crate::domain::document::Remarks;
use crate::domain::model::{Model, Peer, Policy, PolicyPort};

pub fn sound(model: &Model, remarks: &Remarks) {
    for (name, policy) in &model.policies {
        for detail in faults(policy) {
            remarks.wrong_at(&format!("policies.{name}"), detail);
        }
    }
}

fn faults(policy: &Policy) -> Vec<String> {
    let rules = policy.ingress.iter().chain(&policy.egress).flatten();
    rules.flat_map(|rule| rule.peers.iter().flat_map(of_peer).chain(rule.ports.iter().filter_map(of_port))).collect()
}

fn of_peer(peer: &Peer) -> Vec<String> {
    let mut out = Vec::new();
    let selects = peer.workloads.is_some() || peer.spaces.is_some();
    if peer.cidr.is_empty() {
        if !selects {
            out.push("a peer names whom it means: by labels, by the labels of spaces, or by a block of addresses".to_owned());
        }
        return out;
    }
    if selects {
        out.push(format!("`{}`: a block of addresses stands alone, without selectors", peer.cidr));
    }
    let Some(whole) = Block::parse(&peer.cidr) else {
        out.push(format!("`{}` must be a block of addresses such as 192.0.2.0/24", peer.cidr));
        return out;
    };
    for part in &peer.except {
        if Block::parse(part).is_none_or(|b| !whole.covers(b)) {
            out.push(format!("the exception `{part}` must be a block of addresses in {}", peer.cidr));
        }
    }
    out
}

fn of_port(port: &PolicyPort) -> Option<String> {
    if !matches!(port.protocol.as_str(), "" | "tcp" | "udp" | "sctp") {
        return Some(format!("`{}`: the protocol must be one of TCP, UDP, SCTP", port.protocol));
    }
    let number = port.port.bytes().all(|b| b.is_ascii_digit());
    if port.port.is_empty() {
        return (port.end_port > 0).then(|| "an end of ports needs a beginning".to_owned());
    }
    if !number {
        // As Kubernetes names ports (IANA_SVC_NAME of RFC 6335).
        let name = port.port.len() <= 15 && port.port.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        return (!name || port.end_port > 0).then(|| format!("`{}` must be a number from 1 to 65535, or the name of a port without an end", port.port));
    }
    match port.port.parse::<u16>() {
        Ok(first) if first > 0 && (port.end_port == 0 || port.end_port >= first) => None,
        Ok(first) if first > 0 => Some(format!("the ports end at {}, before they begin at {first}", port.end_port)),
        _ => Some(format!("`{}` must be a number from 1 to 65535, or the name of a port", port.port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::{PolicyRule, Selector};

    fn block(cidr: &str, except: &[&str]) -> Peer {
        Peer { cidr: cidr.into(), except: except.iter().map(|e| (*e).to_owned()).collect(), ..Peer::default() }
    }

    fn told(peers: Vec<Peer>, ports: &[(&str, &str, u16)]) -> String {
        let ports = ports.iter().map(|(protocol, port, end_port)| PolicyPort { protocol: (*protocol).into(), port: (*port).into(), end_port: *end_port });
        let rule = PolicyRule { peers, ports: ports.collect() };
        faults(&Policy { ingress: Some(vec![rule]), ..Policy::default() }).join("\n")
    }

    #[test]
    fn what_can_be_kept_has_no_fault() {
        let everybody = Peer { spaces: Some(Selector::default()), ..Peer::default() };
        let peers = vec![everybody, block("10.0.0.0/8", &["10.1.0.0/16"]), block("::/0", &[])];
        assert_eq!(told(peers, &[("tcp", "80", 90), ("udp", "", 0), ("sctp", "http-alt", 0), ("", "443", 0)]), "");
    }

    #[test]
    fn what_cannot_be_kept_is_named() {
        for (peer, part) in [
            (block("10.0.0.0", &[]), "`10.0.0.0` must be a block"),
            (block("10.0.0.0/8", &["192.0.2.0/24"]), "the exception `192.0.2.0/24`"),
            (Peer { workloads: Some(Selector::default()), ..block("10.0.0.0/8", &[]) }, "stands alone"),
            (Peer::default(), "names whom it means"),
        ] {
            assert!(told(vec![peer], &[]).contains(part), "{part}");
        }
        for (port, part) in [
            (("icmp", "80", 0), "must be one of TCP, UDP, SCTP"),
            (("tcp", "80", 70), "end at 70, before they begin at 80"),
            (("tcp", "http", 90), "without an end"),
            (("tcp", "", 90), "needs a beginning"),
            (("tcp", "0", 0), "from 1 to 65535"),
            (("tcp", "70000", 0), "from 1 to 65535"),
            (("tcp", "Two Words", 0), "from 1 to 65535"),
        ] {
            assert!(told(Vec::new(), &[port]).contains(part), "{part}: {}", told(Vec::new(), &[port]));
        }
    }
}
