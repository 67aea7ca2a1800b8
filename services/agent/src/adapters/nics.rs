//! Puts further interfaces into an instance's network namespace by the machine's CNI plug-ins, and takes them away again. Beside the runtime,
//! which gives every pod the one network of the node.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use gantry_contract::proto::scheduler as wire;
use prost::Message;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::machine;
use crate::domain::nics::{configuration, limits, name};

/// Where distributions put the plug-ins.
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

#[derive(Debug, thiserror::Error)]
#[error("interface {interface} on {parent} ({driver}): {said}")]
pub struct NicError {
    interface: String,
    parent: String,
    driver: String,
    said: String,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Nics {
    /// One file for each pod that has some, and a folder with the addresses that are given out.
    state: PathBuf,
}

impl Nics {
    pub fn new(state: PathBuf) -> Self {
        Self { state }
    }

    /// Into the network namespace of the process `pid`, which holds the pod.
    ///
    /// # Errors
    /// [`NicError`]; what was put in before is there, until [`Nics::remove`].
    pub async fn add(&self, pod: &str, pid: u32, nics: &[wire::Nic]) -> Result<(), NicError> {
        if nics.is_empty() {
            return Ok(());
        }
        // Written down first: an agent that is killed in between leaves no address taken.
        let kept = wire::WantedInstance { nics: nics.to_vec(), ..Default::default() };
        let saved = async {
            fs::create_dir_all(&self.state).await?;
            fs::write(self.file(pod), kept.encode_to_vec()).await
        };
        saved.await.map_err(|e| failed(&nics[0], 0, e.to_string()))?;
        let namespace = format!("/proc/{pid}/ns/net");
        for (at, nic) in nics.iter().enumerate() {
            self.call("ADD", pod, &namespace, nic, at).await?;
            for command in limits(nic, &name(nic, at)) {
                let inside = format!("--net={namespace}");
                let words: Vec<&str> = std::iter::once(inside.as_str()).chain(command.iter().map(String::as_str)).collect();
                machine::run("nsenter", &words).await.map_err(|e| failed(nic, at, e.to_string()))?;
            }
        }
        Ok(())
    }

    pub async fn has(&self, pod: &str) -> bool {
        fs::try_exists(self.file(pod)).await.unwrap_or(true)
    }

    /// All that a pod has; `pid` as long as there is one. What cannot be taken away is gone with the namespace; its address stays taken.
    pub async fn remove(&self, pod: &str, pid: Option<u32>) {
        let Ok(bytes) = fs::read(self.file(pod)).await else { return };
        let kept = wire::WantedInstance::decode(bytes.as_slice()).unwrap_or_default();
        let namespace = pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default();
        for (at, nic) in kept.nics.iter().enumerate() {
            if let Err(error) = self.call("DEL", pod, &namespace, nic, at).await {
                tracing::warn!(pod, %error, "an interface could not be taken away");
            }
        }
        if let Err(error) = fs::remove_file(self.file(pod)).await {
            tracing::warn!(pod, %error, "what a pod's interfaces were stays written down");
        }
    }

    fn file(&self, pod: &str) -> PathBuf {
        self.state.join(pod)
    }

    /// As the specification of CNI 0.4.0 has it: parameters in the environment, the configuration on standard input.
    async fn call(&self, verb: &str, pod: &str, namespace: &str, nic: &wire::Nic, at: usize) -> Result<(), NicError> {
        let said = |said: String| failed(nic, at, said);
        let folder = PLUGINS.iter().map(Path::new).find(|f| f.join(&nic.driver).is_file());
        let folder = folder.ok_or_else(|| said(format!("the plug-in is not on this node ({})", PLUGINS.join(", "))))?;
        let mut command = Command::new(folder.join(&nic.driver));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_COMMAND", verb).env("CNI_CONTAINERID", pod);
        command.env("CNI_NETNS", namespace).env("CNI_IFNAME", name(nic, at)).env("CNI_PATH", folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let called = async {
            let mut child = command.spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(configuration(nic, &self.state.join("leases")).to_string().as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        let output = called.await.map_err(|e: std::io::Error| said(e.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let told = told["msg"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned(), str::to_owned);
        Err(said(told))
    }
}

fn failed(nic: &wire::Nic, at: usize, said: String) -> NicError {
    NicError { interface: name(nic, at), parent: nic.parent.clone(), driver: nic.driver.clone(), said }
}
