//! The audit trail: append-only, numbered, hash-chained.

use gantry_kernel::{OffsetDateTime, Uuid};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};

/// A record before it has a number.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub id: Uuid,
    pub at: OffsetDateTime,
    /// `event` or `fact`.
    pub source: &'static str,
    pub service: String,
    pub kind: String,
    pub actor: String,
    pub org: Option<Uuid>,
    pub project: Option<Uuid>,
    pub space: Option<Uuid>,
    pub object: String,
    pub name: Option<String>,
    pub content: Option<Value>,
    pub before: Option<Value>,
    /// The kinds of the event that will end it; none: it has ended.
    pub ended_by: Option<Vec<String>>,
    pub result: String,
    pub reason: String,
    pub from: Option<String>,
    pub trace: Option<String>,
}

/// Whether what a record tells of is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Running,
    Ended,
}

/// A record as it is shown: who, what kind, on what, content, state, when, with what result, why, from where (clause 6.6.2.1.a).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Record {
    pub seq: i64,
    pub id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub service: String,
    pub kind: String,
    /// "user:<uuid>", "service:<name>", "system", "anonymous".
    pub actor: String,
    pub org: Option<Uuid>,
    pub project: Option<Uuid>,
    pub space: Option<Uuid>,
    /// "app:<uuid>", "user:<uuid>", or a path.
    pub object: String,
    /// The object's name for people, if it has one.
    pub name: Option<String>,
    /// What it became: the event's data without personal and secret values.
    pub content: Option<Value>,
    /// What it was, as far as it has changed: the same fields, or all of what was removed.
    pub before: Option<Value>,
    pub state: State,
    /// When it was over; none while it runs.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// `ok`, `denied` or `failed`; of what takes its time, the end's.
    pub result: String,
    /// Why it failed or was denied, or what its author gave as a reason.
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub trace: Option<String>,
}

/// What the reader may see.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    pub everything: bool,
    pub orgs: Vec<Uuid>,
    pub projects: Vec<Uuid>,
    pub spaces: Vec<Uuid>,
}

impl Sight {
    pub fn nothing(&self) -> bool {
        !self.everything && self.orgs.is_empty() && self.projects.is_empty() && self.spaces.is_empty()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub actor: Option<String>,
    /// A kind, or its beginning with `*`: `app.*`.
    pub kind: Option<String>,
    pub object: Option<String>,
    pub result: Option<String>,
    pub from: Option<OffsetDateTime>,
    pub to: Option<OffsetDateTime>,
    pub org: Option<Uuid>,
    /// Text in kind, object, name, reason or content.
    pub text: Option<String>,
}

/// Adds a record; one that is there already changes nothing.
///
/// # Errors
/// When the database refuses.
pub async fn add(tx: &impl ConnectionTrait, record: NewRecord) -> Result<(), DbErr> {
    // Postgres takes no NUL in texts; nobody should be able to stop the trail with one.
    let clean = |text: String| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
    let sql = "select audit_add($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, string_to_array($18, ','))";
    let values: [sea_orm::Value; 18] = [
        record.id.into(),
        record.at.into(),
        record.source.into(),
        clean(record.service).into(),
        clean(record.kind).into(),
        clean(record.actor).into(),
        record.org.into(),
        record.project.into(),
        record.space.into(),
        clean(record.object).into(),
        record.name.map(clean).into(),
        record.content.into(),
        clean(record.result).into(),
        clean(record.reason).into(),
        record.from.map(clean).into(),
        record.trace.map(clean).into(),
        record.before.into(),
        record.ended_by.map(|kinds| kinds.join(",")).into(),
    ];
    tx.query_one_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await?;
    Ok(())
}

/// The newest first, before number `before`.
///
/// # Errors
/// When the database refuses.
pub async fn search(pool: &PgPool, sight: &Sight, filter: &Filter, before: Option<i64>, limit: i64) -> Result<Vec<Record>, sqlx::Error> {
    let mut query = select(sight);
    if let Some(actor) = &filter.actor {
        query.push(" and actor = ").push_bind(actor.clone());
    }
    match filter.kind.as_ref().map(|kind| (kind.strip_suffix('*'), kind)) {
        Some((Some(start), _)) => query.push(" and kind like ").push_bind(format!("{}%", escaped(start))),
        Some((None, kind)) => query.push(" and kind = ").push_bind(kind.clone()),
        None => &mut query,
    };
    if let Some(object) = &filter.object {
        query.push(" and object = ").push_bind(object.clone());
    }
    if let Some(result) = &filter.result {
        query.push(" and coalesce(e.end_result, result) = ").push_bind(result.clone());
    }
    if let Some(from) = filter.from {
        query.push(" and at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" and at < ").push_bind(to);
    }
    if let Some(org) = filter.org {
        query.push(" and org = ").push_bind(org);
    }
    if let Some(text) = &filter.text {
        let like = format!("%{}%", escaped(text));
        query.push(" and concat_ws(' ', kind, object, name, reason, end_reason, actor, content::text, before::text) ilike ").push_bind(like);
    }
    if let Some(before) = before {
        query.push(" and seq < ").push_bind(before);
    }
    query.push(" order by seq desc limit ").push_bind(limit);
    query.build().fetch_all(pool).await?.iter().map(record_of).collect()
}

/// Domain events after number `after`, the oldest first.
///
/// # Errors
/// When the database refuses.
pub async fn events_after(pool: &PgPool, sight: &Sight, after: i64, limit: i64) -> Result<Vec<Record>, sqlx::Error> {
    let mut query = select(sight);
    query.push(" and source = 'event' and seq > ").push_bind(after).push(" order by seq limit ").push_bind(limit);
    query.build().fetch_all(pool).await?.iter().map(record_of).collect()
}

/// Makes the pieces of the trail for the next five million records, where they are missing. By the schema's owner.
///
/// # Errors
/// When the database refuses.
pub async fn make_pieces(owner: &PgPool) -> Result<(), sqlx::Error> {
    // What came while there was no piece lies in `audit_rest`, and the numbers around it stay there.
    let sql = "do $$ declare head bigint; top bigint; last bigint;
        begin
            perform pg_advisory_xact_lock(7203321);
            select seq into head from audit_head;
            select max((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''?(\\d+)''?\\)'))[1]::bigint) into top
                from pg_class c join pg_inherits i on i.inhrelid = c.oid where i.inhparent = 'audit'::regclass;
            select max(seq) into last from audit_rest;
            top := greatest(coalesce(top, 1), coalesce((last / 1000000 + 1) * 1000000 + 1, 1));
            while top <= head + 5000000 loop
                execute format('create table audit_%s partition of audit for values from (%s) to (%s)', top / 1000000, top, top + 1000000);
                execute format('revoke update, delete, truncate on %I from %I', 'audit_' || top / 1000000, 'gantry_' || current_schema());
                top := top + 1000000;
            end loop;
        end $$";
    sqlx::raw_sql(sql).execute(owner).await?;
    Ok(())
}

/// The number of the newest record.
///
/// # Errors
/// When the database refuses.
pub async fn head(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select seq from audit_head").fetch_one(pool).await
}

/// The first record that is not as it was written, or whose predecessor is missing; and how many there are.
///
/// # Errors
/// When the database refuses.
pub async fn verify(pool: &PgPool) -> Result<(i64, Option<i64>), sqlx::Error> {
    let sql = "select min(seq) from (
                   select a.seq, a.hash, sha256(coalesce(lag(a.hash) over w, '\\x'::bytea) || convert_to(audit_text(a), 'UTF8')) as expected,
                          coalesce(lag(a.seq) over w, 0) + 1 as expected_seq
                   from audit a window w as (order by a.seq)
               ) t where hash <> expected or seq <> expected_seq";
    let bad: Option<i64> = sqlx::query_scalar(sql).fetch_one(pool).await?;
    let (head, head_hash): (i64, Vec<u8>) = sqlx::query_as("select seq, hash from audit_head").fetch_one(pool).await?;
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as("select seq, hash from audit order by seq desc limit 1").fetch_optional(pool).await?;
    // Rows cut off at the end leave no gap: the head remembers.
    let cut = if last.unwrap_or((0, Vec::new())) == (head, head_hash) { None } else { Some(head) };
    Ok((head, bad.or(cut)))
}

fn select(sight: &Sight) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "select seq, id, at, service, kind, actor, org, project, space, object, name, content, before, coalesce(e.end_result, result) as result,
                concat_ws(' · ', nullif(reason, ''), nullif(e.end_reason, '')) as reason, from_addr, trace, case when ended_by is null then at else e.ended_at end as ended_at
         from audit left join lateral (
             select later.at as ended_at, later.result as end_result, later.reason as end_reason from audit later
             where audit.ended_by is not null and later.object = audit.object and later.seq > audit.seq and later.kind = any(audit.ended_by)
             order by later.seq limit 1
         ) e on true where ",
    );
    if sight.everything {
        query.push("true");
    } else {
        query.push("(org = any(").push_bind(sight.orgs.clone());
        query.push(") or project = any(").push_bind(sight.projects.clone());
        query.push(") or space = any(").push_bind(sight.spaces.clone());
        query.push("))");
    }
    query
}

/// Text in which `%` and `_` mean themselves.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

fn record_of(row: &PgRow) -> Result<Record, sqlx::Error> {
    Ok(Record {
        seq: row.try_get("seq")?,
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        service: row.try_get("service")?,
        kind: row.try_get("kind")?,
        actor: row.try_get("actor")?,
        org: row.try_get("org")?,
        project: row.try_get("project")?,
        space: row.try_get("space")?,
        object: row.try_get("object")?,
        name: row.try_get("name")?,
        content: row.try_get("content")?,
        before: row.try_get("before")?,
        state: if row.try_get::<Option<OffsetDateTime>, _>("ended_at")?.is_some() { State::Ended } else { State::Running },
        ended_at: row.try_get("ended_at")?,
        result: row.try_get("result")?,
        reason: row.try_get("reason")?,
        from: row.try_get("from_addr")?,
        trace: row.try_get("trace")?,
    })
}
