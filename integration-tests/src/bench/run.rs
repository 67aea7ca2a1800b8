//! One run: group after group, each in a process of its own, so that none inherits another's memory and one that hangs or dies takes no
//! other with it.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::figure::Figure;
use crate::bench::groups::{GROUPS, Group, listing};
use crate::bench::{Options, former, programs, results};

/// Measures what is asked for, writes each figure down when it is known, and prints all of them beside their anchors at the end.
///
/// # Errors
/// When a name is unknown, somebody else measures, the programs are older than the sources, or something cannot be measured; the others
/// are measured all the same.
pub fn run(options: &Options) -> Result<()> {
    let options = options.clone().meant();
    results::only_a_look(options.quick || cfg!(debug_assertions));
    if options.list {
        print!("{}", listing());
        return Ok(());
    }
    let known = |name: &String| GROUPS.iter().any(|g| g.name == name || g.figures.contains(&name.as_str()));
    if let Some(unknown) = options.names.iter().find(|n| !known(n)) {
        bail!("there is no figure `{unknown}`; `make bench ARGS=list` says what there is");
    }
    if options.show {
        results::show(wanted(&options).flat_map(|group| figures(group, &options)));
        return Ok(());
    }
    match &options.group {
        Some(name) => alone(name, &options),
        None => everything(&options),
    }
}

fn wanted(options: &Options) -> impl Iterator<Item = &'static Group> {
    GROUPS.iter().filter(|g| g.figures.iter().any(|f| options.wants(g.name, f)))
}

fn figures(group: &'static Group, options: &Options) -> Vec<&'static str> {
    group.figures.iter().copied().filter(|f| options.wants(group.name, f)).collect()
}

fn everything(options: &Options) -> Result<()> {
    let _turn = former::Turn::take()?;
    if !options.as_built {
        programs::fresh(&programs::MEASURED)?;
    }
    let mut failed = Vec::new();
    for group in wanted(options) {
        let limit = group.limit(options);
        eprintln!(
            "bench: {} ({} rounds of {} s; about {} min, {} at most) ...",
            group.name,
            options.rounds,
            options.seconds,
            group.minutes,
            limit.as_secs() / 60
        );
        for figure in figures(group, options) {
            results::forget(figure)?;
        }
        if let Err(error) = measured(group, limit) {
            eprintln!("bench: {} could not be measured: {error:#}", group.name);
            failed.push(format!("{}: {error:#}", group.name));
        }
    }
    results::show(wanted(options).flat_map(|group| figures(group, options)));
    if failed.is_empty() { Ok(()) } else { bail!("could not be measured:\n  {}", failed.join("\n  ")) }
}

/// A group in a process of its own, within its time.
fn measured(group: &Group, limit: Duration) -> Result<()> {
    former::doing("its first step");
    former::failed("");
    let mut command = Command::new(programs::own()?);
    command.args(std::env::args_os().skip(1)).args(["--group", group.name]).stdin(Stdio::null());
    let mut child = command.spawn().context("the group's process")?;
    let note = former::of_group();
    // One that has ended already says so below.
    let _ = note.write(child.id());
    let began = Instant::now();
    let ended = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if began.elapsed() >= limit => break None,
            None => sleep(Duration::from_millis(200)),
        }
    };
    if ended.is_none() {
        child.kill()?;
        child.wait()?;
    }
    note.remove();
    if ended.is_some_and(|status| status.success()) {
        return Ok(());
    }
    // What it could not take away itself.
    former::end();
    let why = former::last_failure();
    match ended {
        None => bail!("not finished after {} min; it was at: {}", limit.as_secs() / 60, former::last_doing()),
        Some(_) if !why.is_empty() => bail!("{why}"),
        Some(status) => bail!("its process ended with {status}; it was at: {}", former::last_doing()),
    }
}

/// The process of one group.
fn alone(name: &str, options: &Options) -> Result<()> {
    let group = GROUPS.iter().find(|g| g.name == name).with_context(|| format!("there is no group `{name}`"))?;
    let kept = (group.measure)(options).and_then(|figures| figures.iter().try_for_each(Figure::write));
    if let Err(error) = &kept {
        former::failed(&format!("{error:#}"));
    }
    kept
}
