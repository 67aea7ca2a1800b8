//! Keeps every part of the suite alive: one thread per part starts it when it is not there, waits for its end, says what
//! happened and starts it again with growing pauses. Killed itself, it leaves the parts alone; the next one adopts them by
//! their pid files.

use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use gantry_kernel::Env;
use gantry_servers::suite::Choices;
use gantry_servers::{Backoff, Hopeless, Server, spawn, until};

use crate::parts::Parts;
use crate::work::Work;

/// How often a part that another supervisor started is looked at; its end cannot be waited for.
const ADOPTED_INTERVAL: Duration = Duration::from_millis(250);
/// Who ran for so long was well: its end says nothing about how soon it would end again.
const STEADY: Duration = Duration::from_secs(10);

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
