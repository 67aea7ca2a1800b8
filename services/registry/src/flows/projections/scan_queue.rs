//! Puts every pushed image on the list of images to scan, in the transaction that moves the checkpoint: none is forgotten.

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::{Projection, Todo, TodoNew};
use sea_orm::DatabaseTransaction;

use crate::domain::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use crate::flows::scan::Job;

pub use crate::app::scan::SCAN as TODO;

pub struct ScanQueue;

#[async_trait]
impl Projection for ScanQueue {
    fn name(&self) -> &'static str {
        "scan-queue"
    }

    fn ddl(&self) -> &'static str {
        "select 1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &[]
    }

    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let mut jobs = Vec::new();
        for recorded in events {
            if let Some(job) = job(recorded)? {
                let trace = recorded.meta.trace.as_deref().and_then(|t| t.parse().ok());
                jobs.push(TodoNew { key: job.key(), payload: serde_json::to_value(&job)?, trace });
            }
        }
        Ok(Todo::enqueue_all(tx, TODO, jobs).await?)
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if let Some(job) = job(recorded)? {
            Todo::enqueue(tx, TODO, &job.key(), &serde_json::to_value(&job)?).await?;
        }
        Ok(())
    }
}

/// What an event makes necessary.
fn job(recorded: &Recorded) -> anyhow::Result<Option<Job>> {
    if !recorded.is::<Event>() {
        return Ok(None);
    }
    Ok(match recorded.decode::<Event>()? {
        Event::ManifestPushed { org, project, repository, digest, media_type, .. } if matches!(media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST) => {
            Some(Job { org, project, repository, digest })
        }
        _ => None,
    })
}
