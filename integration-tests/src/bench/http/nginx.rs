//! The anchor: nginx with the same certificates, kept connections and an access log, answering a constant.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use gantry_host::Pki;
use gantry_servers::server::{Folders, free_port, write_private};
use gantry_servers::{Launch, Need, Server};

use crate::bench::usage::with_children;

pub struct Nginx {
    folders: Folders,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    /// `body`: what it answers; plain JSON.
    pub fn new(root: &Path, pki: &Pki, body: &str) -> Result<Self> {
        ensure!(!body.contains(['\'', '$', '\\']), "nginx cannot hold this body: {body}");
        let folder = root.join("nginx");
        fs::create_dir_all(&folder)?;
        let leaf = pki.leaf("nginx", &[])?;
        write_private(&folder.join("ca.pem"), &pki.ca_pem)?;
        write_private(&folder.join("leaf.pem"), &leaf.chain_pem)?;
        write_private(&folder.join("leaf.key"), &leaf.key_pem)?;
        let (port, at) = (free_port()?, folder.display());
        let own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("  {name}_temp_path {at}/{name};\n")).concat();
        let text = format!(
            "daemon off;\nworker_processes auto;\npid {at}/nginx.pid;\nerror_log {at}/error.log;\nevents {{ worker_connections 1024; }}\n\
             http {{\n{own}  access_log {at}/access.log combined;\n  keepalive_requests 1000000000;\n  keepalive_timeout 600;\n  tcp_nodelay on;\n  \
             server {{\n    listen 127.0.0.1:{port} ssl;\n    ssl_certificate {at}/leaf.pem;\n    ssl_certificate_key {at}/leaf.key;\n    \
             ssl_protocols TLSv1.3;\n    ssl_client_certificate {at}/ca.pem;\n    ssl_verify_client on;\n    \
             location / {{ default_type application/json; return 200 '{body}'; }}\n  }}\n}}\n"
        );
        write_private(&folder.join("nginx.conf"), &text)?;
        Ok(Self { folders: Folders::below(root)?, folder, port })
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The master and its workers.
    pub fn processes(&self) -> Vec<u32> {
        self.pid_file().alive().map(with_children).unwrap_or_default()
    }
}

impl Server for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Nginx]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::Nginx.find().map_err(|why| anyhow::anyhow!("nginx: {why}"))?;
        let config = self.folder.join("nginx.conf").display().to_string();
        Ok(Launch::new(found.path, &["-p", &self.folder.display().to_string(), "-c", &config]))
    }

    fn probe(&self) -> Result<()> {
        std::net::TcpStream::connect(self.address())?;
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Also when a measurement broke off.
        let _ = gantry_servers::stop(self);
    }
}
