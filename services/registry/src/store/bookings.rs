//! Room in a project's storage quota that pushes under way have been given. It is booked, durably, before a push is appended, so that nobody
//! else is given the same room whatever becomes of a connection in between. Content that the project keeps takes no more of it, so what is
//! booked for longer than its push takes is not counted twice.

use gantry_kernel::ProjectId;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// What a push asks for.
pub struct Asked<'a> {
    pub project: ProjectId,
    /// Its content with the sizes.
    pub content: &'a [(String, u64)],
    /// The quota.
    pub limit: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Booked {
    Room,
    /// It does not fit beside what is kept.
    Full {
        used: u64,
        more: u64,
    },
    /// It would fit if pushes under way failed.
    Awaited,
}

/// What is kept, and what this push and those under way would add: each piece of content once.
const ROOM: &str = "with asked as (select d as digest, s as size, true as own from unnest($2::text[], $3::bigint[]) t(d, s)),
    booked as (
        select t.d as digest, t.s as size, false as own from quota_bookings b cross join lateral unnest(b.digests, b.sizes) t(d, s) where b.project = $1),
    fresh as (
        select digest, max(size) as size, bool_or(own) as own from (select * from asked union all select * from booked) a
        where not exists (select from project_content c where c.project = $1 and c.digest = a.digest) group by digest)
    select coalesce((select unique_bytes from project_usage where project = $1), 0)::bigint,
        least(coalesce((select sum(size) from fresh where own), 0), 9223372036854775807)::bigint,
        least(coalesce((select sum(size) from fresh where not own), 0), 9223372036854775807)::bigint";

/// Books room under `id` until `until`, which must be after the push is in the read model. A push that brings nothing new has room always.
///
/// # Errors
/// Database.
pub async fn book(pool: &PgPool, asked: &Asked<'_>, id: Uuid, now: OffsetDateTime, until: OffsetDateTime) -> Result<Booked, sqlx::Error> {
    let mut tx = pool.begin().await?;
    // A statement of its own: the next one sees what whoever had the lock has booked.
    let lock = "select pg_advisory_xact_lock(hashtextextended('registry-quota' || $1::text, 0))";
    sqlx::query(lock).bind(asked.project.0).execute(&mut *tx).await?;
    // Of pushes that ended without a word.
    sqlx::query("delete from quota_bookings where project = $1 and until <= $2").bind(asked.project.0).bind(now).execute(&mut *tx).await?;
    let (digests, sizes): (Vec<&str>, Vec<i64>) = asked.content.iter().map(|(d, s)| (d.as_str(), super::blobs::signed(*s))).unzip();
    let counted: (i64, i64, i64) = sqlx::query_as(ROOM).bind(asked.project.0).bind(&digests).bind(&sizes).fetch_one(&mut *tx).await?;
    let (used, more, others) = (counted.0.unsigned_abs(), counted.1.unsigned_abs(), counted.2.unsigned_abs());
    let with_it = used.saturating_add(more);
    if more > 0 && with_it > asked.limit {
        return Ok(Booked::Full { used, more });
    }
    if more > 0 && with_it.saturating_add(others) > asked.limit {
        return Ok(Booked::Awaited);
    }
    let sql = "insert into quota_bookings (id, project, digests, sizes, until) values ($1, $2, $3, $4, $5)";
    sqlx::query(sql).bind(id).bind(asked.project.0).bind(&digests).bind(&sizes).bind(until).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Booked::Room)
}

/// The push is over: in the read model, or refused.
///
/// # Errors
/// Database.
pub async fn give_back(pool: &PgPool, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from quota_bookings where id = $1").bind(id).execute(pool).await?;
    Ok(())
}

/// Those whose time is over, of any project: where nobody pushes any more, no booking removes them.
///
/// # Errors
/// Database.
pub async fn forget_over(pool: &PgPool, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("delete from quota_bookings where until <= $1").bind(now).execute(pool).await?;
    Ok(())
}
