//! Images made on the spot from this machine's static busybox, for tests and measurements that need a container and no registry.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::machine::output;
use crate::need::Need;

/// An OCI image layout as a tar (what `ctr image import` takes).
pub struct Archive {
    pub bytes: Vec<u8>,
    /// Of the manifest: `sha256:…`, what the image is known by.
    pub digest: String,
}

/// An image of one layer: busybox under all its names, users `root` and `web` (1000). `name`: what containerd is to call it.
///
/// # Errors
/// When busybox is not on this machine.
pub fn archive(name: &str, entrypoint: &[&str]) -> Result<Archive> {
    let found = Need::Busybox.find().map_err(|why| anyhow::anyhow!("busybox: {why}"))?;
    let layer = layer(&found.path)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({"architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"], "Entrypoint": entrypoint},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]}});
    let config = config.to_string().into_bytes();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len()}]});
    let manifest = manifest.to_string().into_bytes();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(&manifest), "size": manifest.len(), "annotations": {"io.containerd.image.name": name}}]});
    let mut archive = tar::Builder::new(Vec::new());
    put(&mut archive, "oci-layout", tar::EntryType::Regular, 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put(&mut archive, "index.json", tar::EntryType::Regular, 0o644, index.to_string().as_bytes())?;
    for blob in [&layer, &config, &manifest] {
        put(&mut archive, &digest(blob).replace("sha256:", "blobs/sha256/"), tar::EntryType::Regular, 0o644, blob)?;
    }
    Ok(Archive { bytes: archive.into_inner()?, digest: digest(&manifest) })
}

/// The same as a folder: the root file system of a container that is started without any image store.
///
/// # Errors
/// When busybox is not on this machine, or the disk refuses.
pub fn unpack(folder: &Path) -> Result<()> {
    let found = Need::Busybox.find().map_err(|why| anyhow::anyhow!("busybox: {why}"))?;
    std::fs::create_dir_all(folder)?;
    tar::Archive::new(layer(&found.path)?.as_slice()).unpack(folder).with_context(|| format!("cannot unpack into {}", folder.display()))
}

fn layer(busybox: &Path) -> Result<Vec<u8>> {
    let program = std::fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut layer = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "tmp", "www", "proc", "sys", "dev"] {
        put(&mut layer, folder, tar::EntryType::Directory, 0o1777, b"")?;
    }
    put(&mut layer, "bin/busybox", tar::EntryType::Regular, 0o755, &program)?;
    put(&mut layer, "etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n")?;
    put(&mut layer, "etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\nweb:x:1000:\n")?;
    let names = output(busybox, &["--list"])?;
    ensure!(names.lines().any(|n| n == "sh"), "{} has no shell", busybox.display());
    for applet in names.lines().filter(|a| !matches!(*a, "busybox" | "")) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{applet}"), "/bin/busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn put(to: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes.len() as u64);
    Ok(to.append_data(&mut header, path, bytes)?)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
