//! A push becomes a run: durable work, put down with the projection's checkpoint, done until it succeeds.

use std::sync::Arc;

use async_trait::async_trait;
use gantry_es_pg::{TodoHandler, TodoItem};
use gantry_kernel::{Name, ProjectId, RunId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::app::{Cicd, StartRun};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pushed {
    pub project: ProjectId,
    pub repository: Name,
    pub reference: String,
    pub commit: String,
    pub actor: String,
}

pub struct PushedTodo {
    pub cicd: Arc<Cicd>,
}

impl PushedTodo {
    pub const NAME: &str = "run-for-push";
}

#[async_trait]
impl TodoHandler for PushedTodo {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let pushed: Pushed = serde_json::from_value(item.payload)?;
        let start = StartRun {
            run: run_for(&item.key),
            project: pushed.project,
            repository: pushed.repository,
            reference: pushed.reference,
            commit: pushed.commit,
            trigger: "push",
            subject: pushed.actor,
        };
        self.cicd.run_for_push(start).await
    }
}

/// The same push always makes the same run, however often the work is repeated.
fn run_for(key: &str) -> RunId {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    RunId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::run_for;

    #[test]
    fn the_same_push_makes_the_same_run() {
        assert_eq!(run_for("source-a@3"), run_for("source-a@3"));
        assert_ne!(run_for("source-a@3"), run_for("source-a@4"));
    }
}
