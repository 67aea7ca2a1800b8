//! A private NATS server with JetStream, user and password in a file only its owner reads.
//! JetStream is a copy of what Postgres holds, so its default fsync interval is enough (DESIGN.md section 3): what a power cut takes from a
//! stream of events its relay publishes once more.

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

/// What its page of health says.
#[derive(Deserialize)]
struct Health {
    #[serde(default)]
    error: String,
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
        match self.stuck() {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// After one failed write, as on a full disk, a stream takes nothing more (seen with 2.15.1), or JetStream is off altogether, also when
    /// there is room again: the server must be started anew.
    fn stuck(&self) -> Option<String> {
        // HTTP/1.0: the answer ends with the connection.
        stuck_by(&exchange(self.monitor, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n", |_| false).ok()?)
    }
}

fn stuck_by(answer: &str) -> Option<String> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let Health { error } = serde_json::from_str(body.trim()).ok()?;
    ["write error", "not enabled"].iter().any(|words| error.contains(words)).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_could_not_write_is_known_by_its_page_of_health() {
        let page = |status: &str, body: &str| format!("HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{body}");
        // As 2.15.1 says it when the disk was full, and as it says it for as long as it runs after that.
        let full = r#"{"status":"unavailable","error":"JetStream stream '$G \u003e GANTRY_IDENTITY' write error: write 1.blk: no space left on device"}"#;
        assert!(stuck_by(&page("503 Service Unavailable", full)).is_some_and(|why| why.contains("no space left")));
        let off = r#"{"status":"unavailable","error":"JetStream not enabled"}"#;
        assert!(stuck_by(&page("503 Service Unavailable", off)).is_some());
        for passing in [r#"{"status":"ok"}"#, r#"{"status":"unavailable","error":"JetStream is not current with the meta leader"}"#, "no JSON", ""] {
            assert_eq!(stuck_by(&page("200 OK", passing)), None, "{passing}");
        }
        assert_eq!(stuck_by(""), None);
    }
}
