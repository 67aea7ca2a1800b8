//! Who measures now, what he has started, and what somebody before him left running because he was killed: servers live in sessions of
//! their own, so they outlive whoever does not end them. Everything is known by a pid file with the process's start time, so that nothing
//! but our own is ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use gantry_servers::{PidFile, Signal, remove_folder};

use crate::bench::{node, suite};

/// Pid files of this bench, and what it is doing.
const FOLDER: &str = "target/bench/run";
/// Where servers of measurements lie, one folder for each that is going on.
const GROUNDS: [&str; 2] = ["target/bench/ground", "target/bench/proxy"];
const OWN: &str = "bench.pid";
const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody else measures on this repository until it is dropped.
pub struct Turn(PidFile);

impl Turn {
    /// Ends what was left by somebody who was killed.
    ///
    /// # Errors
    /// When somebody measures at this moment.
    pub fn take() -> Result<Self> {
        fs::create_dir_all(FOLDER)?;
        let file = PidFile::new(Path::new(FOLDER).join(OWN));
        if let Some(pid) = file.alive() {
            bail!("process {pid} is measuring already: two at once measure each other. Wait for it, or end it (`kill {pid}`)");
        }
        file.write(std::process::id())?;
        let turn = Self(file);
        end();
        Ok(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// Notes a child, so that it is found when its parent was killed. Whoever waits for it removes the note.
pub fn note(pid: u32) -> PidFile {
    let file = PidFile::new(Path::new(FOLDER).join(format!("child-{pid}.pid")));
    // One that has ended already needs no note.
    let _ = fs::create_dir_all(FOLDER).map(|()| file.write(pid));
    file
}

/// Says what is waited for from here on; if that takes too long, it is told.
pub fn doing(what: &str) {
    let _ = fs::create_dir_all(FOLDER).and_then(|()| fs::write(Path::new(FOLDER).join("doing"), what));
}

/// The same, and shows it: for what takes minutes.
pub fn say(what: &str) {
    doing(what);
    eprintln!("bench:   {what} ...");
}

pub fn last_doing() -> String {
    fs::read_to_string(Path::new(FOLDER).join("doing")).unwrap_or_default()
}

/// Why a group could not be measured; empty: it could.
pub fn failed(why: &str) {
    let _ = fs::create_dir_all(FOLDER).and_then(|()| fs::write(Path::new(FOLDER).join("why"), why));
}

pub fn last_failure() -> String {
    fs::read_to_string(Path::new(FOLDER).join("why")).unwrap_or_default()
}

/// Ends what nobody uses any more: called when no measurement is going on. What cannot be ended is told, and is in nobody's way but the
/// figures'.
pub fn end() {
    // First, or they would put back what is taken away.
    for (name, file) in pid_files(Path::new(FOLDER)).into_iter().filter(|(name, _)| name != OWN) {
        match file.stop(Signal::Term, PATIENCE) {
            Ok(true) => eprintln!("bench: ended what a former run had left running ({name})"),
            Ok(false) => {}
            Err(error) => eprintln!("bench: {name} was left by a former run and cannot be ended: {error:#}"),
        }
    }
    for folder in GROUNDS.iter().flat_map(|grounds| folders(Path::new(grounds))) {
        if let Err(error) = clear(&folder) {
            eprintln!("bench: {} was left by a former run and cannot be removed: {error:#}", folder.display());
        }
    }
    if let Err(error) = suite::end_former() {
        eprintln!("bench: the suite of a former run cannot be taken down: {error:#}");
    }
}

/// A folder with servers.
fn clear(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize()?;
    eprintln!("bench: clearing away what a former run has left in {}", folder.display());
    node::clear_after(&folder)?;
    for (name, file) in pid_files(&folder.join("run")) {
        // Told to end, Postgres would wait for its clients.
        file.stop(if name == "postgres.pid" { Signal::Int } else { Signal::Term }, PATIENCE)?;
    }
    remove_folder(&folder.join("pg"))?;
    Ok(fs::remove_dir_all(&folder)?)
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten().map(|e| e.path());
    entries.filter(|p| p.is_dir()).collect()
}

/// By name, in the order of their names.
fn pid_files(folder: &Path) -> Vec<(String, PidFile)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    let mut names: Vec<String> = entries.filter(|name| Path::new(name).extension().is_some_and(|e| e == "pid")).collect();
    // The group before its children: it would start others.
    names.sort_by_key(|name| (name.starts_with("child-"), name.clone()));
    names.into_iter().map(|name| (name.clone(), PidFile::new(folder.join(name)))).collect()
}

/// The pid file of the process that measures a group.
pub fn of_group() -> PidFile {
    PidFile::new(Path::new(FOLDER).join("group.pid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_ended_before_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["child-1.pid", "group.pid", "bench.pid", "doing", "child-2.tmp"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<String> = pid_files(folder.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bench.pid", "group.pid", "child-1.pid"]);
        assert!(pid_files(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn a_folder_of_servers_is_cleared_and_only_what_its_pid_files_name_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let ground = folder.path().join("1-0");
        fs::create_dir_all(ground.join("run")).unwrap();
        let mut left = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        PidFile::new(ground.join("run/nats.pid")).write(left.id()).unwrap();
        // The number of this very process, with another's start time: it was used again.
        fs::write(ground.join("run/redis.pid"), format!("{} 1\n", std::process::id())).unwrap();
        clear(&ground).unwrap();
        assert!(!ground.exists());
        assert!(!left.wait().unwrap().success());
    }
}
