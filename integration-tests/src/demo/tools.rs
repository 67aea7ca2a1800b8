//! Programs of other people, run as a user runs them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(180);

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// With its last words, if it fails.
pub async fn run(program: &str, args: &[&str], folder: &Path, env: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{program} {}", args.first().copied().unwrap_or_default());
    let output = tokio::time::timeout(LIMIT, command.output()).await.with_context(|| format!("`{shown}` takes too long"))?;
    let output = output.with_context(|| format!("`{program}` cannot be run; is it installed?"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let words = format!("{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<_> = words.lines().filter(|l| !l.trim().is_empty()).collect();
        bail!("`{shown}` failed ({}): {}", output.status, lines[lines.len().saturating_sub(6)..].join(" | "));
    }
    Ok(stdout)
}
