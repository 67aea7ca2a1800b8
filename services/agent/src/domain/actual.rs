//! What the runtime has now, in the planner's words.

use gantry_kernel::InstanceId;

/// A pod of ours. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub id: String,
    pub instance: InstanceId,
    pub attempt: u32,
    /// Its sandbox runs.
    pub ready: bool,
    /// [`crate::domain::spec::fingerprint`] of what it was made from.
    pub spec: String,
    pub grace_seconds: u32,
    /// The newest container; older ones only wait to be removed.
    pub container: Option<Container>,
    /// The newest of each further one, by name.
    pub beside: std::collections::BTreeMap<String, Container>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub attempt: u32,
    pub state: ContainerState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Exited { code: i32, reason: String, ran_ms: i64, at_ms: i64 },
}

impl Pod {
    pub fn running(&self) -> bool {
        self.ready && self.container.as_ref().is_some_and(|c| c.state == ContainerState::Running)
    }

    /// A further container, if it runs.
    pub fn runs_beside(&self, name: &str) -> Option<&Container> {
        self.beside.get(name).filter(|c| self.ready && c.state == ContainerState::Running)
    }

    /// Ids of all its containers that run, the main one first.
    pub fn running_ids(&self) -> impl Iterator<Item = &str> {
        let ready = self.ready;
        let all = self.container.iter().chain(self.beside.values());
        all.filter(move |c| ready && c.state == ContainerState::Running).map(|c| c.id.as_str())
    }

    /// Which start comes after everything seen in this pod.
    pub fn next_attempt(&self) -> u32 {
        self.container.as_ref().map_or(self.attempt, |c| c.attempt.max(self.attempt) + 1)
    }
}
