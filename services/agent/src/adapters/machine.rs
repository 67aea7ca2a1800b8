//! Small commands of the machine: mounts, addresses, signals, limits. Each is run without a shell. And since when it runs.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
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
    feed(program, args, None).await
}

/// The same with something to read: more than fits into arguments.
///
/// # Errors
/// As [`run`].
pub async fn feed(program: &str, args: &[&str], input: Option<&str>) -> Result<String, CommandError> {
    let fail = |said: String, code| CommandError { command: format!("{program} {}", args.join(" ")), said, code };
    let mut command = Command::new(program);
    command.args(args).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = async {
        let mut child = command.spawn()?;
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
            // One that ends before it has read all says why itself.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = ran.await.map_err(|e: std::io::Error| fail(e.to_string(), None))?;
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

/// How long the machine has slept since this was made (a virtual machine that was paused, a closed lid). [`tokio::time::Instant`] stands still
/// meanwhile (`CLOCK_MONOTONIC`), other machines' clocks do not.
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    began: std::time::Instant,
    age: Duration,
}

/// The two clocks are not read in the same moment.
const READING: Duration = Duration::from_millis(500);

impl Sleep {
    pub fn new() -> Self {
        Self { began: std::time::Instant::now(), age: age().unwrap_or_default() }
    }

    /// Zero where /proc does not say.
    pub fn total(&self) -> Duration {
        let awake = self.began.elapsed();
        let slept = age().unwrap_or_default().saturating_sub(self.age).saturating_sub(awake);
        if slept < READING { Duration::ZERO } else { slept }
    }
}

impl Default for Sleep {
    fn default() -> Self {
        Self::new()
    }
}

/// Since the machine's start, sleep counted in (`CLOCK_BOOTTIME`).
fn age() -> Option<Duration> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(uptime.split(' ').next()?.parse().ok()?).ok()
}

/// Nothing if /proc does not say.
pub async fn boot() -> Option<Boot> {
    let id = tokio::fs::read_to_string("/proc/sys/kernel/random/boot_id").await.ok()?;
    Some(Boot { id: id.trim().to_owned(), age: age()? })
}
