//! Chromium as the tests run it: deaf to what happens to the machine's network interfaces. It drops every connection when an
//! address appears or goes (`net::ERR_NETWORK_CHANGED`), and with each container that these tests start one does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

/// socket(2) of this machine.
#[cfg(target_arch = "x86_64")]
const SOCKET: i64 = 41;
#[cfg(not(target_arch = "x86_64"))]
const SOCKET: i64 = 198;
/// Through such sockets the kernel tells of interfaces and addresses (netlink(7)).
const AF_NETLINK: u64 = 16;
const EAFNOSUPPORT: u32 = 97;

/// Becomes the browser named first, which is told that this kernel has no netlink; it then takes the network as it is.
///
/// # Errors
/// When the filter or the program cannot be used; otherwise it does not return.
pub fn become_browser(arguments: &[OsString]) -> Result<()> {
    let (program, arguments) = arguments.split_first().context("which browser?")?;
    let netlink = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, AF_NETLINK)?;
    let rules = BTreeMap::from([(SOCKET, vec![SeccompRule::new(vec![netlink])?])]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EAFNOSUPPORT), std::env::consts::ARCH.try_into()?)?;
    let filter: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&filter).context("the browser's system calls cannot be filtered")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("{} does not start", program.display()))
}

/// A program that playwright can start in the browser's stead; written into `folder`.
///
/// # Errors
/// When it cannot be written.
pub fn wrapper(folder: &Path, own_program: &Path, browser: &Path) -> Result<PathBuf> {
    let path = folder.join("chromium");
    fs::write(&path, format!("#!/bin/sh\nexec '{}' browser '{}' \"$@\"\n", own_program.display(), browser.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
