//! What is on the disk, who may see it, and what nobody needs any more.

use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use time::OffsetDateTime;

use super::entities::{blob_links, blobs, manifest_blobs, manifests};
use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;

/// Notes that a blob is there and needed now. Holds the row until the transaction ends, so that a blob is not collected
/// while it is being published.
///
/// # Errors
/// Database.
pub async fn touch_new(tx: &DatabaseTransaction, digest: &Digest, size: u64, now: OffsetDateTime) -> Result<(), DbErr> {
    let row = blobs::ActiveModel { digest: Set(digest.to_string()), size_bytes: Set(signed(size)), touched_at: Set(now) };
    let conflict = OnConflict::column(blobs::Column::Digest).update_columns([blobs::Column::SizeBytes, blobs::Column::TouchedAt]).to_owned();
    blobs::Entity::insert(row).on_conflict(conflict).exec_without_returning(tx).await?;
    Ok(())
}

/// Marks blobs as needed now, and returns those that are on the disk with their sizes.
///
/// # Errors
/// Database.
pub async fn touch(db: &impl ConnectionTrait, digests: &[String], now: OffsetDateTime) -> Result<Vec<(String, u64)>, DbErr> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let rows = blobs::Entity::update_many()
        .col_expr(blobs::Column::TouchedAt, Expr::value(now))
        .filter(blobs::Column::Digest.is_in(digests.iter().map(String::as_str)))
        .exec_with_returning(db)
        .await?;
    Ok(rows.into_iter().map(|r| (r.digest, r.size_bytes.unsigned_abs())).collect())
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

/// # Errors
/// Database.
pub async fn unlink(db: &impl ConnectionTrait, repository: &RepositoryName, digest: &Digest) -> Result<bool, DbErr> {
    let done = blob_links::Entity::delete_by_id((repository.to_string(), digest.to_string())).exec(db).await?;
    Ok(done.rows_affected > 0)
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

/// Blobs that nothing refers to and nobody relied on since `before`, oldest first.
///
/// # Errors
/// Database.
pub async fn collectable(db: &impl ConnectionTrait, before: OffsetDateTime, limit: u64) -> Result<Vec<String>, DbErr> {
    unneeded(before).select_only().column(blobs::Column::Digest).order_by_asc(blobs::Column::TouchedAt).limit(limit).into_tuple().all(db).await
}

/// Forgets a blob if it is still unneeded; the caller removes the file before it commits.
///
/// # Errors
/// Database.
pub async fn forget(tx: &DatabaseTransaction, digest: &str, before: OffsetDateTime) -> Result<bool, DbErr> {
    // The lock first: who touches the blob meanwhile waits here or is seen by the count below.
    let row = blobs::Entity::find_by_id(digest.to_owned()).lock_exclusive().one(tx).await?;
    if row.is_none() || unneeded(before).filter(blobs::Column::Digest.eq(digest)).count(tx).await? == 0 {
        return Ok(false);
    }
    blobs::Entity::delete_by_id(digest.to_owned()).exec(tx).await?;
    Ok(true)
}

/// Removes links that served their purpose.
///
/// # Errors
/// Database.
pub async fn remove_old_links(db: &impl ConnectionTrait, before: OffsetDateTime) -> Result<u64, DbErr> {
    Ok(blob_links::Entity::delete_many().filter(blob_links::Column::At.lt(before)).exec(db).await?.rows_affected)
}

fn unneeded(before: OffsetDateTime) -> sea_orm::Select<blobs::Entity> {
    let digest = || Expr::col((blobs::Entity, blobs::Column::Digest));
    let refers = |mut query: sea_orm::sea_query::SelectStatement| Expr::exists(query.expr(Expr::value(1)).take()).not();
    let by_manifest =
        Query::select().from(manifest_blobs::Entity).and_where(Expr::col((manifest_blobs::Entity, manifest_blobs::Column::Blob)).eq(digest())).take();
    let is_manifest = Query::select().from(manifests::Entity).and_where(Expr::col((manifests::Entity, manifests::Column::Digest)).eq(digest())).take();
    let by_link = Query::select().from(blob_links::Entity).and_where(Expr::col((blob_links::Entity, blob_links::Column::Digest)).eq(digest())).take();
    blobs::Entity::find().filter(blobs::Column::TouchedAt.lt(before)).filter(refers(by_manifest)).filter(refers(is_manifest)).filter(refers(by_link))
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
