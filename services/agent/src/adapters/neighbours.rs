//! Tells the machines of a network that an address is here now: what they remember of it leads to the node that had it (RFC 5227, 3:
//! gratuitous ARP).

use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::process::Command;

/// Without it neighbours find out when what they remember ages, within a minute or so. It is not waited for.
pub fn tell(address: Ipv4Addr, interface: &str) {
    let mut command = Command::new("arping");
    command.args(["-U", "-c", "3", "-I"]).arg(interface).arg(address.to_string());
    let begun = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Err(error) = begun {
        tracing::warn!(%address, interface, %error, "neighbours cannot be told of a public address: is arping (iputils) there?");
    }
}
