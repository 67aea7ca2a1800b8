//! The image of the process that holds a pod's namespaces. No registry is asked for it: a few lines of C, compiled
//! statically here, packed as an image archive.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::machine::output;

/// What containerd calls it.
pub const IMAGE: &str = "gantry.local/pause:1";

/// Waits for ever, buries orphans (it is process 1 of a shared process namespace), ends at once when told to.
const SOURCE: &str = r"#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void bury(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
static void end(int s) { (void)s; _exit(0); }
int main(void) {
  struct sigaction a = {0};
  a.sa_handler = bury; a.sa_flags = SA_NOCLDSTOP;
  sigaction(SIGCHLD, &a, 0);
  signal(SIGINT, end); signal(SIGTERM, end);
  for (;;) pause();
}
";

/// Builds `pause.tar` in `folder` unless it is there, and returns its path.
///
/// # Errors
/// When there is no C compiler with a static C library, or the disk refuses.
pub fn archive(folder: &Path) -> Result<PathBuf> {
    let done = folder.join("pause.tar");
    if done.exists() {
        return Ok(done);
    }
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    fs::write(&source, SOURCE)?;
    let args = ["-static", "-Os", "-s", "-o", &program.display().to_string(), &source.display().to_string()];
    output("cc", &args).context("building the pause program needs a C compiler and libc's static library (gcc, libc6-dev)")?;
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "pause", 0o755, &fs::read(&program)?)?;
    let layer = layer.into_inner()?;
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": { "Entrypoint": ["/pause"], "User": "65535:65535", "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(&layer)))] },
        "history": [{ "created_by": "gantry" }],
    })
    .to_string();
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, "manifest.json", 0o644, manifest.as_bytes())?;
    add(&mut archive, "config.json", 0o644, config.as_bytes())?;
    add(&mut archive, "layer.tar", 0o644, &layer)?;
    let temporary = folder.join("pause.tar.new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&archive.into_inner()?)?;
    // What is there is taken as it is: a power cut must not leave an empty one.
    file.sync_all()?;
    fs::rename(temporary, &done)?;
    Ok(done)
}

fn add(to: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    Ok(to.append_data(&mut header, name, bytes)?)
}
