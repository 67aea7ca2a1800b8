//! What has been uploaded to a project with a storage quota and belongs to no image yet. It is not held against the quota, so that a push that fails costs
//! nothing; but it lies on the disk until collection takes it, so there may be as much of it as the quota allows images, and a little more for manifests. Deleting the blob does not
//! help: its bytes lie there for as long.

use gantry_kernel::ProjectId;
use sqlx::PgPool;
use time::OffsetDateTime;

/// A blob that is to come.
pub struct Asked<'a> {
    pub project: ProjectId,
    pub digest: &'a str,
    pub size_bytes: u64,
    /// The quota.
    pub limit: u64,
    /// Bytes that may belong to no image.
    pub most_unplaced: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It may come, and is counted from now on.
    Room,
    /// It can belong to no image beside what the project keeps.
    Full { used: u64 },
    /// Too much lies there already.
    Littered { unplaced: u64 },
}

/// Lets a blob come, or refuses it. What the project keeps already may come always. `since`: what came before that is collected by now.
///
/// # Errors
/// Database.
pub async fn take(pool: &PgPool, asked: &Asked<'_>, now: OffsetDateTime, since: OffsetDateTime) -> Result<Taken, sqlx::Error> {
    let project = asked.project.0;
    let mut tx = pool.begin().await?;
    // A statement of its own: the next one sees what whoever had the lock has counted.
    let lock = "select pg_advisory_xact_lock(hashtextextended('registry-unplaced' || $1::text, 0))";
    sqlx::query(lock).bind(project).execute(&mut *tx).await?;
    let over = "delete from unplaced_content u where project = $1
        and (at < $2 or exists (select from project_content c where c.project = u.project and c.digest = u.digest))";
    sqlx::query(over).bind(project).bind(since).execute(&mut *tx).await?;
    let sql = "select coalesce((select unique_bytes from project_usage where project = $1), 0)::bigint,
        exists (select from project_content where project = $1 and digest = $2),
        least(coalesce((select sum(size_bytes) from unplaced_content where project = $1 and digest <> $2), 0), 9223372036854775807)::bigint";
    let (used, is_kept, unplaced): (i64, bool, i64) = sqlx::query_as(sql).bind(project).bind(asked.digest).fetch_one(&mut *tx).await?;
    let (used, unplaced) = (used.unsigned_abs(), unplaced.unsigned_abs());
    if is_kept {
        return Ok(Taken::Room);
    }
    if used.saturating_add(asked.size_bytes) > asked.limit {
        return Ok(Taken::Full { used });
    }
    if unplaced.saturating_add(asked.size_bytes) > asked.most_unplaced {
        return Ok(Taken::Littered { unplaced });
    }
    let sql = "insert into unplaced_content (project, digest, size_bytes, at) values ($1, $2, $3, $4)
        on conflict (project, digest) do update set at = excluded.at";
    let insert = sqlx::query(sql).bind(project).bind(asked.digest).bind(super::blobs::signed(asked.size_bytes)).bind(now);
    insert.execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Taken::Room)
}

/// What came before `before`, of any project: where nobody pushes any more, nothing else removes it.
///
/// # Errors
/// Database.
pub async fn forget_old(pool: &PgPool, before: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("delete from unplaced_content where at < $1").bind(before).execute(pool).await?;
    Ok(())
}
