//! What a measurement stands on: a durable Postgres, NATS and Redis of its own, and the platform's settings for the real
//! service host. Everything is removed when it is dropped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_host::{Platform, Running};
use gantry_kernel::{Env, Secret};
use gantry_servers::server::free_port;
use gantry_servers::{Nats, Need, Postgres, Redis, Server, ensure_running, install, remove_folder, stop};

use crate::bench::former;

/// Two may stand side by side in one process, each with servers of its own.
static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Ground {
    folder: PathBuf,
    postgres: Postgres,
    nats: Nats,
    redis: Redis,
}

impl Ground {
    /// Starts the servers. Must not be called from inside an async runtime: it blocks.
    ///
    /// # Errors
    /// When a server is missing and cannot be installed, or does not start.
    pub fn start() -> Result<Self> {
        former::doing("Postgres, NATS and Redis");
        install::ensure(&Need::TESTS, &mut |line| eprintln!("bench: {line}"))?;
        // On the disk that the suite's data would lie on: a folder in memory would flatter both sides.
        let folder = Path::new("target/bench/ground").join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let postgres = Postgres::new(&folder, free_port()?, true)?;
        let nats = Nats::new(&folder, free_port()?, free_port()?)?;
        let redis = Redis::new(&folder, free_port()?)?;
        let ground = Self { folder, postgres, nats, redis };
        for server in ground.all() {
            ensure_running(server, Duration::from_secs(60))?;
        }
        Ok(ground)
    }

    fn all(&self) -> [&dyn Server; 3] {
        [&self.postgres, &self.nats, &self.redis]
    }

    /// For scratch files of a measurement.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn database_url(&self) -> String {
        self.postgres.url()
    }

    /// Settings as `make up` writes them, for services on free ports.
    pub fn platform(&self) -> Platform {
        Platform {
            home: self.folder.clone(),
            public_url: "https://gantry.bench".into(),
            database_url: Secret::new(self.postgres.url()),
            nats_url: Secret::new(self.nats.url()),
            redis_url: Secret::new(self.redis.url()),
            ca_dir: self.folder.join("ca"),
            master_key_file: self.folder.join("master.key"),
            port_base: 0,
            log: "warn".into(),
            ..Platform::default()
        }
    }

    /// A process to start services in.
    ///
    /// # Errors
    /// When certificates cannot be made.
    pub fn running(&self) -> Result<Running> {
        Running::new(self.platform(), Env::system())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for server in self.all() {
            if let Err(error) = stop(server) {
                eprintln!("bench: {} did not stop: {error:#}", server.name());
            }
        }
        let removed = remove_folder(&self.folder.join("pg")).and_then(|()| std::fs::remove_dir_all(&self.folder).context("the folder"));
        if let Err(error) = removed {
            eprintln!("bench: {} could not be removed: {error:#}", self.folder.display());
        }
    }
}

/// A runtime as `gantryd` has it.
///
/// # Errors
/// When threads cannot be started.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
