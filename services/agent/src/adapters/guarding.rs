//! Looks at the processes of a container, and works on the packet filter of an instance's network namespace.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::machine::{self, CommandError};
use super::processes::{blocking, members};
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

/// The file system copies a file of the image when its owner or mode is changed; size and time are its own then.
fn written(ground: &Ground, program: &str) -> bool {
    let file = |path: PathBuf| path.symlink_metadata().ok().filter(Metadata::is_file);
    let Some(now) = ground.written_at(program).and_then(file) else { return false };
    let before = ground.originals(program).find_map(file);
    before.is_none_or(|b| (b.len(), b.mtime(), b.mtime_nsec()) != (now.len(), now.mtime(), now.mtime_nsec()))
}

/// Nothing of one that has ended meanwhile.
fn process(pid: u32) -> Option<Process> {
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
    within(pid, &["nft", script]).await.map(drop)
}

async fn within(pid: u32, command: &[&str]) -> Result<String, CommandError> {
    let net = format!("--net=/proc/{pid}/ns/net");
    machine::run("nsenter", &[&[net.as_str()], command].concat()).await
}
