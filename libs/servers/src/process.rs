//! Processes that outlive the one that starts them: pid files that cannot be fooled by a reused number, a log file each,
//! a session of their own, and a stop that is bounded.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::machine::output;
use crate::wait::until;

/// A log file is put aside (one generation) when it is larger than this, in bytes: at a start, and while its process runs.
pub const LOG_LIMIT: u64 = 32 * 1024 * 1024;

/// Puts what is in a log aside and goes on with an empty one when it is larger than `limit` bytes. For logs that are being written: their
/// processes hold them open and append, so the file stays and is emptied. What is written in the moment between is lost. True if it was done.
///
/// # Errors
/// When the disk refuses; the log is as it was then.
pub fn cut_log(log: &Path, limit: u64) -> Result<bool> {
    if fs::metadata(log).map_or(0, |m| m.len()) <= limit {
        return Ok(false);
    }
    let (aside, draft) = (log.with_extension("log.1"), log.with_extension("log.2"));
    let kept = fs::copy(log, &draft).and_then(|_| fs::rename(&draft, &aside)).with_context(|| format!("cannot write {}", aside.display()));
    if kept.is_err() {
        let _ = fs::remove_file(&draft);
    }
    kept?;
    OpenOptions::new().write(true).open(log)?.set_len(0)?;
    Ok(true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Term,
    /// What Postgres calls a fast shutdown.
    Int,
    Kill,
}

/// `<pid> <start time> <boot>`: the kernel's start time tells a process from a later one with the same number. It counts from the start of
/// the machine, and two starts can be alike to the hundredth of a second, so there is the number of that, too.
#[derive(Clone, Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The process this file names, if it still lives.
    pub fn alive(&self) -> Option<u32> {
        let text = fs::read_to_string(&self.0).ok()?;
        let mut words = text.split_whitespace();
        let (pid, start, boot) = (words.next()?.parse().ok()?, words.next()?, words.next());
        // One that was written before there were three does not say.
        let same = start_time(pid)? == start && boot.is_none_or(|boot| boot == this_boot());
        same.then_some(pid)
    }

    /// # Errors
    /// When the process is gone already or the file cannot be written.
    pub fn write(&self, pid: u32) -> Result<()> {
        let start = start_time(pid).with_context(|| format!("process {pid} ended at once"))?;
        let temporary = self.0.with_extension("tmp");
        fs::write(&temporary, format!("{pid} {start} {}\n", this_boot()))?;
        fs::rename(&temporary, &self.0).with_context(|| format!("cannot write {}", self.0.display()))
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }

    /// Asks the process to end and waits; after `patience` it is killed. True if there was something to stop.
    ///
    /// # Errors
    /// When it lives on even after a kill.
    pub fn stop(&self, first: Signal, patience: Duration) -> Result<bool> {
        let Some(pid) = self.alive() else {
            self.remove();
            return Ok(false);
        };
        send(pid, first);
        let gone = || if self.alive().is_none() { Ok(()) } else { bail!("process {pid} is still there") };
        if until("the end", patience, gone).is_err() {
            send(pid, Signal::Kill);
            until("the end", Duration::from_secs(10), gone)?;
        }
        self.remove();
        Ok(true)
    }
}

/// Field 22 of `/proc/<pid>/stat`; nothing for a dead or zombie process.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything, so count from its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.first()? != &"Z").then(|| fields.get(19).map(|s| (*s).to_owned())).flatten()
}

/// Another one each time the machine is started; `-` where the kernel does not tell.
fn this_boot() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(told.trim().to_owned()).filter(|id| !id.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// Sends a signal; a process that is gone already is fine.
pub fn send(pid: u32, signal: Signal) {
    let name = match signal {
        Signal::Term => "-TERM",
        Signal::Int => "-INT",
        Signal::Kill => "-KILL",
    };
    let _ = output("kill", &[name, &pid.to_string()]);
}

/// What to start, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub envs: Vec<(String, String)>,
    /// User and group to become; `None` stays who we are.
    pub owner: Option<(u32, u32)>,
}

impl Launch {
    pub fn new(program: impl Into<PathBuf>, args: &[&str]) -> Self {
        Self { program: program.into(), args: args.iter().map(|a| (*a).to_owned()).collect(), ..Self::default() }
    }

    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.envs.push((key.to_owned(), value.into()));
        self
    }

    /// Starts it in a session of its own, standard output and error appended to `log`, and writes the pid file.
    ///
    /// # Errors
    /// When it cannot be started or ends at once.
    pub fn detach(&self, log: &Path, pid_file: &PidFile) -> Result<Child> {
        if fs::metadata(log).is_ok_and(|m| m.len() > LOG_LIMIT) {
            let _ = fs::rename(log, log.with_extension("log.1"));
        }
        let out = OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("cannot open {}", log.display()))?;
        // setsid(1) replaces itself by the program when it is no group leader, so the pid is the program's own.
        let mut command = Command::new("setsid");
        command.arg(&self.program).args(&self.args).envs(self.envs.iter().cloned()).current_dir("/");
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        if let Err(error) = pid_file.write(child.id()) {
            // A full disk, or it ended at once. Nobody would find it again: the next start would begin another beside it, and no stop end it.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error).with_context(|| format!("{}: see {}", self.program.display(), log.display()));
        }
        Ok(child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_process_is_found_by_its_pid_file_and_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = PidFile::new(folder.path().join("sleep.pid"));
        let mut child = Launch::new("sleep", &["600"]).detach(&folder.path().join("sleep.log"), &file).expect("starts");
        assert_eq!(file.alive(), Some(child.id()));
        let reaper = std::thread::spawn(move || child.wait());
        assert!(file.stop(Signal::Term, Duration::from_secs(5)).expect("stops"));
        assert_eq!(file.alive(), None);
        reaper.join().expect("joined").expect("reaped");
    }

    #[test]
    fn a_log_that_is_being_written_stays_bounded() {
        use std::io::Write;
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("server.log");
        assert!(!cut_log(&log, 10).expect("there is none"));
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).expect("opened");
        writeln!(writer, "one").expect("written");
        assert!(!cut_log(&log, 10).expect("small enough"));
        writeln!(writer, "two and three").expect("written");
        assert!(cut_log(&log, 10).expect("cut"));
        writeln!(writer, "four").expect("written");
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).expect("read");
        assert_eq!((text("server.log").as_str(), text("server.log.1").as_str()), ("four\n", "one\ntwo and three\n"));
        assert!(!folder.path().join("server.log.2").exists());
    }

    #[test]
    fn what_cannot_be_found_again_is_not_left_running() {
        let folder = tempfile::tempdir().expect("a folder");
        // As on a full disk: the log is there, the pid file cannot be written.
        let nowhere = PidFile::new(folder.path().join("gone/sleep.pid"));
        let seconds = format!("6{}", std::process::id());
        let error = Launch::new("sleep", &[&seconds]).detach(&folder.path().join("sleep.log"), &nowhere).expect_err("refused");
        assert!(format!("{error:#}").contains("see "), "{error:#}");
        let lines = fs::read_dir("/proc").expect("readable").flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let wanted = format!("sleep\0{seconds}\0");
        assert_eq!(lines.filter(|line| line.ends_with(wanted.as_bytes())).count(), 0);
    }

    #[test]
    fn a_pid_that_was_used_again_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pid");
        fs::write(&path, format!("{} 1\n", std::process::id())).expect("written");
        assert_eq!(PidFile::new(&path).alive(), None);
        assert!(!PidFile::new(&path).stop(Signal::Kill, Duration::ZERO).expect("nothing to stop"));
    }

    #[test]
    fn a_process_of_the_same_number_and_time_after_a_reboot_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.pid");
        let (own, start) = (std::process::id(), start_time(std::process::id()).expect("we live"));
        let file = PidFile::new(&path);
        file.write(own).expect("written");
        assert_eq!(file.alive(), Some(own));
        fs::write(&path, format!("{own} {start} 00000000-0000-0000-0000-000000000000\n")).expect("written");
        assert_eq!(file.alive(), None);
        // As older versions wrote it.
        fs::write(&path, format!("{own} {start}\n")).expect("written");
        assert_eq!(file.alive(), Some(own));
        for damaged in ["", "\n", "7", "x y z"] {
            fs::write(&path, damaged).expect("written");
            assert_eq!(file.alive(), None, "{damaged:?}");
        }
    }
}
