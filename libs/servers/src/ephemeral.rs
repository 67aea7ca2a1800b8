//! Short-lived Postgres, NATS and Redis of a test run. The first test that asks starts them, under a file lock; all test
//! binaries of the run use them; `xtask test` stops and removes them. Started by a plain `cargo test` they stay for the next one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::install;
use crate::machine::text_from_env;
use crate::nats::Nats;
use crate::need::Need;
use crate::owner::remove_folder;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::server::{Server, ensure_running, free_port, stop};

/// Addresses a test may use. Postgres: the superuser of a private server, so tests may create schemas and roles.
#[derive(Clone, Debug)]
pub struct TestServers {
    pub database_url: String,
    pub nats_url: String,
    pub redis_url: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct TestPorts {
    postgres: u16,
    nats: u16,
    nats_monitor: u16,
    redis: u16,
}

impl TestServers {
    /// The shared servers of this run; may be called from inside an async runtime (it blocks the thread for some seconds the
    /// first time).
    ///
    /// # Errors
    /// When a server is missing and cannot be installed, or does not start.
    pub fn shared() -> Result<Self> {
        if let Some(given) = Self::given() {
            return Ok(given);
        }
        let folder = Self::folder();
        // The blocking Postgres client refuses to work on a thread of an async runtime.
        let worker = std::thread::spawn(move || Self::in_folder(&folder));
        worker.join().map_err(|_| anyhow::anyhow!("starting the test servers panicked"))?
    }

    /// Servers named by GANTRY_TEST_DATABASE_URL, GANTRY_TEST_NATS_URL and GANTRY_TEST_REDIS_URL, all three.
    fn given() -> Option<Self> {
        Some(Self {
            database_url: text_from_env("GANTRY_TEST_DATABASE_URL")?,
            nats_url: text_from_env("GANTRY_TEST_NATS_URL")?,
            redis_url: text_from_env("GANTRY_TEST_REDIS_URL")?,
        })
    }

    /// GANTRY_TEST_DIR, else `testservers` in cargo's target folder, else one of this user's below /tmp.
    pub fn folder() -> PathBuf {
        let given = text_from_env("GANTRY_TEST_DIR").map(PathBuf::from);
        let target = || {
            let exe = std::env::current_exe().ok()?;
            // Cargo puts this file at the top of every target folder.
            Some(exe.ancestors().find(|a| a.join("CACHEDIR.TAG").is_file())?.join("testservers"))
        };
        given.or_else(target).unwrap_or_else(|| std::env::temp_dir().join("gantry-testservers"))
    }

    /// # Errors
    /// As [`TestServers::shared`].
    pub fn in_folder(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("cannot lock the folder of the test servers")?;
        let ready = folder.join("ready");
        let ports = match read_ports(folder) {
            Some(ports) => ports,
            None => fresh_ports(folder)?,
        };
        let mut servers = open(folder, ports)?;
        if !(ready.exists() && servers.all().iter().all(|s| s.pid_file().alive().is_some())) {
            install::ensure(&Need::TESTS, &mut |line| eprintln!("test servers: {line}"))?;
            let first = servers.start();
            if first.is_err() {
                // The ports of an earlier run may be somebody else's by now.
                servers.stop()?;
                servers = open(folder, fresh_ports(folder)?)?;
                servers.start()?;
            }
            fs::write(&ready, "")?;
        }
        Ok(Self { database_url: servers.postgres.url(), nats_url: servers.nats.url(), redis_url: servers.redis.url() })
    }

    /// Stops the servers of this folder and removes their data. Harmless when there are none.
    ///
    /// # Errors
    /// When one does not stop.
    pub fn stop_in(folder: &Path) -> Result<()> {
        if let Some(ports) = read_ports(folder) {
            open(folder, ports)?.stop()?;
        }
        if folder.is_dir() {
            remove_folder(&folder.join("pg"))?;
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    }
}

struct Trio {
    postgres: Postgres,
    nats: Nats,
    redis: Redis,
}

impl Trio {
    fn all(&self) -> [&dyn Server; 3] {
        [&self.postgres, &self.nats, &self.redis]
    }

    fn start(&self) -> Result<()> {
        self.all().into_iter().try_for_each(|s| ensure_running(s, Duration::from_secs(60)))
    }

    fn stop(&self) -> Result<()> {
        self.all().into_iter().try_for_each(|s| stop(s).map(drop))
    }
}

fn open(folder: &Path, ports: TestPorts) -> Result<Trio> {
    let mut nats = Nats::new(folder, ports.nats, ports.nats_monitor)?;
    // Every test has streams of its own, whose limits are reserved and hardly ever used.
    nats.max_file_store = "1000TB";
    Ok(Trio { postgres: Postgres::new(folder, ports.postgres, false)?, nats, redis: Redis::new(folder, ports.redis)? })
}

fn read_ports(folder: &Path) -> Option<TestPorts> {
    serde_json::from_str(&fs::read_to_string(folder.join("ports.json")).ok()?).ok()
}

fn fresh_ports(folder: &Path) -> Result<TestPorts> {
    let ports = TestPorts { postgres: free_port()?, nats: free_port()?, nats_monitor: free_port()?, redis: free_port()? };
    fs::write(folder.join("ports.json"), serde_json::to_string(&ports)?)?;
    let _ = fs::remove_file(folder.join("ready"));
    Ok(ports)
}
