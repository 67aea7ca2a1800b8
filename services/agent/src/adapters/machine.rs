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
    code: Option<i32>,
}

impl CommandError {
    /// Nothing if it was not started, or ended by a signal.
    pub fn code(&self) -> Option<i32> {
        self.code
    }
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started or ends with another code than 0.
pub async fn run(program: &str, args: &[&str]) -> Result<String, CommandError> {
    let fail = |said: String, code| CommandError { command: format!("{program} {}", args.join(" ")), said, code };
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().await.map_err(|e| fail(e.to_string(), None))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Some say on standard output what is wrong (e2fsck).
    let said = [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).trim().to_owned()).into_iter().find(|text| !text.is_empty());
    Err(fail(said.unwrap_or_else(|| output.status.to_string()), output.status.code()))
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
