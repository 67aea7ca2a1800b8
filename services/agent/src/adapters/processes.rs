//! The processes of a container, seen from the node: no program of the image is needed. They are those of its first process's
//! control group.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// As the container numbers it.
    pub pid: u32,
    pub parent: u32,
    pub user: u32,
    pub state: String,
    pub threads: u32,
    pub cpu_millis: u64,
    pub memory_bytes: u64,
    pub running_seconds: u64,
    pub command: String,
}

/// A process that is remembered: its number becomes another's when it has ended, so that it is known by when it began as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    pid: u32,
    /// In the kernel's ticks since the machine's start.
    began: u64,
}

impl Remembered {
    /// Nothing if there is none of this number.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, began: stat(pid)?.starttime })
    }

    /// Its number, as long as it has not ended.
    pub fn pid(self) -> Option<u32> {
        (Self::of(self.pid) == Some(self)).then_some(self.pid)
    }
}

/// All of the container whose first process is `first`, by number.
///
/// # Errors
/// When its control group cannot be read.
pub async fn list(first: u32) -> std::io::Result<Vec<Seen>> {
    blocking(move || {
        let pids = members(first)?;
        let uptime = procfs::Current::current().map(|u: procfs::Uptime| u.uptime).unwrap_or(0.0);
        let mut all: Vec<Seen> = pids.iter().filter_map(|pid| seen(*pid, uptime)).collect();
        all.sort_by_key(|p| p.pid);
        Ok(all)
    })
    .await
}

/// Sends a signal to a process that the container numbers `inside`.
///
/// # Errors
/// A sentence: no such process or signal.
pub async fn signal(first: u32, inside: u32, name: &str) -> Result<(), String> {
    let signal = named(name).ok_or_else(|| format!("{name} is no signal that can be sent; TERM, KILL, HUP, INT, QUIT, USR1, USR2, STOP, CONT, WINCH are"))?;
    blocking(move || {
        let missing = || format!("there is no process {inside} in the container");
        let pids = members(first).map_err(|e| e.to_string())?;
        let pid = pids.into_iter().find(|pid| inner(*pid).is_some_and(|(own, _)| own == inside)).ok_or_else(missing)?;
        let process = handle(pid).ok_or_else(missing)?;
        // The number may have become somebody else's in between.
        if inner(pid).is_none_or(|(own, _)| own != inside) {
            return Err(missing());
        }
        pidfd_send_signal(process, signal).map_err(|e| e.to_string())
    })
    .await
}

/// Processes that entered the container from outside: its first one, and commands that were run in it.
///
/// # Errors
/// When they cannot be seen: then none may be taken for new later.
pub async fn beside(first: Option<u32>) -> std::io::Result<BTreeSet<u32>> {
    let Some(first) = first else { return Ok(BTreeSet::new()) };
    blocking(move || members(first).map(|pids| entered(&pids))).await
}

pub(super) fn entered(pids: &[u32]) -> BTreeSet<u32> {
    // Their parent is not in the container, so it has no number there.
    pids.iter().copied().filter(|pid| inner(*pid).is_some_and(|(_, parent)| parent == 0)).collect()
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

pub(super) fn stat(pid: u32) -> Option<procfs::process::Stat> {
    process(pid)?.stat().ok()
}

fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

pub(super) fn handle(pid: u32) -> Option<std::os::fd::OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
}

/// Its number and its parent's in the container; 0 for a parent outside of it.
fn inner(pid: u32) -> Option<(u32, u32)> {
    let own = number(pid)?;
    let parent = u32::try_from(stat(pid)?.ppid).ok()?;
    let same = |a: u32, b: u32| std::fs::read_link(format!("/proc/{a}/ns/pid")).ok() == std::fs::read_link(format!("/proc/{b}/ns/pid")).ok();
    let parent = if parent > 0 && same(pid, parent) { number(parent).unwrap_or(0) } else { 0 };
    Some((own, parent))
}

/// The innermost of its numbers.
fn number(pid: u32) -> Option<u32> {
    let status = process(pid)?.status().ok()?;
    status.nspid.and_then(|all| all.last().copied()).and_then(|n| u32::try_from(n).ok())
}

fn seen(pid: u32, uptime: f64) -> Option<Seen> {
    let (stat, status) = (stat(pid)?, process(pid)?.status().ok()?);
    let (own, parent) = inner(pid)?;
    let command = process(pid)?.cmdline().ok().filter(|c| !c.is_empty()).map_or_else(|| format!("[{}]", stat.comm), |c| c.join(" "));
    let ticks = procfs::ticks_per_second().max(1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since the machine's start are small and not negative")]
    let up = uptime as u64;
    Some(Seen {
        pid: own,
        parent,
        user: status.euid,
        state: stat.state.to_string(),
        threads: u32::try_from(stat.num_threads).unwrap_or(0),
        cpu_millis: (stat.utime + stat.stime) * 1000 / ticks,
        memory_bytes: stat.rss * procfs::page_size(),
        running_seconds: up.saturating_sub(stat.starttime / ticks),
        command,
    })
}

/// Process numbers of the control group of `first` and those below, as the node counts.
pub(super) fn members(first: u32) -> std::io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    collect(&group(first).ok_or(std::io::ErrorKind::NotFound)?, &mut pids)?;
    Ok(pids)
}

/// The folder of a process's control group. Of one that has ended it is not known.
pub(super) fn group(pid: u32) -> Option<PathBuf> {
    group_in(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// cgroups(7): version 1 has a hierarchy for each controller, version 2 one for all.
fn group_in(text: &str) -> Option<PathBuf> {
    let mut folder = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|c| c == "pids") {
            folder = Some(Path::new("/sys/fs/cgroup/pids").join(path));
        } else if number == "0" && folder.is_none() {
            folder = Some(Path::new("/sys/fs/cgroup").join(path));
        }
    }
    folder
}

fn collect(folder: &PathBuf, pids: &mut Vec<u32>) -> std::io::Result<()> {
    let text = std::fs::read_to_string(folder.join("cgroup.procs"))?;
    pids.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()));
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

fn named(name: &str) -> Option<Signal> {
    Some(match name.trim_start_matches("SIG") {
        "TERM" => Signal::TERM,
        "KILL" => Signal::KILL,
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "WINCH" => Signal::WINCH,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_process_has_is_not_the_one_that_was_remembered() {
        let own = std::process::id();
        let here = Remembered::of(own).unwrap();
        assert_eq!(here.pid(), Some(own));
        assert_eq!(Remembered { began: here.began + 1, ..here }.pid(), None);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let gone = Remembered::of(child.id()).unwrap();
        assert_eq!(gone.pid(), Some(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(gone.pid(), None);
    }

    #[test]
    fn the_control_group_is_found_in_both_versions() {
        let folder = |text: &str| group_in(text).map(|p| p.display().to_string());
        assert_eq!(folder("0::/gantry/i/c\n").as_deref(), Some("/sys/fs/cgroup/gantry/i/c"));
        let first = "12:cpu,cpuacct:/a\n9:pids:/gantry/i/c\n0::/system.slice\n";
        assert_eq!(folder(first).as_deref(), Some("/sys/fs/cgroup/pids/gantry/i/c"));
        assert_eq!((folder(""), folder("x")), (None, None));
    }
}
