//! Puts every pushed image on the list of images to scan, in the transaction that moves the checkpoint: none is forgotten.

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::{Projection, Todo};
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

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        if let Event::ManifestPushed { org, project, repository, digest, media_type, .. } = recorded.decode::<Event>()?
            && matches!(media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
        {
            let job = Job { org, project, repository, digest };
            Todo::enqueue(tx, TODO, &job.key(), &serde_json::to_value(&job)?).await?;
        }
        Ok(())
    }
}
