//! Repositories, manifests, tags, and which blobs manifests need.

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::Projection;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use serde_json::json;

use crate::app::cache::ManifestCache;
use crate::store::entities::{blobs, manifest_blobs, manifests, repositories, tag_history, tags};

pub struct Images(pub ManifestCache);

#[async_trait]
impl Projection for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn version(&self) -> i32 {
        3
    }

    fn ddl(&self) -> &'static str {
        // Tags and names are paged in the order of their bytes (distribution-spec, "Listing Tags"), hence collate "C".
        r#"create table repositories (
            name text collate "C" primary key, org uuid not null, project uuid not null, created_at timestamptz not null, updated_at timestamptz not null
        );
        create index repositories_project on repositories (project, name);
        create table manifests (
            repository text collate "C" not null, digest text collate "C" not null, media_type text not null, artifact_type text, subject text,
            size_bytes bigint not null, total_bytes bigint not null, platforms json not null, annotations json not null,
            pushed_by text not null, pushed_at timestamptz not null, scan json, primary key (repository, digest)
        );
        create index manifests_subject on manifests (repository, subject, digest) where subject is not null;
        create index manifests_digest on manifests (digest);
        create index manifests_newest on manifests (repository, pushed_at desc) where subject is null;
        create table manifest_blobs (
            repository text collate "C" not null, manifest text not null, blob text not null, size_bytes bigint not null,
            present boolean not null, primary key (repository, manifest, blob)
        );
        create index manifest_blobs_blob on manifest_blobs (blob, repository);
        create index manifest_blobs_missing on manifest_blobs (repository, blob) where not present;
        create table tags (
            repository text collate "C" not null, tag text collate "C" not null, digest text not null, moved_by text not null,
            moved_at timestamptz not null, primary key (repository, tag)
        );
        create index tags_digest on tags (repository, digest);
        create index tags_newest on tags (repository, moved_at desc, tag);
        create table tag_history (
            position bigint primary key, repository text collate "C" not null, tag text collate "C" not null, what text not null, digest text not null,
            previous text, by_whom text not null, at timestamptz not null
        );
        create index tag_history_tag on tag_history (repository, tag, position desc);
        create index tag_history_repository on tag_history (repository, position desc)"#
    }

    fn tables(&self) -> &'static [&'static str] {
        &["repositories", "manifests", "manifest_blobs", "tags", "tag_history"]
    }

    async fn apply(&self, tx: &DatabaseTransaction, recorded: &Recorded) -> anyhow::Result<()> {
        if !recorded.is::<Event>() {
            self.0.applied(recorded.position, None);
            return Ok(());
        }
        let event = recorded.decode::<Event>()?;
        self.0.applied(recorded.position, Some(repository_of(&event)));
        match event {
            event @ Event::ManifestPushed { .. } => pushed(tx, recorded, event).await,
            Event::TagMoved { repository, tag, digest, from, .. } => {
                remember(tx, recorded, (&repository, &tag), "moved", &digest, from).await?;
                let row = tags::ActiveModel {
                    repository: Set(repository.clone()),
                    tag: Set(tag),
                    digest: Set(digest),
                    moved_by: Set(recorded.meta.actor.clone()),
                    moved_at: Set(recorded.at),
                };
                let columns = [tags::Column::Digest, tags::Column::MovedBy, tags::Column::MovedAt];
                let conflict = OnConflict::columns([tags::Column::Repository, tags::Column::Tag]).update_columns(columns).to_owned();
                tags::Entity::insert(row).on_conflict(conflict).exec_without_returning(tx).await?;
                changed(tx, repository, recorded).await
            }
            Event::TagDeleted { repository, tag, digest, .. } => {
                remember(tx, recorded, (&repository, &tag), "deleted", &digest, None).await?;
                tags::Entity::delete_by_id((repository.clone(), tag)).exec(tx).await?;
                changed(tx, repository, recorded).await
            }
            Event::ManifestDeleted { repository, digest, .. } => {
                manifests::Entity::delete_by_id((repository.clone(), digest.clone())).exec(tx).await?;
                rest(tx, &repository, &digest, recorded).await?;
                changed(tx, repository, recorded).await
            }
            Event::Scanned { repository, digest, packages, critical, high, medium, low, unknown, database, .. } => {
                let at = recorded.at.format(&time::format_description::well_known::Rfc3339)?;
                let scan = json!({
                    "packages": packages, "critical": critical, "high": high, "medium": medium, "low": low, "unknown": unknown,
                    "database": database, "at": at,
                });
                manifests::Entity::update_many()
                    .col_expr(manifests::Column::Scan, Expr::value(scan))
                    .filter(manifests::Column::Repository.eq(repository))
                    .filter(manifests::Column::Digest.eq(digest))
                    .exec(tx)
                    .await?;
                Ok(())
            }
        }
    }
}

fn repository_of(event: &Event) -> &str {
    match event {
        Event::ManifestPushed { repository, .. }
        | Event::TagMoved { repository, .. }
        | Event::TagDeleted { repository, .. }
        | Event::ManifestDeleted { repository, .. }
        | Event::Scanned { repository, .. } => repository,
    }
}

async fn pushed(tx: &DatabaseTransaction, recorded: &Recorded, event: Event) -> anyhow::Result<()> {
    let Event::ManifestPushed {
        org,
        project,
        repository,
        digest,
        media_type,
        artifact_type,
        subject,
        size_bytes,
        blobs,
        missing,
        manifests,
        platforms,
        annotations,
    } = event
    else {
        return Ok(());
    };
    let row = repositories::ActiveModel {
        name: Set(repository.clone()),
        org: Set(org.0),
        project: Set(project.0),
        created_at: Set(recorded.at),
        updated_at: Set(recorded.at),
    };
    // A project deleted and made again under the same name has another id: the repository follows its last push.
    let columns = [repositories::Column::Org, repositories::Column::Project, repositories::Column::UpdatedAt];
    let conflict = OnConflict::column(repositories::Column::Name).update_columns(columns).to_owned();
    repositories::Entity::insert(row).on_conflict(conflict).exec_without_returning(tx).await?;

    let own: u64 = size_bytes + blobs.iter().map(|b| b.size_bytes).sum::<u64>();
    let children: Vec<i64> = manifests::Entity::find()
        .select_only()
        .column(manifests::Column::TotalBytes)
        .filter(manifests::Column::Repository.eq(repository.as_str()))
        .filter(manifests::Column::Digest.is_in(manifests.iter().map(String::as_str)))
        .into_tuple()
        .all(tx)
        .await?;
    let row = manifests::ActiveModel {
        repository: Set(repository.clone()),
        digest: Set(digest.clone()),
        media_type: Set(media_type),
        artifact_type: Set(artifact_type),
        subject: Set(subject),
        size_bytes: Set(signed(size_bytes)),
        total_bytes: Set(children.into_iter().fold(signed(own), i64::saturating_add)),
        platforms: Set(json!(platforms)),
        annotations: Set(json!(annotations)),
        pushed_by: Set(recorded.meta.actor.clone()),
        pushed_at: Set(recorded.at),
        scan: Set(None),
    };
    manifests::Entity::insert(row).exec_without_returning(tx).await?;
    if !blobs.is_empty() {
        let rows = blobs.into_iter().map(|blob| manifest_blobs::ActiveModel {
            repository: Set(repository.clone()),
            manifest: Set(digest.clone()),
            present: Set(!missing.contains(&blob.digest)),
            blob: Set(blob.digest),
            size_bytes: Set(signed(blob.size_bytes)),
        });
        let conflict =
            OnConflict::columns([manifest_blobs::Column::Repository, manifest_blobs::Column::Manifest, manifest_blobs::Column::Blob]).do_nothing().to_owned();
        manifest_blobs::Entity::insert_many(rows).on_conflict(conflict).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// The blobs of a deleted manifest get a full grace period from now: somebody may have been told that they are here.
async fn rest(tx: &DatabaseTransaction, repository: &str, manifest: &str, recorded: &Recorded) -> anyhow::Result<()> {
    let rows = manifest_blobs::Entity::find()
        .filter(manifest_blobs::Column::Repository.eq(repository))
        .filter(manifest_blobs::Column::Manifest.eq(manifest))
        .all(tx)
        .await?;
    let freed = rows.iter().map(|r| r.blob.as_str()).chain([manifest]);
    blobs::Entity::update_many()
        .col_expr(blobs::Column::TouchedAt, Expr::cust_with_exprs("greatest($1, $2)", [Expr::col(blobs::Column::TouchedAt), Expr::value(recorded.at)]))
        .col_expr(blobs::Column::Idle, Expr::value(true))
        .filter(blobs::Column::Digest.is_in(freed))
        .exec(tx)
        .await?;
    manifest_blobs::Entity::delete_many()
        .filter(manifest_blobs::Column::Repository.eq(repository))
        .filter(manifest_blobs::Column::Manifest.eq(manifest))
        .exec(tx)
        .await?;
    Ok(())
}

async fn remember(
    tx: &DatabaseTransaction,
    recorded: &Recorded,
    (repository, tag): (&str, &str),
    what: &str,
    digest: &str,
    previous: Option<String>,
) -> anyhow::Result<()> {
    let row = tag_history::ActiveModel {
        position: Set(recorded.position),
        repository: Set(repository.to_owned()),
        tag: Set(tag.to_owned()),
        what: Set(what.to_owned()),
        digest: Set(digest.to_owned()),
        previous: Set(previous),
        by_whom: Set(recorded.meta.actor.clone()),
        at: Set(recorded.at),
    };
    tag_history::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

async fn changed(tx: &DatabaseTransaction, repository: String, recorded: &Recorded) -> anyhow::Result<()> {
    repositories::Entity::update_many()
        .col_expr(repositories::Column::UpdatedAt, Expr::value(recorded.at))
        .filter(repositories::Column::Name.eq(repository))
        .exec(tx)
        .await?;
    Ok(())
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
