//! The service's own record of security facts: appended, never changed (the grant forbids it), each row holding the hash of
//! the one before it, in monthly partitions. Also how far it has been published.
//!
//! Whoever can read the table can check it without us (docs/identity.md): a row's hash is SHA-256 over the previous row's
//! hash, then `<seq> <fact>` in UTF-8.

use gantry_kernel::{OffsetDateTime, Uuid};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use time::{Date, Month};

/// `facts` of before stays readable: an older version beside this one still writes there.
pub const TABLES: (&str, &str) = (
    "identity-0200-fact-chain",
    "create table fact_chain (
        seq bigint not null, at timestamptz not null, id uuid not null, fact json not null, hash bytea not null,
        actor text not null generated always as (fact ->> 'actor') stored, object text not null generated always as (fact ->> 'object') stored,
        primary key (seq, at)
    ) partition by range (at);
    create index fact_chain_actor on fact_chain (actor, at);
    create index fact_chain_object on fact_chain (object, at);
    create table fact_chain_rest partition of fact_chain default;
    create table fact_head (only_one boolean primary key default true check (only_one), seq bigint not null, hash bytea not null);
    insert into fact_head values (true, 0, '\\x');
    create table fact_relay (only_one boolean primary key default true check (only_one), published bigint not null);
    insert into fact_relay values (true, 0);
    do $$ begin
        execute format('revoke update, delete, truncate on fact_chain, fact_chain_rest from %I', 'gantry_' || current_schema());
    end $$;",
);

/// Where the chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub seq: i64,
    pub hash: Vec<u8>,
}

/// A fact as it is kept: its JSON text, which the chain covers.
#[derive(Clone, Debug)]
pub struct Kept {
    pub id: Uuid,
    pub at: OffsetDateTime,
    pub text: String,
}

/// The next link: what the chain's end becomes with this fact.
pub fn link(before: &Head, text: &str) -> Head {
    let seq = before.seq + 1;
    let mut hash = Sha256::new();
    hash.update(&before.hash);
    hash.update(format!("{seq} {text}").as_bytes());
    Head { seq, hash: hash.finalize().to_vec() }
}

pub async fn head(pool: &PgPool) -> Result<Head, sqlx::Error> {
    let (seq, hash) = sqlx::query_as("select seq, hash from fact_head").fetch_one(pool).await?;
    Ok(Head { seq, hash })
}

/// Appends after `before`, all in one statement and durably, and gives the new end. `None`: another replica has appended
/// meanwhile, and nothing was written.
pub async fn append(pool: &PgPool, before: &Head, facts: &[Kept]) -> Result<Option<Head>, sqlx::Error> {
    let (mut end, mut seqs, mut hashes) = (before.clone(), Vec::with_capacity(facts.len()), Vec::with_capacity(facts.len()));
    for fact in facts {
        end = link(&end, &fact.text);
        seqs.push(end.seq);
        hashes.push(end.hash.clone());
    }
    let moved: Option<i32> = sqlx::query_scalar(
        "with moved as (update fact_head set seq = $6, hash = $7 where seq = $8 returning 1),
         added as (
            insert into fact_chain (seq, at, id, fact, hash)
            select s, a, i, f::json, h from unnest($1::bigint[], $2::timestamptz[], $3::uuid[], $4::text[], $5::bytea[]) as r(s, a, i, f, h)
            where exists (select from moved))
         select 1 from moved",
    )
    .bind(seqs)
    .bind(facts.iter().map(|f| f.at).collect::<Vec<_>>())
    .bind(facts.iter().map(|f| f.id).collect::<Vec<_>>())
    .bind(facts.iter().map(|f| f.text.as_str()).collect::<Vec<_>>())
    .bind(hashes)
    .bind(end.seq)
    .bind(&end.hash)
    .bind(before.seq)
    .fetch_optional(pool)
    .await?;
    Ok(moved.map(|_| end))
}

/// How many facts there are, and the first that is not as it was written or whose predecessor is missing. Reads all of them,
/// for five minutes at most.
pub async fn verify(pool: &PgPool) -> Result<(i64, Option<i64>), sqlx::Error> {
    let mut tx = pool.begin().await?;
    // One moment's view: the end must be that of the rows.
    sqlx::raw_sql("set transaction isolation level repeatable read read only; set local statement_timeout = '300s'").execute(&mut *tx).await?;
    let sql = "select min(seq) from (
                   select seq, hash, coalesce(lag(seq) over w, 0) + 1 as next,
                          sha256(coalesce(lag(hash) over w, '\\x'::bytea) || convert_to(seq::text || ' ' || fact::text, 'UTF8')) as ought
                   from fact_chain window w as (order by seq)
               ) chain where hash <> ought or seq <> next";
    let bad: Option<i64> = sqlx::query_scalar(sql).fetch_one(&mut *tx).await?;
    let (seq, hash): (i64, Vec<u8>) = sqlx::query_as("select seq, hash from fact_head").fetch_one(&mut *tx).await?;
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as("select seq, hash from fact_chain order by seq desc limit 1").fetch_optional(&mut *tx).await?;
    tx.commit().await?;
    // Rows cut off at the end leave no gap: the head remembers.
    let cut = (last.unwrap_or_default() != (seq, hash)).then_some(seq);
    Ok((seq, bad.or(cut)))
}

/// What comes after the last published one, and the lock on being the one who publishes it; `None` while another does.
pub async fn unpublished(connection: &mut PgConnection, limit: i64) -> Result<Option<Vec<(i64, Uuid, String)>>, sqlx::Error> {
    let published: Option<i64> = sqlx::query_scalar("select published from fact_relay for update skip locked").fetch_optional(&mut *connection).await?;
    let Some(published) = published else { return Ok(None) };
    let sql = "select seq, id, fact::text from fact_chain where seq > $1 order by seq limit $2";
    sqlx::query_as(sql).bind(published).bind(limit).fetch_all(connection).await.map(Some)
}

pub async fn published(connection: &mut PgConnection, seq: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update fact_relay set published = $1").bind(seq).execute(connection).await?;
    Ok(())
}

/// Makes the partitions of this month and the next, where they are missing. By the schema's owner.
pub async fn make_partitions(owner: &PgPool, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    let mut first = now.date().replace_day(1).unwrap_or_else(|_| now.date());
    for _ in 0..2 {
        let next = month_after(first);
        let name = format!("fact_chain_{}_{:02}", first.year(), u8::from(first.month()));
        let sql = format!(
            "do $$ begin
                perform pg_advisory_xact_lock(7203320);
                if to_regclass(format('%I.%I', current_schema(), '{name}')) is null then
                    create table {name} partition of fact_chain for values from ('{first}') to ('{next}');
                    execute format('revoke update, delete, truncate on {name} from %I', 'gantry_' || current_schema());
                end if;
             end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(owner).await?;
        first = next;
    }
    Ok(())
}

fn month_after(first: Date) -> Date {
    let (year, month) = match first.month() {
        Month::December => (first.year() + 1, Month::January),
        month => (first.year(), month.next()),
    };
    Date::from_calendar_date(year, month, 1).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn a_changed_fact_changes_every_hash_after_it() {
        let start = Head { seq: 0, hash: Vec::new() };
        let chain = |texts: &[&str]| texts.iter().fold(start.clone(), |head, text| link(&head, text));
        assert_eq!(chain(&["a", "b"]), chain(&["a", "b"]));
        assert_ne!(chain(&["a", "b"]).hash, chain(&["x", "b"]).hash);
        assert_ne!(chain(&["a", "b"]).hash, chain(&["b", "a"]).hash);
        assert_eq!(chain(&["a", "b"]).seq, 2);
    }

    #[test]
    fn a_year_ends_with_december() {
        assert_eq!(month_after(date!(2026 - 12 - 01)), date!(2027 - 01 - 01));
        assert_eq!(month_after(date!(2026 - 01 - 01)), date!(2026 - 02 - 01));
    }
}
