//! Every image by a number, with the terms that its push tells (platforms, annotations); scans add theirs (`app/index.rs`).

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::{Projection, apply};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use crate::domain::manifest::{is_image_config, is_index};
use crate::domain::search::{self, Kind};
use crate::store::pushes::{self, Listed};

pub struct Catalogue;

#[async_trait]
impl Projection for Catalogue {
    fn name(&self) -> &'static str {
        "catalogue"
    }

    fn ddl(&self) -> &'static str {
        r#"create table catalogue (
            image bigint primary key, org uuid not null, project uuid not null, repository text collate "C" not null, digest text collate "C" not null,
            kind text not null, unique (repository, digest)
        );
        create index catalogue_project on catalogue (project, image);
        create index catalogue_repository on catalogue (repository, image);
        create index catalogue_digest on catalogue (digest, image)"#
    }

    fn tables(&self) -> &'static [&'static str] {
        &["catalogue"]
    }

    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let mut run = Vec::new();
        for recorded in events.iter().filter(|e| e.is::<Event>()) {
            let event = recorded.decode::<Event>()?;
            if matches!(event, Event::ManifestDeleted { .. }) {
                pushes::list(tx, &std::mem::take(&mut run)).await?;
                apply(self, tx, recorded).await?;
            } else if let Some(one) = listed(recorded.position, event) {
                run.push(one);
            }
        }
        pushes::list(tx, &run).await
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        match recorded.decode::<Event>()? {
            event @ Event::ManifestPushed { .. } => {
                let one = listed(recorded.position, event);
                pushes::list(tx, one.as_slice()).await?;
            }
            Event::ManifestDeleted { repository, digest, .. } => {
                let sql = "with gone as (delete from catalogue where repository = $1 and digest = $2 returning image),
                    chains as (delete from image_chains where image in (select image from gone))
                    delete from image_terms where image in (select image from gone)";
                tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [repository.into(), digest.into()])).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where a pushed image is found. What is about an image is found by that image.
fn listed(position: i64, event: Event) -> Option<Listed> {
    let Event::ManifestPushed { org, project, repository, digest, artifact_type, subject: None, manifests, media_type, platforms, annotations, .. } = event
    else {
        return None;
    };
    let kind = if is_index(&media_type) || !manifests.is_empty() {
        Kind::Index
    } else if artifact_type.as_deref().is_some_and(is_image_config) {
        Kind::Image
    } else {
        Kind::Artifact
    };
    let terms = search::of_push(&platforms, &annotations);
    let (words, details) = terms.into_iter().map(|t| (t.term, t.detail)).unzip();
    Some(Listed { image: position, org: org.0, project: project.0, repository, digest, kind: kind.as_str(), words, details })
}
