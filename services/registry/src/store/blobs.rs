//! What is on the disk, who may see it, and what nobody needs any more.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Statement};
use std::time::Duration;

use time::OffsetDateTime;

use super::entities::{blob_links, blobs, manifest_blobs};
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;

/// Marks blobs as needed now, and returns those that are whole on the disk with their sizes. Marks younger than `fresh` stay: a base
/// layer that every push needs would be written by every push otherwise.
///
/// # Errors
/// Database.
pub async fn touch(db: &impl ConnectionTrait, digests: &[String], now: OffsetDateTime, fresh: Duration) -> Result<Vec<(String, u64)>, DbErr> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, i64, OffsetDateTime)> = blobs::Entity::find()
        .select_only()
        .columns([blobs::Column::Digest, blobs::Column::SizeBytes, blobs::Column::TouchedAt])
        .filter(blobs::Column::Digest.is_in(digests.iter().map(String::as_str)))
        .filter(blobs::Column::DamagedAt.is_null())
        .into_tuple()
        .all(db)
        .await?;
    if rows.iter().all(|(_, _, at)| now - *at < fresh) {
        return Ok(rows.into_iter().map(|(digest, size, _)| (digest, size.unsigned_abs())).collect());
    }
    #[derive(FromQueryResult)]
    struct Row {
        digest: String,
        size_bytes: i64,
    }
    // Locked in one order everywhere, or two pushes of the same layers could wait for each other.
    let sql = "with mine as (select digest from blobs where digest = any($1) and damaged_at is null order by digest for update)
        update blobs b set touched_at = $2 from mine where b.digest = mine.digest returning b.digest, b.size_bytes";
    let values = [digests.to_vec().into(), now.into()];
    let rows = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await?;
    Ok(rows.into_iter().map(|r| (r.digest, r.size_bytes.unsigned_abs())).collect())
}

/// # Errors
/// Database.
pub async fn size(db: &impl ConnectionTrait, digest: &Digest) -> Result<Option<u64>, DbErr> {
    let row = blobs::Entity::find_by_id(digest.to_string()).one(db).await?;
    Ok(row.map(|r| r.size_bytes.unsigned_abs()))
}

/// When somebody needed it last, by a push.
///
/// # Errors
/// Database.
pub async fn touched_at(db: &impl ConnectionTrait, digest: &Digest) -> Result<Option<OffsetDateTime>, DbErr> {
    Ok(blobs::Entity::find_by_id(digest.to_string()).one(db).await?.map(|row| row.touched_at))
}

/// What is needed to read a blob of a repository.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Readable {
    pub size_bytes: i64,
    /// None for content from before there were any.
    pub sums: Option<Vec<u8>>,
    /// Whether it lives in the database.
    pub small: bool,
    /// Its bytes, if it does and they were asked for.
    pub bytes: Option<Vec<u8>>,
}

/// Which blob of which repository, and whether the bytes of small content are wanted.
pub type Wanted = (RepositoryName, Digest, bool);

/// None when the blob is not readable in the repository, or damaged.
///
/// # Errors
/// Database.
pub async fn readable(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> Result<Option<Readable>, DbErr> {
    let found = readable_of(db, vec![(repository.clone(), digest.clone(), false)]).await?;
    Ok(found.into_iter().next().map(|(_, readable)| readable))
}

#[derive(FromQueryResult)]
struct Answer {
    nth: i64,
    #[sea_orm(nested)]
    readable: Readable,
}

/// The same for several blobs; those that are not readable, or damaged, are left out.
///
/// # Errors
/// Database.
pub async fn readable_of(db: &impl ConnectionTrait, wanted: Vec<Wanted>) -> Result<Vec<(Wanted, Readable)>, DbErr> {
    let sql = "select w.nth, b.size_bytes, b.sums, c.digest is not null as small, case when w.bytes then c.bytes end as bytes
        from unnest($1::text[], $2::text[], $3::bool[]) with ordinality as w (repository, digest, bytes, nth)
        join blobs b on b.digest = w.digest left join small_content c on c.digest = w.digest
        where b.damaged_at is null and (
        exists (select from blob_links l where l.repository = w.repository and l.digest = w.digest)
        or exists (select from manifest_blobs m where m.repository = w.repository and m.blob = w.digest and m.present))";
    let repositories: Vec<String> = wanted.iter().map(|(repository, ..)| repository.to_string()).collect();
    let digests: Vec<String> = wanted.iter().map(|(_, digest, _)| digest.to_string()).collect();
    let bytes: Vec<bool> = wanted.iter().map(|(.., bytes)| *bytes).collect();
    let values = [repositories.into(), digests.into(), bytes.into()];
    let found = Answer::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await?;
    let key = |nth: i64| usize::try_from(nth - 1).ok().and_then(|nth| wanted.get(nth)).cloned();
    Ok(found.into_iter().filter_map(|answer| Some((key(answer.nth)?, answer.readable))).collect())
}

/// Makes a blob readable in a repository.
///
/// # Errors
/// Database.
pub async fn link(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest, now: OffsetDateTime) -> Result<(), DbErr> {
    let row = blob_links::ActiveModel { repository: Set(repository.to_string()), digest: Set(digest.to_string()), at: Set(now) };
    let conflict = OnConflict::columns([blob_links::Column::Repository, blob_links::Column::Digest]).update_column(blob_links::Column::At).to_owned();
    blob_links::Entity::insert(row).on_conflict(conflict).exec_without_returning(db).await?;
    Ok(())
}

/// One statement: a process that is killed between a link's end and the word that perhaps it was the last who needed the blob would leave content
/// that nobody looks for.
///
/// # Errors
/// Database.
pub async fn unlink(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> Result<bool, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        gone: i64,
    }
    // The row of `blobs` first, as for whoever makes links.
    let sql = "with held as (select digest from blobs where digest = $2 for update),
        gone as (delete from blob_links where repository = $1 and digest = $2 and (select count(*) from held) >= 0 returning digest),
        marked as (update blobs b set idle = true from held where b.digest = held.digest)
        select count(*) as gone from gone";
    let values = [repository.as_str().into(), digest.as_str().into()];
    let row = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).one(db).await?;
    Ok(row.is_some_and(|row| row.gone > 0))
}

/// Those of `digests` that are readable in the repository: uploaded there, or part of a manifest there.
///
/// # Errors
/// Database.
pub async fn visible(db: &impl ConnectionTrait, repository: &RepositoryName, digests: &[String]) -> Result<Vec<String>, DbErr> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = || digests.iter().map(String::as_str);
    let mut found: Vec<String> = blob_links::Entity::find()
        .select_only()
        .column(blob_links::Column::Digest)
        .filter(blob_links::Column::Repository.eq(repository.as_str()))
        .filter(blob_links::Column::Digest.is_in(wanted()))
        .into_tuple()
        .all(db)
        .await?;
    if found.len() < digests.len() {
        let kept: Vec<String> = manifest_blobs::Entity::find()
            .select_only()
            .column(manifest_blobs::Column::Blob)
            .distinct()
            .filter(manifest_blobs::Column::Repository.eq(repository.as_str()))
            .filter(manifest_blobs::Column::Blob.is_in(wanted()))
            .filter(manifest_blobs::Column::Present.eq(true))
            .into_tuple()
            .all(db)
            .await?;
        found.extend(kept);
    }
    Ok(found)
}

/// Those of `digests` that are readable somewhere in the repository's project: what the rest of the store has is none of its business.
///
/// # Errors
/// Database.
pub async fn in_project(db: &impl ConnectionTrait, repository: &RepositoryName, digests: &[String]) -> Result<Vec<String>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        digest: String,
    }
    let sql = "select d.digest from unnest($2::text[]) as d (digest)
        where exists (select from blob_links l where l.digest = d.digest and starts_with(l.repository, $1))
        or exists (select from manifest_blobs m where m.blob = d.digest and m.present and starts_with(m.repository, $1))";
    let values = [format!("{}/{}/", repository.org(), repository.project()).into(), digests.to_vec().into()];
    let rows = Row::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await?;
    Ok(rows.into_iter().map(|row| row.digest).collect())
}

/// Content that a manifest names, as far as it is here.
#[derive(Debug, FromQueryResult)]
pub struct Named {
    pub digest: String,
    pub size_bytes: i64,
    pub touched_at: OffsetDateTime,
    /// Readable in the repository.
    pub visible: bool,
    /// Those of `config`, if they live in the database.
    pub bytes: Option<Vec<u8>>,
}

/// Everything that a push has to know of `digests`, in one question: which are whole and how large, which are readable in the repository, and
/// the bytes of `config`.
///
/// # Errors
/// Database.
pub async fn named(db: &impl ConnectionTrait, repository: &RepositoryName, digests: &[String], config: Option<&Digest>) -> Result<Vec<Named>, DbErr> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "select b.digest, b.size_bytes, b.touched_at, c.bytes, exists (select from blob_links l where l.repository = $1 and l.digest = b.digest)
            or exists (select from manifest_blobs m where m.repository = $1 and m.blob = b.digest and m.present) as visible
        from blobs b left join small_content c on c.digest = b.digest and c.digest = $3 where b.digest = any($2) and b.damaged_at is null";
    let values = [repository.as_str().into(), digests.to_vec().into(), config.map_or("", Digest::as_str).into()];
    Named::find_by_statement(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).all(db).await
}

/// Repositories in which a blob is readable.
///
/// # Errors
/// Database.
pub async fn places_of(db: &impl ConnectionTrait, digest: &Digest, limit: u64) -> Result<Vec<String>, DbErr> {
    let links = blob_links::Entity::find().select_only().column(blob_links::Column::Repository).filter(blob_links::Column::Digest.eq(digest.as_str()));
    let mut names: Vec<String> = links.limit(limit).into_tuple().all(db).await?;
    let kept = manifest_blobs::Entity::find().select_only().column(manifest_blobs::Column::Repository).distinct();
    let kept = kept.filter(manifest_blobs::Column::Blob.eq(digest.as_str())).filter(manifest_blobs::Column::Present.eq(true));
    names.extend(kept.limit(limit).into_tuple::<String>().all(db).await?);
    Ok(names)
}

/// The manifest of this repository that needs the blob, if one does.
///
/// # Errors
/// Database.
pub async fn needed_by(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> Result<Option<String>, DbErr> {
    let row = manifest_blobs::Entity::find()
        .filter(manifest_blobs::Column::Repository.eq(repository.as_str()))
        .filter(manifest_blobs::Column::Blob.eq(digest.as_str()))
        .one(db)
        .await?;
    Ok(row.map(|r| r.manifest))
}

/// How large a blob is by the manifests of this repository that need it, whether it is here or not.
///
/// # Errors
/// Database.
pub async fn announced_size(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>, DbErr> {
    let row = manifest_blobs::Entity::find()
        .filter(manifest_blobs::Column::Repository.eq(repository.as_str()))
        .filter(manifest_blobs::Column::Blob.eq(digest.as_str()))
        .one(db)
        .await?;
    Ok(row.map(|r| r.size_bytes.unsigned_abs()))
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
