//! A private Postgres: own data folder, loopback and a socket in its own folder, password by SCRAM, fsync as the caller says.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use postgres::error::SqlState;

use crate::need::Need;
use crate::owner::{folder_for, must_own, unprivileged};
use crate::process::{Launch, Signal};
use crate::server::{Credentials, Folders, Server, write_private};
use crate::wait::until;

/// Name of the superuser and of the database.
pub const NAME: &str = "gantry";

pub struct Postgres {
    folders: Folders,
    /// Where the data folder goes, unless it must lie elsewhere (see `owner`).
    place: PathBuf,
    port: u16,
    credentials: Credentials,
    durable: bool,
}

impl Postgres {
    /// `durable` is false only for tests: a crash of the machine may then lose data, a crash of the server may not.
    ///
    /// # Errors
    /// When folders or the password file cannot be made.
    pub fn new(root: &Path, port: u16, durable: bool) -> Result<Self> {
        let folders = Folders::below(root)?;
        let credentials = Credentials::kept_in(&root.join("pg.password"), NAME)?;
        Ok(Self { folders, place: root.join("pg"), port, credentials, durable })
    }

    pub fn url(&self) -> String {
        format!("postgres://{}:{}@127.0.0.1:{}/{NAME}", self.credentials.user, self.credentials.password, self.port)
    }

    fn bin(&self, name: &str) -> Result<PathBuf> {
        let found = Need::Postgres.find().map_err(|why| anyhow::anyhow!("PostgreSQL: {why}"))?;
        Ok(found.path.with_file_name(name))
    }

    fn init(&self, data: &Path, owner: Option<(u32, u32)>) -> Result<()> {
        // What an interrupted first start left half made: begin again.
        let building = data.with_extension("building");
        if building.exists() {
            fs::remove_dir_all(&building)?;
        }
        let password = data.with_extension("password");
        write_private(&password, &self.credentials.password)?;
        if let Some((uid, gid)) = owner {
            chown(&password, Some(uid), Some(gid))?;
        }
        let mut command = Command::new(self.bin("initdb")?);
        command.arg("-D").arg(&building).args(["-U", NAME, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--pwfile"]).arg(&password).current_dir("/");
        if !self.durable {
            command.arg("--no-sync");
        }
        if let Some((uid, gid)) = owner {
            command.uid(uid).gid(gid);
        }
        let done = command.output().context("cannot run initdb");
        fs::remove_file(&password)?;
        let done = done?;
        if !done.status.success() {
            bail!("initdb: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
        }
        fs::rename(&building, data)?;
        Ok(())
    }

    fn settings(&self, socket: &Path) -> String {
        let safe = if self.durable { "on" } else { "off" };
        format!(
            "# Written by gantry at every start; change gantry's configuration instead.\n\
             listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             max_connections = 400\nshared_buffers = 128MB\nfsync = {safe}\nfull_page_writes = {safe}\nsynchronous_commit = on\n\
             wal_compression = on\nwal_buffers = 16MB\nmax_wal_size = 1GB\ncheckpoint_timeout = 10min\n\
             password_encryption = 'scram-sha-256'\nlog_destination = 'stderr'\nlogging_collector = off\n\
             log_line_prefix = '%m [%p] %q%u@%d '\nlog_min_duration_statement = 2000\nidle_in_transaction_session_timeout = '5min'\n\
             timezone = 'UTC'\n",
            self.port,
            // A socket's name has at most 107 bytes, and the setting is a list in quotes; without one the loopback port is enough.
            Some(socket.display().to_string()).filter(|s| s.len() < 80 && !s.contains(['\'', '"', ','])).unwrap_or_default(),
        )
    }

    /// # Errors
    /// When the server does not let us in.
    pub fn connect(&self, database: &str) -> Result<postgres::Client> {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(&self.credentials.user).password(&self.credentials.password);
        config.dbname(database).connect_timeout(Duration::from_secs(2));
        Ok(config.connect(postgres::NoTls)?)
    }
}

impl Server for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Postgres]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        let owner = unprivileged()?;
        must_own(&self.place.join("data/PG_VERSION"), owner)?;
        let place = folder_for(&self.place, owner)?;
        let data = place.join("data");
        if !data.join("PG_VERSION").exists() {
            self.init(&data, owner)?;
        }
        let have = fs::read_to_string(data.join("PG_VERSION"))?;
        let server = Need::Postgres.find().ok().and_then(|f| f.version).map(|v| v.0.to_string()).unwrap_or_default();
        if have.trim() != server {
            bail!("the data in {} is of Postgres {}, the server is {server}; run pg_upgrade or put that server back", data.display(), have.trim());
        }
        // Ours is read last, so it wins; the file initdb made stays as it is.
        let main = data.join("postgresql.conf");
        let text = fs::read_to_string(&main)?;
        if !text.contains("include_if_exists = 'gantry.conf'") {
            fs::write(&main, text + "\ninclude_if_exists = 'gantry.conf'\n")?;
        }
        fs::write(data.join("gantry.conf"), self.settings(&place))?;
        for file in ["gantry.conf", "postgresql.conf"] {
            if let Some((uid, gid)) = owner {
                chown(data.join(file), Some(uid), Some(gid))?;
            }
        }
        // Backends of a postmaster that was killed end by themselves; until then the data is not ours to open.
        until("the end of the server before", Duration::from_secs(30), || if in_use(&data) { bail!("{} is in use", data.display()) } else { Ok(()) })?;
        // The postmaster refuses to start over its own lock files when their number is some other process's now (after a reboot).
        let sockets = fs::read_dir(&place)?.flatten().map(|e| e.path());
        let sockets = sockets.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".s.PGSQL.")));
        for stale in sockets.chain([data.join("postmaster.pid")]).filter(|p| p.exists()) {
            fs::remove_file(stale)?;
        }
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let place = self.place.canonicalize().with_context(|| format!("{} is not there", self.place.display()))?;
        let data = place.join("data").display().to_string();
        Ok(Launch { owner: unprivileged()?, ..Launch::new(self.bin("postgres")?, &["-D", &data]) })
    }

    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn probe(&self) -> Result<()> {
        // `postgres` is always there; our own database is made once this answers.
        self.connect("postgres")?.simple_query("SELECT 1")?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let mut client = self.connect("postgres")?;
        if client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&NAME])?.is_none() {
            // The supervisor and `up` may both be here.
            let made = client.batch_execute(&format!("CREATE DATABASE {NAME}"));
            let known = [SqlState::DUPLICATE_DATABASE, SqlState::UNIQUE_VIOLATION];
            if let Err(error) = made
                && !error.code().is_some_and(|c| known.contains(c))
            {
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn stop_signal(&self) -> Signal {
        Signal::Int
    }
}

/// Whether any process works in this data folder, as every Postgres process does.
fn in_use(data: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|p| fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd == data))
}
