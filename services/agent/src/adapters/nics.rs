//! Puts further interfaces into an instance's network namespace by the machine's CNI plug-ins, and takes them away again. Beside the runtime,
//! which gives every pod the one network of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use prost::Message;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::disk::put;
use super::machine::{self, CommandError};
use crate::domain::nics::{configuration, device, is_of_nodes, limits, name, overlay, peers, plugin};
use crate::domain::routes::Routes;

/// Where distributions put the plug-ins.
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Stands in the file of a pod that has not got all of its interfaces yet.
const BEGUN: &str = "begun";

/// One that asks a server for an address may wait for it; the instance is not kept for ever by one that never answers.
const CALLED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("interface {interface} on {parent} ({driver}): {said}")]
pub struct NicError {
    interface: String,
    parent: String,
    driver: String,
    said: String,
}

/// Why the node has no end of a VXLAN.
#[derive(Debug, thiserror::Error)]
enum EndError {
    #[error("that the node has an end of it cannot be written down: {0}")]
    Note(#[from] std::io::Error),
    #[error("{0}")]
    Command(#[from] CommandError),
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Nics {
    /// One file for each pod that has some, a folder with the addresses that are given out, and one with the VXLANs that have an end here.
    state: PathBuf,
    /// The node's ends of VXLANs are made and taken away by one at a time.
    ends: Arc<Mutex<()>>,
    /// The ways to other nodes, which are where the other ends are.
    routes: watch::Sender<Option<Routes>>,
    /// Pods whose interfaces are just being taken away: by a second one at the same time they would be taken away twice.
    leaving: Arc<std::sync::Mutex<BTreeSet<String>>>,
    /// Where plug-ins are looked for.
    plugins: Vec<PathBuf>,
}

/// A pod among those that leave, until this is dropped.
struct Leaving {
    all: Arc<std::sync::Mutex<BTreeSet<String>>>,
    pod: String,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pod);
    }
}

/// What a plug-in was asked for was not done.
enum Refusal {
    /// There is no such plug-in here: what it may have made once, nobody can take away.
    NoPlugin(NicError),
    Failed(NicError),
}

impl From<Refusal> for NicError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoPlugin(error) | Refusal::Failed(error) => error,
        }
    }
}

impl Nics {
    pub fn new(state: PathBuf, routes: watch::Sender<Option<Routes>>) -> Self {
        Self { state, ends: Arc::default(), routes, leaving: Arc::default(), plugins: PLUGINS.map(PathBuf::from).to_vec() }
    }

    /// Keeps the node's ends of VXLANs: they lead to the nodes that there are, and go with the last pod that has one. Until cancelled;
    /// they stay.
    pub async fn keep_ends(self, cancel: CancellationToken) {
        let mut routes = self.routes.subscribe();
        loop {
            routes.mark_unchanged();
            self.bring_up_to_date().await;
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = routes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// All ends as the pods have them that are written down.
    async fn bring_up_to_date(&self) {
        let _one = self.ends.lock().await;
        let kept = self.kept_ends().await;
        for (device, nic) in &kept {
            // One that was lost with the machine's start is made again with its pod.
            if let Err(error) = self.lead(device, nic).await {
                tracing::debug!(device, %error, "where the other ends of a VXLAN are cannot be set");
            }
        }
        for device in self.made_ends().await.difference(&kept.into_keys().collect()) {
            if let Err(error) = machine::run("ip", &["link", "delete", device]).await
                && is_there(device).await
            {
                tracing::warn!(device, %error, "the node's end of a VXLAN stays");
                continue;
            }
            if let Err(error) = fs::remove_file(self.made(device)).await {
                tracing::warn!(device, %error, "that the node had an end of a VXLAN stays written down");
            }
        }
    }

    /// Ends that this agent has made, or one before it: others of the machine are not touched.
    async fn made_ends(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let Ok(mut entries) = fs::read_dir(self.state.join("ends")).await else { return all };
        while let Ok(Some(entry)) = entries.next_entry().await {
            all.extend(entry.file_name().into_string());
        }
        all
    }

    fn made(&self, device: &str) -> PathBuf {
        self.state.join("ends").join(device)
    }

    /// The devices that pods need, each with one of the interfaces on it.
    async fn kept_ends(&self) -> BTreeMap<String, wire::Nic> {
        let mut all = BTreeMap::new();
        let Ok(mut entries) = fs::read_dir(&self.state).await else { return all };
        while let Ok(Some(entry)) = entries.next_entry().await {
            // Folders cannot be read as files.
            let Ok(bytes) = fs::read(entry.path()).await else { continue };
            let kept = wire::WantedInstance::decode(bytes.as_slice()).unwrap_or_default();
            all.extend(kept.nics.into_iter().filter_map(|nic| Some((device(&nic)?, nic))));
        }
        all
    }

    /// The node's end that an interface stands on, made if it is not there.
    async fn end(&self, nic: &wire::Nic) -> Result<(), EndError> {
        let Some(device) = device(nic) else { return Ok(()) };
        let _one = self.ends.lock().await;
        if !is_there(&device).await {
            // Written down first: an agent that is killed in between leaves none that nobody knows.
            self.note(&device).await?;
            let words = overlay(nic, &device);
            machine::run("ip", &words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        machine::run("ip", &["link", "set", &device, "up"]).await?;
        Ok(self.lead(&device, nic).await?)
    }

    async fn note(&self, device: &str) -> std::io::Result<()> {
        fs::create_dir_all(self.state.join("ends")).await?;
        fs::write(self.made(device), b"").await
    }

    /// What no entry knows goes to all other nodes, unless it is said otherwise.
    async fn lead(&self, device: &str, nic: &wire::Nic) -> Result<(), CommandError> {
        // Not told yet: what an agent before this one knew is as good as anything.
        let nodes: Option<BTreeSet<Ipv4Addr>> = self.routes.borrow().as_ref().map(|routes| routes.values().copied().collect());
        let Some(nodes) = nodes.filter(|_| is_of_nodes(nic)) else { return Ok(()) };
        let there = machine::run("bridge", &["fdb", "show", "dev", device]).await?;
        for words in peers(device, &there, &nodes) {
            machine::run("bridge", &words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        Ok(())
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
        let mut kept = wire::WantedInstance { instance_id: BEGUN.to_owned(), nics: nics.to_vec(), ..Default::default() };
        let saved = async {
            fs::create_dir_all(&self.state).await?;
            put(&self.file(pod), &kept.encode_to_vec(), 0o600).await
        };
        saved.await.map_err(|e| failed(&nics[0], 0, e.to_string()))?;
        let namespace = format!("/proc/{pid}/ns/net");
        for (at, nic) in nics.iter().enumerate() {
            self.end(nic).await.map_err(|e| failed(nic, at, e.to_string()))?;
            self.call("ADD", pod, &namespace, nic, at).await?;
            for command in limits(nic, &name(nic, at)) {
                let inside = format!("--net={namespace}");
                let words: Vec<&str> = std::iter::once(inside.as_str()).chain(command.iter().map(String::as_str)).collect();
                machine::run("nsenter", &words).await.map_err(|e| failed(nic, at, e.to_string()))?;
            }
        }
        kept.instance_id.clear();
        put(&self.file(pod), &kept.encode_to_vec(), 0o600).await.map_err(|e| failed(&nics[0], 0, e.to_string()))
    }

    /// Whether a pod has got all that it was to have.
    pub async fn are_whole(&self, pod: &str, nics: &[wire::Nic]) -> bool {
        if nics.is_empty() {
            return true;
        }
        match fs::read(self.file(pod)).await {
            Ok(bytes) => wire::WantedInstance::decode(bytes.as_slice()).is_ok_and(|kept| kept.instance_id != BEGUN),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    pub async fn has(&self, pod: &str) -> bool {
        fs::try_exists(self.file(pod)).await.unwrap_or(true)
    }

    /// Pods that are not there any more, and have something here.
    pub async fn left(&self, there: &BTreeSet<String>) -> Vec<String> {
        let mut all = Vec::new();
        let Ok(mut entries) = fs::read_dir(&self.state).await else { return all };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let is_pods = entry.file_type().await.is_ok_and(|kind| kind.is_file());
            all.extend(entry.file_name().into_string().ok().filter(|pod| is_pods && !there.contains(pod)));
        }
        all
    }

    /// All that a pod has; `pid` as long as there is one. What cannot be taken away is gone with the namespace, but its address stays taken:
    /// it stays written down, to be tried again ([`Nics::left`]). False: that is so, or somebody else is at it.
    pub async fn remove(&self, pod: &str, pid: Option<u32>) -> bool {
        if !self.leaving.lock().unwrap_or_else(PoisonError::into_inner).insert(pod.to_owned()) {
            return false;
        }
        let _leaving = Leaving { all: self.leaving.clone(), pod: pod.to_owned() };
        let Ok(bytes) = fs::read(self.file(pod)).await else { return true };
        let kept = wire::WantedInstance::decode(bytes.as_slice()).unwrap_or_default();
        let namespace = pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default();
        let mut stays = false;
        for (at, nic) in kept.nics.iter().enumerate() {
            match self.take_away(pod, &namespace, nic, at).await {
                Ok(()) => {}
                Err(Refusal::NoPlugin(error)) => tracing::warn!(pod, %error, "an interface could not be taken away"),
                Err(Refusal::Failed(error)) => {
                    stays = true;
                    tracing::warn!(pod, %error, "an interface could not be taken away; its address stays taken until that is done");
                }
            }
        }
        // All of them again, which is harmless (CNI 0.4.0, DEL): their names go by their places in the list.
        if stays {
            return false;
        }
        if let Err(error) = fs::remove_file(self.file(pod)).await {
            tracing::warn!(pod, %error, "what a pod's interfaces were stays written down");
        }
        if kept.nics.iter().any(|nic| device(nic).is_some()) {
            self.bring_up_to_date().await;
        }
        true
    }

    /// Where the interface that it stood on is not on the node any more, or never was, it is gone with that one. The plug-in does not get so far
    /// as to say so; its address is given back by the plug-in that gave it.
    async fn take_away(&self, pod: &str, namespace: &str, nic: &wire::Nic, at: usize) -> Result<(), Refusal> {
        let taken = self.call("DEL", pod, namespace, nic, at).await;
        let configured = configuration(nic, &self.state.join("leases"));
        match configured["master"].as_str() {
            Some(parent) if matches!(taken, Err(Refusal::Failed(_))) && !is_there(parent).await => match configured["ipam"]["type"].as_str() {
                Some(giver) => self.ask(giver, "DEL", pod, namespace, nic, at).await,
                None => Ok(()),
            },
            _ => taken,
        }
    }

    fn file(&self, pod: &str) -> PathBuf {
        self.state.join(pod)
    }

    async fn call(&self, verb: &str, pod: &str, namespace: &str, nic: &wire::Nic, at: usize) -> Result<(), Refusal> {
        self.ask(plugin(nic), verb, pod, namespace, nic, at).await
    }

    /// As the specification of CNI 0.4.0 has it: parameters in the environment, the configuration on standard input.
    async fn ask(&self, plugin: &str, verb: &str, pod: &str, namespace: &str, nic: &wire::Nic, at: usize) -> Result<(), Refusal> {
        let said = |said: String| Refusal::Failed(failed(nic, at, said));
        let Some(folder) = self.plugins.iter().find(|f| f.join(plugin).is_file()) else {
            return Err(Refusal::NoPlugin(failed(nic, at, format!("the plug-in is not on this node ({})", PLUGINS.join(", ")))));
        };
        let mut command = Command::new(folder.join(plugin));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_COMMAND", verb).env("CNI_CONTAINERID", pod);
        command.env("CNI_NETNS", namespace).env("CNI_IFNAME", name(nic, at)).env("CNI_PATH", folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let called = async {
            let mut child = command.spawn()?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(configuration(nic, &self.state.join("leases")).to_string().as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        let called = tokio::time::timeout(CALLED_WITHIN, called).await.map_err(|_| said(format!("the plug-in did not end within {CALLED_WITHIN:?}")))?;
        let output = called.map_err(|e: std::io::Error| said(e.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let told = told["msg"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned(), str::to_owned);
        Err(said(told))
    }
}

async fn is_there(device: &str) -> bool {
    fs::try_exists(format!("/sys/class/net/{device}")).await.unwrap_or(false)
}

fn failed(nic: &wire::Nic, at: usize, said: String) -> NicError {
    NicError { interface: name(nic, at), parent: nic.parent.clone(), driver: nic.driver.clone(), said }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plug-in that says what it is asked for, and refuses as long as there is a file `no`.
    fn nics(folder: &std::path::Path) -> Nics {
        let mut nics = Nics::new(folder.join("nics"), watch::Sender::new(None));
        let plugins = folder.join("plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        std::fs::create_dir_all(folder.join("nics")).unwrap();
        let (script, root) = (folder.join("script"), folder.display());
        std::fs::write(&script, format!("#!/bin/sh\ncat > /dev/null\necho \"$CNI_COMMAND $CNI_IFNAME\" >> '{root}/asked'\n[ ! -e '{root}/no' ]\n")).unwrap();
        // By another program: one that this process has open for writing, or a child that it is just making, could not be run.
        let installed = std::process::Command::new("install").args(["-m", "755"]).args([&script, &plugins.join("test")]).status().unwrap();
        assert!(installed.success());
        nics.plugins = vec![plugins];
        nics
    }

    #[tokio::test]
    async fn an_interface_that_cannot_be_taken_away_stays_written_down_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let nics = nics(folder.path());
        let kept = wire::WantedInstance { nics: vec![wire::Nic { driver: "test".into(), ..Default::default() }], ..Default::default() };
        std::fs::write(folder.path().join("nics/pod"), kept.encode_to_vec()).unwrap();
        std::fs::write(folder.path().join("no"), "").unwrap();
        assert!(!nics.remove("pod", None).await, "its address is taken");
        assert_eq!(nics.left(&BTreeSet::new()).await, ["pod"]);
        std::fs::remove_file(folder.path().join("no")).unwrap();
        assert!(nics.remove("pod", None).await);
        assert!(nics.left(&BTreeSet::new()).await.is_empty() && nics.remove("pod", None).await);
        let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
        assert_eq!(asked.lines().filter(|line| line.starts_with("DEL ")).count(), 2, "{asked}");
    }

    #[tokio::test]
    async fn an_interface_on_one_that_the_node_does_not_have_is_gone_with_it_and_gives_its_address_back() {
        let folder = tempfile::tempdir().unwrap();
        let nics = nics(folder.path());
        // The plug-in of the interface always refuses; the one that gave the address says that it was asked.
        let program = |name: &str, text: &str| {
            std::fs::write(folder.path().join("text"), text).unwrap();
            let to = folder.path().join("plugins").join(name);
            assert!(std::process::Command::new("install").args(["-m", "755"]).arg(folder.path().join("text")).arg(to).status().unwrap().success());
        };
        program("test", "#!/bin/sh\ncat > /dev/null\nexit 1\n");
        program("host-local", &format!("#!/bin/sh\ncat > /dev/null\necho \"$CNI_COMMAND\" >> '{}/given'\n", folder.path().display()));
        let nic = wire::Nic { driver: "test".into(), parent: "nowhere0".into(), subnet: "10.98.7.0/24".into(), ..Default::default() };
        let kept = wire::WantedInstance { nics: vec![nic], ..Default::default() };
        std::fs::write(folder.path().join("nics/pod"), kept.encode_to_vec()).unwrap();
        assert!(nics.remove("pod", None).await);
        assert_eq!(std::fs::read_to_string(folder.path().join("given")).unwrap(), "DEL\n");
    }

    #[tokio::test]
    async fn what_is_being_taken_away_is_not_taken_away_twice() {
        let folder = tempfile::tempdir().unwrap();
        let nics = nics(folder.path());
        let kept = wire::WantedInstance { nics: vec![wire::Nic { driver: "test".into(), ..Default::default() }], ..Default::default() };
        std::fs::write(folder.path().join("nics/pod"), kept.encode_to_vec()).unwrap();
        let (one, other) = tokio::join!(nics.remove("pod", None), nics.remove("pod", None));
        assert!(one && !other, "the second one leaves it to the first");
        assert_eq!(std::fs::read_to_string(folder.path().join("asked")).unwrap().lines().count(), 1);
    }

    #[tokio::test]
    async fn a_pod_whose_maker_died_before_it_had_all_interfaces_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let nics = nics(folder.path());
        let wanted = [wire::Nic { driver: "test".into(), ..Default::default() }];
        assert!(nics.are_whole("pod", &[]).await);
        assert!(!nics.are_whole("pod", &wanted).await, "it never had one");
        nics.add("pod", std::process::id(), &wanted).await.unwrap();
        assert!(nics.are_whole("pod", &wanted).await);
        std::fs::write(folder.path().join("no"), "").unwrap();
        assert!(nics.add("half", std::process::id(), &wanted).await.is_err());
        assert!(!nics.are_whole("half", &wanted).await);
        std::fs::remove_file(folder.path().join("no")).unwrap();
        assert!(nics.remove("half", None).await && nics.left(&BTreeSet::new()).await == ["pod"]);
    }
}
