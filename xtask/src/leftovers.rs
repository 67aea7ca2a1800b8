//! What the node agent leaves running on purpose when `gantryd` ends: HAProxy, addresses of services, the containers' bridge,
//! mounts of instances. `down` ends them, because the suite as a whole is meant to go.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use gantry_servers::{Home, Network, process, until};
use serde_json::Value;

use crate::work::{run, say};

/// # Errors
/// When HAProxy lives on, or something cannot be unmounted.
pub fn clear(home: &Home, network: &Network) -> Result<()> {
    stop_haproxy(home)?;
    remove_addresses(home);
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

/// Each service has an address on `lo`; the agent writes down which it added, and adds them again when it starts.
fn remove_addresses(home: &Home) {
    let state = fs::read(home.file("agent").join("state/balancer.json")).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(state) = state else { return };
    let addresses = match &state["addresses"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>(),
        Value::Object(map) => map.values().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for address in addresses {
        // It may be gone already, after a reboot for one.
        let _ = Command::new("ip").args(["address", "del", &format!("{address}/32"), "dev", "lo"]).output();
    }
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
