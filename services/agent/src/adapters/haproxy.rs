//! A HAProxy process of our own: master and worker, driven over its two sockets. It outlives the agent, so that a restart of the
//! agent interrupts nobody; the next agent finds it by its socket.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::Instant;

use super::disk::replace;
use crate::domain::balance::{Layout, Slot};
use crate::domain::haproxy::{self, Places};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const LOADED_WITHIN: Duration = Duration::from_secs(5);

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
}

impl Haproxy {
    /// `folder` holds its configuration and sockets; `log` takes what it prints.
    pub fn new(binary: PathBuf, folder: PathBuf, log: PathBuf, http_listen: String) -> Self {
        let places = Places { stats_socket: folder.join("stats.sock").display().to_string(), maps: folder.display().to_string(), http_listen };
        Self { binary, folder, log, places }
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
    /// [`HaproxyError`]; the process before goes on then.
    pub async fn load(&self, layout: &Layout) -> Result<(), HaproxyError> {
        self.write(layout).await.map_err(HaproxyError::Files)?;
        self.check().await?;
        let before = self.worker().await;
        if self.runs().await {
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
            draining.map(move |(index, _)| format!("set server {name}/s{index} state drain"))
        });
        self.run(&drains.collect::<Vec<_>>()).await
    }

    async fn write(&self, layout: &Layout) -> io::Result<()> {
        tokio::fs::create_dir_all(&self.folder).await?;
        let (exact, prefix) = haproxy::maps(layout);
        replace(&self.folder.join("exact.map"), exact.as_bytes(), 0o600).await?;
        replace(&self.folder.join("prefix.map"), prefix.as_bytes(), 0o600).await?;
        replace(&self.config(), haproxy::config(layout, &self.places).as_bytes(), 0o600).await
    }

    async fn check(&self) -> Result<(), HaproxyError> {
        let output = Command::new(&self.binary).arg("-c").arg("-q").arg("-f").arg(self.config()).stdin(Stdio::null()).output().await;
        let output = output.map_err(|source| HaproxyError::Start { path: self.binary.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(HaproxyError::Config(said.lines().filter(|l| l.contains("[ALERT]")).take(3).collect::<Vec<_>>().join("; ")))
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

    /// Runs commands in the worker, and in older workers that still answer connections of their own.
    ///
    /// # Errors
    /// When the worker does not answer, or refuses one of them.
    pub async fn run(&self, commands: &[String]) -> Result<(), HaproxyError> {
        if commands.is_empty() {
            return Ok(());
        }
        let older = self.older_workers().await;
        for command in commands {
            let said = ask(Path::new(&self.places.stats_socket), command).await.map_err(HaproxyError::Socket)?;
            let refused = ["No such", "Unknown", "Invalid", "Require", "Permission", "expects", "can't", "cannot"];
            if refused.iter().any(|word| said.contains(word)) {
                return Err(HaproxyError::Refused { command: command.clone(), said: said.trim().to_owned() });
            }
            for pid in &older {
                // It may not know the server, or be gone by now; both are fine.
                let _ = ask(&self.master(), &format!("@!{pid} {command}")).await;
            }
        }
        Ok(())
    }

    async fn older_workers(&self) -> Vec<u32> {
        let Ok(list) = ask(&self.master(), "show proc").await else { return Vec::new() };
        let old = list.split("# old workers").nth(1).unwrap_or_default();
        let lines = old.lines().skip(1).take_while(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    }

    /// Requests under way by (backend, slot), in all workers.
    ///
    /// # Errors
    /// When the worker does not answer.
    pub async fn sessions(&self) -> Result<BTreeMap<(String, usize), u64>, HaproxyError> {
        let mut sum = haproxy::sessions(&self.statistics().await?);
        for pid in self.older_workers().await {
            let csv = ask(&self.master(), &format!("@!{pid} show stat")).await.unwrap_or_default();
            for (slot, count) in haproxy::sessions(&csv) {
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

    /// Ends the process with all its connections.
    pub async fn stop(&self) {
        let Ok(pid) = tokio::fs::read_to_string(self.folder.join("haproxy.pid")).await else { return };
        let _ = super::machine::run("kill", &["-TERM", pid.trim()]).await;
        let end = Instant::now() + ANSWER_WITHIN;
        while self.runs().await && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One command, one connection, one answer.
async fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        // The master's socket stays open for more otherwise.
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
