//! Commands that sessions run in containers: which process is whose, and its end, since the runtime leaves it running when its
//! streams are closed. Each is written down while it runs, so that an agent that starts anew ends what a killed one has left.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::machine;
use super::processes::{blocking, entered, handle, members, stat};

/// How long after the start of a command its process is looked for.
const APPEARS_WITHIN: Duration = Duration::from_secs(3);
/// Between asking a process to end and ending it.
const GRACE: Duration = Duration::from_secs(2);

/// Those of this node.
#[derive(Clone, Debug)]
pub struct Commands {
    folder: PathBuf,
}

/// One process, and no other that gets its number later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    boot_id: String,
    pid: u32,
    /// Ticks since the machine's start, as of proc(5).
    born: u64,
    /// The first process of its container.
    first: u32,
    first_born: u64,
}

impl Commands {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Looks for the one that was not there `before`; no other is started until it is found (`held`) or the session is over.
    pub async fn look(&self, first: Option<u32>, before: BTreeSet<u32>, held: OwnedMutexGuard<()>) -> Started {
        // Without it the process is ended all the same, but not by a later agent.
        let boot_id = machine::boot().await.map(|b| b.id).unwrap_or_default();
        let over = Arc::new(AtomicBool::new(false));
        let (stop, own) = (over.clone(), self.clone());
        let found = tokio::task::spawn_blocking(move || {
            let _held = held;
            let first = first?;
            let first_born = stat(first)?.starttime;
            let end = Instant::now() + APPEARS_WITHIN;
            while Instant::now() < end && !stop.load(Ordering::Relaxed) {
                let now = entered(&members(first).ok()?);
                if let Some(pid) = now.difference(&before).next().copied() {
                    let running = Running { boot_id, pid, born: stat(pid)?.starttime, first, first_born };
                    if let Err(error) = own.write(&running) {
                        tracing::warn!(%error, "a command that a session runs cannot be written down: it would outlive a crash of the agent");
                    }
                    return Some(running);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            None
        });
        Started { commands: self.clone(), found, over }
    }

    /// What an agent has left that was killed. To be read before sessions are opened.
    pub async fn left(&self) -> Left {
        let (own, now) = (self.clone(), machine::boot().await);
        let all = blocking(move || {
            let Ok(entries) = std::fs::read_dir(&own.folder) else { return Vec::new() };
            let mut all = Vec::new();
            for path in entries.flatten().map(|e| e.path()) {
                let running = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Running>(&text).ok());
                let there = |r: &Running| now.as_ref().is_some_and(|b| b.id == r.boot_id) && stat(r.first).is_some_and(|s| s.starttime == r.first_born);
                match running.filter(there) {
                    Some(running) => all.push(running),
                    // Its container has ended, and it with that.
                    None => drop(std::fs::remove_file(&path)),
                }
            }
            all
        })
        .await;
        Left { commands: self.clone(), all }
    }

    fn path(&self, running: &Running) -> PathBuf {
        self.folder.join(format!("{}-{}.json", running.pid, running.born))
    }

    fn write(&self, running: &Running) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        std::fs::write(self.path(running), serde_json::to_vec(running)?)
    }

    async fn forget(&self, running: &Running) {
        match tokio::fs::remove_file(self.path(running)).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "a command that has ended stays written down"),
        }
    }

    async fn end(&self, running: Running) {
        let own = running.clone();
        blocking(move || own.end()).await;
        self.forget(&running).await;
    }
}

/// To be ended.
pub struct Left {
    commands: Commands,
    all: Vec<Running>,
}

impl Left {
    pub async fn end(self) {
        if !self.all.is_empty() {
            tracing::info!(commands = self.all.len(), "commands are ended whose sessions the last agent took with it");
        }
        futures::future::join_all(self.all.into_iter().map(|r| self.commands.end(r))).await;
    }
}

/// The process of a command that a session has started.
pub struct Started {
    commands: Commands,
    found: tokio::task::JoinHandle<Option<Running>>,
    over: Arc<AtomicBool>,
}

impl Started {
    /// It has ended by itself.
    pub async fn over(self) {
        self.over.store(true, Ordering::Relaxed);
        if let Ok(Some(running)) = self.found.await {
            self.commands.forget(&running).await;
        }
    }

    /// Ends it, and what it has started in its turn: first asked, then made to.
    pub async fn end(self) {
        if let Ok(Some(running)) = self.found.await {
            self.commands.end(running).await;
        }
    }
}

impl Running {
    fn end(&self) {
        let of_it = || -> Vec<u32> {
            let all = members(self.first).unwrap_or_default();
            // The runtime makes each command the leader of a session of its own (setsid(2)).
            all.into_iter().filter(|p| stat(*p).is_some_and(|s| s.session == i32::try_from(self.pid).unwrap_or(-1))).collect()
        };
        let leader_is_it = || stat(self.pid).is_none_or(|s| s.starttime == self.born);
        for (signal, wait) in [(Signal::HUP, GRACE), (Signal::KILL, Duration::ZERO)] {
            if !leader_is_it() {
                return;
            }
            for process in of_it().into_iter().filter_map(handle) {
                // Gone in between is just as well.
                let _ = pidfd_send_signal(process, signal);
            }
            let end = Instant::now() + wait;
            while Instant::now() < end && !of_it().is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_down_of_another_boot_or_container_is_nobodys_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let commands = Commands::new(folder.path().join("commands"));
        assert!(commands.left().await.all.is_empty(), "nothing was ever run");
        let own = std::process::id();
        let here = Running { boot_id: machine::boot().await.unwrap().id, pid: 1, born: 1, first: own, first_born: stat(own).unwrap().starttime };
        commands.write(&here).unwrap();
        commands.write(&Running { boot_id: "another".into(), born: 2, ..here.clone() }).unwrap();
        commands.write(&Running { first_born: 0, born: 3, ..here.clone() }).unwrap();
        std::fs::write(folder.path().join("commands/4-4.json"), "half").unwrap();
        assert_eq!(commands.left().await.all, std::slice::from_ref(&here));
        assert_eq!(std::fs::read_dir(folder.path().join("commands")).unwrap().count(), 1, "the others are forgotten");
        commands.forget(&here).await;
        commands.forget(&here).await;
        assert!(commands.left().await.all.is_empty());
    }
}
