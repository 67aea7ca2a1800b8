//! Further interfaces of an instance: which configuration the network plug-in of each gets, and how it is limited.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use gantry_contract::proto::scheduler as wire;
use serde_json::{Value, json};

/// How a container is put right on a network of the node: by the plug-in of the same name, but for a VXLAN, whose end the agent makes.
const DRIVERS: [&str; 4] = ["macvlan", "ipvlan", "vlan", "vxlan"];
/// Port of VXLAN (RFC 7348).
const VXLAN_PORT: u32 = 4789;
/// Behind it is whatever no other entry knows.
const ANYBODY: &str = "00:00:00:00:00:00";

/// The first sentence about what is wrong with one: it comes from elsewhere, and goes into commands and paths.
///
/// # Errors
/// That sentence.
pub fn checked(nic: &wire::Nic) -> Result<(), String> {
    if !DRIVERS.contains(&nic.driver.as_str()) {
        return Err(format!("no network driver `{}`", nic.driver));
    }
    if !is_interface(&nic.parent) || !(nic.interface.is_empty() || is_interface(&nic.interface)) {
        return Err(format!("`{}` or `{}` is no name of an interface", nic.parent, nic.interface));
    }
    if nic.driver == "vlan" && !(1..=4094).contains(&nic.vlan) {
        return Err(format!("{} is no number of a VLAN", nic.vlan));
    }
    if nic.driver == "vxlan" && (!(1..1 << 24).contains(&nic.vni) || nic.dst_port > 65_535) {
        return Err(format!("{} is no number of a VXLAN, or {} no port", nic.vni, nic.dst_port));
    }
    let end = |text: &str| text.is_empty() || text.parse::<Ipv4Addr>().is_ok();
    if !end(&nic.multicast) || !end(&nic.remote) {
        return Err(format!("`{}` or `{}` is no address of another end of a VXLAN", nic.multicast, nic.remote));
    }
    let network = |text: &str| text.split_once('/').is_some_and(|(a, l)| a.parse::<IpAddr>().is_ok() && l.parse::<u8>().is_ok_and(|l| l <= 128));
    let address = |text: &str| text.is_empty() || text.parse::<IpAddr>().is_ok();
    if !(nic.subnet.is_empty() || network(&nic.subnet)) || !(nic.range.is_empty() || network(&nic.range)) || !address(&nic.gateway) || !address(&nic.address) {
        return Err(format!("the addresses of network `{}` are none", nic.network));
    }
    if !nic.address.is_empty() && nic.subnet.is_empty() {
        return Err(format!("network `{}` has no subnet for {}", nic.network, nic.address));
    }
    let hexadecimal = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if !nic.mac.is_empty() && !(nic.mac.split(':').count() == 6 && nic.mac.split(':').all(hexadecimal)) {
        return Err(format!("`{}` is no MAC address", nic.mac));
    }
    Ok(())
}

/// As the kernel takes them: at most 15 characters (`IFNAMSIZ`).
fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) && !name.starts_with('.')
}

/// Its name in the container; `at`: its place among the further ones, from 0.
pub fn name(nic: &wire::Nic, at: usize) -> String {
    if nic.interface.is_empty() { format!("net{}", at + 1) } else { nic.interface.clone() }
}

/// The configuration of its plug-in (CNI 0.4.0). `leases`: where addresses that are given out are written down; all that share a network of
/// the node share them, whoever they are.
pub fn configuration(nic: &wire::Nic, leases: &Path) -> Value {
    let length = nic.subnet.split_once('/').map_or("", |(_, length)| length);
    let ipam = match (nic.address.is_empty(), nic.subnet.is_empty()) {
        (false, _) => json!({"type": "static", "addresses": [{"address": format!("{}/{length}", nic.address)}]}),
        (true, false) => {
            let mut range = json!({"subnet": nic.subnet});
            if let Some((first, last)) = ends(&nic.range) {
                (range["rangeStart"], range["rangeEnd"]) = (first.into(), last.into());
            }
            if !nic.gateway.is_empty() {
                range["gateway"] = nic.gateway.clone().into();
            }
            json!({"type": "host-local", "dataDir": leases, "ranges": [[range]]})
        }
        (true, true) => json!({}),
    };
    let number = if nic.driver == "vxlan" { nic.vni } else { nic.vlan };
    let master = device(nic).unwrap_or_else(|| nic.parent.clone());
    let network = format!("{master}-{number}-{}", nic.subnet).replace(['/', ':'], "_");
    let mut out = json!({"cniVersion": "0.4.0", "name": network, "type": plugin(nic), "master": master, "ipam": ipam});
    match plugin(nic) {
        "vlan" => out["vlanId"] = nic.vlan.into(),
        driver => {
            let usual = if driver == "ipvlan" { "l2" } else { "bridge" };
            out["mode"] = if nic.mode.is_empty() { usual.into() } else { nic.mode.clone().into() };
        }
    }
    if !nic.mac.is_empty() {
        (out["capabilities"], out["runtimeConfig"]) = (json!({"mac": true}), json!({"mac": nic.mac}));
    }
    out
}

/// The plug-in that puts it into the container.
pub fn plugin(nic: &wire::Nic) -> &str {
    // On the node's end of a VXLAN instances stand side by side, each with a MAC address of its own.
    if nic.driver == "vxlan" { "macvlan" } else { &nic.driver }
}

/// The node's end of a VXLAN: one device for each number, whoever uses it. Nothing for others.
pub fn device(nic: &wire::Nic) -> Option<String> {
    (nic.driver == "vxlan").then(|| format!("gvx{}", nic.vni))
}

/// What `ip` is asked for to make it.
pub fn overlay(nic: &wire::Nic, device: &str) -> Vec<String> {
    let port = if nic.dst_port == 0 { VXLAN_PORT } else { nic.dst_port };
    let mut words = format!("link add {device} type vxlan id {} dev {} dstport {port}", nic.vni, nic.parent);
    for (word, end) in [("group", &nic.multicast), ("remote", &nic.remote)] {
        if !end.is_empty() {
            words = format!("{words} {word} {end}");
        }
    }
    words.split(' ').map(str::to_owned).collect()
}

/// Are its other ends the other nodes?
pub fn is_of_nodes(nic: &wire::Nic) -> bool {
    nic.multicast.is_empty() && nic.remote.is_empty()
}

/// The arguments of `bridge` by which what no entry knows is sent to the other nodes, each of them, and to nobody else. `there`: what
/// `bridge fdb show dev <device>` says.
pub fn peers(device: &str, there: &str, nodes: &BTreeSet<Ipv4Addr>) -> Vec<Vec<String>> {
    let end = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| *w == "dst")?;
        (words.first() == Some(&ANYBODY)).then(|| words.get(at + 1)?.parse::<Ipv4Addr>().ok()).flatten()
    };
    let now: BTreeSet<Ipv4Addr> = there.lines().filter_map(end).collect();
    let words = |verb: &str, node: &Ipv4Addr| format!("fdb {verb} {ANYBODY} dev {device} dst {node}").split(' ').map(str::to_owned).collect::<Vec<String>>();
    let (new, gone) = (nodes.difference(&now), now.difference(nodes));
    new.map(|node| words("append", node)).chain(gone.map(|node| words("delete", node))).collect()
}

/// First and last address of a network of IPv4 that can be given out.
fn ends(network: &str) -> Option<(String, String)> {
    let (address, length) = network.split_once('/')?;
    let (IpAddr::V4(address), length) = (address.parse().ok()?, length.parse::<u32>().ok().filter(|l| *l <= 32)?) else { return None };
    let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
    let first = u32::from(address) & !hosts;
    let (low, high) = if hosts > 1 { (first + 1, first + hosts - 1) } else { (first, first + hosts) };
    Some((std::net::Ipv4Addr::from(low).to_string(), std::net::Ipv4Addr::from(high).to_string()))
}

/// The commands that limit it, to be run in its network namespace. What comes in is led over a device of its own, as the CNI plug-in for
/// bandwidth does it: only what goes out of a device can be held back.
pub fn limits(nic: &wire::Nic, interface: &str) -> Vec<Vec<String>> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // A tenth of a second's worth may go at once, and a few packets in any case.
    let slowed = |device: &str, bps: u64| words(format!("tc qdisc add dev {device} root tbf rate {bps}bit burst {} latency 50ms", (bps / 80).max(32_000)));
    let mut out = Vec::new();
    if nic.up_bps > 0 {
        out.push(slowed(interface, nic.up_bps));
    }
    if nic.down_bps > 0 {
        let way = format!("{}in", interface.get(..13).unwrap_or(interface));
        out.push(words(format!("ip link add {way} type ifb")));
        out.push(words(format!("ip link set {way} up")));
        out.push(slowed(&way, nic.down_bps));
        out.push(words(format!("tc qdisc add dev {interface} handle ffff: ingress")));
        out.push(words(format!("tc filter add dev {interface} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev {way}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic() -> wire::Nic {
        wire::Nic { network: "lan".into(), driver: "macvlan".into(), parent: "eth1".into(), subnet: "192.0.2.0/24".into(), ..Default::default() }
    }

    #[test]
    fn addresses_are_fixed_or_come_from_a_range() {
        let leases = Path::new("/l");
        let fixed = configuration(&wire::Nic { address: "192.0.2.10".into(), mac: "02:00:00:00:00:0a".into(), ..nic() }, leases);
        assert_eq!(fixed["ipam"], json!({"type": "static", "addresses": [{"address": "192.0.2.10/24"}]}));
        assert_eq!((&fixed["mode"], &fixed["runtimeConfig"]["mac"]), (&json!("bridge"), &json!("02:00:00:00:00:0a")));
        let given = configuration(&wire::Nic { range: "192.0.2.128/28".into(), gateway: "192.0.2.1".into(), ..nic() }, leases);
        let range = json!({"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.129", "rangeEnd": "192.0.2.142", "gateway": "192.0.2.1"});
        assert_eq!(given["ipam"]["ranges"], json!([[range]]));
        assert_eq!(given["name"], "eth1-0-192.0.2.0_24");
        let plain = configuration(&wire::Nic { subnet: String::new(), driver: "vlan".into(), vlan: 7, ..nic() }, leases);
        assert_eq!((&plain["ipam"], &plain["vlanId"]), (&json!({}), &json!(7)));
        assert_eq!(ends("10.0.0.0/31"), Some(("10.0.0.0".into(), "10.0.0.1".into())));
    }

    #[test]
    fn a_vxlan_has_one_end_on_the_node_for_all_that_use_it() {
        let overlay_nic = wire::Nic { driver: "vxlan".into(), vni: 42, ..nic() };
        assert_eq!((checked(&overlay_nic), device(&overlay_nic).as_deref(), device(&nic())), (Ok(()), Some("gvx42"), None));
        let made = configuration(&overlay_nic, Path::new("/l"));
        assert_eq!((&made["type"], &made["master"], &made["mode"]), (&json!("macvlan"), &json!("gvx42"), &json!("bridge")));
        assert_eq!(made["name"], "gvx42-42-192.0.2.0_24");
        let words = |nic: &wire::Nic| overlay(nic, "gvx42").join(" ");
        assert_eq!(words(&overlay_nic), "link add gvx42 type vxlan id 42 dev eth1 dstport 4789");
        let group = wire::Nic { multicast: "239.1.1.1".into(), dst_port: 8472, ..overlay_nic.clone() };
        assert_eq!(words(&group), "link add gvx42 type vxlan id 42 dev eth1 dstport 8472 group 239.1.1.1");
        assert!(is_of_nodes(&overlay_nic) && !is_of_nodes(&group));
        for bad in
            [wire::Nic { vni: 0, ..overlay_nic.clone() }, wire::Nic { vni: 1 << 24, ..overlay_nic.clone() }, wire::Nic { remote: "x y".into(), ..overlay_nic }]
        {
            assert!(checked(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_ends_of_a_vxlan_are_the_other_nodes() {
        let there = "02:e5:fc:2c:1e:ba dst 192.0.2.2 self \n00:00:00:00:00:00 dst 192.0.2.2 self permanent\n00:00:00:00:00:00 dst 192.0.2.3 self permanent\n";
        let nodes: BTreeSet<Ipv4Addr> = ["192.0.2.2", "192.0.2.4"].map(|a| a.parse().unwrap()).into();
        let told: Vec<String> = peers("gvx42", there, &nodes).into_iter().map(|w| w.join(" ")).collect();
        assert_eq!(told, ["fdb append 00:00:00:00:00:00 dev gvx42 dst 192.0.2.4", "fdb delete 00:00:00:00:00:00 dev gvx42 dst 192.0.2.3"]);
        assert!(peers("gvx42", "33:33:00:00:00:01 self permanent\n00:00:00:00:00:00 dst\n", &BTreeSet::new()).is_empty());
    }

    #[test]
    fn what_is_no_interface_or_address_is_refused() {
        assert_eq!(checked(&nic()), Ok(()));
        let bad = [
            wire::Nic { driver: "../x".into(), ..nic() },
            wire::Nic { parent: "eth1; reboot".into(), ..nic() },
            wire::Nic { interface: "a-name-that-is-too-long".into(), ..nic() },
            wire::Nic { driver: "vlan".into(), vlan: 4095, ..nic() },
            wire::Nic { subnet: "192.0.2.0".into(), ..nic() },
            wire::Nic { address: "x".into(), ..nic() },
            wire::Nic { address: "192.0.2.1".into(), subnet: String::new(), ..nic() },
            wire::Nic { mac: "02:00".into(), ..nic() },
        ];
        for one in bad {
            assert!(checked(&one).is_err(), "{one:?}");
        }
    }

    #[test]
    fn both_ways_are_limited() {
        let lines: Vec<String> = limits(&wire::Nic { up_bps: 8_000_000, down_bps: 1, ..nic() }, "net1").into_iter().map(|l| l.join(" ")).collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "tc qdisc add dev net1 root tbf rate 8000000bit burst 100000 latency 50ms");
        assert_eq!(lines[3], "tc qdisc add dev net1in root tbf rate 1bit burst 32000 latency 50ms");
        assert!(lines[5].ends_with("redirect dev net1in"));
        assert!(limits(&nic(), "net1").is_empty());
    }
}
