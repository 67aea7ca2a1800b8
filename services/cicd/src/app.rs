//! What people and flows can do, one file per family of verbs.

mod refs;
mod repositories;
mod runs;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_es_pg::Store;
use gantry_host::Host;
use gantry_kernel::{Name, Problem, ProjectId};

use crate::adapters::git::Git;
use crate::domain::{RunDecider, SourceDecider};

pub use runs::StartRun;

/// The service's own means; shared by its doors and flows.
pub struct Cicd {
    pub host: Host,
    pub sources: Store<SourceDecider>,
    pub runs: Store<RunDecider>,
    pub git: Git,
    /// Host and port of the registry, as images are named.
    pub registry: String,
    /// Logs below `runs/`, artifacts below `artifacts/`, workspaces below `workspaces/`.
    pub home: PathBuf,
    pub looking: Looking,
}

/// One look at the refs of a repository at a time: an older look that is recorded later would seem to be a push.
#[derive(Default)]
pub struct Looking(Mutex<HashMap<(ProjectId, Name), Lock>>);

type Lock = Arc<tokio::sync::Mutex<()>>;

impl Looking {
    pub fn at(&self, project: ProjectId, name: &Name) -> Lock {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Forget those nobody waits for, so that the map stays as small as the traffic.
        all.retain(|_, lock| Arc::strong_count(lock) > 1);
        all.entry((project, name.clone())).or_default().clone()
    }
}

impl Cicd {
    pub fn stream(project: ProjectId, name: &Name) -> String {
        format!("{project}/{name}")
    }

    /// # Errors
    /// When `text` is no name.
    pub fn name(field: &str, text: &str) -> Result<Name, Problem> {
        Name::parse(text).map_err(|e| Problem::invalid(field, e.to_string()))
    }
}
