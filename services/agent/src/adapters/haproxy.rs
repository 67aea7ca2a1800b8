//! A HAProxy process of our own: master and worker, driven over its two sockets. It outlives the agent, so that a restart of the
//! agent interrupts nobody; the next agent finds it by its socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
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
        // With a new one beside it, the ports' connections would be shared among them.
        let stuck = before.is_none() && self.is_stuck(ANSWER_WITHIN).await;
        if !stuck && self.runs().await {
            // The answer is cut off when the master replaces itself.
            let _ = ask(&self.master(), "reload").await;
        } else {
            self.end_left().await;
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
        for pid in self.processes().await {
            tracing::error!(pid, "an HAProxy that does not answer is ended");
            let _ = super::machine::run("kill", &["-KILL", &pid.to_string()]).await;
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
mod tests {
    use super::*;

    fn haproxy(folder: &Path, binary: &str) -> Haproxy {
        Haproxy::new(binary.into(), folder.join("haproxy"), folder.join("haproxy.log"), "127.0.0.1:0".into())
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_ended_and_nobody_elses_is() {
        let folder = tempfile::tempdir().unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        let start = |config: PathBuf| {
            // It waits for a word that never comes.
            let words = ["-c", "read word; exit 0", "haproxy", "-W", "-f"];
            std::process::Command::new("sh").args(words).arg(config).stdin(Stdio::piped()).spawn().unwrap()
        };
        let (mut stuck, mut another) = (start(ours.config()), start(folder.path().join("other/haproxy.cfg")));
        let seen = async {
            // Between the fork and the program the words are ours.
            while ours.processes().await != [stuck.id()] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect("it is found");
        ours.end_left().await;
        assert_eq!(stuck.wait().unwrap().code(), None, "by a signal");
        assert!(another.try_wait().unwrap().is_none());
        another.kill().unwrap();
        another.wait().unwrap();
    }

    #[tokio::test]
    async fn a_number_of_an_earlier_start_is_nobodys_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        let mut somebodys = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
        std::fs::write(folder.path().join("haproxy/haproxy.pid"), format!("{}\n", somebodys.id())).unwrap();
        ours.stop().await;
        assert!(somebodys.try_wait().unwrap().is_none());
        somebodys.kill().unwrap();
        somebodys.wait().unwrap();
    }

    #[tokio::test]
    async fn one_that_answers_nobody_is_stopped_with_all_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
        // A master that replaces itself, without a socket, and a worker that the file does not name; one of them does not listen.
        let start = |script: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", script, "haproxy", "-W", "-f"]).arg(ours.config()).stdin(Stdio::piped());
            command.stdout(Stdio::piped()).spawn().unwrap()
        };
        let (mut master, mut worker) = (start("read word; exit 0"), start("trap '' TERM; echo deaf; read word; exit 0"));
        let mut said = [0; 5];
        std::io::Read::read_exact(worker.stdout.as_mut().unwrap(), &mut said).unwrap();
        std::fs::write(folder.path().join("haproxy/haproxy.pid"), format!("{}\n", master.id())).unwrap();
        // Ended, but not waited for, they have no words any more.
        ours.end_within(Duration::from_millis(300)).await;
        assert_eq!((master.wait().unwrap().code(), worker.wait().unwrap().code()), (None, None), "by signals");
        assert!(ours.processes().await.is_empty());
    }

    #[tokio::test]
    async fn what_it_prints_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        ours.bound_log().await;
        let log = std::fs::File::create(folder.path().join("haproxy.log")).unwrap();
        log.set_len(LOG_BYTES).unwrap();
        ours.bound_log().await;
        assert_eq!(log.metadata().unwrap().len(), LOG_BYTES);
        log.set_len(LOG_BYTES + 1).unwrap();
        ours.bound_log().await;
        assert_eq!(log.metadata().unwrap().len(), 0);
    }

    /// Answers one question.
    async fn answer(listener: &tokio::net::UnixListener, asked: &str, with: &str) {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut word = String::new();
        client.read_to_string(&mut word).await.unwrap();
        assert_eq!(word, format!("{asked}\n"));
        client.write_all(with.as_bytes()).await.unwrap();
    }

    const PROCESSES: &str = "#<PID> <type>\n1 master\n# workers\n9 worker\n# old workers\n7 worker\n# programs\n";

    #[tokio::test]
    async fn a_master_that_is_just_replacing_itself_is_asked_for_its_older_workers_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        let master = tokio::net::UnixListener::bind(ours.master()).unwrap();
        let answers = async {
            answer(&master, "show proc", "").await;
            answer(&master, "show proc", PROCESSES).await;
        };
        let (older, ()) = tokio::join!(ours.older_workers(), answers);
        assert_eq!(older.unwrap(), [7]);
    }

    #[tokio::test]
    async fn what_an_older_worker_that_does_not_answer_has_under_way_is_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        let worker = tokio::net::UnixListener::bind(&ours.places.stats_socket).unwrap();
        let master = tokio::net::UnixListener::bind(ours.master()).unwrap();
        let csv = "# pxname,svname,scur\nweb,s0,1\n";
        let answers = async {
            answer(&worker, "show stat", csv).await;
            answer(&master, "show proc", PROCESSES).await;
            answer(&master, "@!7 show stat", csv).await;
        };
        let (sum, ()) = tokio::join!(ours.sessions(), answers);
        assert_eq!(sum.unwrap(), BTreeMap::from([(("web".to_owned(), 0), 2)]));
        let answers = async {
            answer(&worker, "show stat", csv).await;
            answer(&master, "show proc", PROCESSES).await;
            // And nobody reads what the older one is asked.
        };
        let (sum, ()) = tokio::join!(ours.sessions(), answers);
        assert!(sum.is_err());
    }

    #[tokio::test]
    async fn a_worker_that_takes_connections_and_says_nothing_is_stuck_and_one_that_is_not_there_is_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        assert!(!ours.is_stuck(Duration::from_secs(60)).await && !ours.serves().await);
        let worker = tokio::net::UnixListener::bind(&ours.places.stats_socket).unwrap();
        assert!(ours.is_stuck(Duration::from_millis(100)).await);
        drop(worker.accept().await.unwrap());
        let (stuck, ()) = tokio::join!(ours.is_stuck(Duration::from_secs(60)), answer(&worker, "show info", "Pid: 7\n"));
        assert!(!stuck);
        let (serves, ()) = tokio::join!(ours.serves(), answer(&worker, "show info", "Name: HAProxy\nPid: 7\n"));
        assert!(serves);
    }

    #[tokio::test]
    async fn an_older_worker_that_is_stuck_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("haproxy")).unwrap();
        let ours = haproxy(folder.path(), "/nowhere/haproxy");
        let master = tokio::net::UnixListener::bind(ours.master()).unwrap();
        let commands = ["a", "b", "c"].map(str::to_owned);
        // Nobody reads what is asked.
        tokio::time::timeout(OLDER_ANSWER_WITHIN * 2, ours.tell_older(7, &commands)).await.expect("it holds up nobody");
        drop(master);
    }
}
