//! Identity as it is deployed: `gantryd --target=identity` in a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gantry_host::{Pki, client_config};
use gantry_servers::server::free_port;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::ask::{self, Server, Talk};
use super::people::{self, Visit};
use crate::bench::ground::Ground;
use crate::bench::http::process::Process;
use crate::bench::usage;

/// Identity's place in the order of ports.
const PORT: u16 = 1;

pub struct Served {
    process: Process,
    pub server: Server,
    /// From the start of the process to its readiness.
    pub ready_after: Duration,
}

impl Served {
    /// `settings`: of section `identity`, by key.
    pub fn start(ground: &Ground, runtime: &Runtime, settings: &[(&str, &str)]) -> Result<Self> {
        let pki = Pki::open(&ground.platform().ca_dir)?;
        let leaf = pki.leaf("gateway", &[])?;
        let base = free_port()? - PORT;
        let mut more = vec![("PLATFORM__PORT_BASE".to_owned(), base.to_string())];
        more.extend(settings.iter().map(|(key, value)| (format!("IDENTITY__{key}"), (*value).to_owned())));
        let more: Vec<(&str, String)> = more.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let program = std::env::current_exe()?.with_file_name("gantryd");
        let log = ground.folder().join("identity.log");
        let started = Instant::now();
        let process = Process::start(&program, &["--target=identity"], &ground.platform(), &log, &more)?;
        let server = Server::with_tls(SocketAddr::from(([127, 0, 0, 1], base + PORT)), Arc::new(client_config(&pki, &leaf)?));
        let ready = async {
            loop {
                if let Ok(mut talk) = server.connect().await
                    && talk.ask(&ask::get("/readyz", &[])).await.is_ok_and(|a| a.status == 200)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), ready).await });
        let said = || fs::read_to_string(&log).unwrap_or_default().chars().rev().take(2_000).collect::<String>().chars().rev().collect::<String>();
        ready.with_context(|| format!("identity is not ready: {}", said()))?;
        Ok(Self { process, server, ready_after: started.elapsed() })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn resident_mib(&self) -> Result<f64> {
        usage::resident_mib(self.pid())
    }

    /// A token of the platform's administrator.
    pub async fn administrator(&self, ground: &Ground) -> Result<String> {
        let password = fs::read_to_string(ground.folder().join("admin-password")).context("the administrator's first password")?;
        let mut talk = self.server.connect().await?;
        let tokens = Visit::new("10.0.0.1").whole(&mut talk, people::CONSOLE, "admin", password.trim()).await?;
        Ok(tokens["access_token"].as_str().context("an access token")?.to_owned())
    }
}

/// A client of the platform, registered over REST: its id and its secret.
pub async fn register_client(talk: &mut Talk, admin: &str, settings: Value) -> Result<(String, String)> {
    let answer = talk.ask(&ask::post_json("/api/v1/clients", admin, &json!({ "settings": settings }))).await?;
    let made = answer.expect(201)?.json()?;
    let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
    ensure!(!text("id").is_empty() && !text("secret").is_empty(), "a client with a secret: {made}");
    Ok((text("id"), text("secret")))
}
