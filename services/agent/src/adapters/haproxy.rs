//! A HAProxy process of our own: master and worker, driven over its two sockets. It outlives the agent, so that a restart of the
//! agent interrupts nobody; the next agent finds it by its socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::Instant;

use super::disk::replace;
use super::processes::blocking;
use crate::domain::balance::{Layout, Slot};
use crate::domain::haproxy::{self, Places};
use crate::domain::secure;

mod certificates;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LOADED_WITHIN: Duration = Duration::from_secs(5);
const CHECKED_WITHIN: Duration = Duration::from_secs(10);
/// Workers before the last reload only end what they have begun; one of them that is stuck must not hold up the rest of the node.
const OLDER_ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// What it prints is for a person who looks at what was last.
const LOG_BYTES: u64 = 10 << 20;

#[derive(Debug, thiserror::Error)]
pub enum HaproxyError {
    #[error("HAProxy cannot be started from {}", path.display())]
    Start {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("HAProxy's files cannot be written")]
    Files(#[source] io::Error),
    #[error("HAProxy does not answer")]
    Socket(#[source] io::Error),
    #[error("HAProxy refuses its configuration: {0}")]
    Config(String),
    #[error("HAProxy refused `{command}`: {said}")]
    Refused { command: String, said: String },
    #[error("HAProxy did not take over within {LOADED_WITHIN:?}")]
    Late,
}

pub struct Haproxy {
    binary: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    places: Places,
    /// Somebody else has the shared port; all other ports are served without it.
    shut_out: AtomicBool,
    /// The same of that for HTTPS.
    shut_out_secure: AtomicBool,
    certificates: certificates::Certificates,
}

impl Haproxy {
    /// `folder` holds its configuration and sockets; `log` takes what it prints.
    pub fn new(binary: PathBuf, folder: PathBuf, log: PathBuf, http_listen: String) -> Self {
        let places =
            Places { stats_socket: folder.join("stats.sock").display().to_string(), maps: folder.display().to_string(), http_listen, ..Places::default() };
        let (shut_out, shut_out_secure) = Default::default();
        Self { binary, folder, log, places, shut_out, shut_out_secure, certificates: certificates::Certificates::default() }
    }

    /// `ip:port` of the shared HTTPS port, which is opened when there is a certificate.
    #[must_use]
    pub fn with_https(mut self, listen: String) -> Self {
        self.places.https_port = listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(443);
        self.places.https_listen = listen;
        self
    }

    fn config(&self) -> PathBuf {
        self.folder.join("haproxy.cfg")
    }

    /// Where requests of a service without servers are held.
    pub fn hold_socket(&self, name: &str) -> PathBuf {
        self.folder.join("hold").join(name)
    }

    fn master(&self) -> PathBuf {
        self.folder.join("master.sock")
    }

    /// Whether a process of an earlier agent (or ours) is there.
    pub async fn runs(&self) -> bool {
        ask(&self.master(), "show version").await.is_ok()
    }

    /// Puts a layout to work: starts HAProxy, or lets the running one load it without dropping a connection.
    ///
    /// # Errors
    /// [`HaproxyError`]; the process before goes on then, if it answers.
    pub async fn load(&self, layout: &Layout) -> Result<(), HaproxyError> {
        let before = self.worker().await;
        // With a new one beside it, the ports' connections would be shared among them.
        let stuck = before.is_none() && self.is_stuck(ANSWER_WITHIN).await;
        let goes_on = !stuck && self.runs().await;
        if !goes_on {
            self.end_left().await;
        }
        self.write(layout, goes_on).await.map_err(HaproxyError::Files)?;
        self.check().await?;
        if goes_on {
            // The answer is cut off when the master replaces itself.
            let _ = ask(&self.master(), "reload").await;
        } else {
            self.spawn()?;
        }
        let end = Instant::now() + LOADED_WITHIN;
        loop {
            let now = self.worker().await;
            if now.is_some() && now != before {
                break;
            }
            if Instant::now() > end {
                return Err(HaproxyError::Late);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A configuration cannot say "draining", only "weight 0".
        let drains = layout.services.values().flat_map(|service| {
            let name = &service.shape.name;
            let draining = service.slots.iter().enumerate().filter(|(_, s)| matches!(s, Slot::Draining { .. }));
            let word = service.shape.leaving();
            draining.map(move |(index, _)| format!("set server {name}/s{index} state {word}"))
        });
        self.run(&drains.collect::<Vec<_>>()).await?;
        self.drop_certificates(layout).await;
        Ok(())
    }

    /// `goes_on`: the process that runs has the ports of its configuration.
    async fn write(&self, layout: &Layout, goes_on: bool) -> io::Result<()> {
        let mut places = self.places.clone();
        let before = tokio::fs::read_to_string(self.config()).await.unwrap_or_default();
        let held = |line: String| goes_on && before.contains(&line);
        if !takes_shared_port(&places.http_listen, held(haproxy::bind(&places.http_listen)), &self.shut_out) {
            places.http_listen.clear();
        }
        tokio::fs::create_dir_all(&self.folder).await?;
        if !self.write_certificates(layout).await? {
            places.https_listen.clear();
            self.shut_out_secure.store(false, Ordering::Relaxed);
        } else if !places.https_listen.is_empty()
            && !takes_shared_port(&places.https_listen, held(secure::bind(&places.https_listen, &places.maps)), &self.shut_out_secure)
        {
            places.https_listen.clear();
        }
        let (exact, prefix) = haproxy::maps(layout);
        replace(&self.folder.join("exact.map"), exact.as_bytes(), 0o600).await?;
        replace(&self.folder.join("prefix.map"), prefix.as_bytes(), 0o600).await?;
        replace(&self.config(), haproxy::config(layout, &places).as_bytes(), 0o600).await
    }

    /// The shared port was somebody else's, and is free now.
    pub fn may_have_shared_port(&self) -> bool {
        let free = |shut_out: &AtomicBool, address: &str| shut_out.load(Ordering::Relaxed) && std::net::TcpListener::bind(address).is_ok();
        free(&self.shut_out, &self.places.http_listen) || free(&self.shut_out_secure, &self.places.https_listen)
    }

    async fn check(&self) -> Result<(), HaproxyError> {
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg("-q").arg("-f").arg(self.config()).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(CHECKED_WITHIN, command.output()).await;
        let output = output.map_err(|_| HaproxyError::Config(format!("it was not read within {CHECKED_WITHIN:?}")))?;
        let output = output.map_err(|source| HaproxyError::Start { path: self.binary.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(HaproxyError::Config(said.lines().filter(|l| l.contains("[ALERT]")).take(3).collect::<Vec<_>>().join("; ")))
    }

    /// Those that were started with our configuration: known by their words, since a number may be another process's by now.
    async fn processes(&self) -> Vec<u32> {
        let config = self.config();
        blocking(move || {
            let ours = |pid: &u32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
                words.contains(&b"-W".as_slice()) && words.contains(&config.as_os_str().as_bytes())
            };
            let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
        })
        .await
    }

    /// One that is there and does not answer would share its ports with the next one, and take connections that it never serves.
    async fn end_left(&self) {
        let (end, mut told) = (Instant::now() + ANSWER_WITHIN, BTreeSet::new());
        loop {
            let left = self.processes().await;
            if left.is_empty() || Instant::now() > end {
                return;
            }
            for pid in left {
                if told.insert(pid) {
                    tracing::error!(pid, "an HAProxy that does not answer is ended");
                    let _ = super::machine::run("kill", &["-KILL", &pid.to_string()]).await;
                }
            }
            // Until then its ports are taken.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Empties what it has printed when that is too much; it goes on at the end, wherever that is.
    pub async fn bound_log(&self) {
        if tokio::fs::metadata(&self.log).await.is_ok_and(|meta| meta.len() > LOG_BYTES)
            && let Err(error) = tokio::fs::OpenOptions::new().write(true).truncate(true).open(&self.log).await
        {
            tracing::warn!(path = %self.log.display(), %error, "what HAProxy has printed cannot be emptied");
        }
    }

    fn spawn(&self) -> Result<(), HaproxyError> {
        let failed = |source| HaproxyError::Start { path: self.binary.clone(), source };
        if let Some(folder) = self.log.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(&self.binary);
        command.arg("-W").arg("-S").arg(format!("{},mode,600", self.master().display())).arg("-f").arg(self.config());
        command.arg("-p").arg(self.folder.join("haproxy.pid"));
        // A group of its own, so that a signal to the agent's group (Ctrl-C) does not reach it.
        command.process_group(0).kill_on_drop(false).stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().map(drop).map_err(failed)
    }

    /// Process id of the worker that takes new connections.
    async fn worker(&self) -> Option<u32> {
        let info = ask(Path::new(&self.places.stats_socket), "show info").await.ok()?;
        info.lines().find_map(|line| line.strip_prefix("Pid: ")?.trim().parse().ok())
    }

    /// Whether the worker that takes new connections (ours, or of an earlier agent) answers.
    pub async fn serves(&self) -> bool {
        self.worker().await.is_some()
    }

    /// It is there and says nothing: it would take connections, and serve none.
    async fn is_stuck(&self, patience: Duration) -> bool {
        let asked = ask_within(patience, Path::new(&self.places.stats_socket), "show info").await;
        asked.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    /// Runs commands in the worker, and in older workers that still answer connections of their own.
    ///
    /// # Errors
    /// When the worker or its master does not answer, or refuses one of them.
    pub async fn run(&self, commands: &[String]) -> Result<(), HaproxyError> {
        if commands.is_empty() {
            return Ok(());
        }
        let older = self.older_workers().await?;
        for command in commands {
            let said = ask(Path::new(&self.places.stats_socket), command).await.map_err(HaproxyError::Socket)?;
            let refused = ["No such", "Unknown", "Invalid", "Require", "Permission", "expects", "can't", "cannot"];
            if refused.iter().any(|word| said.contains(word)) {
                return Err(HaproxyError::Refused { command: command.clone(), said: said.trim().to_owned() });
            }
        }
        join_all(older.iter().map(|pid| self.tell_older(*pid, commands))).await;
        Ok(())
    }

    async fn tell_older(&self, pid: u32, commands: &[String]) {
        for command in commands {
            // It may not know the server, or be gone by now; both are fine.
            let asked = self.ask_older(pid, command).await;
            if asked.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                return;
            }
        }
    }

    async fn ask_older(&self, pid: u32, command: &str) -> io::Result<String> {
        ask_within(OLDER_ANSWER_WITHIN, &self.master(), &format!("@!{pid} {command}")).await
    }

    /// A master that is just replacing itself answers nobody for a moment, in which the new worker answers already: taken for none, the
    /// workers of before would not hear what begins to drain, and what they have under way would be counted as nothing.
    async fn older_workers(&self) -> Result<Vec<u32>, HaproxyError> {
        let end = Instant::now() + ANSWER_WITHIN;
        loop {
            let error = match ask(&self.master(), "show proc").await.map(|list| haproxy::older_workers(&list)) {
                Ok(Some(older)) => return Ok(older),
                Ok(None) => io::Error::from(io::ErrorKind::UnexpectedEof),
                Err(error) => error,
            };
            if Instant::now() > end {
                return Err(HaproxyError::Socket(error));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Requests under way by (backend, slot), in all workers.
    ///
    /// # Errors
    /// When one of them does not answer: what it has under way is not known.
    pub async fn sessions(&self) -> Result<BTreeMap<(String, usize), u64>, HaproxyError> {
        let mut sum = haproxy::sessions(&self.statistics().await?);
        let older = self.older_workers().await?;
        for csv in join_all(older.iter().map(|pid| self.ask_older(*pid, "show stat"))).await {
            for (slot, count) in haproxy::sessions(&csv.map_err(HaproxyError::Socket)?) {
                *sum.entry(slot).or_default() += count;
            }
        }
        Ok(sum)
    }

    /// `show stat` as CSV.
    ///
    /// # Errors
    /// When the worker does not answer.
    pub async fn statistics(&self) -> Result<String, HaproxyError> {
        ask(Path::new(&self.places.stats_socket), "show stat").await.map_err(HaproxyError::Socket)
    }

    /// Ends all its processes with all their connections. By the processes and not by the socket: a master that is just replacing itself
    /// answers nobody, and the workers of one that was ended in that moment are told by nobody.
    pub async fn stop(&self) {
        self.end_within(ANSWER_WITHIN).await;
    }

    /// Those that do not end in this time are ended by force.
    async fn end_within(&self, patience: Duration) {
        let (begun, mut told, mut nobody) = (Instant::now(), BTreeSet::new(), 0);
        // In the moment in which a process becomes another program its words cannot be read, so that one look is none.
        while nobody < 2 {
            let left = self.processes().await;
            nobody = if left.is_empty() { nobody + 1 } else { 0 };
            let late = begun.elapsed() > patience;
            if begun.elapsed() > patience + ANSWER_WITHIN {
                tracing::error!(processes = ?left, "HAProxy cannot be ended");
                return;
            }
            for pid in left {
                if late {
                    let _ = super::machine::run("kill", &["-KILL", &pid.to_string()]).await;
                } else if told.insert(pid) {
                    let _ = super::machine::run("kill", &["-TERM", &pid.to_string()]).await;
                }
            }
            if nobody < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// One port that cannot be opened would make HAProxy refuse its whole configuration. `has_it`: HAProxy listens there.
fn takes_shared_port(address: &str, has_it: bool, shut_out: &AtomicBool) -> bool {
    let refused = if has_it { None } else { std::net::TcpListener::bind(address).err() };
    let was_shut_out = shut_out.swap(refused.is_some(), Ordering::Relaxed);
    if let Some(error) = refused.as_ref().filter(|_| !was_shut_out) {
        tracing::error!(address, %error, "a port that all routes share is somebody else's; routes do not answer there until it is free");
    }
    refused.is_none()
}

/// One command, one connection, one answer.
async fn ask(socket: &Path, command: &str) -> io::Result<String> {
    ask_within(ANSWER_WITHIN, socket, command).await
}

async fn ask_within(limit: Duration, socket: &Path, command: &str) -> io::Result<String> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        // The master's socket stays open for more otherwise.
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
