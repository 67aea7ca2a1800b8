//! A private NATS server with JetStream, user and password in a file only its owner reads.
//! JetStream is a copy of what Postgres holds, so its default fsync interval is enough (DESIGN.md section 3).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::machine::Version;
use crate::need::Need;
use crate::process::Launch;
use crate::server::{Credentials, Folders, Server, exchange, private_folder, write_private};

pub struct Nats {
    folders: Folders,
    data: PathBuf,
    port: u16,
    monitor: u16,
    credentials: Credentials,
    /// What all streams together may reserve on disk, as nats.conf writes it.
    pub max_file_store: &'static str,
}

/// What the server says of itself in its first line.
#[derive(Deserialize)]
struct Hello {
    version: String,
    #[serde(default)]
    jetstream: bool,
}

impl Nats {
    /// # Errors
    /// When folders or the password file cannot be made.
    pub fn new(root: &Path, port: u16, monitor: u16) -> Result<Self> {
        let folders = Folders::below(root)?;
        let data = root.join("nats");
        private_folder(&data)?;
        let credentials = Credentials::kept_in(&data.join("password"), "gantry")?;
        Ok(Self { folders, data, port, monitor, credentials, max_file_store: "20GB" })
    }

    pub fn url(&self) -> String {
        format!("nats://{}:{}@127.0.0.1:{}", self.credentials.user, self.credentials.password, self.port)
    }
}

impl Server for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Nats]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        let Credentials { user, password } = &self.credentials;
        let text = format!(
            "server_name: gantry\nlisten: 127.0.0.1:{}\nhttp: 127.0.0.1:{}\n\
             jetstream {{ store_dir: {:?}, max_memory_store: 256MB, max_file_store: {} }}\n\
             max_payload: 8MB\nmax_pending: 256MB\nping_interval: \"20s\"\n\
             authorization {{ user: {user:?}, password: {password:?} }}\n",
            self.port,
            self.monitor,
            self.data.join("store"),
            self.max_file_store,
        );
        write_private(&self.data.join("nats.conf"), &text)
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::Nats.find().map_err(|why| anyhow::anyhow!("NATS server: {why}"))?;
        Ok(Launch::new(found.path, &["-c", &self.data.join("nats.conf").display().to_string()]))
    }

    fn ports(&self) -> Vec<u16> {
        vec![self.port, self.monitor]
    }

    fn probe(&self) -> Result<()> {
        let Credentials { user, password } = &self.credentials;
        let send = format!("CONNECT {{\"verbose\":false,\"user\":{user:?},\"pass\":{password:?}}}\r\nPING\r\n");
        let answer = exchange(self.port, &send, |seen| seen.contains("PONG\r\n") || seen.contains("-ERR"))?;
        let hello: Hello = answer
            .lines()
            .find_map(|l| l.strip_prefix("INFO "))
            .and_then(|json| serde_json::from_str(json.trim()).ok())
            .context("what answers on this port is not NATS")?;
        if Version::find(&hello.version).is_none_or(|v| v < Need::Nats.at_least()) {
            bail!("NATS is {}, {} or newer is needed", hello.version, Need::Nats.at_least());
        }
        if !hello.jetstream {
            bail!("JetStream is not on");
        }
        if !answer.contains("PONG") {
            bail!("NATS refuses: {}", answer.lines().last().unwrap_or_default());
        }
        Ok(())
    }
}
