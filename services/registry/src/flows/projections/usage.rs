//! How much each project and each repository keeps, kept up to date with every push and delete instead of being counted when asked.

use std::collections::BTreeMap;

use async_trait::async_trait;
use gantry_contract::registry::{BlobRef, RepositoryEvent as Event};
use gantry_es::Recorded;
use gantry_es_pg::{Projection, apply};
use sea_orm::DatabaseTransaction;

use crate::store::pushes::{self, Kept};
use crate::store::usage;

pub struct Usage;

#[async_trait]
impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn version(&self) -> i32 {
        2
    }

    fn ddl(&self) -> &'static str {
        r#"create table project_manifests (
            repository text collate "C" not null, digest text not null, project uuid not null, content text[] not null, sizes bigint[] not null,
            image boolean not null, primary key (repository, digest)
        );
        create table project_content (
            project uuid not null, digest text not null, size_bytes bigint not null, uses bigint not null, primary key (project, digest)
        );
        create index project_content_unused on project_content (uses) where uses <= 0;
        create table project_usage (project uuid primary key, unique_bytes bigint not null, image_bytes bigint not null, images bigint not null);
        create table repository_content (
            repository text collate "C" not null, digest text not null, size_bytes bigint not null, uses bigint not null, primary key (repository, digest)
        );
        create index repository_content_unused on repository_content (repository) where uses <= 0;
        create table repository_usage (
            repository text collate "C" primary key, org uuid not null, project uuid not null, bytes bigint not null, images bigint not null,
            manifests bigint not null, tags bigint not null
        )"#
    }

    fn tables(&self) -> &'static [&'static str] {
        &["project_manifests", "project_content", "project_usage", "repository_content", "repository_usage"]
    }

    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let mut run = Run::default();
        for recorded in events.iter().filter(|e| e.is::<Event>()) {
            match recorded.decode::<Event>()? {
                Event::ManifestPushed { org, project, repository, digest, size_bytes, blobs, subject, .. } => {
                    let (content, sizes) = content(blobs, &digest, size_bytes).into_iter().unzip();
                    let (position, image) = (recorded.position, subject.is_none());
                    run.kept.push(Kept { position, org: org.0, project: project.0, repository, digest, content, sizes, image });
                }
                Event::TagMoved { repository, from: None, .. } => *run.tags.entry(repository).or_default() += 1,
                Event::TagDeleted { repository, .. } => *run.tags.entry(repository).or_default() -= 1,
                Event::ManifestDeleted { .. } => {
                    run.write(tx).await?;
                    apply(self, tx, recorded).await?;
                }
                Event::TagMoved { .. } | Event::Scanned { .. } => {}
            }
        }
        run.write(tx).await
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        match recorded.decode::<Event>()? {
            Event::ManifestPushed { org, project, repository, digest, size_bytes, blobs, subject, .. } => {
                let content = content(blobs, &digest, size_bytes);
                let manifest = usage::Manifest { org: org.0, project: project.0, repository: &repository, digest: &digest, image: subject.is_none() };
                usage::add(tx, &manifest, &content).await?;
            }
            Event::TagMoved { repository, from: None, .. } => usage::count_tags(tx, &repository, 1).await?,
            Event::TagDeleted { repository, .. } => usage::count_tags(tx, &repository, -1).await?,
            Event::ManifestDeleted { repository, digest, .. } => usage::take(tx, &repository, &digest).await?,
            _ => {}
        }
        Ok(())
    }
}

/// What pushes and tags in a row add.
#[derive(Default)]
struct Run {
    kept: Vec<Kept>,
    tags: BTreeMap<String, i64>,
}

impl Run {
    async fn write(&mut self, tx: &DatabaseTransaction) -> anyhow::Result<()> {
        let Self { kept, tags } = std::mem::take(self);
        // In this order: a repository is counted from its first manifest on.
        pushes::count(tx, &kept).await?;
        pushes::count_tags(tx, &tags).await
    }
}

/// Each blob of a manifest and the manifest itself, once, with the sizes.
fn content(blobs: Vec<BlobRef>, digest: &str, size_bytes: u64) -> Vec<(String, i64)> {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut content: Vec<(String, i64)> = blobs.into_iter().map(|b| (b.digest, signed(b.size_bytes))).collect();
    content.push((digest.to_owned(), signed(size_bytes)));
    content.sort();
    content.dedup_by(|a, b| a.0 == b.0);
    content
}
