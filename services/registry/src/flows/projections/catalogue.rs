//! Every image by a number, with the terms that its push tells (platforms, annotations); scans add theirs (`app/index.rs`).

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};

use crate::domain::manifest::is_image_config;
use crate::domain::search::{self, Kind};

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

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            return Ok(());
        }
        match recorded.decode::<Event>()? {
            // What is about an image is found by that image.
            Event::ManifestPushed { org, project, repository, digest, artifact_type, subject: None, manifests, media_type, platforms, annotations, .. } => {
                let kind = if crate::domain::manifest::is_index(&media_type) || !manifests.is_empty() {
                    Kind::Index
                } else if artifact_type.as_deref().is_some_and(is_image_config) {
                    Kind::Image
                } else {
                    Kind::Artifact
                };
                let terms = search::of_push(&platforms, &annotations);
                let (words, details): (Vec<String>, Vec<String>) = terms.into_iter().map(|t| (t.term, t.detail)).unzip();
                let sql = "with listed as (
                        insert into catalogue (image, org, project, repository, digest, kind) values ($1, $2, $3, $4, $5, $6) on conflict do nothing)
                    insert into image_terms (term, project, image, detail, source)
                    select t, $3, $1, d, 0 from unnest($7::text[], $8::text[]) x(t, d) on conflict do nothing";
                let values = [
                    recorded.position.into(),
                    org.0.into(),
                    project.0.into(),
                    repository.into(),
                    digest.into(),
                    kind.as_str().into(),
                    words.into(),
                    details.into(),
                ];
                tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
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
