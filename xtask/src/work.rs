//! Where things are (repository, target folder, the suite's home) and how commands are run and shown.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use gantry_servers::{Home, is_root, text_from_env};

pub struct Work {
    pub repository: PathBuf,
    pub home: Home,
    pub target: PathBuf,
    /// Whether the suite runs optimised programs (`GANTRY_PROFILE=release`); they take much longer to build.
    pub release: bool,
}

impl Work {
    /// # Errors
    /// When the suite's home cannot be made.
    pub fn find() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let repository = here.parent().context("xtask lies in the repository")?.to_owned();
        let home = text_from_env("GANTRY_HOME").map_or_else(|| repository.join(".gantry"), PathBuf::from);
        let target = text_from_env("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), |t| repository.join(t));
        let release = text_from_env("GANTRY_PROFILE").is_some_and(|p| p == "release");
        Ok(Self { home: Home::at(&home)?, repository, target, release })
    }

    /// The same repository with another suite.
    pub fn with_home(&self, home: &Path) -> Result<Self> {
        Ok(Self { repository: self.repository.clone(), home: Home::at(home)?, target: self.target.clone(), release: self.release })
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.target.join(if self.release { "release" } else { "debug" }).join(name)
    }

    pub fn console(&self) -> PathBuf {
        self.repository.join("services/gateway/console")
    }

    pub fn test_servers(&self) -> PathBuf {
        self.target.join("testservers")
    }

    /// JUnit files, marked clauses and the like of the last test run.
    pub fn results(&self) -> PathBuf {
        self.target.join("test-results")
    }

    /// The agent changes the machine's network and runs containers: root only.
    pub fn with_agent(&self) -> bool {
        is_root() && text_from_env("GANTRY_NO_AGENT").is_none()
    }

    pub fn cargo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(text_from_env("CARGO").unwrap_or_else(|| "cargo".to_owned()));
        command.args(args).current_dir(&self.repository);
        command
    }
}

/// Runs it with its output shown.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// One line of progress.
pub fn say(line: &str) {
    println!("» {line}");
}

/// This program's file. The kernel marks it as deleted once a build has put a new one in its place; the new one is meant.
///
/// # Errors
/// When the kernel does not tell.
pub fn own_program() -> Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(path.to_str().and_then(|p| p.strip_suffix(" (deleted)")).map(PathBuf::from).unwrap_or(path))
}
