//! Many blobs in one statement: what arrived, what nobody needs, what was checked. Written for throughput, hence in plain SQL.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::domain::digest::Digest;
use crate::domain::name::RepositoryName;
use crate::domain::sums::Sums;

/// A blob that is on the disk, or will be before the transaction ends.
pub struct Arrived<'a> {
    /// Where it was uploaded to; none for a manifest, which its event makes readable.
    pub repository: Option<&'a RepositoryName>,
    pub digest: &'a Digest,
    pub size: u64,
    pub sums: &'a Sums,
    /// Its bytes, if they are to live in the database.
    pub bytes: Option<&'a [u8]>,
}

/// The count makes the rows of `blobs` come first: collection takes them in that order, too.
const KEEP: &str = "with kept as (
        insert into blobs (digest, size_bytes, sums, touched_at, checked_at)
        select d, s, x, $4, $4 from unnest($1::text[], $2::bigint[], $3::bytea[]) t(d, s, x)
        on conflict (digest) do update set size_bytes = excluded.size_bytes, sums = excluded.sums, touched_at = excluded.touched_at,
            checked_at = excluded.checked_at, damaged_at = null, idle = true
        returning 1),
    linked as (
        insert into blob_links (repository, digest, at)
        select r, d, $4 from unnest($5::text[], $6::text[]) t(r, d) where (select count(*) from kept) > 0
        on conflict (repository, digest) do update set at = excluded.at)
    insert into small_content as c (digest, bytes)
    select d, b from unnest($7::text[], $8::bytea[]) t(d, b) where (select count(*) from kept) > 0
    on conflict (digest) do update set bytes = excluded.bytes where c.bytes is distinct from excluded.bytes";

/// Notes that blobs are there and needed now, makes them readable where they were uploaded, and keeps the bytes of small ones: one
/// statement. Within a transaction it holds the rows until that ends, so that none is collected while it is being published.
///
/// # Errors
/// Database.
pub async fn keep(db: impl sqlx::PgExecutor<'_>, arrived: &[Arrived<'_>], now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let mut blobs: Vec<&Arrived<'_>> = arrived.iter().collect();
    // In one order everywhere, or two replicas could wait for each other.
    blobs.sort_by_key(|a| a.digest);
    blobs.dedup_by_key(|a| a.digest);
    let digests: Vec<&str> = blobs.iter().map(|a| a.digest.as_str()).collect();
    let sizes: Vec<i64> = blobs.iter().map(|a| super::blobs::signed(a.size)).collect();
    let sums: Vec<Vec<u8>> = blobs.iter().map(|a| a.sums.to_bytes()).collect();
    let mut links: Vec<(&str, &str)> = arrived.iter().filter_map(|a| Some((a.repository?.as_str(), a.digest.as_str()))).collect();
    links.sort_unstable();
    links.dedup();
    let (link_repositories, link_digests): (Vec<&str>, Vec<&str>) = links.into_iter().unzip();
    let (small_digests, small_bytes): (Vec<&str>, Vec<&[u8]>) = blobs.iter().filter_map(|a| Some((a.digest.as_str(), a.bytes?))).unzip();
    let query = sqlx::query(KEEP).bind(&digests).bind(&sizes).bind(&sums).bind(now);
    query.bind(&link_repositories).bind(&link_digests).bind(&small_digests).bind(&small_bytes).execute(db).await?;
    Ok(())
}

/// Which blob is to be readable in which repository, and one more repository that the caller may read and that may have it.
pub type Mount = (RepositoryName, Digest, Option<RepositoryName>);

/// A blob that is readable where it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Mounted {
    /// Whether its bytes are in the database: then they are there.
    pub small: bool,
    pub at: OffsetDateTime,
}

/// The rows of `blobs` come first, in one order, and then the links, in one order, that of [`keep`], which is of bytes: two replicas could wait for
/// each other else.
const MOUNT: &str = r#"
    with asked as (select * from unnest($1::text[], $2::text[], $3::text[]) a(repository, digest, source)),
    found as (
        select distinct a.repository, b.digest, b.touched_at > $5::timestamptz as fresh, c.digest is not null as small
        from asked a join blobs b on b.digest = a.digest left join small_content c on c.digest = b.digest
        where b.damaged_at is null and (
            exists (select from blob_links l where l.repository = a.source and l.digest = b.digest)
            or exists (select from manifest_blobs m where m.repository = a.source and m.blob = b.digest and m.present))),
    locked as (
        select b.digest from blobs b where b.damaged_at is null and b.digest in (select digest from found where not fresh) order by b.digest for update),
    touched as (update blobs b set touched_at = $4::timestamptz from locked where b.digest = locked.digest returning b.digest),
    linked as (
        insert into blob_links (repository, digest, at)
        select repository, digest, $4::timestamptz from found where fresh or digest in (select digest from touched)
        order by repository collate "C", digest
        on conflict (repository, digest) do update set at = excluded.at returning repository, digest)
    select f.repository, f.digest, f.small from found f join linked l on l.repository = f.repository and l.digest = f.digest"#;

/// Makes blobs readable where they are asked for, if they are so already there or in the other repository; those that are not are left out. They
/// are marked as needed now, unless their mark is younger than `fresh`: collection leaves such alone, and one that it is removing at this moment
/// is not found. One statement and one commit for all.
///
/// # Errors
/// Database.
pub async fn mount(pool: &PgPool, asked: &[Mount], now: OffsetDateTime, fresh: std::time::Duration) -> Result<Vec<(Mount, Mounted)>, sqlx::Error> {
    let mut sources: Vec<(&str, &str, &str)> = Vec::with_capacity(asked.len() * 2);
    for (name, digest, from) in asked {
        sources.push((name.as_str(), digest.as_str(), name.as_str()));
        sources.extend(from.as_ref().map(|from| (name.as_str(), digest.as_str(), from.as_str())));
    }
    let names: Vec<&str> = sources.iter().map(|s| s.0).collect();
    let digests: Vec<&str> = sources.iter().map(|s| s.1).collect();
    let from: Vec<&str> = sources.iter().map(|s| s.2).collect();
    let query = sqlx::query_as(MOUNT).bind(&names).bind(&digests).bind(&from).bind(now).bind(now - fresh);
    let found: Vec<(String, String, bool)> = query.fetch_all(pool).await?;
    let small: HashMap<(&str, &str), bool> = found.iter().map(|(name, digest, small)| ((name.as_str(), digest.as_str()), *small)).collect();
    let mounted = |one: &Mount| small.get(&(one.0.as_str(), one.1.as_str())).map(|small| (one.clone(), Mounted { small: *small, at: now }));
    Ok(asked.iter().filter_map(mounted).collect())
}

/// Takes a mount back that was made at `at`, because the content is gone; what somebody has uploaded there since stays readable.
///
/// # Errors
/// Database.
pub async fn unmount(pool: &PgPool, name: &RepositoryName, digest: &Digest, at: OffsetDateTime) -> Result<(), sqlx::Error> {
    // The row of `blobs` first, as for whoever makes links.
    let sql = "with held as (select digest from blobs where digest = $2 for update),
        gone as (delete from blob_links where repository = $1 and digest = $2 and at <= $3 and (select count(*) from held) >= 0 returning digest)
        update blobs b set idle = true from gone g where b.digest = g.digest";
    sqlx::query(sql).bind(name.as_str()).bind(digest.as_str()).bind(at).execute(pool).await?;
    Ok(())
}

/// Those of `found` that have no row.
///
/// # Errors
/// Database.
pub async fn unknown(pool: &PgPool, found: &[(Digest, u64)]) -> Result<Vec<(Digest, u64)>, sqlx::Error> {
    let digests: Vec<&str> = found.iter().map(|(digest, _)| digest.as_str()).collect();
    let known: Vec<String> = sqlx::query_scalar("select digest from blobs where digest = any($1)").bind(&digests).fetch_all(pool).await?;
    let known: std::collections::HashSet<&str> = known.iter().map(String::as_str).collect();
    Ok(found.iter().filter(|(digest, _)| !known.contains(digest.as_str())).cloned().collect())
}

/// Makes rows for content of the store that has none, as of something that nobody has needed since `at`; how many. The bytes of small content
/// are in the database: what the store has of the same digest is no stray, for the row names both.
///
/// # Errors
/// Database.
pub async fn take_in(pool: &PgPool, found: &[(Digest, u64)], at: OffsetDateTime) -> Result<u64, sqlx::Error> {
    let (digests, sizes): (Vec<&str>, Vec<i64>) = found.iter().map(|(digest, size)| (digest.as_str(), super::blobs::signed(*size))).unzip();
    let sql =
        "insert into blobs (digest, size_bytes, touched_at) select d, s, $3 from unnest($1::text[], $2::bigint[]) t(d, s) order by d on conflict do nothing";
    Ok(sqlx::query(sql).bind(&digests).bind(&sizes).bind(at).execute(pool).await?.rows_affected())
}

const NEEDED: &str = "(exists (select from manifest_blobs m where m.blob = b.digest) or exists (select from manifests m where m.digest = b.digest))";

/// Blobs, and their bytes, that one round of collection would remove.
///
/// # Errors
/// Database.
pub async fn removable(pool: &PgPool, before: OffsetDateTime) -> Result<(i64, i64), sqlx::Error> {
    let sql = format!(
        "select count(*), coalesce(sum(size_bytes), 0)::bigint from blobs b where idle and touched_at < $1 and not {NEEDED}
         and not exists (select from blob_links l where l.digest = b.digest and l.at >= $1)"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(before).fetch_one(pool).await
}

/// Forgets up to `limit` blobs that nobody needs, and says which and how large; the caller removes those that the store has before
/// it commits. Those that turn out to be needed are not looked at again until something is deleted. `looked`: how many rows there were.
///
/// # Errors
/// Database.
pub async fn forget(tx: &mut PgConnection, before: OffsetDateTime, limit: i64) -> Result<(Vec<(String, i64)>, usize), sqlx::Error> {
    // A row that a push holds is left for the next round.
    let sql = "select digest from blobs where idle and touched_at < $1 order by touched_at limit $2 for update skip locked";
    let looked: Vec<String> = sqlx::query_scalar(sql).bind(before).bind(limit).fetch_all(&mut *tx).await?;
    let sql = format!(
        "delete from blobs b where digest = any($1) and not {NEEDED} and not exists (select from blob_links l where l.digest = b.digest) returning digest, size_bytes"
    );
    let gone: Vec<(String, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(&looked).fetch_all(&mut *tx).await?;
    let digests: Vec<&str> = gone.iter().map(|(digest, _)| digest.as_str()).collect();
    sqlx::query("delete from small_content where digest = any($1)").bind(&digests).execute(&mut *tx).await?;
    if gone.len() < looked.len() {
        sqlx::query("update blobs set idle = false where digest = any($1)").bind(&looked).execute(&mut *tx).await?;
    }
    Ok((gone, looked.len()))
}

/// Removes links that served their purpose: older than `before`, and not what makes a sparse image's late layer readable. Their blobs are looked at
/// by the next collection: one that was passed over because of a link would never be looked at again else.
///
/// # Errors
/// Database.
pub async fn remove_old_links(pool: &PgPool, before: OffsetDateTime) -> Result<u64, sqlx::Error> {
    // What somebody has at this moment is being renewed, and not waited for while others may wait for what is held here.
    let sql = "with old as (
            select repository, digest from blob_links l where at < $1 and not exists
            (select from manifest_blobs m where m.repository = l.repository and m.blob = l.digest and not m.present) for update skip locked),
        held as (select digest from blobs b where b.digest in (select digest from old) for update skip locked),
        gone as (
            delete from blob_links l using old where l.repository = old.repository and l.digest = old.digest and (
                old.digest in (select digest from held) or not exists (select from blobs b where b.digest = old.digest))
            returning l.digest),
        marked as (update blobs b set idle = true from (select distinct digest from gone) g where b.digest = g.digest and not b.idle)
        select count(*) from gone";
    let gone: i64 = sqlx::query_scalar(sql).bind(before).fetch_one(pool).await?;
    Ok(gone.unsigned_abs())
}

/// Blobs that were not checked since `before`, the longest first: digest, size, sums.
///
/// # Errors
/// Database.
pub async fn unchecked(pool: &PgPool, before: OffsetDateTime, limit: i64) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let sql = "select digest, size_bytes from blobs where checked_at is null or checked_at < $1 order by checked_at nulls first, digest limit $2";
    sqlx::query_as(sql).bind(before).bind(limit).fetch_all(pool).await
}

/// Notes the outcome of a check.
///
/// # Errors
/// Database.
pub async fn checked(pool: &PgPool, digest: &str, whole: bool, sums: Option<&Sums>, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let sql =
        "update blobs set checked_at = $2, damaged_at = case when $3 then null else coalesce(damaged_at, $2) end, sums = coalesce($4, sums) where digest = $1";
    sqlx::query(sql).bind(digest).bind(now).bind(whole).bind(sums.map(Sums::to_bytes)).execute(pool).await?;
    Ok(())
}

/// An image that damaged content hurts.
#[derive(Debug)]
pub struct Hurt {
    pub digest: String,
    pub size_bytes: i64,
    pub damaged_at: OffsetDateTime,
    /// None: no image has it.
    pub repository: Option<String>,
    pub manifest: Option<String>,
    pub tags: Vec<String>,
}

/// Damaged content with every image it belongs to.
///
/// # Errors
/// Database.
pub async fn damage(pool: &PgPool) -> Result<Vec<Hurt>, sqlx::Error> {
    let sql = "select b.digest, b.size_bytes, b.damaged_at, m.repository, m.manifest,
            array(select t.tag from tags t where t.repository = m.repository and t.digest = m.manifest order by t.tag limit 50) as tags
        from blobs b left join lateral (
            select repository, manifest from manifest_blobs where blob = b.digest
            union select repository, digest from manifests where digest = b.digest
        ) m on true
        where b.damaged_at is not null order by b.digest, m.repository, m.manifest limit 10000";
    let rows: Vec<(String, i64, OffsetDateTime, Option<String>, Option<String>, Vec<String>)> = sqlx::query_as(sql).fetch_all(pool).await?;
    let hurt = |(digest, size_bytes, damaged_at, repository, manifest, tags)| Hurt { digest, size_bytes, damaged_at, repository, manifest, tags };
    Ok(rows.into_iter().map(hurt).collect())
}

/// How many blobs were not checked since `before`.
///
/// # Errors
/// Database.
pub async fn waiting_for_check(pool: &PgPool, before: OffsetDateTime) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from blobs where checked_at is null or checked_at < $1").bind(before).fetch_one(pool).await
}

/// Everything is due for a check.
///
/// # Errors
/// Database.
pub async fn check_all(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let done = sqlx::query("update blobs set checked_at = null where checked_at is not null").execute(pool).await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}
