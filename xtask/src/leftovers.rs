//! What the node agent leaves running on purpose when `gantryd` ends: HAProxy, addresses of services, the packet filter's table of
//! datagrams, ends of VXLANs, routes to other nodes' pods, the containers' bridge, mounts of instances. `down` ends them, because the
//! suite as a whole is meant to go.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use gantry_servers::{Home, Network, process, until};
use serde_json::{Map, Value};

use crate::work::{run, say};

/// # Errors
/// When HAProxy lives on, or something cannot be unmounted.
pub fn clear(home: &Home, network: &Network) -> Result<()> {
    stop_haproxy(home)?;
    for words in network_leftovers(home) {
        // It may be gone already, after a reboot for one.
        let _ = Command::new(&words[0]).args(&words[1..]).output();
    }
    // Its route would catch the packets of whoever uses the same range later. Absent where nothing ever ran.
    let _ = Command::new("ip").args(["link", "delete", &network.bridge]).output();
    unmount_below(&home.file("agent"))?;
    unmount_below(&home.file("volumes"))
}

fn stop_haproxy(home: &Home) -> Result<()> {
    let folder = home.file("haproxy");
    let Ok(text) = fs::read_to_string(folder.join("haproxy.pid")) else { return Ok(()) };
    let Some(pid) = text.lines().next().and_then(|l| l.trim().parse::<u32>().ok()) else { return Ok(()) };
    // The number may be another process's by now: ours names our folder.
    let ours = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&folder.display().to_string()));
    if !ours() {
        return Ok(());
    }
    process::send(pid, process::Signal::Term);
    until("haproxy", Duration::from_secs(10), || if ours() { anyhow::bail!("it still runs as {pid}") } else { Ok(()) })?;
    say("haproxy stopped");
    Ok(())
}

/// The commands that take away what the agent has written down that it added to the machine's network; it adds all of it again when it
/// starts.
fn network_leftovers(home: &Home) -> Vec<Vec<String>> {
    let state = fs::read(home.file("agent").join("state/balancer.json")).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let mut all = state.as_ref().map(of_balancer).unwrap_or_default();
    for end in fs::read_dir(home.file("agent").join("nics/ends")).into_iter().flatten().flatten() {
        if let Ok(device) = end.file_name().into_string() {
            all.push(words(&["ip", "link", "delete", &device]));
        }
    }
    let routes = fs::read(home.file("agent").join("state/routes.json")).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    all.extend(routes.as_ref().map(of_routing).unwrap_or_default());
    all
}

/// The ways to other nodes' pods. Each by its gateway, and by the number that the agent gives its own (`adapters/routes.rs`): nobody else's.
fn of_routing(routes: &Value) -> Vec<Vec<String>> {
    let ways = routes.as_object().into_iter().flatten().filter_map(|(network, gateway)| Some((network, gateway.as_str()?)));
    ways.map(|(network, gateway)| words(&["ip", "-4", "route", "delete", network, "via", gateway, "proto", "71"])).collect()
}

fn of_balancer(state: &Value) -> Vec<Vec<String>> {
    let delete = |address: &str, interface: &str| words(&["ip", "address", "delete", &format!("{address}/32"), "dev", interface]);
    let none = Map::new();
    let all = |key: &str| state[key].as_object().unwrap_or(&none).clone();
    // Each service has an address on `lo`, by its name; public addresses have their interface.
    let mut out: Vec<_> = all("addresses").values().filter_map(Value::as_str).map(|address| delete(address, "lo")).collect();
    out.extend(all("public").iter().filter_map(|(address, interface)| Some(delete(address, interface.as_str()?))));
    if let Some(table) = state["table"].as_str().filter(|_| state["filtered"] == true) {
        out.push(words(&["nft", "delete", "table", "ip", table]));
    }
    // After the table, as the agent does it.
    if state["from_loopback"] == true {
        out.push(words(&["sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/all/route_localnet"]));
    }
    out
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

/// What containers left mounted would make a removal fail, or worse, reach through the mount.
///
/// # Errors
/// When `umount` refuses.
pub fn unmount_below(root: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mounts")?;
    let mut mounted: Vec<String> = table.lines().filter_map(|l| l.split(' ').nth(1)).map(|m| m.replace("\\040", " ")).collect();
    mounted.retain(|m| Path::new(m).starts_with(root));
    // Inner ones first.
    for place in mounted.iter().rev() {
        run(Command::new("umount").args(["-l", place]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_agent_added_to_the_network_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert!(network_leftovers(&home).is_empty(), "nothing ever ran");
        fs::create_dir_all(home.file("agent").join("state")).unwrap();
        fs::create_dir_all(home.file("agent").join("nics/ends")).unwrap();
        fs::write(home.file("agent").join("nics/ends/gvx42"), "").unwrap();
        let state = serde_json::json!({
            "layout": {}, "addresses": {"app.web": "10.100.1.2"}, "public": {"203.0.113.7": "eth0"},
            "filtered": true, "table": "gantry_udp_1a2b", "from_loopback": true,
        });
        fs::write(home.file("agent").join("state/balancer.json"), state.to_string()).unwrap();
        fs::write(home.file("agent").join("state/routes.json"), r#"{"10.62.0.0/16": "192.168.0.2"}"#).unwrap();
        let lines: Vec<String> = network_leftovers(&home).into_iter().map(|words| words.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "ip address delete 10.100.1.2/32 dev lo",
                "ip address delete 203.0.113.7/32 dev eth0",
                "nft delete table ip gantry_udp_1a2b",
                "sh -c echo 0 > /proc/sys/net/ipv4/conf/all/route_localnet",
                "ip link delete gvx42",
                "ip -4 route delete 10.62.0.0/16 via 192.168.0.2 proto 71",
            ]
        );
    }

    #[test]
    fn what_an_older_agent_wrote_down_says_less() {
        assert!(of_balancer(&serde_json::json!({"layout": {}, "filtered": true})).is_empty());
        assert_eq!(of_balancer(&serde_json::json!({"addresses": {"a": "10.100.1.2"}})).len(), 1);
    }
}
