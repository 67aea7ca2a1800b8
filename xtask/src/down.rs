//! `make down`, `status`, `logs`, `clean-data`: everything that looks at or ends what `up` started.

use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gantry_servers::suite::Choices;
use gantry_servers::{Signal, stop, text_from_env};

use crate::parts::Parts;
use crate::work::{Work, run, say};
use crate::{leftovers, pods};

/// Stops the suite and nothing else. Harmless when nothing runs.
///
/// # Errors
/// When a part does not go away.
pub fn down(work: &Work) -> Result<()> {
    let choices = Choices::load(&work.home)?;
    let parts = Parts::of(work, &choices)?;
    // First, or it would start again what is stopped.
    if parts.supervisor().stop(Signal::Term, Duration::from_secs(5))? {
        say("supervisor stopped");
    }
    let mut stopped = 0;
    for part in parts.all.iter().rev() {
        if part.name() == "containerd" && part.pid_file().alive().is_some() {
            match pods::stop(Path::new(&parts.urls.containerd), false) {
                Ok(count) => say(&format!("{count} pods stopped")),
                Err(error) => say(&format!("pods may still run: {error:#}")),
            }
        }
        if stop(part.as_ref())? {
            say(&format!("{} stopped", part.name()));
            stopped += 1;
        }
    }
    leftovers::clear(&work.home, &choices.ports.network())?;
    say(if stopped == 0 { "nothing was running" } else { "the suite is down; its data stays (make clean-data deletes it)" });
    Ok(())
}

/// # Errors
/// When the suite's home is not readable.
pub fn status(work: &Work) -> Result<()> {
    let parts = Parts::of(work, &Choices::load(&work.home)?)?;
    let row = |name: &str, pid: Option<u32>, state: &str| {
        println!("{name:<12} {:<8} {state}", pid.map_or_else(|| "-".to_owned(), |p| p.to_string()));
    };
    let supervisor = parts.supervisor().alive();
    row("PART", None, "STATE");
    row("supervisor", supervisor, if supervisor.is_some() { "running" } else { "not running" });
    let mut faults = 0;
    for part in &parts.all {
        let pid = part.pid_file().alive();
        let state = match (pid, part.probe()) {
            (None, _) => "not running".to_owned(),
            (Some(_), Ok(())) => "ready".to_owned(),
            (Some(_), Err(why)) => format!("not ready: {why:#}"),
        };
        faults += usize::from(state != "ready");
        row(part.name(), pid, &state);
    }
    if faults > 0 {
        bail!("{faults} of {} parts are not ready; `make logs` shows why, `make up` starts them", parts.all.len());
    }
    Ok(())
}

/// # Errors
/// When there are no logs, or none of that name.
pub fn logs(work: &Work, parts: &[String], follow: bool) -> Result<()> {
    let folder = work.home.file("log");
    let mut files: Vec<_> = fs::read_dir(&folder).context("there are no logs; run `make up` first")?.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "log"));
    files.retain(|f| parts.is_empty() || f.file_stem().is_some_and(|s| parts.iter().any(|p| s == p.as_str())));
    if files.is_empty() {
        bail!("no log of {} in {}", parts.join(", "), folder.display());
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", "200"]);
    if follow {
        tail.arg("-F");
    }
    run(tail.args(files))
}

/// Deletes the suite's data when the user (or CONFIRM=yes) says so.
///
/// # Errors
/// When the answer is not yes, or something cannot be removed.
pub fn clean_data(work: &Work) -> Result<()> {
    let home = work.home.root();
    if text_from_env("CONFIRM").as_deref() != Some("yes") {
        if !std::io::stdin().is_terminal() {
            bail!("this deletes everything in {}; set CONFIRM=yes to do it without a terminal", home.display());
        }
        print!("Delete every user, image, repository, log and bill in {}? Type yes: ", home.display());
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if answer.trim() != "yes" {
            bail!("nothing was deleted");
        }
    }
    remove_suite(work)
}

/// Stops the suite and deletes all of it.
///
/// # Errors
/// When something cannot be stopped or removed.
pub fn remove_suite(work: &Work) -> Result<()> {
    let choices = Choices::load(&work.home)?;
    let parts = Parts::of(work, &choices)?;
    parts.supervisor().stop(Signal::Term, Duration::from_secs(5))?;
    for part in parts.all.iter().rev() {
        if part.name() == "containerd" && part.pid_file().alive().is_some() {
            pods::stop(Path::new(&parts.urls.containerd), true)?;
        }
        stop(part.as_ref())?;
    }
    leftovers::clear(&work.home, &choices.ports.network())?;
    leftovers::unmount_below(work.home.root())?;
    gantry_servers::remove_folder(&work.home.file("pg"))?;
    fs::remove_dir_all(work.home.root()).with_context(|| format!("cannot remove {}", work.home.root().display()))?;
    say(&format!("{} is gone", work.home.root().display()));
    Ok(())
}
