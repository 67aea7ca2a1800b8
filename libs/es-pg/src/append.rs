//! What an append asks and answers, and the transaction that does many of them at once.
//!
//! Total order must equal visible order: the head row is locked *before* anything is read or inserted, and positions
//! are given out under that lock, so a reader that has seen position n will never later see a smaller one appear.

use std::collections::HashMap;

use gantry_es::{Meta, NewEvent, Recorded, StreamId};
use gantry_kernel::{Env, OffsetDateTime, Uuid};
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Postgres, Transaction};
use thiserror::Error;

/// Events for one stream.
#[derive(Clone, Debug)]
pub struct StreamWrite {
    pub stream: StreamId,
    /// The version the writer has seen (0: no stream yet); `None` does not check.
    pub expected: Option<i64>,
    pub events: Vec<NewEvent>,
}

/// A unique name taken or given back in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Take { scope: String, name: String },
    Release { scope: String, name: String },
}

impl Claim {
    pub fn take(scope: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Take { scope: scope.into(), name: name.into() }
    }

    pub fn release(scope: impl Into<String>, name: impl Into<String>) -> Self {
        Self::Release { scope: scope.into(), name: name.into() }
    }

    fn key(&self) -> (&str, &str) {
        match self {
            Self::Take { scope, name } | Self::Release { scope, name } => (scope, name),
        }
    }
}

/// All or nothing: events for one or several streams, with name claims. `meta.command_id` makes it happen once.
#[derive(Clone, Debug)]
pub struct Append {
    pub writes: Vec<StreamWrite>,
    pub claims: Vec<Claim>,
    pub meta: Meta,
}

impl Append {
    pub fn one(stream: StreamId, expected: Option<i64>, events: Vec<NewEvent>, meta: Meta) -> Self {
        Self { writes: vec![StreamWrite { stream, expected, events }], claims: Vec::new(), meta }
    }
}

/// What became of an append.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The events as recorded, in order.
    pub events: Vec<Recorded>,
    /// Position of the last one.
    pub position: i64,
}

#[derive(Debug, Error)]
pub enum AppendError {
    #[error("stream {stream} is at version {actual}, not {expected}")]
    Stale { stream: StreamId, expected: i64, actual: i64 },
    #[error("the name `{name}` is taken")]
    NameTaken { scope: String, name: String, by: StreamId },
    /// The command was carried out before; the stream it wrote then, and how far.
    #[error("this command was carried out before")]
    Repeated { stream: StreamId, version: i64, position: i64 },
    #[error("the event log is shutting down")]
    Closed,
    #[error("too many appends are waiting")]
    Overloaded,
    #[error("the database refused the append")]
    Sql(#[source] std::sync::Arc<sqlx::Error>),
}

pub(crate) type Answer = Result<Appended, AppendError>;

struct Head {
    position: i64,
    hash: Vec<u8>,
}

/// What the batch has read and decided so far; later appends of the batch see what earlier ones did.
#[derive(Default)]
struct Seen {
    versions: HashMap<StreamId, i64>,
    claims: HashMap<(String, String), Option<String>>,
    commands: HashMap<String, (String, i64, i64)>,
}

/// The columns of the rows to insert, and what to change beside them.
#[derive(Default)]
struct Rows {
    events: Vec<Recorded>,
    hashes: Vec<Vec<u8>>,
    data: Vec<String>,
    take: Vec<(String, String, String)>,
    release: Vec<(String, String)>,
    commands: Vec<(String, String, i64, i64)>,
}

/// Appends all of `batch` in one transaction; each gets its own answer.
///
/// # Errors
/// When the transaction as a whole failed: then none of them happened (or, if the commit's answer was lost, all did
/// and a repetition by command id or expected version will show it).
pub(crate) async fn append_batch(pool: &PgPool, origin: &str, env: &Env, batch: &[Append]) -> Result<Vec<Answer>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let (position, hash): (i64, Vec<u8>) = sqlx::query_as("select position, hash from log_head for update").fetch_one(&mut *tx).await?;
    let mut head = Head { position, hash };
    let mut seen = read_seen(&mut tx, batch).await?;
    let mut rows = Rows::default();
    let now = env.now();
    let answers: Vec<Answer> = batch.iter().map(|one| take_in(one, origin, env, now, &mut head, &mut seen, &mut rows)).collect();
    if !rows.events.is_empty() || !rows.take.is_empty() || !rows.release.is_empty() {
        write_rows(&mut tx, &rows, &head, now).await?;
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(answers)
}

async fn read_seen(tx: &mut Transaction<'_, Postgres>, batch: &[Append]) -> Result<Seen, sqlx::Error> {
    let mut seen = Seen::default();
    let mut streams: Vec<&str> = batch.iter().flat_map(|a| a.writes.iter().map(|w| w.stream.as_str())).collect();
    streams.sort_unstable();
    streams.dedup();
    let found: Vec<(String, i64)> = sqlx::query_as(
        "select s, e.version from unnest($1::text[]) s
         cross join lateral (select version from events where stream = s order by version desc limit 1) e",
    )
    .bind(&streams)
    .fetch_all(&mut **tx)
    .await?;
    seen.versions = found.into_iter().map(|(stream, version)| (StreamId::from_stored(stream), version)).collect();

    let keys: Vec<(&str, &str)> = batch.iter().flat_map(|a| a.claims.iter().map(Claim::key)).collect();
    if !keys.is_empty() {
        let (scopes, names): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
        let found: Vec<(String, String, String)> =
            sqlx::query_as("select c.scope, c.name, c.stream from claims c join unnest($1::text[], $2::text[]) k(scope, name) using (scope, name)")
                .bind(&scopes)
                .bind(&names)
                .fetch_all(&mut **tx)
                .await?;
        seen.claims = found.into_iter().map(|(scope, name, stream)| ((scope, name), Some(stream))).collect();
    }

    let commands: Vec<&str> = batch.iter().filter_map(|a| a.meta.command_id.as_deref()).collect();
    if !commands.is_empty() {
        let found: Vec<(String, String, i64, i64)> = sqlx::query_as("select command_id, stream, version, position from commands where command_id = any($1)")
            .bind(&commands)
            .fetch_all(&mut **tx)
            .await?;
        seen.commands = found.into_iter().map(|(id, stream, version, position)| (id, (stream, version, position))).collect();
    }
    Ok(seen)
}

fn take_in(one: &Append, origin: &str, env: &Env, now: OffsetDateTime, head: &mut Head, seen: &mut Seen, rows: &mut Rows) -> Answer {
    if let Some((stream, version, position)) = one.meta.command_id.as_ref().and_then(|id| seen.commands.get(id)) {
        return Err(AppendError::Repeated { stream: StreamId::from_stored(stream.clone()), version: *version, position: *position });
    }
    for write in &one.writes {
        let actual = seen.versions.get(&write.stream).copied().unwrap_or(0);
        if let Some(expected) = write.expected.filter(|e| *e != actual) {
            return Err(AppendError::Stale { stream: write.stream.clone(), expected, actual });
        }
    }
    let owner = one.writes.first().map(|w| w.stream.as_str().to_owned()).unwrap_or_default();
    let given_back = |scope: &str, name: &str| one.claims.iter().any(|c| matches!(c, Claim::Release { scope: s, name: n } if s == scope && n == name));
    for claim in &one.claims {
        if let Claim::Take { scope, name } = claim
            && let Some(Some(by)) = seen.claims.get(&(scope.clone(), name.clone()))
            && *by != owner
            && !given_back(scope, name)
        {
            return Err(AppendError::NameTaken { scope: scope.clone(), name: name.clone(), by: StreamId::from_stored(by.clone()) });
        }
    }
    // Nothing can refuse from here on.
    for claim in &one.claims {
        match claim {
            Claim::Take { scope, name } => {
                seen.claims.insert((scope.clone(), name.clone()), Some(owner.clone()));
                rows.take.push((scope.clone(), name.clone(), owner.clone()));
            }
            Claim::Release { scope, name } => {
                seen.claims.insert((scope.clone(), name.clone()), None);
                rows.take.retain(|(s, n, _)| !(s == scope && n == name));
                rows.release.push((scope.clone(), name.clone()));
            }
        }
    }
    let first = rows.events.len();
    for write in &one.writes {
        let version = seen.versions.entry(write.stream.clone()).or_default();
        for event in &write.events {
            *version += 1;
            head.position += 1;
            let recorded = Recorded {
                position: head.position,
                stream: write.stream.clone(),
                version: *version,
                id: env.uuid(),
                kind: event.kind.clone(),
                kind_version: event.kind_version,
                data: event.data.clone(),
                meta: one.meta.clone(),
                at: now,
                origin: origin.to_owned(),
            };
            let data = event.data.to_string();
            head.hash = chain(&head.hash, &Link::of(&recorded, &data));
            rows.hashes.push(head.hash.clone());
            rows.data.push(data);
            rows.events.push(recorded);
        }
    }
    if let (Some(id), Some(write)) = (&one.meta.command_id, one.writes.first()) {
        let version = seen.versions.get(&write.stream).copied().unwrap_or(0);
        seen.commands.insert(id.clone(), (owner.clone(), version, head.position));
        rows.commands.push((id.clone(), owner, version, head.position));
    }
    Ok(Appended { events: rows.events[first..].to_vec(), position: head.position })
}

async fn write_rows(tx: &mut Transaction<'_, Postgres>, rows: &Rows, head: &Head, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    if !rows.release.is_empty() {
        let (scopes, names): (Vec<&String>, Vec<&String>) = rows.release.iter().map(|(s, n)| (s, n)).unzip();
        sqlx::query("delete from claims c using unnest($1::text[], $2::text[]) k(scope, name) where c.scope = k.scope and c.name = k.name")
            .bind(scopes)
            .bind(names)
            .execute(&mut **tx)
            .await?;
    }
    for (scope, name, stream) in &rows.take {
        sqlx::query("insert into claims (scope, name, stream) values ($1, $2, $3) on conflict (scope, name) do update set stream = excluded.stream")
            .bind(scope)
            .bind(name)
            .bind(stream)
            .execute(&mut **tx)
            .await?;
    }
    for (id, stream, version, position) in &rows.commands {
        sqlx::query("insert into commands (command_id, stream, version, position, at) values ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(stream)
            .bind(version)
            .bind(position)
            .bind(now)
            .execute(&mut **tx)
            .await?;
    }
    let events = &rows.events;
    sqlx::query(
        "with added as (
            insert into events (position, stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash)
            select p, s, v, e, k, kv, d::json, a, t, f, c, tr, $13, h
            from unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::smallint[], $7::text[], $8::text[], $9::uuid[],
                        $10::text[], $11::text[], $12::text[], $14::bytea[]) as r(p, s, v, e, k, kv, d, a, t, f, c, tr, h))
         update log_head set position = $15, hash = $16 returning pg_notify(current_schema() || '_events', $15::text)",
    )
    .bind(events.iter().map(|e| e.position).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.stream.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.version).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.id).collect::<Vec<Uuid>>())
    .bind(events.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| i16::try_from(e.kind_version).unwrap_or(i16::MAX)).collect::<Vec<_>>())
    .bind(&rows.data)
    .bind(events.iter().map(|e| e.meta.actor.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.meta.tenant.map(|t| t.0)).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.meta.from.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.meta.command_id.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|e| e.meta.trace.as_deref()).collect::<Vec<_>>())
    .bind(now)
    .bind(&rows.hashes)
    .bind(head.position)
    .bind(&head.hash)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Everything of a row that the chain covers.
pub(crate) struct Link<'a> {
    pub position: i64,
    pub stream: &'a str,
    pub version: i64,
    pub id: Uuid,
    pub kind: &'a str,
    pub kind_version: u16,
    pub data: &'a str,
    pub actor: &'a str,
    pub tenant: Option<Uuid>,
    pub from: Option<&'a str>,
    pub command_id: Option<&'a str>,
    pub trace: Option<&'a str>,
    pub at: OffsetDateTime,
}

impl<'a> Link<'a> {
    fn of(event: &'a Recorded, data: &'a str) -> Self {
        Self {
            position: event.position,
            stream: event.stream.as_str(),
            version: event.version,
            id: event.id,
            kind: &event.kind,
            kind_version: event.kind_version,
            data,
            actor: &event.meta.actor,
            tenant: event.meta.tenant.map(|t| t.0),
            from: event.meta.from.as_deref(),
            command_id: event.meta.command_id.as_deref(),
            trace: event.meta.trace.as_deref(),
            at: event.at,
        }
    }
}

/// SHA-256 over the previous hash and the row, every field with its length before it so that no two rows read alike.
pub(crate) fn chain(previous: &[u8], link: &Link<'_>) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(previous);
    field(&link.position.to_be_bytes());
    field(link.stream.as_bytes());
    field(&link.version.to_be_bytes());
    field(link.id.as_bytes());
    field(link.kind.as_bytes());
    field(&link.kind_version.to_be_bytes());
    field(link.data.as_bytes());
    field(link.actor.as_bytes());
    field(link.tenant.map(|t| t.into_bytes()).as_ref().map_or(&[], |t| &t[..]));
    for text in [link.from, link.command_id, link.trace] {
        field(text.unwrap_or_default().as_bytes());
    }
    field(&link.at.unix_timestamp_nanos().to_be_bytes());
    hash.finalize().to_vec()
}
