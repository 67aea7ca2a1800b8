//! The anchor of a scrape: Debian's prometheus-node-exporter, as it comes.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use gantry_servers::server::{Folders, free_port};
use gantry_servers::{Launch, Need, Server};

pub struct Exporter {
    folders: Folders,
    port: u16,
}

impl Exporter {
    pub fn new(root: &Path) -> Result<Self> {
        Ok(Self { folders: Folders::below(root)?, port: free_port()? })
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address())
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid_file().alive()
    }
}

impl Server for Exporter {
    fn name(&self) -> &'static str {
        "node-exporter"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::NodeExporter]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::NodeExporter.find().map_err(|why| anyhow::anyhow!("node_exporter: {why}"))?;
        let listen = format!("--web.listen-address={}", self.address());
        Ok(Launch::new(found.path, &[listen.as_str()]))
    }

    fn probe(&self) -> Result<()> {
        std::net::TcpStream::connect(self.address())?;
        Ok(())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Also when a measurement broke off.
        let _ = gantry_servers::stop(self);
    }
}
