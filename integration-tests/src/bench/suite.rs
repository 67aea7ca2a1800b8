//! The whole suite as `make up` brings it up, in a folder of its own and with optimised programs: what it takes while nothing
//! happens, and how soon it is there. The process measured holds all services.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gantry_servers::{PidFile, Signal};
use tokio::runtime::Runtime;

use crate::bench::figure::Figure;
use crate::bench::ground::runtime;
use crate::bench::results::Figures;
use crate::bench::usage::{cpu_of, resident_mib};
use crate::bench::{Options, former, programs};

pub const FIGURES: &[&str] = &["idle-memory", "idle-processor", "ready", "up-warm"];

const HOME: &str = "target/bench/suite";
/// Far from the ports of a suite in use, and of the tests' suites.
const PORT_BASE: &str = "27400";
/// After its start the suite takes in its own first events and figures.
const SETTLING: Duration = Duration::from_secs(30);
/// A clock tick is 10 ms: shorter measurements would count few.
const IDLE: Duration = Duration::from_secs(10);
/// How often the starting suite is asked whether it is ready: a longer pause would be counted as its time.
const ASKED: Duration = Duration::from_millis(10);
/// Until a `gantryd` that was ended runs again: the supervisor waits twice as long each time.
const RESTARTED: Duration = Duration::from_secs(90);
const READY: Duration = Duration::from_secs(60);

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    former::say("make up (it builds what is missing, which takes long the first time)");
    let suite = Suite::up()?;
    if !options.as_built {
        // `make up` takes what cargo gives it.
        programs::fresh(&["gantryd"])?;
    }
    let wants = |figure| options.wants("suite", figure);
    let mut figures = Figures::default();
    if wants("idle-memory") || wants("idle-processor") {
        former::say("the idle suite");
        sleep(SETTLING);
        let (mut memory, mut processor) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let pid = suite.pid()?;
            let (used, since) = (cpu_of(&[pid])?, Instant::now());
            sleep(options.round().max(IDLE));
            processor.push(100.0 * (cpu_of(&[pid])? - used) / since.elapsed().as_secs_f64());
            memory.push(resident_mib(pid)?);
        }
        figures.push(Figure::at_most("idle-memory", "MiB resident", memory, 250.0));
        figures.push(Figure::at_most("idle-processor", "% of one core", processor, 2.0));
    }
    if wants("ready") {
        former::say("gantryd is started anew, again and again");
        let times = (0..options.rounds).map(|_| suite.restarted()).collect::<Result<_>>()?;
        figures.push(Figure::at_most("ready", "s from the process's start to ready, its servers running", times, 3.0));
    }
    if wants("up-warm") {
        former::say("make down and make up, again and again");
        let times = (0..options.rounds).map(|_| suite.up_again()).collect::<Result<_>>()?;
        figures.push(Figure::at_most("up-warm", "s of `make up`, everything built, nothing running", times, 15.0));
    }
    figures.all()
}

/// Takes down the suite of a run that was killed.
///
/// # Errors
/// When it does not go.
pub fn end_former() -> Result<()> {
    let Ok(home) = Path::new(HOME).canonicalize() else { return Ok(()) };
    if PidFile::new(home.join("run/supervisor.pid")).alive().is_none() {
        return Ok(());
    }
    eprintln!("bench: taking down the suite that a former run has left running");
    make(&home, "down")
}

/// `make up` and `make down` of the suite in `home`: with servers of its own, whatever those of the caller's suite are.
fn make(home: &Path, target: &str) -> Result<()> {
    let mut command = Command::new("make");
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(is_of_another) {
            command.env_remove(key);
        }
    }
    command.arg(target).env("GANTRY_HOME", home).env("GANTRY_PORT_BASE", PORT_BASE).env("GANTRY_PROFILE", "release");
    let done = command.stdin(Stdio::null()).output().context("cannot run make")?;
    if !done.status.success() {
        bail!("make {target}: {}\n{}{}", done.status, String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// Settings of the caller's suite (a Postgres of its own, say), of the caller's services, and of the `make` that called us.
fn is_of_another(key: &str) -> bool {
    key.starts_with("GANTRY_") || key.starts_with("GANTRYD__") || ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "RUST_LOG"].contains(&key)
}

/// Taken down when it is dropped; its data stay for the next time.
struct Suite {
    home: PathBuf,
    gantryd: PidFile,
    runtime: Runtime,
}

impl Suite {
    fn up() -> Result<Self> {
        let home = Path::new(HOME);
        std::fs::create_dir_all(home)?;
        let home = home.canonicalize()?;
        let suite = Self { gantryd: PidFile::new(home.join("run/gantryd.pid")), home, runtime: runtime()? };
        suite.make("up")?;
        Ok(suite)
    }

    fn make(&self, target: &str) -> Result<()> {
        make(&self.home, target)
    }

    fn pid(&self) -> Result<u32> {
        self.gantryd.alive().context("gantryd does not run")
    }

    /// Seconds from the start of a new gantryd, in place of the one that runs, until every part says it is ready.
    fn restarted(&self) -> Result<f64> {
        let client = self.client()?;
        let before = self.pid()?;
        self.gantryd.stop(Signal::Term, Duration::from_secs(30))?;
        // The supervisor starts it after a pause that is not measured.
        let limit = Instant::now() + RESTARTED;
        while self.gantryd.alive().is_none_or(|pid| pid == before) {
            anyhow::ensure!(Instant::now() < limit, "the supervisor did not start gantryd again");
            sleep(Duration::from_millis(1));
        }
        let started = Instant::now();
        let url = format!("{}/readyz", self.url()?);
        while !self.runtime.block_on(client.get(&url).send()).is_ok_and(|answer| answer.status().is_success()) {
            anyhow::ensure!(started.elapsed() < READY, "gantryd is not ready after {READY:?}; see {}", self.home.join("log/gantryd.log").display());
            sleep(ASKED);
        }
        Ok(started.elapsed().as_secs_f64())
    }

    fn up_again(&self) -> Result<f64> {
        self.make("down")?;
        let started = Instant::now();
        self.make("up")?;
        Ok(started.elapsed().as_secs_f64())
    }

    fn url(&self) -> Result<String> {
        self.setting("GANTRY_URL")
    }

    fn client(&self) -> Result<reqwest::Client> {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(self.setting("GANTRY_CA")?)?)?;
        Ok(reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(Duration::from_secs(3)).build()?)
    }

    fn setting(&self, key: &str) -> Result<String> {
        let env = std::fs::read_to_string(self.home.join("env"))?;
        let line = env.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).with_context(|| format!("no {key}"))?;
        Ok(line.trim_matches('\'').to_owned())
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        if let Err(error) = self.make("down") {
            eprintln!("bench: the suite was not taken down: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_of_the_bench_takes_nothing_of_the_callers() {
        assert!(["GANTRY_EXTERNAL_POSTGRES", "GANTRY_NO_AGENT", "GANTRYD__GATEWAY__LISTEN", "MAKEFLAGS"].into_iter().all(is_of_another));
        assert!(!["PATH", "CARGO_TARGET_DIR", "HOME"].into_iter().any(is_of_another));
    }
}
