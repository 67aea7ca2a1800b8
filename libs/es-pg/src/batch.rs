//! The transaction that does many appends at once.
//!
//! Total order must equal visible order: the head row is locked *before* anything is inserted, and positions
//! are given out under that lock, so a reader that has seen position n will never later see a smaller one appear.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_es::{Recorded, StreamId};
use gantry_kernel::{Env, OffsetDateTime, Uuid};
use sqlx::{Connection, PgConnection, PgPool};

use crate::append::{Answer, Append, AppendError, Appended, Claim};
use crate::chain::{Link, chain};
use crate::held::Held;

#[derive(Clone, Default)]
struct Head {
    position: i64,
    hash: Vec<u8>,
}

/// Streams whose version is remembered between batches.
const REMEMBERED: usize = 10_000;

/// What the append task knows since its last batch. It holds as long as nobody else wrote, which the head shows: then the
/// head need not be locked and read first, and known streams need not be looked up.
#[derive(Default)]
pub(crate) struct Memory {
    head: Option<Head>,
    versions: HashMap<StreamId, i64>,
    /// Batches to go the long way, after another replica was met.
    careful: u32,
    pub held: Held,
}

impl Memory {
    fn keep(&mut self, head: Head, versions: HashMap<StreamId, i64>) {
        // Simple and bounded: who comes back after that is looked up once more.
        if self.versions.len() + versions.len() > REMEMBERED {
            self.versions.clear();
        }
        self.versions.extend(versions);
        self.head = Some(head);
    }
}

/// How many batches take the lock first after another replica was met.
const CAREFUL: u32 = 16;

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
    events: Vec<Arc<Recorded>>,
    hashes: Vec<Vec<u8>>,
    take: Vec<(String, String, String)>,
    release: Vec<(String, String)>,
    commands: Vec<(String, String, i64, i64)>,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.commands.is_empty() && self.take.is_empty() && self.release.is_empty()
    }
}

/// Appends that go into one transaction.
pub(crate) struct Batch<'a> {
    pub pool: &'a PgPool,
    pub origin: &'a str,
    pub env: &'a Env,
    pub appends: &'a [Append],
    /// The other replicas hear of it at once.
    pub tells: bool,
}

/// An append that goes in: how many of the batch's events are its own, and the position of its last.
struct Taken {
    events: usize,
    position: i64,
}

type Decision = Result<Taken, AppendError>;

impl Batch<'_> {
    /// Decides each append after the ones before it.
    fn take_in(&self, now: OffsetDateTime, head: &mut Head, seen: &mut Seen, rows: &mut Rows) -> Vec<Decision> {
        let most: usize = self.appends.iter().flat_map(|one| &one.writes).map(|write| write.events.len()).sum();
        rows.events.reserve(most);
        rows.hashes.reserve(most);
        self.appends.iter().map(|one| take_in(one, self, now, head, seen, rows)).collect()
    }
}

/// The answers, each with its own of the events that were written, which lie in the order of the decisions.
fn hand_out(decisions: Vec<Decision>, events: Vec<Arc<Recorded>>) -> Vec<Answer> {
    let mut events = events.into_iter();
    let mut answer = |taken: Taken| Appended { events: events.by_ref().take(taken.events).collect(), position: taken.position };
    decisions.into_iter().map(|decision| decision.map(&mut answer)).collect()
}

/// Appends all of `batch` in one transaction; each gets its own answer.
///
/// # Errors
/// When the transaction as a whole failed: then none of them happened (or, if the commit's answer was lost, all did
/// and a repetition by command id or expected version will show it).
pub(crate) async fn append_batch(batch: &Batch<'_>, memory: &mut Memory) -> Result<Vec<Answer>, sqlx::Error> {
    // Taken out: whatever goes wrong below, nothing doubtful is remembered.
    let remembered = memory.head.take();
    let at = remembered.as_ref().map(|head| head.position);
    memory.careful = memory.careful.saturating_sub(1);
    if let Some(head) = remembered
        && memory.careful == 0
        // A name may change hands without an event, which the head would not show.
        && batch.appends.iter().all(|a| a.claims.is_empty())
    {
        match append_as_remembered(batch, memory, head).await {
            Ok(Some(answers)) => return Ok(answers),
            // Nothing of ours was written.
            Ok(None) => {}
            // Another replica has just noted the same command.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
            Err(error) => return Err(error),
        }
    }
    append_locked(batch, memory, at).await
}

/// The short way, one statement: it moves the head from where we left it, and writes only if that succeeds. Whoever holds
/// the head's lock is waited for, and having moved it makes ours do nothing.
async fn append_as_remembered(batch: &Batch<'_>, memory: &mut Memory, before: Head) -> Result<Option<Vec<Answer>>, sqlx::Error> {
    let mut connection = memory.held.take(batch.pool).await?;
    // Read before the head is checked by the statement below: if it has not moved by then, this was the truth.
    let mut seen = read_seen(&mut connection, batch.appends, &memory.versions).await?;
    let mut rows = Rows::default();
    let mut head = before.clone();
    let now = batch.env.now();
    let decisions = batch.take_in(now, &mut head, &mut seen, &mut rows);
    // Without a write nothing tells whether what we remember still holds, and so whether the refusals are right.
    if rows.events.is_empty() {
        memory.held.put(connection);
        return Ok(None);
    }
    let written = write_rows(&mut connection, &rows, &before, &head, now, batch.tells).await?;
    memory.held.put(connection);
    if !written {
        return Ok(None);
    }
    memory.keep(head, seen.versions);
    Ok(Some(hand_out(decisions, rows.events)))
}

/// The long way: lock the head, look up what is not known, write. `at`: where we left the head.
async fn append_locked(batch: &Batch<'_>, memory: &mut Memory, at: Option<i64>) -> Result<Vec<Answer>, sqlx::Error> {
    let mut connection = memory.held.take(batch.pool).await?;
    let mut tx = connection.begin().await?;
    let (position, hash): (i64, Vec<u8>) = sqlx::query_as("select position, hash from log_head for update").fetch_one(&mut *tx).await?;
    let before = Head { position, hash };
    if at != Some(position) {
        memory.versions.clear();
        if at.is_some() {
            memory.careful = CAREFUL;
        }
    }
    let mut seen = read_seen(&mut tx, batch.appends, &memory.versions).await?;
    let mut rows = Rows::default();
    let mut head = before.clone();
    let now = batch.env.now();
    let decisions = batch.take_in(now, &mut head, &mut seen, &mut rows);
    if rows.is_empty() {
        tx.rollback().await?;
    } else {
        write_claims(&mut tx, &rows).await?;
        if !write_rows(&mut tx, &rows, &before, &head, now, batch.tells).await? {
            return Err(sqlx::Error::Protocol("the log's head moved under its lock".into()));
        }
        tx.commit().await?;
    }
    memory.held.put(connection);
    memory.keep(head, seen.versions);
    Ok(hand_out(decisions, rows.events))
}

async fn read_seen(connection: &mut PgConnection, batch: &[Append], known: &HashMap<StreamId, i64>) -> Result<Seen, sqlx::Error> {
    let mut seen = Seen::default();
    let mut unknown: Vec<&str> = Vec::new();
    for write in batch.iter().flat_map(|a| &a.writes) {
        match known.get(&write.stream) {
            Some(version) => drop(seen.versions.insert(write.stream.clone(), *version)),
            None => unknown.push(write.stream.as_str()),
        }
    }
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        let found: Vec<(String, i64)> = sqlx::query_as(
            "select s, e.version from unnest($1::text[]) s
             cross join lateral (select version from events where stream = s order by version desc limit 1) e",
        )
        .bind(&unknown)
        .fetch_all(&mut *connection)
        .await?;
        seen.versions.extend(found.into_iter().map(|(stream, version)| (StreamId::from_stored(stream), version)));
    }

    let keys: Vec<(&str, &str)> = batch.iter().flat_map(|a| a.claims.iter().map(Claim::key)).collect();
    if !keys.is_empty() {
        let (scopes, names): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
        let found: Vec<(String, String, String)> =
            sqlx::query_as("select c.scope, c.name, c.stream from claims c join unnest($1::text[], $2::text[]) k(scope, name) using (scope, name)")
                .bind(&scopes)
                .bind(&names)
                .fetch_all(&mut *connection)
                .await?;
        seen.claims = found.into_iter().map(|(scope, name, stream)| ((scope, name), Some(stream))).collect();
    }

    let commands: Vec<&str> = batch.iter().filter_map(|a| a.meta.command_id.as_deref()).collect();
    if !commands.is_empty() {
        let found: Vec<(String, String, i64, i64)> = sqlx::query_as("select command_id, stream, version, position from commands where command_id = any($1)")
            .bind(&commands)
            .fetch_all(&mut *connection)
            .await?;
        seen.commands = found.into_iter().map(|(id, stream, version, position)| (id, (stream, version, position))).collect();
    }
    Ok(seen)
}

fn take_in(one: &Append, batch: &Batch<'_>, now: OffsetDateTime, head: &mut Head, seen: &mut Seen, rows: &mut Rows) -> Decision {
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
                id: batch.env.uuid(),
                kind: event.kind.clone(),
                kind_version: event.kind_version,
                data: event.data.clone(),
                meta: one.meta.clone(),
                at: now,
                origin: batch.origin.to_owned(),
            };
            head.hash = chain(&head.hash, &Link::of(&recorded));
            rows.hashes.push(head.hash.clone());
            rows.events.push(Arc::new(recorded));
        }
    }
    if let (Some(id), Some(write)) = (&one.meta.command_id, one.writes.first()) {
        let version = seen.versions.get(&write.stream).copied().unwrap_or(0);
        seen.commands.insert(id.clone(), (owner.clone(), version, head.position));
        rows.commands.push((id.clone(), owner, version, head.position));
    }
    Ok(Taken { events: rows.events.len() - first, position: head.position })
}

async fn write_claims(tx: &mut PgConnection, rows: &Rows) -> Result<(), sqlx::Error> {
    if !rows.release.is_empty() {
        let (scopes, names): (Vec<&String>, Vec<&String>) = rows.release.iter().map(|(s, n)| (s, n)).unzip();
        sqlx::query("delete from claims c using unnest($1::text[], $2::text[]) k(scope, name) where c.scope = k.scope and c.name = k.name")
            .bind(scopes)
            .bind(names)
            .execute(&mut *tx)
            .await?;
    }
    if !rows.take.is_empty() {
        // Each once: the last of a batch is who has it, and one statement may not touch a row twice.
        let owners: HashMap<(&String, &String), &String> = rows.take.iter().map(|(scope, name, stream)| ((scope, name), stream)).collect();
        let (keys, streams): (Vec<_>, Vec<_>) = owners.into_iter().unzip();
        let (scopes, names): (Vec<&String>, Vec<&String>) = keys.into_iter().unzip();
        sqlx::query(
            "insert into claims (scope, name, stream) select * from unnest($1::text[], $2::text[], $3::text[])
             on conflict (scope, name) do update set stream = excluded.stream",
        )
        .bind(scopes)
        .bind(names)
        .bind(streams)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The statement that writes events, commands and head together, with what it gives back. The arrays, which are of one length, are taken
/// apart where columns stand: in `from`, Postgres would first put each into a table of its own, and read that.
macro_rules! write {
    ($($gives:tt)*) => {
        concat!(
            "with moved as (update log_head set position = $15, hash = $16 where position = $17 returning 1),
             added as (
                insert into events (position, stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash)
                select p, s, v, e, k, kv, d::json, a, t, f, c, tr, $13, h
                from (select unnest($1::bigint[]) p, unnest($2::text[]) s, unnest($3::bigint[]) v, unnest($4::uuid[]) e, unnest($5::text[]) k,
                             unnest($6::smallint[]) kv, unnest($7::text[]) d, unnest($8::text[]) a, unnest($9::uuid[]) t, unnest($10::text[]) f,
                             unnest($11::text[]) c, unnest($12::text[]) tr, unnest($14::bytea[]) h) r
                where exists (select from moved)),
             noted as (
                insert into commands (command_id, stream, version, position, at)
                select i, s, v, p, $13
                from (select unnest($18::text[]) i, unnest($19::text[]) s, unnest($20::bigint[]) v, unnest($21::bigint[]) p) r
                where exists (select from moved))
             select ",
            $($gives)*,
            " from moved"
        )
    };
}

/// Tells the other replicas how far the log is; with a statement or by itself.
macro_rules! tell {
    ($position:literal) => {
        concat!("pg_notify(current_schema() || '_events', ", $position, "::text)::text")
    };
}

/// Tells the other replicas how far the log is.
///
/// # Errors
/// Database.
pub(crate) async fn tell(pool: &PgPool, memory: &mut Memory, position: i64) -> Result<(), sqlx::Error> {
    let mut connection = memory.held.take(pool).await?;
    sqlx::query(concat!("select ", tell!("$1"))).bind(position).execute(&mut *connection).await?;
    memory.held.put(connection);
    Ok(())
}

/// Events, commands and head in one statement. `false`: the head was not where we thought, and nothing was written.
async fn write_rows(connection: &mut PgConnection, rows: &Rows, before: &Head, head: &Head, now: OffsetDateTime, tells: bool) -> Result<bool, sqlx::Error> {
    if rows.events.is_empty() && rows.commands.is_empty() {
        return Ok(true);
    }
    let events = &rows.events;
    let moved: Option<String> = sqlx::query_scalar(if tells { write!(tell!("$15")) } else { write!("'moved'") })
        .bind(events.iter().map(|e| e.position).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.stream.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.version).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.id).collect::<Vec<Uuid>>())
        .bind(events.iter().map(|e| e.kind.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| i16::try_from(e.kind_version).unwrap_or(i16::MAX)).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.data.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.meta.actor.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.meta.tenant.map(|t| t.0)).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.meta.from.as_deref()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.meta.command_id.as_deref()).collect::<Vec<_>>())
        .bind(events.iter().map(|e| e.meta.trace.as_deref()).collect::<Vec<_>>())
        .bind(now)
        .bind(&rows.hashes)
        .bind(head.position)
        .bind(&head.hash)
        .bind(before.position)
        .bind(rows.commands.iter().map(|c| c.0.as_str()).collect::<Vec<_>>())
        .bind(rows.commands.iter().map(|c| c.1.as_str()).collect::<Vec<_>>())
        .bind(rows.commands.iter().map(|c| c.2).collect::<Vec<_>>())
        .bind(rows.commands.iter().map(|c| c.3).collect::<Vec<_>>())
        .fetch_optional(&mut *connection)
        .await?;
    Ok(moved.is_some())
}
