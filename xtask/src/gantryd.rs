//! `gantryd` as one more part of the suite: its own services in one process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use gantry_servers::server::Folders;
use gantry_servers::suite::SERVICES;
use gantry_servers::{Home, Launch, Need, Ports, Server, text_from_env};

use crate::ready;

pub struct Gantryd {
    pub folders: Folders,
    pub home: Home,
    pub ports: Ports,
    pub program: PathBuf,
    pub with_agent: bool,
}

impl Gantryd {
    /// The services this process runs.
    fn target(&self) -> String {
        if self.with_agent {
            return "all".to_owned();
        }
        SERVICES.iter().filter(|s| **s != "agent").chain(&["gateway"]).copied().collect::<Vec<_>>().join(",")
    }
}

impl Server for Gantryd {
    fn name(&self) -> &'static str {
        "gantryd"
    }

    fn needs(&self) -> &'static [Need] {
        &[]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let config = self.home.file("gantry.toml").display().to_string();
        let launch = Launch::new(&self.program, &[&format!("--target={}", self.target()), "--config", &config]);
        Ok(match text_from_env("RUST_LOG") {
            Some(filter) => launch.env("RUST_LOG", filter),
            None => launch,
        })
    }

    fn ports(&self) -> Vec<u16> {
        let services = SERVICES.iter().filter(|s| self.with_agent || **s != "agent").map(|s| self.ports.service(s));
        // The door may have been put elsewhere.
        let door = text_from_env("GANTRYD__GATEWAY__LISTEN").is_none().then(|| self.ports.gateway());
        services.chain(door).collect()
    }

    fn probe(&self) -> Result<()> {
        ready::check(&format!("https://localhost:{}", self.ports.gateway()), &self.home.ca(), Duration::from_secs(3))
    }
}
