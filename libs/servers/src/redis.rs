//! A private Redis or Valkey: loopback, password in a file only its owner reads, append-only file synced every second.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::need::Need;
use crate::process::Launch;
use crate::server::{Credentials, Folders, Server, exchange, private_folder, write_private};

pub struct Redis {
    folders: Folders,
    data: PathBuf,
    port: u16,
    credentials: Credentials,
}

impl Redis {
    /// # Errors
    /// When folders or the password file cannot be made.
    pub fn new(root: &Path, port: u16) -> Result<Self> {
        let folders = Folders::below(root)?;
        let data = root.join("redis");
        private_folder(&data)?;
        let credentials = Credentials::kept_in(&data.join("password"), "default")?;
        Ok(Self { folders, data, port, credentials })
    }

    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}/0", self.credentials.password, self.port)
    }
}

impl Server for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Redis]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        let text = format!(
            "bind 127.0.0.1\nport {}\nrequirepass {}\ndir {}\ndaemonize no\nsupervised no\nappendonly yes\nappendfsync everysec\n\
             save \"\"\nmaxmemory 256mb\nmaxmemory-policy noeviction\ntcp-backlog 511\n",
            self.port,
            self.credentials.password,
            serde_json::to_string(&self.data.display().to_string())?,
        );
        write_private(&self.data.join("redis.conf"), &text)
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::Redis.find().map_err(|why| anyhow::anyhow!("Redis: {why}"))?;
        Ok(Launch::new(found.path, &[&self.data.join("redis.conf").display().to_string()]))
    }

    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn probe(&self) -> Result<()> {
        let send = format!("AUTH {}\r\nPING\r\n", self.credentials.password);
        let answer = exchange(self.port, &send, |seen| seen.contains("PONG") || seen.contains("-"))?;
        if !answer.contains("+PONG") {
            bail!("Redis refuses: {}", answer.trim());
        }
        Ok(())
    }
}
