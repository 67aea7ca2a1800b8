//! Repositories, manifests, tags, and which blobs manifests need.

use async_trait::async_trait;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_es::Recorded;
use gantry_es_pg::{Projection, apply};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter, Statement};
use serde_json::json;

use crate::app::cache::ManifestCache;
use crate::store::entities::{manifest_blobs, manifests, repositories, tag_history, tags};
use crate::store::pushes::{self, Move, Push, moment};

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

    async fn apply_batch(&self, tx: &DatabaseTransaction, events: &[&Recorded]) -> anyhow::Result<()> {
        let mut run = Run::default();
        for recorded in events {
            if recorded.is::<Event>() {
                let event = recorded.decode::<Event>()?;
                let repository = repository_of(&event).to_owned();
                match run.take(recorded, event)? {
                    Taken::In => self.0.applied(recorded.position, Some(&repository)),
                    Taken::Not => {
                        run.write(tx).await?;
                        apply(self, tx, recorded).await?;
                    }
                }
            } else {
                self.0.applied(recorded.position, None);
            }
        }
        run.write(tx).await
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
                let values = [
                    recorded.position.into(),
                    repository.into(),
                    tag.into(),
                    digest.into(),
                    from.into(),
                    recorded.meta.actor.clone().into(),
                    recorded.at.into(),
                ];
                tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, TAG_MOVED, values)).await?;
                Ok(())
            }
            Event::TagDeleted { repository, tag, digest, .. } => {
                remember(tx, recorded, (&repository, &tag), &digest).await?;
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

/// Pushes and moved tags in a row, which are written as one.
#[derive(Default)]
struct Run {
    pushes: Vec<Push>,
    moves: Vec<Move>,
}

enum Taken {
    In,
    /// It is of another kind, or needs what those before it leave.
    Not,
}

impl Run {
    fn take(&mut self, recorded: &Recorded, event: Event) -> anyhow::Result<Taken> {
        match event {
            event @ Event::ManifestPushed { .. } => match push_of(recorded, event)? {
                Some((push, children)) if children.is_empty() => self.pushes.push(push),
                _ => return Ok(Taken::Not),
            },
            Event::TagMoved { repository, tag, digest, from, .. } => {
                let (by_whom, at) = (recorded.meta.actor.clone(), moment(recorded.at)?);
                self.moves.push(Move { position: recorded.position, repository, tag, digest, previous: from, by_whom, at });
            }
            _ => return Ok(Taken::Not),
        }
        Ok(Taken::In)
    }

    async fn write(&mut self, tx: &DatabaseTransaction) -> anyhow::Result<()> {
        let Self { pushes, moves } = std::mem::take(self);
        if pushes.is_empty() && moves.is_empty() { Ok(()) } else { pushes::keep(tx, &pushes, &moves).await }
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

/// What a push leaves, and the manifests it lists: the one place that takes its event apart. None of another event.
fn push_of(recorded: &Recorded, event: Event) -> anyhow::Result<Option<(Push, Vec<String>)>> {
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
        return Ok(None);
    };
    let total_bytes = signed(size_bytes + blobs.iter().map(|b| b.size_bytes).sum::<u64>());
    let (blobs, sizes) = blobs.into_iter().map(|b| (b.digest, signed(b.size_bytes))).unzip();
    let push = Push {
        position: recorded.position,
        org: org.0,
        project: project.0,
        repository,
        digest,
        media_type,
        artifact_type,
        subject,
        size_bytes: signed(size_bytes),
        total_bytes,
        platforms,
        annotations,
        pushed_by: recorded.meta.actor.clone(),
        pushed_at: moment(recorded.at)?,
        blobs,
        sizes,
        missing,
    };
    Ok(Some((push, manifests)))
}

async fn pushed(tx: &DatabaseTransaction, recorded: &Recorded, event: Event) -> anyhow::Result<()> {
    let Some((push, children)) = push_of(recorded, event)? else { return Ok(()) };
    let values = [
        push.repository.into(),
        push.org.into(),
        push.project.into(),
        recorded.at.into(),
        push.digest.into(),
        push.media_type.into(),
        push.artifact_type.into(),
        push.subject.into(),
        push.size_bytes.into(),
        push.total_bytes.into(),
        children.into(),
        json!(push.platforms).into(),
        json!(push.annotations).into(),
        push.pushed_by.into(),
        push.blobs.into(),
        push.sizes.into(),
        push.missing.into(),
    ];
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, PUSHED, values)).await?;
    Ok(())
}

/// One question for all of a push: most of what a small image costs is the way to the database and back. A project deleted and made again
/// under the same name has another id: the repository follows its last push.
const PUSHED: &str = "
    with placed as (
        insert into repositories (name, org, project, created_at, updated_at) values ($1, $2, $3, $4, $4)
        on conflict (name) do update set org = excluded.org, project = excluded.project, updated_at = excluded.updated_at),
    kept as (
        insert into manifests (repository, digest, media_type, artifact_type, subject, size_bytes, total_bytes, platforms, annotations, pushed_by, pushed_at)
        values ($1, $5, $6, $7, $8, $9, least($10::bigint + coalesce((select sum(c.total_bytes) from manifests c
            where c.repository = $1 and c.digest = any($11::text[])), 0), 9223372036854775807)::bigint, $12, $13, $14, $4))
    insert into manifest_blobs (repository, manifest, blob, size_bytes, present)
    select $1, $5, b, s, not b = any($17::text[]) from unnest($15::text[], $16::bigint[]) t(b, s)
    on conflict (repository, manifest, blob) do nothing";

const TAG_MOVED: &str = "
    with remembered as (
        insert into tag_history (position, repository, tag, what, digest, previous, by_whom, at) values ($1, $2, $3, 'moved', $4, $5, $6, $7)),
    moved as (
        insert into tags (repository, tag, digest, moved_by, moved_at) values ($2, $3, $4, $6, $7)
        on conflict (repository, tag) do update set digest = excluded.digest, moved_by = excluded.moved_by, moved_at = excluded.moved_at)
    update repositories set updated_at = $7 where name = $2";

/// The blobs of a deleted manifest get a full grace period from now: somebody may have been told that they are here.
async fn rest(tx: &DatabaseTransaction, repository: &str, manifest: &str, recorded: &Recorded) -> anyhow::Result<()> {
    let rows = manifest_blobs::Entity::find()
        .filter(manifest_blobs::Column::Repository.eq(repository))
        .filter(manifest_blobs::Column::Manifest.eq(manifest))
        .all(tx)
        .await?;
    let freed: Vec<String> = rows.into_iter().map(|r| r.blob).chain([manifest.to_owned()]).collect();
    // Locked in one order everywhere, or a push of the same layers and this could wait for each other.
    let sql = "with mine as (select digest from blobs where digest = any($1) order by digest for update)
        update blobs b set touched_at = greatest(b.touched_at, $2), idle = true from mine where b.digest = mine.digest";
    tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, [freed.into(), recorded.at.into()])).await?;
    manifest_blobs::Entity::delete_many()
        .filter(manifest_blobs::Column::Repository.eq(repository))
        .filter(manifest_blobs::Column::Manifest.eq(manifest))
        .exec(tx)
        .await?;
    Ok(())
}

/// A tag that is gone.
async fn remember(tx: &DatabaseTransaction, recorded: &Recorded, (repository, tag): (&str, &str), digest: &str) -> anyhow::Result<()> {
    let row = tag_history::ActiveModel {
        position: Set(recorded.position),
        repository: Set(repository.to_owned()),
        tag: Set(tag.to_owned()),
        what: Set("deleted".to_owned()),
        digest: Set(digest.to_owned()),
        previous: Set(None),
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
