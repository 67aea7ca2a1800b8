//! One container beside a workload's main one: run before it (`init`) or along with it (`sidecars`).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Device, EnvFact, File, Hooks, Mount, Probe, Resources, Workload, is_default};

/// The same words as [`Workload`] has for its main container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Container {
    pub name: String,
    pub image: String,
    #[serde(skip_serializing_if = "is_default")]
    pub pinned: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub env_sources: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub env_facts: BTreeMap<String, EnvFact>,
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "is_default")]
    pub user: String,
    #[serde(skip_serializing_if = "is_default")]
    pub requests: Resources,
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Resources,
    #[serde(skip_serializing_if = "is_default")]
    pub extended: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
    #[serde(skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "is_default")]
    pub files: Vec<File>,
    #[serde(skip_serializing_if = "is_default")]
    pub probes: Vec<Probe>,
    #[serde(skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    #[serde(skip_serializing_if = "is_default")]
    pub ports: BTreeSet<u16>,
    #[serde(skip_serializing_if = "is_default")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub read_only_root: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub no_new_privileges: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub run_as_non_root: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub seccomp: String,
    #[serde(skip_serializing_if = "is_default")]
    pub apparmor: String,
    #[serde(skip_serializing_if = "is_default")]
    pub selinux: String,
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub stdin: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub pull: String,
    /// Of an `init` container: goes on running beside the main one.
    #[serde(skip_serializing_if = "is_default")]
    pub keeps_running: bool,
}

/// Moves all fields that both have; what is listed here is all that makes a workload's main container.
macro_rules! moved {
    ($from:ident => $into:ident) => { moved!($from => $into: image pinned command args env env_sources env_facts working_dir user requests limits extended devices mounts files probes hooks ports stop_signal privileged read_only_root no_new_privileges run_as_non_root cap_add cap_drop seccomp apparmor selinux tty stdin pull) };
    ($from:ident => $into:ident: $($field:ident)*) => { $( $into.$field = $from.$field; )* };
}

impl Workload {
    /// Makes `main` the workload's main container.
    pub fn adopt(&mut self, main: Container) {
        let into = self;
        moved!(main => into);
    }

    /// The main container as one of several; the name is given by the caller.
    pub fn main(&self, name: &str) -> Container {
        let from = self.clone();
        let mut out = Container { name: name.to_owned(), ..Container::default() };
        moved!(from => out);
        out
    }

    pub fn others(&self) -> impl Iterator<Item = &Container> {
        self.init.iter().chain(&self.sidecars)
    }

    pub fn others_mut(&mut self) -> impl Iterator<Item = &mut Container> {
        self.init.iter_mut().chain(&mut self.sidecars)
    }
}
