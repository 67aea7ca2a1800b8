//! Uploads to an object store: how far each is, and which request may write to it. Uploads to a file system keep this in files.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::name::RepositoryName;

/// One upload.
#[derive(Clone, Debug)]
pub struct Upload {
    pub id: Uuid,
    pub algorithm: String,
    /// Bytes that have come.
    pub offset_bytes: i64,
    /// The store's id of the object in parts, once there is one.
    pub multipart: Option<String>,
    /// What the store calls each part, in order.
    pub parts: Vec<String>,
    /// Bytes in those parts. What is behind them is `tail`, or an object.
    pub parts_bytes: i64,
    pub tail: Option<Vec<u8>>,
    /// The parts have become one object.
    pub whole: bool,
}

impl FromRow<'_, PgRow> for Upload {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            algorithm: row.try_get("algorithm")?,
            offset_bytes: row.try_get("offset_bytes")?,
            multipart: row.try_get("multipart")?,
            parts: row.try_get("parts")?,
            parts_bytes: row.try_get("parts_bytes")?,
            tail: row.try_get("tail")?,
            whole: row.try_get("whole")?,
        })
    }
}

/// Why an upload cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    Busy,
}

/// Does not wait for the disk: one that is lost with the database's memory is unknown, and its client begins another. Whatever is written of it
/// later is on the disk after this.
///
/// # Errors
/// Database.
pub async fn begin(pool: &PgPool, id: Uuid, repository: &RepositoryName, algorithm: &str, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql = "insert into uploads (id, repository, algorithm, touched_at) select $1::uuid, $2::text, $3::text, $4::timestamptz
        where (select set_config('synchronous_commit', 'off', true)) = 'off'";
    sqlx::query(sql).bind(id).bind(repository.as_str()).bind(algorithm).bind(now).execute(pool).await?;
    Ok(())
}

/// How many bytes have come; none when there is no such upload in the repository.
///
/// # Errors
/// Database.
pub async fn offset(pool: &PgPool, id: Uuid, repository: &RepositoryName) -> Result<Option<i64>, sqlx::Error> {
    let sql = "select offset_bytes from uploads where id = $1 and repository = $2";
    sqlx::query_scalar(sql).bind(id).bind(repository.as_str()).fetch_optional(pool).await
}

/// Whether nothing has come yet and nobody is writing; none when there is no such upload in the repository.
///
/// # Errors
/// Database.
pub async fn untouched(pool: &PgPool, id: Uuid, repository: &RepositoryName, now: OffsetDateTime) -> Result<Option<bool>, sqlx::Error> {
    let sql = "select offset_bytes = 0 and multipart is null and not whole and (writer is null or writer_until < $3) from uploads
        where id = $1 and repository = $2";
    sqlx::query_scalar(sql).bind(id).bind(repository.as_str()).bind(now).fetch_optional(pool).await
}

/// Has the upload for `writer` alone until `until`.
///
/// # Errors
/// Database.
pub async fn take(
    pool: &PgPool,
    id: Uuid,
    repository: &RepositoryName,
    writer: Uuid,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<Result<Upload, Refused>, sqlx::Error> {
    let sql = "update uploads set writer = $3, writer_until = $5, touched_at = $4
        where id = $1 and repository = $2 and (writer is null or writer = $3 or writer_until < $4)
        returning id, algorithm, offset_bytes, multipart, parts, parts_bytes, tail, whole";
    let taken: Option<Upload> = sqlx::query_as(sql).bind(id).bind(repository.as_str()).bind(writer).bind(now).bind(until).fetch_optional(pool).await?;
    match taken {
        Some(upload) => Ok(Ok(upload)),
        None if offset(pool, id, repository).await?.is_some() => Ok(Err(Refused::Busy)),
        None => Ok(Err(Refused::Unknown)),
    }
}

/// Keeps it for longer. `false`: somebody else has it now.
///
/// # Errors
/// Database.
pub async fn hold(pool: &PgPool, id: Uuid, writer: Uuid, now: OffsetDateTime, until: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update uploads set writer_until = $4, touched_at = $3 where id = $1 and writer = $2";
    Ok(sqlx::query(sql).bind(id).bind(writer).bind(now).bind(until).execute(pool).await?.rows_affected() == 1)
}

/// Writes down how far it is, and lets go of it if `done`. `false`: somebody else has it now.
///
/// # Errors
/// Database.
pub async fn save(pool: &PgPool, upload: &Upload, writer: Uuid, done: bool, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let sql = "update uploads set offset_bytes = $3, multipart = $4, parts = $5, parts_bytes = $6, tail = $7, whole = $8, touched_at = $10,
            writer = case when $9 then null else writer end
        where id = $1 and writer = $2";
    let query = sqlx::query(sql).bind(upload.id).bind(writer).bind(upload.offset_bytes).bind(&upload.multipart).bind(&upload.parts);
    let query = query.bind(upload.parts_bytes).bind(&upload.tail).bind(upload.whole).bind(done).bind(now);
    Ok(query.execute(pool).await?.rows_affected() == 1)
}

/// Lets go of it as it was.
///
/// # Errors
/// Database.
pub async fn release(pool: &PgPool, id: Uuid, writer: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update uploads set writer = null where id = $1 and writer = $2").bind(id).bind(writer).execute(pool).await?;
    Ok(())
}

/// # Errors
/// Database.
pub async fn find(pool: &PgPool, id: Uuid) -> Result<Option<Upload>, sqlx::Error> {
    let sql = "select id, algorithm, offset_bytes, multipart, parts, parts_bytes, tail, whole from uploads where id = $1";
    sqlx::query_as(sql).bind(id).fetch_optional(pool).await
}

/// # Errors
/// Database.
pub async fn forget(pool: &PgPool, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from uploads where id = $1").bind(id).execute(pool).await?;
    Ok(())
}

/// The same after its content was published, without waiting for the disk: one that comes back with a power cut is stale some day.
///
/// # Errors
/// Database.
pub async fn forget_published(pool: &PgPool, id: Uuid) -> Result<(), sqlx::Error> {
    let sql = "delete from uploads where id = $1 and (select set_config('synchronous_commit', 'off', true)) = 'off'";
    sqlx::query(sql).bind(id).execute(pool).await?;
    Ok(())
}

/// Those that nobody has touched since `before`.
///
/// # Errors
/// Database.
pub async fn stale(pool: &PgPool, before: OffsetDateTime, limit: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    let sql = "select id from uploads where touched_at < $1 and (writer is null or writer_until < $1) order by touched_at limit $2";
    sqlx::query_scalar(sql).bind(before).bind(limit).fetch_all(pool).await
}

/// Those that have bytes: whose they are, how many, and when somebody has touched them last; the oldest first.
///
/// # Errors
/// Database.
pub async fn open(pool: &PgPool, limit: i64) -> Result<Vec<(Uuid, String, i64, OffsetDateTime)>, sqlx::Error> {
    let sql = "select id, repository, offset_bytes, touched_at from uploads where offset_bytes > 0 order by touched_at limit $1";
    sqlx::query_as(sql).bind(limit).fetch_all(pool).await
}
