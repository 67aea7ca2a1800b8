//! Looks at the processes of a container, and works on the packet filter of an instance's network namespace.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::machine::{self, CommandError};
use super::processes::{self, blocking, members};
use crate::domain::guard::{Finding, Ground, Process, refusals, refused};

/// What is measured against: read once for each container.
pub async fn ground(first: u32) -> Option<Ground> {
    blocking(move || Ground::parse(&read(first, "status")?, &read(first, "mountinfo")?)).await
}

/// With the number of the process each was found of.
pub async fn look(first: u32, ground: Ground, allowed: Vec<String>) -> Vec<(u32, Finding)> {
    blocking(move || {
        let all = members(first).unwrap_or_default().into_iter().filter_map(process);
        let judged = |p: Process| ground.judge(&p, &allowed, |program| written(&ground, program)).into_iter().map(move |f| (p.pid, f)).collect::<Vec<_>>();
        all.flat_map(judged).collect()
    })
    .await
}

/// One process that began to run a program a moment ago. What is sure of it is so only if its program is the container's: a runtime that
/// enters is a program of the node, which may have the path of one of the container's.
pub fn look_at(process: &Process, ground: &Ground, allowed: &[String]) -> Vec<Finding> {
    let mut found = ground.judge(process, allowed, |program| written(ground, program));
    found.retain(|finding| !finding.sure || is_inside(process));
    found
}

/// Whether the file that a process runs is the one that has this path for it. Of one that has ended it is taken for granted: a runtime that
/// enters does not end, it becomes what it runs.
fn is_inside(process: &Process) -> bool {
    let file = |path: String| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let there = file(format!("/proc/{}/root{}", process.pid, process.program));
    file(format!("/proc/{}/exe", process.pid)).is_none_or(|runs| there == Some(runs))
}

/// The folder of its control group.
pub async fn group(first: u32) -> Option<PathBuf> {
    blocking(move || processes::group(first)).await
}

/// The file system copies a file of the image when its owner or mode is changed; size and time are its own then.
fn written(ground: &Ground, program: &str) -> bool {
    let file = |path: PathBuf| path.symlink_metadata().ok().filter(Metadata::is_file);
    let Some(now) = ground.written_at(program).and_then(file) else { return false };
    let before = ground.originals(program).find_map(file);
    before.is_none_or(|b| (b.len(), b.mtime(), b.mtime_nsec()) != (now.len(), now.mtime(), now.mtime_nsec()))
}

/// Nothing of one that has ended meanwhile.
pub fn process(pid: u32) -> Option<Process> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Process::parse(pid, program.to_string_lossy().into_owned(), &read(pid, "status")?)
}

fn read(pid: u32, name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok()
}

/// How often something was refused in the network namespace of a process.
pub async fn refused_so_far(pid: u32) -> u64 {
    blocking(move || refusals(&read(pid, "net/snmp").unwrap_or_default(), &read(pid, "net/snmp6").unwrap_or_default())).await
}

/// What was refused there within the last hour.
///
/// # Errors
/// When the list cannot be had.
pub async fn list_refused(pid: u32) -> Result<Vec<String>, CommandError> {
    let mut all = Vec::new();
    for set in ["refused", "refused6"] {
        all.extend(refused(&within(pid, &["nft", "-j", "list", "set", "inet", "gantry_guard", set]).await?));
    }
    Ok(all)
}

/// Runs a script of the packet filter in the network namespace of a process.
///
/// # Errors
/// When it cannot be run there.
pub async fn filter(pid: u32, script: &str) -> Result<(), CommandError> {
    machine::feed("nsenter", &[&namespace(pid), "nft", "-f", "-"], Some(script)).await.map(drop)
}

/// The node as the instance with this process sees it.
pub async fn gateway(pid: u32) -> Option<std::net::Ipv4Addr> {
    blocking(move || crate::domain::isolation::gateway(&read(pid, "net/route")?)).await
}

async fn within(pid: u32, command: &[&str]) -> Result<String, CommandError> {
    machine::run("nsenter", &[&[namespace(pid).as_str()], command].concat()).await
}

fn namespace(pid: u32) -> String {
    format!("--net=/proc/{pid}/ns/net")
}
