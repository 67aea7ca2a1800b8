//! Small commands of the machine: mounts, addresses, signals, limits. Each is run without a shell.

use std::process::Stdio;

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
