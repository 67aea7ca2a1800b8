//! The container runtime seen through the planner's words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_cri::{ContainerState as Seen, ContainerStatus, Cri, CriError};
use gantry_kernel::InstanceId;
use tokio::time::Instant;

use super::asking::Asking;
use crate::domain::actual::{Container, ContainerState, Pod};
use crate::domain::spec::label;

const NANOS_PER_MS: i64 = 1_000_000;
/// How long it is waited for what the runtime knows of a single pod or container: one that it cannot tell about must not hold up all others.
pub const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// One that the runtime could not tell about is not asked for again before.
const SILENT: Duration = Duration::from_secs(30);

/// Pods and containers of this node's agent, and nobody else's.
pub struct Runtime {
    pub cri: Cri,
    pub node: String,
    /// Ends do not change; asking for each of them in every round would.
    ended: BTreeMap<String, ContainerState>,
    /// How containers have ended that the runtime was asked about.
    asking: Asking<ContainerStatus>,
    /// Containers that have ended, nobody knows how: the runtime could not tell, and when that was.
    silent: BTreeMap<String, Instant>,
    /// Instances with one of them, by the last look: nothing can be decided about them.
    pub unsure: BTreeSet<InstanceId>,
}

impl Runtime {
    pub fn new(cri: Cri, node: String) -> Self {
        let asking = Asking::new(TOLD_WITHIN);
        Self { cri, node, ended: BTreeMap::new(), asking, silent: BTreeMap::new(), unsure: BTreeSet::new() }
    }

    /// Labels that choose our own.
    pub fn own(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(label::NODE.to_owned(), self.node.clone())])
    }

    /// Everything of ours that the runtime has now.
    ///
    /// # Errors
    /// When the runtime does not answer.
    pub async fn observe(&mut self) -> Result<Vec<Pod>, CriError> {
        let own = self.own();
        let (pods, containers) = tokio::try_join!(self.cri.list_pods(&own), self.cri.list_containers(&own))?;
        let mut newest: BTreeMap<String, gantry_cri::Container> = BTreeMap::new();
        let mut others: BTreeMap<(String, String), gantry_cri::Container> = BTreeMap::new();
        for container in containers {
            // Oldest first, so the newest stays.
            match container.labels.get(label::BESIDE).cloned() {
                None => drop(newest.insert(container.pod.clone(), container)),
                Some(name) => drop(others.insert((container.pod.clone(), name), container)),
            }
        }
        let ended = newest.values().chain(others.values()).filter(|c| matches!(c.state, Seen::Exited | Seen::Unknown));
        let gone = self.learn(&ended.map(|c| c.id.clone()).collect::<Vec<_>>()).await?;
        self.unsure.clear();
        let mut seen = Vec::with_capacity(pods.len());
        for pod in pods {
            let Some(instance) = pod.labels.get(label::INSTANCE).and_then(|id| id.parse().ok()) else { continue };
            let container = newest.remove(&pod.id).filter(|c| !gone.contains(&c.id)).map(|found| self.container(instance, found));
            let mut beside = BTreeMap::new();
            let names: Vec<String> = others.keys().filter(|(of, _)| *of == pod.id).map(|(_, name)| name.clone()).collect();
            for name in names {
                if let Some(found) = others.remove(&(pod.id.clone(), name.clone())).filter(|c| !gone.contains(&c.id)) {
                    beside.insert(name, self.container(instance, found));
                }
            }
            let text = |name: &str| pod.labels.get(name).cloned().unwrap_or_default();
            seen.push(Pod {
                instance,
                attempt: pod.attempt,
                ready: pod.ready,
                spec: text(label::SPEC),
                grace_seconds: text(label::GRACE).parse().unwrap_or(10),
                container,
                beside,
                id: pod.id,
            });
        }
        self.ended.retain(|id, _| seen.iter().any(|p| p.container.iter().chain(p.beside.values()).any(|c| c.id == *id)));
        Ok(seen)
    }

    /// Asks how containers ended of which that is not known yet; gives those that are not there any more.
    async fn learn(&mut self, ended: &[String]) -> Result<BTreeSet<String>, CriError> {
        self.silent.retain(|id, at| at.elapsed() < SILENT && ended.contains(id));
        let asked: Vec<String> = ended.iter().filter(|id| !self.ended.contains_key(*id) && !self.silent.contains_key(*id)).cloned().collect();
        let cri = self.cri.clone();
        let call = move |id: String| {
            let cri = cri.clone();
            async move { cri.container_status(&id).await }
        };
        let answers = self.asking.ask(&asked, call).await;
        let mut gone = BTreeSet::new();
        let mut away = None;
        for (id, answer) in answers {
            match answer {
                Ok(status) => drop(self.ended.insert(id, end(status))),
                Err(error) if error.is_not_found() => drop(gone.insert(id)),
                Err(error) if error.is_unavailable() => away = Some(error),
                Err(error) => self.note_silent(id, &error),
            }
        }
        away.map_or(Ok(gone), Err)
    }

    fn note_silent(&mut self, container: String, error: &CriError) {
        tracing::warn!(container, %error, "the runtime does not say how a container has ended; its instance waits, the others do not");
        self.silent.insert(container, Instant::now());
    }

    fn container(&mut self, instance: InstanceId, found: gantry_cri::Container) -> Container {
        let state = match found.state {
            Seen::Created => ContainerState::Created,
            Seen::Running => ContainerState::Running,
            Seen::Exited | Seen::Unknown => match self.ended.get(&found.id) {
                Some(known) => known.clone(),
                None => {
                    // It does not run, and more is not known.
                    self.unsure.insert(instance);
                    ContainerState::Created
                }
            },
        };
        Container { id: found.id, attempt: found.attempt, state }
    }
}

fn end(status: ContainerStatus) -> ContainerState {
    ContainerState::Exited {
        code: status.exit_code,
        reason: status.reason,
        ran_ms: if status.started_at > 0 { (status.finished_at - status.started_at) / NANOS_PER_MS } else { 0 },
        at_ms: status.finished_at / NANOS_PER_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_container_that_the_runtime_does_not_tell_about_is_not_waited_for_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        // Connections come in, and nobody answers.
        let socket = folder.path().join("sock");
        let _deaf = tokio::net::UnixListener::bind(&socket).unwrap();
        let mut runtime = Runtime::new(Cri::lazy(socket), "n1".into());
        runtime.asking = Asking::new(Duration::from_millis(50));
        let ids = ["a".to_owned(), "b".to_owned()];
        let learned = tokio::time::timeout(Duration::from_secs(30), runtime.learn(&ids)).await.expect("it ends");
        assert!(learned.unwrap().is_empty(), "they may be there");
        assert!(ids.iter().all(|id| runtime.asking.waits_for(id)), "their answers count when they come");
        tokio::time::timeout(Duration::from_secs(30), runtime.learn(&ids)).await.expect("nobody is asked").unwrap();
        let found = |id: &str, state| gantry_cri::Container {
            id: id.into(),
            pod: "p".into(),
            name: String::new(),
            attempt: 2,
            state,
            image_ref: String::new(),
            created_at: 0,
            labels: Default::default(),
        };
        let instance = |n| InstanceId(gantry_kernel::Uuid::from_u128(n));
        assert_eq!(runtime.container(instance(1), found("a", Seen::Exited)).state, ContainerState::Created, "it does not run");
        assert_eq!(runtime.container(instance(2), found("c", Seen::Running)).state, ContainerState::Running);
        assert_eq!(runtime.unsure, BTreeSet::from([instance(1)]));
    }
}
