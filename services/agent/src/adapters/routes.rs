//! The kernel's routes to other nodes' pods: known by their protocol number, so that nobody else's are touched.

use std::collections::BTreeMap;

use super::machine::{self, CommandError};

/// Numbers above 4 and without a name in /etc/iproute2/rt_protos are free for use.
const PROTOCOL: &str = "71";

/// Ours that are there now: network to gateway.
///
/// # Errors
/// When `ip` fails.
pub async fn present() -> Result<BTreeMap<String, String>, CommandError> {
    Ok(read(&machine::run("ip", &["-4", "route", "show", "proto", PROTOCOL]).await?))
}

/// Adds a route, or leads it to another gateway.
///
/// # Errors
/// When the kernel refuses: the gateway is on no network of this machine.
pub async fn set(network: &str, gateway: &str) -> Result<(), CommandError> {
    machine::run("ip", &["-4", "route", "replace", network, "via", gateway, "proto", PROTOCOL]).await.map(drop)
}

/// # Errors
/// When there is none.
pub async fn remove(network: &str) -> Result<(), CommandError> {
    machine::run("ip", &["-4", "route", "delete", network, "proto", PROTOCOL]).await.map(drop)
}

/// `10.62.0.0/16 via 192.168.0.2 dev eth0`, a line each.
fn read(text: &str) -> BTreeMap<String, String> {
    let route = |line: &str| {
        let mut words = line.split_whitespace();
        let network = words.next()?.to_owned();
        (words.next()? == "via").then_some((network, words.next()?.to_owned()))
    };
    text.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_ip_prints_them() {
        let text = "10.62.0.0/16 via 192.168.0.2 dev eth0 \n10.63.0.0/24 via 192.168.0.3 dev eth0 linkdown \n";
        let expected = [("10.62.0.0/16", "192.168.0.2"), ("10.63.0.0/24", "192.168.0.3")];
        assert_eq!(read(text), expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    }
}
