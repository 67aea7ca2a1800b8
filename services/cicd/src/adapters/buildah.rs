//! Image builds by `buildah`, with a storage of our own: nothing of the machine's container set-up is read or touched.
//!
//! Steps of a Dockerfile run under `chroot` isolation, which works as root without a daemon but shares the host's network;
//! they have no more than the default capabilities.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::peers::Credential;
use super::step_log::StepLog;

/// Where buildah works.
#[derive(Clone)]
pub struct Buildah {
    home: PathBuf,
    /// overlay | vfs
    driver: String,
}

/// How a command ended, in words for the step's result.
pub enum Ended {
    Well,
    /// Exit code and the last line it printed.
    Badly(i32, String),
    Cancelled,
}

pub struct Image<'a> {
    /// Our own name for it until it is pushed.
    pub local: String,
    pub context: &'a Path,
    pub dockerfile: &'a Path,
    pub args: Vec<(String, String)>,
}

impl Buildah {
    /// Makes the folder with the settings buildah reads.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn prepare(home: PathBuf, driver: String, registry: &str, ca: Option<&Path>) -> std::io::Result<Self> {
        let certs = home.join("certs");
        tokio::fs::create_dir_all(&certs).await?;
        if let Some(ca) = ca {
            tokio::fs::copy(ca, certs.join("ca.crt")).await?;
        }
        // Every name is a full one; and nothing is looked up at a registry that the file does not name.
        let registries =
            format!("unqualified-search-registries = []\nshort-name-mode = \"disabled\"\n[[registry]]\nlocation = \"{registry}\"\ninsecure = false\n");
        tokio::fs::write(home.join("registries.conf"), registries).await?;
        tokio::fs::write(home.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).await?;
        tokio::fs::write(
            home.join("storage.conf"),
            format!("[storage]\ndriver = \"{driver}\"\nrunroot = \"{0}/run\"\ngraphroot = \"{0}/root\"\n", home.display()),
        )
        .await?;
        Ok(Self { home, driver })
    }

    /// A file with the registry's credential for one step; gone with the returned guard.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn auth_file(&self, registry: &str, credential: &Credential) -> std::io::Result<tempfile::NamedTempFile> {
        use base64::Engine;
        let pair = format!("{}:{}", credential.username, credential.password.expose());
        let auth = base64::engine::general_purpose::STANDARD.encode(pair);
        let mut file = tempfile::Builder::new().prefix("auth-").tempfile_in(&self.home)?;
        std::io::Write::write_all(&mut file, serde_json::json!({ "auths": { registry: { "auth": auth } } }).to_string().as_bytes())?;
        Ok(file)
    }

    /// # Errors
    /// When buildah cannot be started.
    pub async fn build(&self, image: Image<'_>, auth: &Path, log: &StepLog, cancel: &CancellationToken) -> std::io::Result<Ended> {
        let mut command = self.command();
        command.args(["bud", "--isolation", "chroot", "--pull-always", "--format", "docker", "--timestamp", "0"]);
        command.arg("--authfile").arg(auth).arg("--cert-dir").arg(self.home.join("certs"));
        command.arg("--signature-policy").arg(self.home.join("policy.json"));
        for (name, value) in &image.args {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        command.arg("--tag").arg(&image.local).arg("--file").arg(image.dockerfile).arg("--").arg(image.context);
        follow(command, log, cancel).await
    }

    /// Pushes under `reference` and gives the digest the registry knows it by.
    ///
    /// # Errors
    /// When buildah cannot be started or does not tell the digest.
    pub async fn push(&self, local: &str, reference: &str, auth: &Path, log: &StepLog, cancel: &CancellationToken) -> std::io::Result<(Ended, String)> {
        let digest = tempfile::Builder::new().prefix("digest-").tempfile_in(&self.home)?;
        let mut command = self.command();
        command.arg("push").arg("--authfile").arg(auth).arg("--cert-dir").arg(self.home.join("certs"));
        command.arg("--signature-policy").arg(self.home.join("policy.json"));
        command.arg("--digestfile").arg(digest.path()).arg("--").arg(local).arg(format!("docker://{reference}"));
        let ended = follow(command, log, cancel).await?;
        let text = tokio::fs::read_to_string(digest.path()).await?;
        Ok((ended, text.trim().to_owned()))
    }

    /// Forgets a built image. Layers that other images share stay.
    pub async fn remove(&self, local: &str) {
        let mut command = self.command();
        command.args(["rmi", "--force", "--"]).arg(local).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = command.status().await {
            tracing::warn!(image = local, %error, "a built image could not be removed from the build store");
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("buildah");
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &self.home).env("LC_ALL", "C.UTF-8");
        command.env("TMPDIR", &self.home).env("CONTAINERS_REGISTRIES_CONF", self.home.join("registries.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.home.join("storage.conf"));
        command.arg("--root").arg(self.home.join("root")).arg("--runroot").arg(self.home.join("run"));
        command.args(["--storage-driver", &self.driver]);
        command.stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        command
    }
}

/// Runs a command, its output going to the step's log. Cancelling ends it by SIGTERM to its whole group first, so that it can
/// unmount what it mounted.
async fn follow(mut command: Command, log: &StepLog, cancel: &CancellationToken) -> std::io::Result<Ended> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let group = child.id();
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let last = std::sync::Mutex::new(String::new());
    let copy = async { tokio::join!(lines(stdout, log, &last), lines(stderr, log, &last)) };
    tokio::pin!(copy);
    let cancelled = tokio::select! {
        _ = &mut copy => false,
        () = cancel.cancelled() => true,
    };
    if cancelled {
        if let Some(group) = group {
            let _ = Command::new("kill").args(["-TERM", "--", &format!("-{group}")]).status().await;
        }
        if tokio::time::timeout(Duration::from_secs(10), child.wait()).await.is_err() {
            child.kill().await?;
        }
        return Ok(Ended::Cancelled);
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(Ended::Well);
    }
    let text = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    Ok(Ended::Badly(status.code().unwrap_or(137), text))
}

async fn lines(from: impl AsyncRead + Unpin, log: &StepLog, last: &std::sync::Mutex<String>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // By bytes: output need not be UTF-8.
    while matches!(from.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            log.line(text);
            text.clone_into(&mut last.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
        line.clear();
    }
}
