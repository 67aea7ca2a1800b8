//! The whole suite as `make up` brings it up, in a folder of its own and with optimised programs: what it takes while nothing
//! happens, and how soon it is there. The process measured holds all services.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gantry_servers::{PidFile, Signal, until};
use tokio::runtime::Runtime;

use crate::bench::Options;
use crate::bench::figure::Figure;
use crate::bench::ground::runtime;
use crate::bench::usage::{cpu_of, resident_mib};

pub const FIGURES: &[&str] = &["idle-memory", "idle-processor", "ready", "up-warm"];

/// Far from the ports of a suite in use, and of the tests' suites.
const PORT_BASE: &str = "27400";
/// After its start the suite takes in its own first events and figures.
const SETTLING: Duration = Duration::from_secs(30);
/// A clock tick is 10 ms: shorter measurements would count few.
const IDLE: Duration = Duration::from_secs(10);

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let suite = Suite::up()?;
    let wants = |figure| options.wants("suite", figure);
    let mut figures = Vec::new();
    if wants("idle-memory") || wants("idle-processor") {
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
        let times = (0..options.rounds).map(|_| suite.restarted()).collect::<Result<_>>()?;
        figures.push(Figure::at_most("ready", "s from the process's start to ready, its servers running", times, 3.0));
    }
    if wants("up-warm") {
        let times = (0..options.rounds).map(|_| suite.up_again()).collect::<Result<_>>()?;
        figures.push(Figure::at_most("up-warm", "s of `make up`, everything built, nothing running", times, 15.0));
    }
    Ok(figures)
}

/// Taken down when it is dropped; its data stay for the next time.
struct Suite {
    home: PathBuf,
    gantryd: PidFile,
    runtime: Runtime,
}

impl Suite {
    fn up() -> Result<Self> {
        let home = Path::new("target/bench/suite");
        std::fs::create_dir_all(home)?;
        let home = home.canonicalize()?;
        let suite = Self { gantryd: PidFile::new(home.join("run/gantryd.pid")), home, runtime: runtime()? };
        suite.make("up")?;
        Ok(suite)
    }

    fn make(&self, target: &str) -> Result<()> {
        let mut command = Command::new("make");
        command.arg(target).env("GANTRY_HOME", &self.home).env("GANTRY_PORT_BASE", PORT_BASE).env("GANTRY_PROFILE", "release");
        let done = command.stdin(Stdio::null()).output().context("cannot run make")?;
        if !done.status.success() {
            bail!("make {target}: {}\n{}{}", done.status, String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
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
        let limit = Instant::now() + Duration::from_secs(60);
        while self.gantryd.alive().is_none_or(|pid| pid == before) {
            anyhow::ensure!(Instant::now() < limit, "the supervisor did not start gantryd again");
            sleep(Duration::from_millis(1));
        }
        let started = Instant::now();
        let url = format!("{}/readyz", self.url()?);
        until("gantryd", Duration::from_secs(60), || {
            let status = self.runtime.block_on(client.get(&url).send())?.status();
            anyhow::ensure!(status.is_success(), "it answers {status}");
            Ok(())
        })?;
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
