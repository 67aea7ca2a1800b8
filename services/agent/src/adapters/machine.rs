//! Small commands of the machine: mounts, addresses, signals, limits. Each is run without a shell. And since when it runs.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// What a command said when it failed.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed: {said}")]
pub struct CommandError {
    command: String,
    said: String,
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started or ends with another code than 0.
pub async fn run(program: &str, args: &[&str]) -> Result<String, CommandError> {
    let fail = |said: String| CommandError { command: format!("{program} {}", args.join(" ")), said };
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().await.map_err(|e| fail(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(fail(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// One run of the machine, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Drawn by the kernel at each start.
    pub id: String,
    /// Since then, sleep counted in.
    pub age: Duration,
}

/// Nothing if /proc does not say.
pub async fn boot() -> Option<Boot> {
    let id = tokio::fs::read_to_string("/proc/sys/kernel/random/boot_id").await.ok()?;
    let uptime = tokio::fs::read_to_string("/proc/uptime").await.ok()?;
    let age = Duration::try_from_secs_f64(uptime.split(' ').next()?.parse().ok()?).ok()?;
    Some(Boot { id: id.trim().to_owned(), age })
}
