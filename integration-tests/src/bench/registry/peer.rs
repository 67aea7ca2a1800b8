//! The peer: Debian's docker-registry on the same disk, with nothing switched on that costs: no authentication, errors only in
//! its log, descriptors cached in memory.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use gantry_host::Pki;
use gantry_servers::server::{Folders, free_port, write_private};
use gantry_servers::{Launch, Need, Server};

pub struct Peer {
    folders: Folders,
    folder: PathBuf,
    port: u16,
    name: &'static str,
}

impl Peer {
    /// `pki`: with TLS, under a certificate of it.
    pub fn new(root: &Path, pki: Option<&Pki>) -> Result<Self> {
        let name = if pki.is_some() { "docker-registry-tls" } else { "docker-registry" };
        let folder = root.join(name);
        fs::create_dir_all(&folder)?;
        let (port, at) = (free_port()?, folder.display());
        let mut text = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  \
             filesystem:\n    rootdirectory: {at}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: bench\n"
        );
        if let Some(pki) = pki {
            let leaf = pki.leaf("docker-registry", &["localhost"])?;
            write_private(&folder.join("leaf.pem"), &leaf.chain_pem)?;
            write_private(&folder.join("leaf.key"), &leaf.key_pem)?;
            text += &format!("  tls:\n    certificate: {at}/leaf.pem\n    key: {at}/leaf.key\n");
        }
        write_private(&folder.join("config.yml"), &text)?;
        Ok(Self { folders: Folders::below(root)?, folder, port, name })
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn pid(&self) -> Option<u32> {
        self.pid_file().alive()
    }
}

impl Server for Peer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::DockerRegistry]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::DockerRegistry.find().map_err(|why| anyhow::anyhow!("docker-registry: {why}"))?;
        Ok(Launch::new(found.path, &["serve", &self.folder.join("config.yml").display().to_string()]))
    }

    fn probe(&self) -> Result<()> {
        std::net::TcpStream::connect(self.address())?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Also when a measurement broke off.
        let _ = gantry_servers::stop(self);
    }
}
