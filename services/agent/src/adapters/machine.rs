//! Small commands of the machine: mounts, addresses, signals, limits. Each is run without a shell, and for a limited time unless there is a
//! reason against it. And since when the machine runs.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
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
    /// Nothing if it was not started, did not end in time, or was ended by a signal.
    pub fn code(&self) -> Option<i32> {
        self.code
    }
}

/// What the machine does at once. Whoever waits for it holds up others: the keeper's round above all.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Runs a program that takes but a moment, and gives what it printed.
///
/// # Errors
/// When it cannot be started, ends with another code than 0, or does not end in time: then it is ended, with what it has started.
pub async fn run(program: &str, args: &[&str]) -> Result<String, CommandError> {
    within(AT_ONCE, program, args).await
}

/// The same with something to read: more than fits into arguments.
///
/// # Errors
/// As [`run`].
pub async fn feed(program: &str, args: &[&str], input: Option<&str>) -> Result<String, CommandError> {
    to_its_end(Some(AT_ONCE), program, args, input).await
}

/// The same for what may wait for somebody: a server of files, for one.
///
/// # Errors
/// As [`run`].
pub async fn within(limit: Duration, program: &str, args: &[&str]) -> Result<String, CommandError> {
    to_its_end(Some(limit), program, args, None).await
}

/// The same for what takes as long as there is to do, and would do harm if it was ended in the middle: content that is copied, a file system
/// that is checked. Not for a round that others wait for.
///
/// # Errors
/// When it cannot be started or ends with another code than 0.
pub async fn work(program: &str, args: &[&str]) -> Result<String, CommandError> {
    to_its_end(None, program, args, None).await
}

async fn to_its_end(limit: Option<Duration>, program: &str, args: &[&str], input: Option<&str>) -> Result<String, CommandError> {
    let fail = |said: String, code| CommandError { command: format!("{program} {}", args.join(" ")), said, code };
    let mut command = Command::new(program);
    command.args(args).stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    // A group of its own: what it starts in its turn ends with it (mount(8) leaves NFS to another program).
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|e| fail(e.to_string(), None))?;
    let group = child.id();
    let ran = async move {
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
            // One that ends before it has read all says why itself.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match limit {
        None => ran.await,
        Some(limit) => match tokio::time::timeout(limit, ran).await {
            Ok(ended) => ended,
            Err(_) => {
                // Not waited for: the kernel may hold it for as long as it likes.
                end(group);
                return Err(fail(format!("it did not end within {limit:?}"), None));
            }
        },
    };
    let output = output.map_err(|e| fail(e.to_string(), None))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Some say on standard output what is wrong (e2fsck).
    let said = [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).trim().to_owned()).into_iter().find(|text| !text.is_empty());
    Err(fail(said.unwrap_or_else(|| output.status.to_string()), output.status.code()))
}

fn end(group: Option<u32>) {
    if let Some(group) = group.and_then(|g| i32::try_from(g).ok()).and_then(Pid::from_raw) {
        // Gone in between is just as well.
        let _ = kill_process_group(group, Signal::KILL);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_end_in_time_is_ended_with_what_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600' & wait", note.display());
        let error = within(Duration::from_secs(2), "sh", &["-c", &script]).await.unwrap_err();
        assert!(error.to_string().contains("did not end within 2s") && error.code().is_none(), "{error}");
        let started = std::fs::read_to_string(&note).unwrap().trim().to_owned();
        let runs = || std::fs::read(format!("/proc/{started}/cmdline")).is_ok_and(|line| !line.is_empty());
        let ends = async {
            while runs() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it goes on");
    }

    #[tokio::test]
    async fn what_a_command_says_and_how_it_ends_is_told() {
        assert_eq!(feed("cat", &[], Some("word")).await.unwrap(), "word");
        assert_eq!(work("echo", &["done"]).await.unwrap(), "done\n");
        let error = run("sh", &["-c", "echo no >&2; exit 3"]).await.unwrap_err();
        assert!(error.code() == Some(3) && error.to_string().ends_with("failed: no"), "{error}");
        assert_eq!(run("/nowhere/program", &[]).await.unwrap_err().code(), None);
    }
}
