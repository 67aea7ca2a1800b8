//! Signs of an intrusion: what is looked for in the processes of a container, and which connections an instance may not open.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use gantry_contract::proto::scheduler as wire;

/// What follows from a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Nothing is looked for.
    None,
    Report,
    /// The container is killed, and started anew by its policy.
    Restart,
    /// The instance is stopped; the scheduler makes another one.
    Stop,
    /// It goes on without any network.
    Quarantine,
}

impl Response {
    pub fn of(guard: Option<&wire::Guard>) -> Self {
        match guard.map_or("", |g| g.action.as_str()) {
            "none" => Self::None,
            "restart" => Self::Restart,
            "stop" => Self::Stop,
            "quarantine" => Self::Quarantine,
            _ => Self::Report,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Report => "report",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Quarantine => "quarantine",
        }
    }
}

/// What was found of one process or instance. `kind`: program | privilege | connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub kind: &'static str,
    pub detail: String,
    /// It counts at once; otherwise only when it is seen again: a runtime that enters a container looks like that for a moment.
    pub sure: bool,
}

/// What all processes of one container are measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Its first process has no right of root, in none of its four users.
    unprivileged: bool,
    /// Capabilities that its processes can have at most.
    bounding: u64,
    /// Where something else than the image is mounted.
    mounts: Vec<String>,
    /// The folder of the node with what was written into its root since the start (overlayfs); none on other file systems.
    upper: Option<PathBuf>,
    /// The image's layers, the uppermost first.
    lowers: Vec<PathBuf>,
}

/// One process as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// The target of `/proc/<pid>/exe`: a path as the container sees it.
    pub program: String,
    effective_user: u32,
    capabilities: u64,
}

impl Process {
    /// `status`: the text of `/proc/<pid>/status`.
    pub fn parse(pid: u32, program: String, status: &str) -> Option<Self> {
        Some(Self { pid, program, effective_user: users(status)?[1], capabilities: capabilities(status, "CapEff:")? })
    }
}

impl Ground {
    /// From `status` and `mountinfo` of the container's first process (proc(5)).
    pub fn parse(status: &str, mountinfo: &str) -> Option<Self> {
        let mut ground = Self {
            unprivileged: users(status)?.iter().all(|user| *user != 0),
            bounding: capabilities(status, "CapBnd:")?,
            mounts: Vec::new(),
            upper: None,
            lowers: Vec::new(),
        };
        for line in mountinfo.lines() {
            let Some(point) = line.split(' ').nth(4).map(plain) else { continue };
            if point == "/" {
                let options = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').nth(2)).unwrap_or_default();
                let option = |name: &str| options.split(',').find_map(|o| o.strip_prefix(name)).map(plain);
                ground.upper = option("upperdir=").map(PathBuf::from);
                // containerd shortens a long list of layers: `<snapshots>/12/fs` becomes `12/fs`, beside the upper one's.
                let above = ground.upper.as_deref().and_then(|upper| upper.parent()?.parent()).unwrap_or(Path::new("/")).to_owned();
                ground.lowers = option("lowerdir=").iter().flat_map(|all| all.split(':')).map(|lower| above.join(lower)).collect();
            } else {
                ground.mounts.push(point);
            }
        }
        Some(ground)
    }

    /// Where a program would lie on the node if it was written after the start.
    pub fn written_at(&self, program: &str) -> Option<PathBuf> {
        Some(self.upper.as_deref()?.join(program.strip_prefix('/')?))
    }

    /// Where it may lie in the image.
    pub fn originals(&self, program: &str) -> impl Iterator<Item = PathBuf> {
        self.lowers.iter().filter_map(move |lower| Some(lower.join(program.strip_prefix('/')?)))
    }

    /// `allowed`: programs that are expected though they are not of the image; `/folder/` with all below. `written`: whether a program
    /// was written into the container's root after its start.
    pub fn judge(&self, process: &Process, allowed: &[String], written: impl Fn(&str) -> bool) -> Vec<Finding> {
        let mut out = Vec::new();
        let path = process.program.as_str();
        let expected = allowed.iter().any(|a| path == a || (a.ends_with('/') && path.starts_with(a.as_str())));
        if !expected && let Some((detail, sure)) = self.program(path, written) {
            out.push(Finding { kind: "program", detail, sure });
        }
        if self.unprivileged && process.effective_user == 0 {
            let detail = format!("{path} runs as root in a container that was started without its rights");
            out.push(Finding { kind: "privilege", detail, sure: false });
        } else if process.capabilities & !self.bounding != 0 {
            let detail = format!("{path} has capabilities that its container was not given ({:#x})", process.capabilities & !self.bounding);
            out.push(Finding { kind: "privilege", detail, sure: false });
        }
        out
    }

    fn program(&self, path: &str, written: impl Fn(&str) -> bool) -> Option<(String, bool)> {
        if let Some(name) = path.strip_prefix("/memfd:") {
            return Some((format!("a program runs that is in memory only ({})", name.trim_end_matches(" (deleted)")), false));
        }
        if let Some(gone) = path.strip_suffix(" (deleted)") {
            return Some((format!("{gone} runs, and its file has been deleted or replaced"), false));
        }
        let below = |mount: &String| path.strip_prefix(mount.as_str()).is_some_and(|rest| rest.starts_with('/') || rest.is_empty());
        if let Some(mount) = self.mounts.iter().find(|m| below(m)) {
            return Some((format!("{path} runs, which is not of the image: it lies on what is mounted at {mount}"), true));
        }
        written(path).then(|| (format!("{path} runs, which is not of the image: it was written after the start"), true))
    }
}

/// Real, effective, saved and file system user.
fn users(status: &str) -> Option<[u32; 4]> {
    let line = status.lines().find_map(|l| l.strip_prefix("Uid:"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<u32>);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
}

fn capabilities(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(status.lines().find_map(|l| l.strip_prefix(name))?.trim(), 16).ok()
}

/// Without the escapes of mountinfo.
fn plain(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The table in an instance's network namespace that refuses what it may not reach, and remembers it for an hour. `services`: the
/// network of the node's balanced names, `resolvers`: its resolvers; both are always reached. Nothing if all may be reached.
pub fn fence(guard: Option<&wire::Guard>, services: Option<Ipv4Addr>, resolvers: &[String]) -> Option<String> {
    let guard = guard.filter(|g| g.closed)?;
    let mut allowed = String::new();
    let family = |address: &str| if address.contains(':') { "ip6" } else { "ip" };
    if let Some(services) = services {
        let _ = writeln!(allowed, "    ip daddr {services}/16 accept");
    }
    for resolver in resolvers.iter().filter(|r| r.parse::<std::net::IpAddr>().is_ok()) {
        let _ = writeln!(allowed, "    {} daddr {resolver} meta l4proto {{ tcp, udp }} th dport 53 accept", family(resolver));
    }
    for (one, network) in guard.egress.iter().filter_map(|e| Some((e, network(&e.network)?))) {
        let port = if one.port == 0 { String::new() } else { format!(" meta l4proto {{ tcp, udp }} th dport {}", one.port) };
        let _ = writeln!(allowed, "    {} daddr {network}{port} accept", family(&network));
    }
    Some(format!(
        "table inet gantry_guard
delete table inet gantry_guard
table inet gantry_guard {{
  set refused {{ type ipv4_addr . inet_proto . inet_service; flags dynamic,timeout; timeout 1h; size 256; }}
  set refused6 {{ type ipv6_addr . inet_proto . inet_service; flags dynamic,timeout; timeout 1h; size 256; }}
  chain output {{
    type filter hook output priority 0; policy accept;
    oifname \"lo\" accept
    ct state established,related accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
{allowed}    meta l4proto {{ tcp, udp }} update @refused {{ ip daddr . meta l4proto . th dport }}
    meta l4proto {{ tcp, udp }} update @refused6 {{ ip6 daddr . meta l4proto . th dport }}
    reject with icmpx admin-prohibited
  }}
}}"
    ))
}

/// Takes an instance's network away but for its own loopback.
pub const QUARANTINE: &str = "table inet gantry_quarantine {
  chain output { type filter hook output priority -300; policy drop; oifname \"lo\" accept; }
  chain input { type filter hook input priority -300; policy drop; iifname \"lo\" accept; }
}";

/// An address, or a block of them with its length, as every program reads it. It goes into scripts: what is a number here may have a sign or
/// zeros before it, and the packet filter would refuse all of the script for it. Nothing if it is no network.
pub fn network(text: &str) -> Option<String> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: std::net::IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length {
        None => Some(address.to_string()),
        Some(length) => length.parse::<u8>().ok().filter(|l| *l <= most).map(|l| format!("{address}/{l}")),
    }
}

/// What `nft -j list set` says was refused: `192.0.2.1:25/tcp`.
pub fn refused(listing: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(listing).unwrap_or_default();
    let sets = value["nftables"].as_array().into_iter().flatten().filter_map(|o| o["set"]["elem"].as_array());
    let one = |element: &serde_json::Value| {
        let parts = element["elem"]["val"]["concat"].as_array().or_else(|| element["concat"].as_array())?;
        let (address, protocol, port) = (parts.first()?.as_str()?, parts.get(1)?.as_str()?, parts.get(2)?);
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        // Well-known ports may come by name.
        let port = port.as_u64().map_or_else(|| port.as_str().unwrap_or_default().to_owned(), |n| n.to_string());
        Some(format!("{address}:{port}/{protocol}"))
    };
    sets.flatten().filter_map(one).collect()
}

/// How many times something was refused in a network namespace, from its `snmp` and `snmp6` in /proc: each refusal is one message
/// that a destination cannot be reached. Reading it costs far less than asking for the list.
pub fn refusals(snmp: &str, snmp6: &str) -> u64 {
    let mut lines = snmp.lines().filter_map(|l| l.strip_prefix("Icmp: "));
    let names = lines.next().unwrap_or_default();
    let at = names.split(' ').position(|n| n == "OutDestUnreachs");
    let four = at.and_then(|at| lines.next()?.split(' ').nth(at)?.parse::<u64>().ok()).unwrap_or(0);
    let six = snmp6.lines().find_map(|l| l.strip_prefix("Icmp6OutDestUnreachs")?.trim().parse::<u64>().ok()).unwrap_or(0);
    four + six
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
