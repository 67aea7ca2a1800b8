//! One node: a disk (a folder) that outlives it, and while it runs, namespaces for its network, processes and mounts, with a
//! containerd and an agent in them. Whatever is in them ends with its first process, as on a machine whose power fails.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gantry_cri::{ContainerState, Cri};
use gantry_servers::oci::criu;

use crate::containerd::{self, BUSYBOX, PAUSE};
use crate::network::{Wire, run};

const SOCKET: &str = "/run/containerd/containerd.sock";
/// How the agent is to be run on machines with systemd.
const UNIT: &str = include_str!("../../../agent/systemd/gantry-agent.service");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Machine {
    pub name: String,
    pub number: u8,
    pub address: Ipv4Addr,
    folder: PathBuf,
    running: Option<Running>,
    /// Instances that were on it when its power failed: their cgroups would be gone then.
    lost: BTreeSet<String>,
}

struct Running {
    /// Ends all others with it.
    first: Child,
    /// As the machine under it counts.
    init: u32,
    containerd: Option<Inside>,
    agent: Option<Inside>,
}

/// A process inside, and the one that has put it there and waits for it.
struct Inside {
    outer: Child,
    pid: u32,
}

/// What an agent has to be told to find the control plane.
pub struct Surroundings {
    pub prefix: String,
    pub nats_url: String,
    pub redis_url: String,
    pub scheduler_url: String,
    pub ca: PathBuf,
}

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: String,
    pub instance: String,
    pub workload: String,
    pub started_at: i64,
    /// As the node counts.
    pub pid: u32,
}

impl Machine {
    /// Its disk, with nothing on it but configuration.
    pub fn new(wire: &Wire, folder: &Path, number: u8, around: &Surroundings) -> Self {
        let name = format!("n{number}");
        let folder = folder.join(&name);
        for sub in ["home", "cni", "var-lib-cni"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        let machine = Self { name, number, address: wire.address(number), folder, running: None, lost: BTreeSet::new() };
        fs::write(machine.folder.join("cni/10-bed.conflist"), containerd::network("pods", 60 + number, &machine.folder.join("ipam"))).unwrap();
        fs::write(machine.folder.join("containerd.toml"), machine.containerd_config()).unwrap();
        fs::write(machine.folder.join("gantry.toml"), machine.agent_config(around)).unwrap();
        machine
    }

    /// runc as containers go on by it, where CRIU is; the runtime's own choice elsewhere.
    fn runtime(&self) -> String {
        if criu().is_none() {
            return String::new();
        }
        let runc = gantry_servers::Need::Runc.find().expect("checked before").path;
        let starter = gantry_servers::oci::restoring(&self.folder, &runc).unwrap();
        format!(
            r#"  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{}"
      Root = "/run/runc-of-containerd"
"#,
            starter.display()
        )
    }

    fn containerd_config(&self) -> String {
        let (folder, runtime) = (self.folder.display(), self.runtime());
        format!(
            r#"version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{SOCKET}"
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
{runtime}"#
        )
    }

    fn agent_config(&self, around: &Surroundings) -> String {
        let (folder, name, address, pods) = (self.folder.display(), &self.name, self.address, self.pod_network());
        let criu = criu().unwrap_or_else(|| "criu".into());
        let Surroundings { prefix, nats_url, redis_url, scheduler_url, ca } = around;
        format!(
            r#"[platform]
home = "{folder}/home"
public_url = "https://gantry.test"
database_url = "postgres://none"
nats_url = "{nats_url}"
redis_url = "{redis_url}"
prefix = "{prefix}"
ca_dir = "{ca}"
containerd = "{SOCKET}"
master_key_file = "{folder}/home/master.key"
[platform.peers]
scheduler = "{scheduler_url}"
[agent]
node = "{name}"
address = "{address}"
pod_network = "{pods}"
http_listen = "0.0.0.0:7480"
image_gc_percent = 0
criu = "{criu}"
"#,
            ca = ca.display(),
            criu = criu.display()
        )
    }

    fn pod_network(&self) -> String {
        format!("10.{}.0.0/16", 60 + self.number)
    }

    /// Where its balancer answers.
    pub fn url(&self) -> String {
        format!("http://{}:7480", self.address)
    }

    /// Switched on: its network, and nothing that runs.
    pub fn boot(&mut self, wire: &mut Wire) {
        assert!(self.running.is_none(), "{} runs", self.name);
        let namespace = wire.namespace(self.number);
        run("ip", &["netns", "add", &namespace]);
        wire.plug(self.number);
        // What is below /run is gone with the power; what CNI keeps is on its disk, and not on that of the machine under it.
        let lib = self.folder.join("var-lib-cni");
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /var/lib/cni && mount --bind {} /var/lib/cni && exec env --ignore-signal=CHLD sleep infinity",
            lib.display()
        );
        let first = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(self.log("boot.log"))
            .stderr(self.log("boot.log"))
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        let init = loop {
            if let Some(pid) = child_of(first.id()).filter(|pid| command_line(*pid).starts_with("sleep infinity")) {
                break pid;
            }
            assert!(Instant::now() < end, "{} does not start", self.name);
            std::thread::sleep(Duration::from_millis(10));
        };
        self.running = Some(Running { first, init, containerd: None, agent: None });
    }

    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    fn log(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.folder.join(name)).unwrap()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it is switched on")
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.running().init.to_string(), "--mount", "--net", "--pid", "--"]).env("PATH", PATH).stdin(Stdio::null());
        command
    }

    fn start(&self, program: &str, args: &[&str], log: &str) -> Inside {
        let outer = self.enter().arg(program).args(args).stdout(self.log(log)).stderr(self.log(log)).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(pid) = child_of(outer.id()) {
                return Inside { outer, pid };
            }
            assert!(Instant::now() < end, "{program} does not start on {}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn start_containerd(&mut self) {
        let config = self.folder.join("containerd.toml").display().to_string();
        let inside = self.start("containerd", &["--config", &config], "containerd.log");
        self.running.as_mut().unwrap().containerd = Some(inside);
    }

    /// With no more rights than its unit gives it.
    pub fn start_agent(&mut self) {
        let config = self.folder.join("gantry.toml").display().to_string();
        let names = UNIT.lines().find_map(|l| l.strip_prefix("CapabilityBoundingSet=")).expect("the unit names its capabilities");
        let names: String = names.split(' ').map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_ascii_lowercase())).collect();
        let bounds = format!("--bounding-set=-all{names}");
        let program = env!("CARGO_BIN_EXE_gantryd");
        let args = ["--no-new-privs", "--inh-caps=-all", bounds.as_str(), program, "--target=agent", "--config", config.as_str()];
        let inside = self.start("setpriv", &args, "agent.log");
        self.running.as_mut().unwrap().agent = Some(inside);
    }

    /// A line of the agent's `/proc/<pid>/status`.
    pub fn of_agent(&self, name: &str) -> String {
        let pid = self.running().agent.as_ref().expect("the agent runs").pid;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|l| l.strip_prefix(name)).expect("the kernel tells it").trim().to_owned()
    }

    /// Without a word, as by a crash.
    pub fn kill_containerd(&mut self) {
        kill(self.running.as_mut().unwrap().containerd.take().expect("containerd runs"));
    }

    /// Without a word, as by a crash.
    pub fn kill_agent(&mut self) {
        kill(self.running.as_mut().unwrap().agent.take().expect("the agent runs"));
    }

    /// A process inside, by the number it has there.
    pub fn kill(&self, pid: u32) {
        self.inside("kill", &["-9", &pid.to_string()]);
    }

    /// Runs a program inside to its end.
    pub fn inside(&self, program: &str, args: &[&str]) -> String {
        let output = self.enter().arg(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn import_images(&self) {
        for (image, words) in [(PAUSE, vec!["/bin/busybox", "sleep", "2147483647"]), (BUSYBOX, vec!["/bin/sh"])] {
            let file = self.folder.join("image.tar");
            fs::write(&file, containerd::oci_archive(image, &words)).unwrap();
            self.inside("ctr", &["-a", SOCKET, "-n", "k8s.io", "image", "import", &file.display().to_string()]);
        }
    }

    fn socket(&self) -> PathBuf {
        Path::new("/proc").join(self.running().init.to_string()).join(format!("root{SOCKET}"))
    }

    pub fn cri(&self) -> Cri {
        Cri::lazy(self.socket())
    }

    pub async fn containerd_is_ready(&self) -> bool {
        self.cri().faults().await.is_ok_and(|faults| faults.is_empty())
    }

    /// Its running containers.
    pub async fn containers(&self) -> BTreeSet<Seen> {
        let cri = self.cri();
        let mut seen = BTreeSet::new();
        for container in cri.list_containers(&Default::default()).await.unwrap_or_default() {
            if container.state != ContainerState::Running {
                continue;
            }
            let Ok(status) = cri.container_status(&container.id).await else { continue };
            let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
            let (instance, workload) = (label("gantry.io/instance"), label("gantry.io/workload"));
            seen.insert(Seen { id: container.id.clone(), instance, workload, started_at: status.started_at, pid: status.pid.unwrap_or(0) });
        }
        seen
    }

    /// The instances that it has a pod of.
    pub async fn pods(&self) -> Vec<String> {
        let pods = self.cri().list_pods(&Default::default()).await.unwrap_or_default();
        pods.into_iter().filter_map(|p| p.labels.get("gantry.io/instance").cloned()).collect()
    }

    /// Its power fails: everything on it ends at once. The disk stays.
    pub async fn power_off(&mut self, wire: &mut Wire) {
        self.lost.extend(self.pods().await);
        self.end();
        wire.unplug(self.number);
        run("ip", &["netns", "delete", &wire.namespace(self.number)]);
        remove_cgroups(&self.lost);
    }

    fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let _ = Command::new("kill").args(["-9", &running.init.to_string()]).output();
        let _ = running.first.wait();
        // Those inside have ended with the first.
        for mut inside in [running.agent, running.containerd].into_iter().flatten() {
            let _ = inside.outer.wait();
        }
    }

    /// What is left on a node whose applications were deleted.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let init = self.running().init;
        let mounts = fs::read_to_string(format!("/proc/{init}/mounts")).unwrap();
        let folder = self.folder.display().to_string();
        let ours = |m: &&str| m.contains(" /run/containerd/") || m.contains(&format!(" {folder}/"));
        left.extend(mounts.lines().filter(ours).map(|m| format!("mount {m}")));
        let processes = processes_beside(init);
        left.extend(processes.into_iter().filter(|l| l.contains("containerd-shim") || l.starts_with('Z')).map(|l| format!("process {l}")));
        let instances = fs::read_dir(self.folder.join("home/agent/instances")).into_iter().flatten().flatten();
        left.extend(instances.map(|e| format!("folder {}", e.path().display())));
        let links = self.inside("ip", &["-o", "link"]);
        left.extend(links.lines().filter(|l| l.contains("veth")).map(|l| format!("interface {l}")));
        let addresses = self.inside("ip", &["-o", "-4", "address", "show", "dev", "lo"]);
        left.extend(addresses.lines().filter(|l| !l.contains("127.0.0.1/8")).map(|l| format!("address {l}")));
        let rules = self.inside("iptables-save", &[]);
        let pods = format!(" 10.{}.", 60 + self.number);
        left.extend(rules.lines().filter(|l| l.contains(&pods)).map(|l| format!("rule {l}")));
        let networks = fs::read_dir(self.folder.join("ipam")).into_iter().flatten().flatten();
        let leases = networks.flat_map(|n| fs::read_dir(n.path()).into_iter().flatten().flatten()).map(|f| f.file_name().to_string_lossy().into_owned());
        left.extend(leases.filter(|f| f.starts_with("10.")).map(|f| format!("lease {f}")));
        let state = fs::read_dir(format!("/proc/{init}/root/run/containerd")).unwrap().flatten().map(|e| e.path().join("netns"));
        left.extend(state.filter_map(|p| fs::read_dir(p).ok()).flatten().flatten().map(|e| format!("network namespace {}", e.path().display())));
        left.into_iter().map(|what| format!("{}: {what}", self.name)).collect()
    }

    /// The end of what it has said, for a test that fails.
    pub fn tell(&self) {
        for log in ["agent.log", "containerd.log"] {
            let text = fs::read_to_string(self.folder.join(log)).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- {} {log}", self.name);
            for line in lines.iter().skip(lines.len().saturating_sub(25)) {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let Some(running) = &self.running else { return };
        // The test failed. Its namespace has the name of the interface's bridge, which is not known here: it is found by its first process.
        let named = Command::new("ip").args(["netns", "identify", &running.init.to_string()]).output();
        self.end();
        if let Ok(output) = named {
            for namespace in String::from_utf8_lossy(&output.stdout).split_whitespace() {
                let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
            }
        }
    }
}

fn child_of(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// State and command line of all processes in the same namespace of processes.
fn processes_beside(init: u32) -> Vec<String> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(init);
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let state = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(") ")?.1.chars().next();
    pids.filter(|pid| namespace(*pid) == own).filter_map(|pid| Some(format!("{} {}", state(pid)?, command_line(pid)))).collect()
}

fn kill(mut inside: Inside) {
    let _ = Command::new("kill").args(["-9", &inside.pid.to_string()]).output();
    let _ = inside.outer.wait();
}

/// The cgroups of instances, in every hierarchy.
pub fn cgroups(instance: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let roots = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).chain([root.to_owned()]);
    roots.map(|r| r.join("gantry").join(instance)).filter(|p| p.is_dir()).collect()
}

fn remove_cgroups(instances: &BTreeSet<String>) {
    let end = Instant::now() + Duration::from_secs(60);
    for folder in instances.iter().flat_map(|i| cgroups(i)) {
        // Processes that were killed stay in them for a moment.
        while folder.is_dir() && Instant::now() < end {
            remove_tree(&folder);
        }
    }
}

fn remove_tree(folder: &Path) {
    for sub in fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()) {
        remove_tree(&sub);
    }
    if fs::remove_dir(folder).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
}
