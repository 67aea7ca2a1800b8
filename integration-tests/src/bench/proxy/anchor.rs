//! The anchor: HAProxy with a configuration for the same routes, servers and checks, as a person would write it.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gantry_servers::server::{Folders, free_port, write_private};
use gantry_servers::{Launch, Need, Server};

use super::App;
use crate::bench::usage::with_children;

pub struct Anchor {
    folders: Folders,
    config: PathBuf,
    port: u16,
}

impl Anchor {
    pub fn new(root: &Path, apps: &[App]) -> Result<Self> {
        let folder = root.join("anchor");
        fs::create_dir_all(&folder)?;
        let (port, map, config) = (free_port()?, folder.join("routes.map"), folder.join("haproxy.cfg"));
        let mut routes = String::new();
        for app in apps {
            writeln!(routes, "{}{} {}", app.host, if app.path == "/" { "/".to_owned() } else { format!("{}/", app.path) }, app.name)?;
        }
        write_private(&map, &routes)?;
        let map = map.display();
        let mut text = format!(
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  timeout http-request 10s\n  timeout check 1s\n\
             frontend http\n  bind 127.0.0.1:{port}\n  option forwardfor\n  \
             http-request set-header X-Forwarded-Host %[req.hdr(host)] if !{{ req.hdr(x-forwarded-host) -m found }}\n  \
             http-request return status 404 unless {{ base,map_beg({map}) -m found }}\n  use_backend %[base,map_beg({map})]\n"
        );
        for app in apps {
            writeln!(text, "backend {}\n  balance roundrobin\n  retry-on conn-failure empty-response", app.name)?;
            for (n, server) in app.servers.iter().enumerate() {
                writeln!(text, "  server s{n} {server} check inter 10s")?;
            }
        }
        write_private(&config, &text)?;
        Ok(Self { folders: Folders::below(root)?, config, port })
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn processes(&self) -> Result<Vec<u32>> {
        Ok(with_children(self.pid_file().alive().context("the anchor has ended")?))
    }
}

impl Server for Anchor {
    fn name(&self) -> &'static str {
        "haproxy-anchor"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Haproxy]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::Haproxy.find().map_err(|why| anyhow::anyhow!("HAProxy: {why}"))?;
        let config = self.config.display().to_string();
        // Master and worker, as the agent's.
        Ok(Launch::new(found.path, &["-W", "-f", config.as_str()]))
    }

    fn probe(&self) -> Result<()> {
        std::net::TcpStream::connect(self.address())?;
        Ok(())
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        // Also when a measurement broke off.
        let _ = gantry_servers::stop(self);
    }
}
