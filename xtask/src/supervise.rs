//! Keeps every part of the suite alive: one thread per part starts it when it is not there, waits for its end, says what
//! happened and starts it again with growing pauses; one more ends what runs and is stuck, and keeps logs bounded. Killed itself,
//! it leaves the parts alone; the next one adopts them by their pid files.

use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use gantry_kernel::Env;
use gantry_servers::process::{LOG_LIMIT, cut_log, send};
use gantry_servers::suite::Choices;
use gantry_servers::{Backoff, Hopeless, Server, Signal, spawn, until};

use crate::parts::Parts;
use crate::work::Work;

/// How often a part that another supervisor started is looked at; its end cannot be waited for.
const ADOPTED_INTERVAL: Duration = Duration::from_millis(250);
/// Who ran for so long was well: its end says nothing about how soon it would end again.
const STEADY: Duration = Duration::from_secs(10);
/// How often parts are asked whether they are stuck, how long one must be so before it is ended, and how long it may take to end.
const LOOK: Duration = Duration::from_secs(5);
const STUCK: Duration = Duration::from_secs(30);
const ENDING: Duration = Duration::from_secs(20);

/// # Errors
/// When the suite's home is not readable. Does not return otherwise.
pub fn run(work: &Work) -> Result<()> {
    let choices = Choices::load(&work.home)?;
    let parts = Parts::of(work, &choices)?;
    let all: Arc<[Box<dyn Server>]> = parts.all.into();
    let keepers: Vec<_> = (0..all.len())
        .map(|at| {
            let all = all.clone();
            thread::spawn(move || {
                // The last one, gantryd, uses all the others; it copes without, but starts faster with.
                if at + 1 == all.len() {
                    all[..at].iter().for_each(|other| ready(other.as_ref(), || false));
                }
                keep(all[at].as_ref());
            })
        })
        .collect();
    thread::spawn(move || look_after(&all));
    for keeper in keepers {
        let _ = keeper.join();
    }
    Ok(())
}

fn keep(part: &dyn Server) {
    let mut backoff = Backoff::default();
    let ended_early = || part.pid_file().alive().is_none();
    loop {
        let started = Instant::now();
        let how = match spawn(part) {
            Ok(Some(child)) => {
                log(part, &format!("started, process {}", child.id()));
                ready(part, ended_early);
                ended(child)
            }
            Ok(None) => {
                log(part, "runs already; watching it");
                ready(part, ended_early);
                while part.pid_file().alive().is_some() {
                    thread::sleep(ADOPTED_INTERVAL);
                }
                "ended".to_owned()
            }
            Err(error) => format!("does not start: {error:#}"),
        };
        if started.elapsed() > STEADY {
            backoff = Backoff::default();
        }
        let pause = backoff.failed(Instant::now());
        log(part, &format!("{how}; starting it again in {:.1} s", pause.as_secs_f32()));
        thread::sleep(pause);
    }
}

/// Ends parts that will not work again before they are started anew (who keeps them does that), and keeps their logs from filling the disk.
fn look_after(all: &[Box<dyn Server>]) {
    let mut known = vec![None; all.len()];
    loop {
        thread::sleep(LOOK);
        for (part, known) in all.iter().zip(&mut known) {
            unstick(part.as_ref(), known, Instant::now());
            // On a full disk there is no room to put it aside; it is tried again.
            let _ = cut_log(&part.log_file(), LOG_LIMIT);
        }
    }
}

/// Since when this process is stuck.
#[derive(Clone, Copy)]
struct Stuck {
    pid: u32,
    since: Instant,
}

fn unstick(part: &dyn Server, known: &mut Option<Stuck>, now: Instant) {
    let (Some(pid), Some(why)) = (part.pid_file().alive(), part.stuck()) else {
        *known = None;
        return;
    };
    let stuck = known.filter(|stuck| stuck.pid == pid).unwrap_or(Stuck { pid, since: now });
    *known = Some(stuck);
    let long = now.saturating_duration_since(stuck.since);
    if long < STUCK {
        return;
    }
    log(part, &format!("is stuck and is ended, to be started again: {why}"));
    send(pid, if long < STUCK + ENDING { part.stop_signal() } else { Signal::Kill });
}

/// Waits (bounded) until it answers, and sets it up. Who has `ended` answers no more, and is to be started again instead.
fn ready(part: &dyn Server, ended: impl Fn() -> bool) {
    if part.needs().is_empty() {
        // Our own program needs no setting up.
        return;
    }
    let answers = || match part.probe() {
        Err(_) if ended() => Err(Hopeless("it ended".to_owned()).into()),
        answer => answer,
    };
    if until(part.name(), Duration::from_secs(60), answers).is_ok()
        && let Err(error) = part.settle()
    {
        log(part, &format!("could not be set up: {error:#}"));
    }
}

fn ended(mut child: Child) -> String {
    match child.wait() {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("was lost: {error}"),
    }
}

fn log(part: &dyn Server, what: &str) {
    let now = Env::system().now();
    let now = now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    println!("{now} {}: {what}", part.name());
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use gantry_servers::server::Folders;
    use gantry_servers::{Launch, Need};

    use super::*;

    /// Ends before it has answered, as a server does that is killed while it starts.
    struct Doomed(Folders);

    impl Server for Doomed {
        fn name(&self) -> &'static str {
            "doomed"
        }

        fn needs(&self) -> &'static [Need] {
            &[Need::Nats]
        }

        fn folders(&self) -> &Folders {
            &self.0
        }

        fn prepare(&self) -> Result<()> {
            Ok(())
        }

        fn launch(&self) -> Result<Launch> {
            Ok(Launch::new("sleep", &["0.3"]))
        }

        fn probe(&self) -> Result<()> {
            bail!("nobody answers")
        }
    }

    /// Runs, and will not work again: of its own word.
    struct Jammed(Folders);

    impl Server for Jammed {
        fn name(&self) -> &'static str {
            "jammed"
        }

        fn needs(&self) -> &'static [Need] {
            &[Need::Nats]
        }

        fn folders(&self) -> &Folders {
            &self.0
        }

        fn prepare(&self) -> Result<()> {
            Ok(())
        }

        fn launch(&self) -> Result<Launch> {
            Ok(Launch::new("sleep", &["600"]))
        }

        fn probe(&self) -> Result<()> {
            Ok(())
        }

        fn stuck(&self) -> Option<String> {
            Some("the disk was full".to_owned())
        }
    }

    #[test]
    fn a_part_that_stays_stuck_is_ended_to_be_started_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = Jammed(Folders::below(folder.path()).expect("folders"));
        let mut child = spawn(&part).expect("starts").expect("it did not run before");
        let (start, mut known) = (Instant::now(), None);
        unstick(&part, &mut known, start);
        unstick(&part, &mut known, start + STUCK / 2);
        assert!(child.try_wait().expect("asked").is_none(), "it may get over it");
        // Another process of that part begins anew.
        let mut other = Some(Stuck { pid: child.id() + 1, since: start });
        unstick(&part, &mut other, start + STUCK * 2);
        assert!(child.try_wait().expect("asked").is_none() && other.is_some_and(|stuck| stuck.pid == child.id()));
        unstick(&part, &mut known, start + STUCK);
        assert!(ended(child).contains("ended with"));
        unstick(&part, &mut known, start + STUCK * 2);
        assert!(known.is_none(), "who is gone is not stuck");
    }

    #[test]
    fn a_part_that_ends_while_it_starts_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let part = Doomed(Folders::below(folder.path()).expect("folders"));
        let start = Instant::now();
        let child = spawn(&part).expect("starts").expect("it did not run before");
        ready(&part, || part.pid_file().alive().is_none());
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert!(ended(child).contains("ended with"));
    }
}
