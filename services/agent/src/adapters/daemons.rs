//! Bounds what the container runtime and the balancer may use themselves, by a cgroup of their own. Containers are in others, and the shims
//! between containerd and them are kept out: there is one for each pod, and one that is killed takes its pod with it. The agent is bounded
//! by its unit (`services/agent/systemd`).

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use crate::config::DaemonLimits;

const ROOT: &str = "/sys/fs/cgroup";
/// Where shims are put, without limits.
const SHIMS: &str = "gantry-shims";

pub struct Daemons {
    group: String,
    limits: DaemonLimits,
    /// The runtime's.
    socket: PathBuf,
    /// The balancer's first process.
    balancer: PathBuf,
}

/// One file of the group: the hierarchy's folder below [`ROOT`], empty for the second version of cgroups; its name; what is written.
type Setting = (&'static str, &'static str, String);

#[derive(Debug, thiserror::Error)]
pub enum Unbounded {
    #[error("{what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{program}` ({pid}) belongs to systemd; bound it there: systemctl set-property {unit} MemoryMax=... CPUQuota=... TasksMax=...")]
    OfSystemd { program: String, pid: u32, unit: String },
}

impl Daemons {
    /// Nothing if nothing is to be bounded. `home`: the platform's.
    pub fn bounded(node: &str, limits: DaemonLimits, socket: &Path, home: &Path) -> Option<Self> {
        let (socket, balancer) = (std::path::absolute(socket).ok()?, home.join("haproxy/haproxy.pid"));
        let group = format!("gantry-daemons-{node}");
        (limits != DaemonLimits::default()).then_some(Self { group, limits, socket, balancer })
    }

    /// One look: whoever is a daemon is in the group, and nobody else.
    ///
    /// # Errors
    /// [`Unbounded`]; what could be bounded is.
    pub async fn round(&self) -> Result<(), Unbounded> {
        let daemons = self.daemons().await;
        let second = is_second();
        if second {
            // Done already where containers run; without it the files below are not there.
            let _ = write(&Path::new(ROOT).join("cgroup.subtree_control"), "+cpu +memory +pids");
        }
        let settings = settings(&self.limits, second);
        for (hierarchy, file, value) in &settings {
            let folder = Path::new(ROOT).join(hierarchy).join(&self.group);
            make(&folder)?;
            write(&folder.join(file), value)?;
        }
        let mut hierarchies: Vec<&str> = settings.iter().map(|(hierarchy, ..)| *hierarchy).collect();
        hierarchies.dedup();
        let mut outcome = Ok(());
        for hierarchy in hierarchies {
            let folder = Path::new(ROOT).join(hierarchy).join(&self.group);
            for pid in daemons.iter().copied() {
                let groups = read(&format!("/proc/{pid}/cgroup"));
                if groups.contains(&self.group) && members(&folder).contains(&pid) {
                    continue;
                }
                if let Some(unit) = unit(&groups) {
                    outcome = Err(Unbounded::OfSystemd { program: read(&format!("/proc/{pid}/comm")).trim().to_owned(), pid, unit: unit.to_owned() });
                    continue;
                }
                // It may have ended meanwhile.
                if let Err(error) = write(&folder.join("cgroup.procs"), &pid.to_string())
                    && Path::new(&format!("/proc/{pid}")).exists()
                {
                    outcome = Err(error);
                }
            }
            for shim in members(&folder).into_iter().filter(|pid| read(&format!("/proc/{pid}/comm")).starts_with("containerd-shim")) {
                let aside = Path::new(ROOT).join(hierarchy).join(SHIMS);
                make(&aside)?;
                // Gone already is as well.
                let _ = write(&aside.join("cgroup.procs"), &shim.to_string());
            }
        }
        outcome
    }

    /// The runtime, as its socket names it, and the balancer with its workers.
    async fn daemons(&self) -> Vec<u32> {
        let mut out = Vec::new();
        if let Ok(stream) = UnixStream::connect(&self.socket).await
            && let Ok(peer) = stream.peer_cred()
            // 1: the socket was opened by systemd, or in another namespace.
            && let Some(pid) = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 1)
        {
            out.push(pid);
        }
        if let Ok(first) = read(&self.balancer.display().to_string()).trim().parse::<u32>() {
            out.push(first);
            out.extend(read(&format!("/proc/{first}/task/{first}/children")).split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        out
    }
}

/// Are there cgroups of the second version only?
fn is_second() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// By hierarchy. What is not limited is written as well: it may have been before.
fn settings(limits: &DaemonLimits, second: bool) -> Vec<Setting> {
    let or = |value: u64, none: &str| if value == 0 { none.to_owned() } else { value.to_string() };
    // Of a tenth of a second.
    let quota = limits.cpu_millis * 100;
    if second {
        return vec![
            ("", "cpu.max", format!("{} 100000", or(quota, "max"))),
            ("", "memory.max", or(limits.memory_bytes, "max")),
            ("", "pids.max", or(limits.processes.into(), "max")),
        ];
    }
    vec![
        ("cpu", "cpu.cfs_quota_us", or(quota, "-1")),
        ("memory", "memory.limit_in_bytes", or(limits.memory_bytes, "-1")),
        ("pids", "pids.max", or(limits.processes.into(), "max")),
    ]
}

/// The unit of systemd that a process is in, out of its `/proc/<pid>/cgroup`.
fn unit(groups: &str) -> Option<&str> {
    let parts = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).flat_map(|path| path.split('/'));
    parts.rev().find(|part| part.ends_with(".service") || part.ends_with(".scope"))
}

fn members(folder: &Path) -> Vec<u32> {
    read(&folder.join("cgroup.procs").display().to_string()).lines().filter_map(|l| l.parse().ok()).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn make(folder: &Path) -> Result<(), Unbounded> {
    std::fs::create_dir_all(folder).map_err(|source| Unbounded::Io { what: "the group cannot be made:", path: folder.to_owned(), source })
}

fn write(file: &Path, value: &str) -> Result<(), Unbounded> {
    std::fs::write(file, value).map_err(|source| Unbounded::Io { what: "the kernel does not take", path: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_what_either_version_of_cgroups_calls_it() {
        let limits = DaemonLimits { cpu_millis: 1500, memory_bytes: 1 << 30, processes: 0 };
        let of = |second| settings(&limits, second).into_iter().map(|(_, file, value)| format!("{file}={value}")).collect::<Vec<_>>();
        assert_eq!(of(false), ["cpu.cfs_quota_us=150000", "memory.limit_in_bytes=1073741824", "pids.max=max"]);
        assert_eq!(of(true), ["cpu.max=150000 100000", "memory.max=1073741824", "pids.max=max"]);
    }

    #[test]
    fn what_systemd_has_started_is_left_to_it() {
        assert_eq!(unit("0::/system.slice/containerd.service\n"), Some("containerd.service"));
        assert_eq!(unit("3:memory:/user.slice/session-1.scope\n0::/\n"), Some("session-1.scope"));
        assert_eq!(unit("3:memory:/docker/0a1b\n0::/\n"), None);
    }

    #[test]
    fn without_limits_nothing_is_done() {
        assert!(Daemons::bounded("n", DaemonLimits::default(), Path::new("/s"), Path::new("/h")).is_none());
    }
}
