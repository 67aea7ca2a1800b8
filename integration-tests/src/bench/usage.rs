//! What processes have used of the machine, as the kernel counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};

/// Of Linux on every architecture we run on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time, user and system, that these processes have used (proc(5), `stat`, fields 14 and 15).
///
/// # Errors
/// When one of them has ended.
pub fn cpu_of(pids: &[u32]) -> Result<f64> {
    let mut seconds = 0.0;
    for pid in pids {
        seconds += Stat::of(*pid)?.own;
    }
    Ok(seconds)
}

/// The same of all that this process has started and waited for until now.
///
/// # Errors
/// When the kernel does not tell.
pub fn cpu_of_waited() -> Result<f64> {
    Ok(Stat::of(std::process::id())?.waited)
}

/// The same of these processes and all below them that live, each with what it has started and waited for. Which are there is looked up
/// anew each time; what has ended and was waited for by nobody of them is not in it any more.
pub fn cpu_of_trees(roots: &[u32]) -> f64 {
    let mut all: BTreeMap<u32, Stat> = BTreeMap::new();
    for pid in processes() {
        // Ended since the list was read.
        let Ok(stat) = Stat::of(pid) else { continue };
        all.insert(pid, stat);
    }
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, stat) in &all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let (mut seconds, mut todo, mut seen) = (0.0, roots.to_vec(), BTreeSet::new());
    while let Some(pid) = todo.pop() {
        if !seen.insert(pid) {
            continue;
        }
        seconds += all.get(&pid).map_or(0.0, |stat| stat.own + stat.waited);
        todo.extend(children.get(&pid).into_iter().flatten());
    }
    seconds
}

/// Processes whose command line names `text`.
pub fn processes_with(text: &str) -> Vec<u32> {
    let names = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(text));
    processes().into_iter().filter(names).collect()
}

/// A process and those it started, as far as they live.
pub fn with_children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// What proc(5) says of a process: fields 4 and 14 to 17 of `stat`.
struct Stat {
    parent: u32,
    /// Seconds of processor time of its own, and of children that it has waited for.
    own: f64,
    waited: f64,
}

impl Stat {
    fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
        // The second field is the name in brackets and may hold anything, so count from its end.
        let fields: Vec<&str> = stat.rsplit_once(')').context("an odd stat line")?.1.split_whitespace().collect();
        let seconds = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).map(|t| t / TICKS_PER_SECOND).context("an odd stat line");
        let parent = fields.get(1).and_then(|f| f.parse().ok()).context("an odd stat line")?;
        Ok(Self { parent, own: seconds(11)? + seconds(12)?, waited: seconds(13)? + seconds(14)? })
    }
}

/// Memory of a process that is in use now, in MiB (proc(5), `VmRSS`).
///
/// # Errors
/// When it has ended.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} has ended"))?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|l| l.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_child_has_used_is_its_parents_once_it_was_waited_for() {
        let before = cpu_of_waited().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(cpu_of_waited().unwrap() > before);
        let own = std::process::id();
        let alone = cpu_of(&[own]).unwrap();
        assert!(cpu_of_trees(&[own]) >= alone);
        assert!(with_children(own).contains(&own));
    }
}
