//! A private containerd for one test run: own root, state, socket, network, and two images made from the machine's static
//! busybox. Stops it and checks that nothing was left when dropped. Shared by the tests of `cri` and of the agent.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gantry_cri::Cri;

pub const BUSYBOX: &str = "gantry.local/busybox:1";
pub const PAUSE: &str = "gantry.local/pause:1";

/// What is missing for such tests on this machine; `None` = nothing.
pub fn missing() -> Option<String> {
    if !Path::new("/proc/self").exists() || std::fs::read_dir("/root").is_err() {
        return Some("they need root".into());
    }
    let needed = ["containerd", "ctr", "runc", "busybox", "iptables"];
    let gone: Vec<_> = needed.iter().filter(|name| find(name).is_none()).copied().collect();
    if !gone.is_empty() {
        return Some(format!("not installed: {}", gone.join(", ")));
    }
    (!Path::new("/usr/lib/cni/bridge").exists()).then(|| "no CNI plug-ins in /usr/lib/cni".into())
}

fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"].iter().map(|d| Path::new(d).join(name)).find(|p| p.exists())
}

/// Suites of `make up` and `make test` have theirs below 112 (`gantry_servers::Ports::network`), the nodes of one machine (`services/all/tests/nodes`) above 60.
const SUBNETS: RangeInclusive<u8> = 120..=155;

/// 10.`number`.0.0/16 for pods, and with it 10.`number + 100`.0.0/16 for addresses of services. As long as this lives no other test of the
/// machine has the same: tests are processes of their own, so that it is a lock on a file which says who has which.
pub struct Subnet {
    pub number: u8,
    /// The kernel takes it back, however its holder ends.
    _lock: File,
}

impl Subnet {
    pub fn take() -> Self {
        let folder = Path::new("/run/gantry-test-subnets");
        std::fs::create_dir_all(folder).unwrap();
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            for number in SUBNETS {
                let lock = File::create(folder.join(number.to_string())).unwrap();
                if lock.try_lock().is_ok() {
                    let subnet = Self { number, _lock: lock };
                    // Of a test that was killed.
                    subnet.clear();
                    return subnet;
                }
            }
            assert!(Instant::now() < end, "every subnet of {SUBNETS:?} has its test");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn services(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 100 + self.number, 0, 0)
    }

    /// Addresses of services that this machine has.
    pub fn addresses(&self) -> Vec<String> {
        let beginning = format!("10.{}.", 100 + self.number);
        let shown = Command::new("ip").args(["-o", "-4", "address", "show", "dev", "lo"]).output().unwrap().stdout;
        let words = String::from_utf8(shown).unwrap();
        words.split_whitespace().filter(|word| word.starts_with(&beginning)).map(str::to_owned).collect()
    }

    fn clear(&self) {
        for address in self.addresses() {
            let _ = Command::new("ip").args(["address", "delete", &address, "dev", "lo"]).stderr(Stdio::null()).status();
        }
        let bridges = format!("gty{}x", self.number);
        let links = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten().map(|link| link.file_name());
        for link in links.filter(|name| name.to_str().is_some_and(|name| name.starts_with(&bridges))) {
            let _ = Command::new("ip").args(["link", "delete"]).arg(link).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Subnet {
    /// Also of a test that fails: on `lo` they would outlive it.
    fn drop(&mut self) {
        self.clear();
    }
}

pub struct Containerd {
    pub folder: tempfile::TempDir,
    pub socket: PathBuf,
    pub subnet: Subnet,
    child: std::sync::Mutex<Child>,
    bridge: String,
}

impl Containerd {
    /// Starts it with a subnet of its own, and waits until it can run pods.
    pub async fn start() -> Self {
        let subnet = Subnet::take();
        let folder = tempfile::Builder::new().prefix("gantry-containerd-").tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let bridge = format!("gty{}x{}", subnet.number, std::process::id() % 100_000);
        std::fs::create_dir_all(at("cni")).unwrap();
        std::fs::write(at("cni/10-test.conflist"), network(&bridge, subnet.number, &at("ipam"))).unwrap();
        // Every runtime of this machine, as the suite's own containerd has them.
        let runtimes = gantry_servers::oci::handlers(folder.path()).unwrap();
        std::fs::write(at("config.toml"), config(folder.path()) + &runtimes).unwrap();
        let child = std::sync::Mutex::new(launch(folder.path(), Path::new("containerd")));
        let containerd = Self { socket: at("containerd.sock"), folder, subnet, child, bridge };
        containerd.until_ready().await;
        for (image, words) in [(PAUSE, vec!["/bin/busybox", "sleep", "2147483647"]), (BUSYBOX, vec!["/bin/sh"])] {
            containerd.import(image, &words);
        }
        containerd
    }

    /// Killed without a word, as a crash would, and started again. What runs goes on meanwhile.
    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub async fn crash(&self) {
        {
            let mut child = self.child.lock().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            *child = launch(self.folder.path(), Path::new("containerd"));
        }
        self.until_ready().await;
    }

    /// Stopped in order and started again from another file, as by an upgrade. What runs goes on meanwhile. Gives the program that runs now.
    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub async fn exchange(&self) -> PathBuf {
        let next = self.folder.path().join("containerd-next");
        std::fs::copy(find("containerd").unwrap(), &next).unwrap();
        let running = {
            let mut child = self.child.lock().unwrap();
            assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
            child.wait().unwrap();
            *child = launch(self.folder.path(), &next);
            child.id()
        };
        self.until_ready().await;
        std::fs::read_link(format!("/proc/{running}/exe")).unwrap()
    }

    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Process ids of the shims that stand between it and the pods.
    #[allow(dead_code, reason = "not every suite that shares this file needs it")]
    pub fn shims(&self) -> Vec<u32> {
        let folder = self.folder.path().display().to_string();
        processes_with(&folder).into_iter().filter(|(_, line)| line.contains("containerd-shim")).map(|(pid, _)| pid).collect()
    }

    pub async fn cri(&self) -> Cri {
        Cri::connect(&self.socket).await.expect("containerd answers")
    }

    async fn until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(90);
        let cri = Cri::lazy(&self.socket);
        loop {
            match cri.faults().await {
                Ok(faults) if faults.is_empty() => return,
                other => assert!(Instant::now() < end, "containerd is not ready: {other:?}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("containerd.log")).unwrap_or_default()
    }

    pub fn import(&self, image: &str, entrypoint: &[&str]) {
        let file = self.folder.path().join("image.tar");
        std::fs::write(&file, oci_archive(image, entrypoint)).unwrap();
        let output = Command::new("ctr").arg("-a").arg(&self.socket).args(["-n", "k8s.io", "image", "import"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Removes every pod and checks that no process, mount or network of theirs is left. To be called at the end of a test run.
    pub async fn finish(mut self) {
        let cri = self.cri().await;
        for pod in cri.list_pods(&BTreeMap::new()).await.unwrap() {
            cri.stop_pod(&pod.id).await.unwrap();
            cri.remove_pod(&pod.id).await.unwrap();
        }
        let folder = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let left: Vec<_> = mounts.lines().filter(|m| m.contains(&folder)).collect();
        assert!(left.is_empty(), "mounts are left: {left:#?}");
        let shims = processes_with(&folder).into_iter().filter(|(_, line)| line.contains("containerd-shim")).collect::<Vec<_>>();
        assert!(shims.is_empty(), "shims are left: {shims:?}");
        self.stop();
    }

    fn stop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let _ = child.wait();
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).stderr(Stdio::null()).status();
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let running = matches!(self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).try_wait(), Ok(None));
        if running {
            // The test failed: take down what it started, by pid.
            for (pid, _) in processes_with(&self.folder.path().display().to_string()) {
                // A shim's children are the containers; they would outlive it.
                let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
                let _ = Command::new("kill").arg("-9").args(children.split_whitespace()).arg(pid.to_string()).status();
            }
            self.stop();
        }
        let folder = self.folder.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().rev().filter_map(|m| m.split(' ').nth(1)).filter(|m| m.starts_with(&folder)) {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
    }
}

fn launch(folder: &Path, program: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("containerd.log")).unwrap();
    Command::new(program).arg("--config").arg(folder.join("config.toml")).stdout(Stdio::null()).stderr(log).spawn().expect("containerd starts")
}

/// Other processes whose command line names `text`.
fn processes_with(text: &str) -> Vec<(u32, String)> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != own);
    let lines = pids.filter_map(|pid| Some((pid, String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " "))));
    lines.filter(|(_, line)| line.contains(text)).collect()
}

fn config(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
"#
    )
}

/// The network of its pods: a bridge, and addresses of 10.`subnet`.0.0/16.
pub fn network(bridge: &str, subnet: u8, ipam: &Path) -> String {
    serde_json::json!({"cniVersion": "0.4.0", "name": bridge, "plugins": [
        {"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
            "type": "host-local", "dataDir": ipam, "ranges": [[{"subnet": format!("10.{subnet}.0.0/16")}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
    ]})
    .to_string()
}

/// An OCI image layout in a tar: one layer with busybox and its names.
pub fn oci_archive(name: &str, entrypoint: &[&str]) -> Vec<u8> {
    gantry_servers::busybox::archive(name, entrypoint).expect("busybox is there: checked by `missing`").bytes
}
