//! `[cicd]` of the configuration file.

use std::path::PathBuf;

use gantry_host::Section;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CicdConfig {
    /// Bare repositories; empty: `<platform.home>/git`.
    pub git_dir: PathBuf,
    /// Logs, artifacts, workspaces; empty: `<platform.home>/cicd`.
    pub work_dir: PathBuf,
    /// The build store; empty: `<platform.home>/buildah`.
    pub build_dir: PathBuf,
    /// overlay, or vfs where the file system cannot do that (slow, large).
    pub storage_driver: String,
    /// Host and port of the registry; empty: those of `platform.public_url`.
    pub registry: String,
    /// Runs at once on the platform, and in one project.
    pub max_runs: usize,
    pub max_runs_per_project: usize,
    /// Fetches and pushes at once; more are told to come back.
    pub max_git_processes: usize,
    /// Largest pack one push may send.
    pub max_push_bytes: u64,
}

impl Default for CicdConfig {
    fn default() -> Self {
        Self {
            git_dir: PathBuf::new(),
            work_dir: PathBuf::new(),
            build_dir: PathBuf::new(),
            storage_driver: "overlay".into(),
            registry: String::new(),
            max_runs: 4,
            max_runs_per_project: 2,
            max_git_processes: 32,
            max_push_bytes: 2 << 30,
        }
    }
}

impl Section for CicdConfig {
    fn validate(&self, faults: &mut Vec<String>) {
        if !matches!(self.storage_driver.as_str(), "overlay" | "vfs") {
            faults.push(format!("storage_driver = {:?}: must be overlay or vfs", self.storage_driver));
        }
        for (name, value) in [("max_runs", self.max_runs), ("max_runs_per_project", self.max_runs_per_project), ("max_git_processes", self.max_git_processes)] {
            if !(1..=1000).contains(&value) {
                faults.push(format!("{name} = {value}: must be 1 to 1000"));
            }
        }
        if self.max_push_bytes < 1 << 20 {
            faults.push(format!("max_push_bytes = {}: must be at least 1048576", self.max_push_bytes));
        }
    }
}
