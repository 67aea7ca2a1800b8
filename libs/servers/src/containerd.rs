//! A private containerd: own root, state, socket, network and registry configuration; it shares nothing with a containerd of
//! the machine. Containers live on when it restarts; stopping them is the caller's business (`xtask down` does it).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::machine::output;
use crate::need::{Need, cni_folders};
use crate::oci;
use crate::pause;
use crate::process::Launch;
use crate::server::{Folders, Server};
use crate::wait::until;

/// The namespace of containerd that the CRI plugin works in.
const NAMESPACE: &str = "k8s.io";

pub struct Containerd {
    folders: Folders,
    place: PathBuf,
    network: Network,
    /// `localhost:7443`: where images of the platform are pulled from.
    registry: String,
    ca: PathBuf,
}

/// The bridge containers hang on. Two suites on one machine must differ in both fields.
#[derive(Clone, Debug)]
pub struct Network {
    pub bridge: String,
    /// Second number of `10.x.0.0/16`.
    pub second: u8,
}

impl Containerd {
    /// # Errors
    /// When folders cannot be made.
    pub fn new(root: &Path, network: Network, registry: String, ca: PathBuf) -> Result<Self> {
        let place = root.join("containerd");
        fs::create_dir_all(&place)?;
        Ok(Self { folders: Folders::below(root)?, place, network, registry, ca })
    }

    pub fn socket(&self) -> PathBuf {
        self.place.join("containerd.sock")
    }

    pub fn subnet(&self) -> String {
        format!("10.{}.0.0/16", self.network.second)
    }

    fn ctr(&self, args: &[&str]) -> Result<String> {
        let socket = self.socket().display().to_string();
        output("ctr", &[&["--address", &socket, "--namespace", NAMESPACE], args].concat())
    }

    /// Takes an image archive in, under the name it has in it and under one more.
    ///
    /// # Errors
    /// When containerd refuses, or the archive has no such name.
    pub fn import(&self, archive: &Path, name: &str, also: &str) -> Result<()> {
        self.ctr(&["images", "import", &archive.display().to_string()])?;
        self.ctr(&["images", "tag", "--force", name, also]).map(drop)
    }

    fn config(&self) -> Result<String> {
        let place = self.place.display();
        let bin = cni_folders().into_iter().next().context("no folder of CNI plugins on this machine")?;
        let mut text = format!(
            r#"# Written by gantry at every start.
version = 2
root = "{place}/root"
state = "{place}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "{place}/containerd.sock"
[ttrpc]
  address = "{place}/containerd.sock.ttrpc"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  # A suite inside a container or an unprivileged service may not lower its own score.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{bin}"
    conf_dir = "{place}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{place}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "{default}"
"#,
            image = pause::IMAGE,
            bin = bin.display(),
            default = oci::runtimes(&self.place)?.first().map(|r| r.0).context("no OCI runtime")?,
        );
        text += &oci::handlers(&self.place)?;
        Ok(text)
    }

    fn network_config(&self) -> String {
        let leases = self.place.join("leases");
        serde_json::json!({
            "cniVersion": "0.4.0",
            "name": self.network.bridge,
            "plugins": [
                {
                    "type": "bridge", "bridge": self.network.bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
                    "ipam": {
                        "type": "host-local", "dataDir": leases,
                        "ranges": [[{ "subnet": self.subnet() }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true } },
                { "type": "bandwidth", "capabilities": { "bandwidth": true } },
            ],
        })
        .to_string()
    }

    fn registry_config(&self) -> String {
        let (registry, ca) = (&self.registry, self.ca.display());
        format!("server = \"https://{registry}\"\n[host.\"https://{registry}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"{ca}\"\n")
    }
}

impl Server for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn needs(&self) -> &'static [Need] {
        &[Need::Containerd, Need::Runc, Need::CniPlugins, Need::Iptables]
    }

    fn folders(&self) -> &Folders {
        &self.folders
    }

    fn prepare(&self) -> Result<()> {
        fits(&self.socket())?;
        let hosts = self.place.join("certs.d").join(&self.registry);
        let network = self.place.join("cni");
        for folder in [&hosts, &network] {
            fs::create_dir_all(folder)?;
        }
        fs::write(self.place.join("config.toml"), self.config()?)?;
        fs::write(network.join("10-gantry.conflist"), self.network_config())?;
        fs::write(hosts.join("hosts.toml"), self.registry_config())?;
        Ok(())
    }

    fn launch(&self) -> Result<Launch> {
        let found = Need::Containerd.find().map_err(|why| anyhow::anyhow!("containerd: {why}"))?;
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Ok(Launch::new(found.path, &["--config", &self.place.join("config.toml").display().to_string()]).env("PATH", path))
    }

    fn probe(&self) -> Result<()> {
        let plugins = self.ctr(&["plugins", "ls"])?;
        for plugin in ["overlayfs", "cri"] {
            let line = plugins.lines().find(|l| l.split_whitespace().nth(1) == Some(plugin));
            if line.is_none_or(|l| l.split_whitespace().last() != Some("ok")) {
                bail!("its {plugin} plugin did not load");
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let have = |me: &Self| me.ctr(&["images", "ls", "-q"]).map(|l| l.lines().any(|i| i == pause::IMAGE));
        if !have(self)? {
            let archive = pause::archive(&self.place)?;
            self.ctr(&["images", "import", &archive.display().to_string()])?;
            until("the pause image", Duration::from_secs(10), || if have(self)? { Ok(()) } else { bail!("not imported") })?;
        }
        // So that an image clean-up leaves it alone.
        self.ctr(&["images", "label", pause::IMAGE, "io.cri-containerd.pinned=pinned"])?;
        Ok(())
    }
}

/// A socket's name has at most 107 bytes, and the longer of containerd's two has six more than this one.
fn fits(socket: &Path) -> Result<()> {
    let (length, most) = (socket.as_os_str().len(), 107 - ".ttrpc".len());
    if length > most {
        let path = socket.display();
        bail!("the path of containerd's socket, {path}, has {length} bytes, and a socket's may have {most}: choose a shorter folder by GANTRY_HOME");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_too_deep_for_a_socket_is_named() {
        fits(Path::new("/home/ada/src/gantry/.gantry/containerd/containerd.sock")).expect("short enough");
        let deep = Path::new("/srv").join("x".repeat(90)).join("containerd/containerd.sock");
        assert!(fits(&deep).expect_err("too long").to_string().contains("GANTRY_HOME"));
    }
}
