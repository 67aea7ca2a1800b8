//! The anchor of the token figures: npm's `oidc-provider` on Node, keeping everything in memory (integration-tests/oidc-provider).

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use gantry_servers::PidFile;
use serde::Deserialize;

use super::ask::Server;
use super::tokens::Endpoint;
use crate::bench::former;

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../../oidc-provider/package.json")),
    ("package-lock.json", include_str!("../../../oidc-provider/package-lock.json")),
    ("server.mjs", include_str!("../../../oidc-provider/server.mjs")),
];

/// What the program says once it listens.
#[derive(Deserialize)]
struct Said {
    port: u16,
    client: String,
    secret: String,
    refresh: Vec<String>,
}

/// Ends with this.
pub struct OidcProvider {
    child: Child,
    note: PidFile,
    said: Said,
}

impl OidcProvider {
    /// Installs it from its lock file where it is missing, and starts it with this many refresh tokens.
    ///
    /// # Errors
    /// When Node or npm is missing, or the registry cannot be reached the first time.
    pub fn start(tokens: usize) -> Result<Self> {
        let folder = installed()?;
        let mut child = Command::new("node")
            .args(["server.mjs", &tokens.to_string()])
            .current_dir(folder)
            .env("NODE_ENV", "production")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run node: the anchor of the token figures needs Node 20 or newer")?;
        let note = former::note(child.id());
        // It has more to say than what it is asked for.
        let line = said(child.stdout.take().context("its output is ours")?).context("oidc-provider did not start: run its server.mjs by hand")?;
        let said = serde_json::from_str(&line).with_context(|| format!("oidc-provider said {line}"))?;
        Ok(Self { child, note, said })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn endpoint(&self) -> Endpoint {
        let Said { port, client, secret, refresh } = &self.said;
        Endpoint {
            server: Server::plain(SocketAddr::from(([127, 0, 0, 1], *port))),
            path: "/token",
            client: client.clone(),
            secret: secret.clone(),
            refresh: Arc::new(Mutex::new(refresh.clone())),
        }
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.note.remove();
    }
}

/// The line with the object, without waiting for what follows. The rest is read and dropped until the program ends: Node dies of
/// writing to a pipe whose reader is gone, and stands still before one that nobody empties.
fn said(output: impl Read + Send + 'static) -> Option<String> {
    let mut output = BufReader::new(output);
    let line = output.by_ref().lines().map_while(Result::ok).find(|l| l.starts_with('{'));
    std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
    line
}

fn installed() -> Result<PathBuf> {
    let folder = Path::new("target/bench/oidc-provider");
    fs::create_dir_all(folder)?;
    let fresh = FILES.iter().all(|(name, text)| fs::read_to_string(folder.join(name)).is_ok_and(|there| there == *text));
    if !fresh || !folder.join("node_modules/oidc-provider").is_dir() {
        for (name, text) in FILES {
            fs::write(folder.join(name), text)?;
        }
        eprintln!("bench: npm ci (oidc-provider)");
        let done = Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder).output().context("cannot run npm")?;
        ensure!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_go_on_speaking_after_its_first_words() {
        // More than a pipe holds, by a program that a closed pipe ends.
        let mut child = Command::new("sh").args(["-c", "echo starting; echo '{}'; exec seq 100000"]).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(said(child.stdout.take().unwrap()).as_deref(), Some("{}"));
        assert!(child.wait().unwrap().success());
    }
}
