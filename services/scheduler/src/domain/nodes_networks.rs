//! Networks of the nodes that instances are put right into (macvlan, ipvlan, vlan, vxlan): what cannot be one is named, and a workload with a
//! fixed address is one instance, whose old one goes before the new one comes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::block::Block;
use super::document::Remarks;
use super::model::{Model, Network, Nic, Subnet, Workload, WorkloadKind};

pub fn sound(model: &mut Model, remarks: &Remarks) {
    let networks: BTreeMap<String, Network> = model.networks.iter().filter(|(_, n)| n.is_of_nodes()).map(|(name, n)| (name.clone(), n.clone())).collect();
    for (name, network) in &networks {
        for (field, detail) in faults(network) {
            remarks.wrong_at(&format!("networks.{name}.{field}"), detail);
        }
    }
    for (name, workload) in &mut model.workloads {
        for n in 0..workload.nics.len() {
            let nic = &workload.nics[n];
            let Some(network) = networks.get(&nic.network) else { continue };
            let at = format!("workloads.{name}.nics[{n}]");
            for detail in misplaced(nic, network, workload) {
                remarks.wrong_at(&at, detail);
            }
            if !nic.address4.is_empty() {
                // Two cannot have it at once.
                workload.update.max_unavailable = workload.update.max_unavailable.max(1);
                workload.update.surge = 0;
            }
        }
    }
}

fn faults(network: &Network) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if !is_interface(network.parent()) {
        out.push(("options", format!("`{}`: `parent` must name the nodes' interface that the network is reached by, such as eth1", network.parent())));
    }
    if network.driver == "vlan" && !(1..=4094).contains(&network.vlan()) {
        out.push(("options", "`vlan` must be a number from 1 to 4094".into()));
    }
    if network.driver == "vxlan" {
        out.extend(overlay(network).into_iter().map(|detail| ("options", detail)));
    }
    let modes: &[&str] = match network.driver.as_str() {
        "macvlan" => &["", "bridge", "private", "vepa", "passthru"],
        "ipvlan" => &["", "l2", "l3", "l3s"],
        _ => &[""],
    };
    if !modes.contains(&network.mode()) {
        out.push(("options", format!("`{}`: `mode` must be one of {}", network.mode(), modes[1..].join(", "))));
    }
    for Subnet { subnet, gateway, range } in &network.subnets {
        let Some(whole) = block_of(subnet) else {
            out.push(("subnets", format!("`{subnet}` must be a network of IPv4 such as 192.0.2.0/24")));
            continue;
        };
        let holds = |address: &str| address.parse().is_ok_and(|a| whole.holds(a));
        if !gateway.is_empty() && !holds(gateway) {
            out.push(("subnets", format!("the gateway `{gateway}` is no address of {subnet}")));
        }
        if !range.is_empty() && block_of(range).is_none_or(|part| !whole.covers(part)) {
            out.push(("subnets", format!("the range `{range}` is no part of {subnet}")));
        }
    }
    out
}

/// RFC 7348: 24 bits of a number, carried over UDP, to one end or a group of them.
fn overlay(network: &Network) -> Vec<String> {
    let mut out = Vec::new();
    if !(1..1 << 24).contains(&network.vni()) {
        out.push("`id` must be the VXLAN's number, from 1 to 16777215".to_owned());
    }
    if network.dst_port().is_none() {
        out.push("`dstport` must be a port from 1 to 65535".to_owned());
    }
    let (group, remote) = (network.other_end("group"), network.other_end("remote"));
    if !group.is_empty() && !group.parse::<Ipv4Addr>().is_ok_and(|g| g.is_multicast()) {
        out.push(format!("`{group}`: `group` must be an address of multicast such as 239.1.1.1"));
    }
    if !remote.is_empty() && !remote.parse::<Ipv4Addr>().is_ok_and(|r| !r.is_multicast() && !r.is_unspecified()) {
        out.push(format!("`{remote}`: `remote` must be the address of the other end"));
    }
    if !group.is_empty() && !remote.is_empty() {
        out.push("either `group` or `remote` says where the other ends are".to_owned());
    }
    out
}

fn misplaced(nic: &Nic, network: &Network, workload: &Workload) -> Vec<String> {
    let mut out = Vec::new();
    if !nic.interface.is_empty() && (!is_interface(&nic.interface) || matches!(nic.interface.as_str(), "lo" | "eth0")) {
        out.push(format!("`{}` must be a name of an interface, at most 15 characters, and neither lo nor eth0", nic.interface));
    }
    if !nic.mac.is_empty() && !matches!(network.driver.as_str(), "macvlan" | "vxlan") {
        out.push(format!("`{}`: interfaces of {} have no MAC address of their own", nic.mac, network.driver));
    }
    if nic.address4.is_empty() {
        return out;
    }
    let within = network.subnets.first().and_then(|s| block_of(&s.subnet)).is_some_and(|block| nic.address4.parse().is_ok_and(|a| block.holds(a)));
    if !within {
        out.push(format!("`{}` is no address of the subnet of network `{}`", nic.address4, nic.network));
    }
    if workload.replicas > 1 || workload.scaling.is_some() || matches!(workload.kind, WorkloadKind::Global) {
        out.push(format!("the address `{}` is fixed, so there can be one instance only; leave it out, or make a workload for each address", nic.address4));
    }
    out
}

/// As the kernel takes them: at most 15 characters (`IFNAMSIZ`).
fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) && !name.starts_with('.')
}

/// Networks of the nodes are of IPv4.
fn block_of(subnet: &str) -> Option<Block> {
    Block::parse(subnet).filter(|block| block.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::super::compose;
    use super::super::document::{Document, Level};
    use super::*;

    fn read(networks: &str, service: &str) -> (Model, Vec<String>) {
        let text = format!("services:\n  web:\n    image: a/b/c\n    expose: ['80']\n    {service}\nnetworks:\n  lan: {networks}\n");
        let reading = compose::read(&Document::alone(&text));
        let wrong = reading.remarks.into_list().into_iter().filter(|r| r.level == Level::Wrong).map(|r| r.detail).collect();
        (reading.model, wrong)
    }

    const LAN: &str = "{driver: macvlan, driver_opts: {parent: eth1}, ipam: {config: [{subnet: 192.0.2.0/24, gateway: 192.0.2.1, ip_range: 192.0.2.128/28}]}}";

    #[test]
    fn a_fixed_address_makes_the_old_instance_go_first() {
        let (model, wrong) = read(LAN, "networks: {default: {}, lan: {ipv4_address: 192.0.2.10}}");
        assert_eq!(wrong, Vec::<String>::new());
        let web = model.workloads.values().next().unwrap();
        assert_eq!((web.update.surge, web.update.max_unavailable), (0, 1));
        assert!(super::super::lacks::containerd(&model).iter().all(|l| !l.at.contains("nics") && !l.at.contains("networks")), "it is done");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let of = |networks: &str, service: &str| read(networks, service).1.join("\n");
        let lan = "networks: {lan: {ipv4_address: 192.0.2.10}}";
        assert!(of(LAN, "networks: {lan: {ipv4_address: 198.51.100.1}}").contains("no address of the subnet"));
        assert!(of(LAN, "networks: {lan: {ipv4_address: 192.0.2.10}}\n    deploy: {replicas: 2}").contains("one instance only"));
        assert!(of("{driver: macvlan}", "networks: {lan: {}}").contains("`parent` must name"));
        assert!(of("{driver: vlan, driver_opts: {parent: eth1, vlan: '5000'}}", "networks: {lan: {}}").contains("1 to 4094"));
        assert!(of("{driver: ipvlan, driver_opts: {parent: eth1, mode: bridge}}", "networks: {lan: {}}").contains("one of l2, l3, l3s"));
        let outside = "{driver: macvlan, driver_opts: {parent: eth1}, ipam: {config: [{subnet: 192.0.2.0/24, ip_range: 10.0.0.0/28, gateway: 10.0.0.1}]}}";
        let told = of(outside, lan);
        assert!(told.contains("the range `10.0.0.0/28`") && told.contains("the gateway `10.0.0.1`"), "{told}");
    }

    #[test]
    fn a_vxlan_has_a_number_and_says_where_its_other_ends_are() {
        let of = |options: &str| {
            let (model, wrong) = read(&format!("{{driver: vxlan, driver_opts: {options}}}"), "networks: {lan: {}}");
            let lacks = super::super::lacks::containerd(&model).into_iter().any(|l| l.at.contains("networks.lan"));
            (wrong.join("\n"), lacks)
        };
        for good in
            ["{parent: eth1, id: '42'}", "{parent: eth1, id: '16777215', dstport: '8472', group: 239.1.1.1}", "{parent: eth1, vni: '1', remote: 192.0.2.7}"]
        {
            assert_eq!(of(good), (String::new(), false), "{good}");
        }
        for (bad, part) in [
            ("{parent: eth1}", "from 1 to 16777215"),
            ("{parent: eth1, id: '16777216'}", "from 1 to 16777215"),
            ("{id: '42'}", "`parent` must name"),
            ("{parent: eth1, id: '42', dstport: '0'}", "`dstport` must be"),
            ("{parent: eth1, id: '42', group: 192.0.2.1}", "an address of multicast"),
            ("{parent: eth1, id: '42', remote: example.org}", "the address of the other end"),
            ("{parent: eth1, id: '42', remote: 192.0.2.1, group: 239.1.1.1}", "either `group` or `remote`"),
        ] {
            assert!(of(bad).0.contains(part), "{bad}: {}", of(bad).0);
        }
        assert!(of("{parent: eth1, id: '42', mode: bridge}").1, "what has no effect is listed");
    }

    #[test]
    fn nodes_have_blocks_of_ipv4_alone() {
        assert!(block_of("10.0.0.0/24").is_some());
        assert!(block_of("10.0.0.0/33").is_none() && block_of("fd00::/8").is_none());
    }
}
