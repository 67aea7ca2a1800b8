//! What this machine is.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use gantry_contract::proto::scheduler::NodeFacts;
use gantry_cri::Cri;

/// A node whose runtime hangs says hello all the same, before it is taken for lost.
const TOLD_WITHIN: Duration = Duration::from_secs(8);

/// What the container runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Name and version.
    pub runtime: String,
    pub classes: Vec<String>,
}

/// Nothing if it does not answer: it hangs, or has not started yet.
pub async fn engine(cri: &Cri) -> Option<Engine> {
    let asked = async {
        let version = cri.version().await.ok()?;
        Some(Engine { runtime: format!("{} {}", version.runtime, version.version), classes: runtime_classes(cri).await })
    };
    tokio::time::timeout(TOLD_WITHIN, asked).await.ok().flatten()
}

/// Asks the kernel, the firmware's tables and the runtime. What cannot be found out is empty or zero.
pub async fn gather(cri: &Cri, home: &Path, zone: &str, labels: &std::collections::BTreeMap<String, String>) -> NodeFacts {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let engine = engine(cri).await.unwrap_or_else(|| Engine { runtime: String::new(), classes: of_this_machine() });
    NodeFacts {
        architecture: oci_architecture(std::env::consts::ARCH).to_owned(),
        os: os_name(&read("/etc/os-release")),
        kernel: read("/proc/sys/kernel/osrelease"),
        virtual_machine: is_virtual(&read("/proc/cpuinfo"), &read("/sys/class/dmi/id/sys_vendor"), &read("/sys/class/dmi/id/product_name")),
        cpu_millis: cpus as u64 * 1000,
        memory_bytes: memory_total(&read("/proc/meminfo")),
        storage_bytes: storage(home).await.map_or(0, |(total, _)| total),
        runtime: engine.runtime,
        runtime_classes: engine.classes,
        zone: zone.to_owned(),
        labels: labels.clone().into_iter().collect::<HashMap<_, _>>(),
        ..NodeFacts::default()
    }
}

/// What the runtime is configured for, as far as the programs are there. Of one that does not tell, the OCI runtimes of this machine.
async fn runtime_classes(cri: &Cri) -> Vec<String> {
    let handlers = cri.handlers().await.unwrap_or_default();
    if handlers.is_empty() {
        return of_this_machine();
    }
    handlers.into_iter().filter(|h| h.program.as_deref().is_none_or(installed)).map(|h| h.name).collect()
}

fn of_this_machine() -> Vec<String> {
    ["runc", "crun", "kata", "youki"].into_iter().filter(|c| installed(Path::new(c))).map(str::to_owned).collect()
}

/// `program`: a path, or a name to be found where programs are.
fn installed(program: &Path) -> bool {
    // Joined to an absolute path, a folder is left out.
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

/// `PRETTY_NAME` of os-release.
fn os_name(release: &str) -> String {
    let line = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The processor says so (every hypervisor sets the flag), or the firmware bears a hypervisor's name.
fn is_virtual(cpuinfo: &str, vendor: &str, product: &str) -> bool {
    let flagged = cpuinfo.lines().any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    let names = ["KVM", "QEMU", "VMware", "VirtualBox", "Xen", "Bochs", "Parallels", "Amazon EC2", "Google Compute Engine", "OpenStack", "Virtual Machine"];
    flagged || names.iter().any(|name| vendor.contains(name) || product.contains(name))
}

/// Bytes of `MemTotal`.
fn memory_total(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Total and free bytes of the file system that holds `path`.
pub async fn storage(path: &Path) -> Option<(u64, u64)> {
    let path = path.to_owned();
    let seen = super::processes::blocking(move || rustix::fs::statvfs(&path)).await.ok()?;
    Some((seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize))
}

/// The name that images use (OCI image index: Go's), so that the two can be compared.
fn oci_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_machine_is_known_by_its_processor_or_its_firmware() {
        gantry_testkit::clause("6.1.1.a");
        gantry_testkit::clause("6.1.1.b");
        assert!(is_virtual("flags\t\t: fpu hypervisor lm\n", "", ""));
        assert!(is_virtual("flags : fpu", "QEMU", "Standard PC"));
        assert!(!is_virtual("flags : fpu lm", "Dell Inc.", "PowerEdge R640"));
    }

    #[tokio::test]
    async fn a_runtime_that_is_not_there_yet_is_asked_about_later() {
        let folder = tempfile::tempdir().unwrap();
        let cri = Cri::lazy(folder.path().join("sock"));
        assert_eq!(engine(&cri).await, None);
        let told = gather(&cri, folder.path(), "z1", &Default::default()).await;
        assert!(told.runtime.is_empty() && told.cpu_millis > 0, "what is known without it is told");
    }

    #[test]
    fn the_memory_and_the_name_of_the_system_are_read() {
        assert_eq!(memory_total("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2 << 20);
        assert_eq!(os_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"), "Debian GNU/Linux 12 (bookworm)");
    }
}
