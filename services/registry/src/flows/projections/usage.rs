//! How much each project keeps, kept up to date with every push and delete instead of being counted when asked.

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::DatabaseTransaction;

use crate::store::usage;

pub struct Usage;

#[async_trait]
impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn ddl(&self) -> &'static str {
        r#"create table project_manifests (
            repository text collate "C" not null, digest text not null, project uuid not null, content text[] not null, sizes bigint[] not null,
            primary key (repository, digest)
        );
        create table project_content (
            project uuid not null, digest text not null, size_bytes bigint not null, uses bigint not null, primary key (project, digest)
        );
        create index project_content_unused on project_content (uses) where uses <= 0;
        create table project_usage (project uuid primary key, unique_bytes bigint not null, image_bytes bigint not null, images bigint not null)"#
    }

    fn tables(&self) -> &'static [&'static str] {
        &["project_manifests", "project_content", "project_usage"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        match recorded.decode::<Event>()? {
            Event::ManifestPushed { project, repository, digest, size_bytes, blobs, .. } => {
                let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
                let mut content: Vec<(String, i64)> = blobs.into_iter().map(|b| (b.digest, signed(b.size_bytes))).collect();
                content.push((digest.clone(), signed(size_bytes)));
                content.sort();
                content.dedup_by(|a, b| a.0 == b.0);
                usage::add(tx, project.0, &repository, &digest, &content).await?;
            }
            Event::ManifestDeleted { repository, digest, .. } => usage::take(tx, &repository, &digest).await?,
            _ => {}
        }
        Ok(())
    }
}
