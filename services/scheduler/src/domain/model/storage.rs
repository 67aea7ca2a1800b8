//! What instances keep and read: volumes, mounts, files, configs, secrets, devices.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::is_default;

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// 0: not said.
    #[serde(skip_serializing_if = "is_default")]
    pub size_bytes: u64,
    /// The storage class; the platform's default if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub class: String,
    /// ReadWriteOnce | ReadOnlyMany | ReadWriteMany | ReadWriteOncePod
    #[serde(skip_serializing_if = "is_default")]
    pub access: BTreeSet<String>,
    /// `local` if empty.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    #[serde(skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
    /// It exists already, under this name, and belongs to nobody here.
    #[serde(skip_serializing_if = "is_default")]
    pub external: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}

impl Volume {
    /// `server:/path` and whether it is only read, of one that is a folder of an NFS server: `type: nfs`, `device: :/path` and
    /// `o: addr=server,ro`, as Compose files say it of the driver `local`.
    pub fn nfs(&self) -> Option<(String, bool)> {
        let option = |name: &str| self.options.get(name).map_or("", String::as_str);
        if !matches!(self.driver.as_str(), "" | "local") || !matches!(option("type"), "nfs" | "nfs4") {
            return None;
        }
        let mut said = option("o").split(',').map(str::trim);
        let (server, path) = option("device").split_once(":/")?;
        let server = if server.is_empty() { said.clone().find_map(|o| o.strip_prefix("addr="))? } else { server };
        Some((format!("{server}:/{path}"), said.any(|o| o == "ro")))
    }
}

/// Volumes were a set of names in the first revisions.
pub fn volumes<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Volume>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Names(BTreeSet<String>),
        Volumes(BTreeMap<String, Volume>),
    }
    Ok(match Either::deserialize(from)? {
        Either::Names(names) => names.into_iter().map(|n| (n, Volume::default())).collect(),
        Either::Volumes(volumes) => volumes,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A named volume; without a name one of the instance's own.
    Volume,
    Tmpfs,
    /// A path of the host.
    Bind,
    /// Empty at the start and gone with the instance; containers of one instance share it by name.
    Scratch,
    /// `server:/path`
    Nfs,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    pub kind: MountKind,
    /// The volume's name or the host's path; empty for tmpfs and for an unnamed volume.
    #[serde(default)]
    pub source: String,
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub size_bytes: u64,
    /// A folder inside of the source.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sub_path: String,
    /// `private`, `rslave`, `rshared`, ...
    #[serde(default, skip_serializing_if = "is_default")]
    pub propagation: String,
}

impl Mount {
    pub fn new(kind: MountKind, source: impl Into<String>, target: impl Into<String>) -> Self {
        Self { kind, source: source.into(), target: target.into(), read_only: false, size_bytes: 0, sub_path: String::new(), propagation: String::new() }
    }

    /// Who sees what is mounted below it: `slave`: the container what the node mounts; `shared`: also the node what the container mounts;
    /// nobody if empty. The words are those of Compose and of Kubernetes.
    pub fn seen_below(&self) -> &'static str {
        match self.propagation.as_str() {
            "slave" | "rslave" | "HostToContainer" => "slave",
            "shared" | "rshared" | "Bidirectional" => "shared",
            _ => "",
        }
    }
}

/// A config or secret mounted as a file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub path: String,
    /// Filled from `source` if that is given.
    pub content: String,
    pub mode: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub secret: bool,
    /// The content is base64 of bytes that are no text.
    #[serde(skip_serializing_if = "is_default")]
    pub base64: bool,
    /// `<config>/<key>` of the application's configs.
    #[serde(skip_serializing_if = "is_default")]
    pub source: String,
    #[serde(skip_serializing_if = "is_default")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub gid: Option<u32>,
    /// The folder above it that holds nothing but files such as this: shown to the container as a whole, so that all of them
    /// change at one moment.
    #[serde(skip_serializing_if = "is_default")]
    pub folder: String,
    /// One of all keys of its config, each under its own name beside this: those that a new version adds come to it.
    #[serde(skip_serializing_if = "is_default")]
    pub all_keys: bool,
    /// It follows a config of the space while the instance runs. Known when contents are filled in, never stored.
    #[serde(skip)]
    pub live: bool,
    /// Its key was added by a version after the deployment. As `live`, never stored.
    #[serde(skip)]
    pub added: bool,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} bytes, {:o}, {})", self.path, self.content.len(), self.mode, self.source)
    }
}

/// Named texts that workloads read as variables or files.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    #[serde(skip_serializing_if = "is_default")]
    pub secret: bool,
    pub entries: BTreeMap<String, String>,
    /// Entries that are no text, as base64.
    #[serde(skip_serializing_if = "is_default")]
    pub binary: BTreeMap<String, String>,
    /// A secret's type, such as `kubernetes.io/tls`.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "is_default")]
    pub immutable: bool,
    /// It is the space's, under this name; `entries` then only names its keys.
    #[serde(skip_serializing_if = "is_default")]
    pub external: Option<String>,
    /// Of the space's: always this version; the newest at each deployment if not said.
    #[serde(skip_serializing_if = "is_default")]
    pub version: Option<u32>,
    /// Which version this revision uses, once resolved.
    #[serde(skip_serializing_if = "is_default")]
    pub pinned: Option<Pin>,
}

/// A version of a config of the space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pub config: gantry_kernel::Uuid,
    pub version: u32,
    /// Equal contents of one config have equal ones; it tells nothing else of them.
    pub fingerprint: String,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Config({:?})", self.entries.keys().chain(self.binary.keys()).collect::<Vec<_>>())
    }
}

impl Config {
    /// Content, and whether it is base64.
    pub fn get(&self, key: &str) -> Option<(&str, bool)> {
        let text = self.entries.get(key).map(|t| (t.as_str(), false));
        text.or_else(|| self.binary.get(key).map(|t| (t.as_str(), true)))
    }
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    pub source: String,
    pub target: String,
    /// Some of `rwm`.
    pub permissions: String,
}
