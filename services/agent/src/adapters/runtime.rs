//! The container runtime seen through the planner's words.

use std::collections::BTreeMap;

use gantry_cri::{ContainerState as Seen, Cri, CriError};

use crate::domain::actual::{Container, ContainerState, Pod};
use crate::domain::spec::label;

const NANOS_PER_MS: i64 = 1_000_000;

/// Pods and containers of this node's agent, and nobody else's.
pub struct Runtime {
    pub cri: Cri,
    pub node: String,
    /// Ends do not change; asking for each of them in every round would.
    ended: BTreeMap<String, ContainerState>,
}

impl Runtime {
    pub fn new(cri: Cri, node: String) -> Self {
        Self { cri, node, ended: BTreeMap::new() }
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
        let mut seen = Vec::with_capacity(pods.len());
        for pod in pods {
            let Some(instance) = pod.labels.get(label::INSTANCE).and_then(|id| id.parse().ok()) else { continue };
            let container = match newest.remove(&pod.id) {
                Some(container) => self.container(container).await?,
                None => None,
            };
            let mut beside = BTreeMap::new();
            let names: Vec<String> = others.keys().filter(|(of, _)| *of == pod.id).map(|(_, name)| name.clone()).collect();
            for name in names {
                if let Some(found) = others.remove(&(pod.id.clone(), name.clone()))
                    && let Some(container) = self.container(found).await?
                {
                    beside.insert(name, container);
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

    async fn container(&mut self, found: gantry_cri::Container) -> Result<Option<Container>, CriError> {
        let state = match found.state {
            Seen::Created => ContainerState::Created,
            Seen::Running => ContainerState::Running,
            Seen::Exited | Seen::Unknown => match self.ended.get(&found.id) {
                Some(known) => known.clone(),
                None => match self.cri.container_status(&found.id).await {
                    Ok(status) => {
                        let state = ContainerState::Exited {
                            code: status.exit_code,
                            reason: status.reason,
                            ran_ms: if status.started_at > 0 { (status.finished_at - status.started_at) / NANOS_PER_MS } else { 0 },
                            at_ms: status.finished_at / NANOS_PER_MS,
                        };
                        self.ended.insert(found.id.clone(), state.clone());
                        state
                    }
                    Err(error) if error.is_not_found() => return Ok(None),
                    Err(error) => return Err(error),
                },
            },
        };
        Ok(Some(Container { id: found.id, attempt: found.attempt, state }))
    }
}
