//! New versions of configs and secrets, an old content brought back, and the end of one.

use gantry_auth::{Caller, SpaceRef};
use gantry_contract::kept::ConfigEvent;
use gantry_es::{EventData, Sealed, StreamId};
use gantry_es_pg::{Append, AppendError, Claim, Expect, StreamWrite};
use gantry_kernel::{FieldFault, Kind, Problem, Uuid};

use super::bodies::ConfigSetBody;
use super::reading::{Named, WRITE, find};
use super::{filling, tying, using};
use crate::app::Scheduler;
use crate::app::deploy::database;
use crate::domain::kept::{checked, checked_name, fingerprint, keys};
use crate::domain::model::Config;
use crate::store::{self, Kept};

/// What is to be set.
pub struct Set {
    pub name: String,
    pub secret: bool,
    pub content: Config,
    /// Keys that are not given stay as they are.
    pub merge: bool,
    /// Keys that go, of those that would stay.
    pub remove: Vec<String>,
    pub immutable: bool,
    pub reason: String,
    pub dry_run: bool,
    pub expect: Expect,
}

/// Makes a config or secret, or its next version.
///
/// # Errors
/// A missing right, faults, one that is immutable or of the other kind, a version that is not the present one, or the log is away.
pub async fn set(s: &Scheduler, caller: &Caller, space: &SpaceRef, new: Set) -> Result<ConfigSetBody, Problem> {
    s.host.auth.permit(caller, WRITE, space.scope())?;
    checked_name(&new.name).map_err(|(field, detail)| Problem::invalid(field, detail))?;
    refuse_long(&new.reason)?;
    let row = store::kept(s.orm(), space.id, &new.name, new.secret).await.map_err(database)?;
    refuse_stale(new.expect, row.as_ref().map_or(0, |r| r.version), &new.name)?;
    let before = match &row {
        Some(row) => Some(content_of(s, row, row.latest).await?),
        None => None,
    };
    let mut content = Config { secret: new.secret, ..new.content };
    if let Some(before) = before.as_ref().filter(|_| new.merge) {
        for (key, text) in before.entries.iter().filter(|(k, _)| content.get(k).is_none()).map(|(k, t)| (k.clone(), t.clone())).collect::<Vec<_>>() {
            content.entries.insert(key, text);
        }
        for (key, text) in before.binary.iter().filter(|(k, _)| content.get(k).is_none()).map(|(k, t)| (k.clone(), t.clone())).collect::<Vec<_>>() {
            content.binary.insert(key, text);
        }
        if content.kind.is_empty() {
            content.kind.clone_from(&before.kind);
        }
    }
    for key in &new.remove {
        content.entries.remove(key);
        content.binary.remove(key);
    }
    let write = Write { row, before, content, immutable: new.immutable, reason: new.reason, from: None, dry_run: new.dry_run };
    write_version(s, caller, space, &new.name, write).await
}

/// Brings the content of an earlier version back, as a new version.
///
/// # Errors
/// As [`set`]; or there is no such version.
pub async fn roll_back(
    s: &Scheduler,
    caller: &Caller,
    space: &SpaceRef,
    (name, secret): Named<'_>,
    to: u32,
    reason: String,
    expect: Expect,
) -> Result<ConfigSetBody, Problem> {
    s.host.auth.permit(caller, WRITE, space.scope())?;
    refuse_long(&reason)?;
    let row = find(s, space, (name, secret)).await?;
    refuse_stale(expect, row.version, name)?;
    let content = content_of(s, &row, to).await?;
    let before = content_of(s, &row, row.latest).await?;
    let reason = if reason.is_empty() { format!("back to version {to}") } else { reason };
    let write = Write { row: Some(row), before: Some(before), content, immutable: false, reason, from: Some(to), dry_run: false };
    write_version(s, caller, space, name, write).await
}

/// Deletes it with all versions, for ever: its key is erased.
///
/// # Errors
/// A missing right, not found, somebody uses it, or the log is away.
pub async fn delete(s: &Scheduler, caller: &Caller, space: &SpaceRef, (name, secret): Named<'_>, expect: Expect) -> Result<(), Problem> {
    s.host.auth.permit(caller, WRITE, space.scope())?;
    let row = find(s, space, (name, secret)).await?;
    refuse_stale(expect, row.version, name)?;
    for last in [false, false, true] {
        tying::hold(s, row.id, row.version).await?;
        refuse_used(s, space, &row).await?;
        let event = ConfigEvent::Deleted { config: row.id, space: space.id };
        let claims = vec![Claim::release(scope(space, row.secret), name), tying::still_held(row.id)];
        match append(s, caller, space, row.id, row.version, vec![event], claims).await {
            // An application was deployed with it just now: the next look names it, unless that has gone again.
            Err(Refused::Turn) if !last => {}
            done => {
                done?;
                break;
            }
        }
    }
    filling::forget(s, row.id);
    // Nobody can read it any more, not even from a backup of the log.
    if let Err(error) = s.host.keyring().erase(&filling::subject(row.id)).await {
        tracing::warn!(config.id = %row.id, error = %error, "the key of a deleted config could not be erased");
    }
    Ok(())
}

async fn refuse_used(s: &Scheduler, space: &SpaceRef, row: &Kept) -> Result<(), Problem> {
    let users = using::all_for_sure(s, space).await?.remove(&row.id).unwrap_or_default();
    if users.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = users.iter().map(|u| format!("{} (revision {})", u.app, u.revision)).collect();
    let detail = format!("`{}` is used by {}: deploy these without it first, or delete them", row.name, named.join(", "));
    Err(Problem::conflict("scheduler.config_in_use", detail))
}

struct Write {
    row: Option<Kept>,
    before: Option<Config>,
    content: Config,
    immutable: bool,
    reason: String,
    from: Option<u32>,
    dry_run: bool,
}

async fn write_version(s: &Scheduler, caller: &Caller, space: &SpaceRef, name: &str, w: Write) -> Result<ConfigSetBody, Problem> {
    let bytes =
        checked(&w.content).map_err(|faults| Problem::invalid_fields(faults.into_iter().map(|(field, detail)| FieldFault { field, detail }).collect()))?;
    let id = w.row.as_ref().map_or_else(|| s.host.env.uuid(), |r| r.id);
    let salt = match &w.row {
        Some(row) => s.host.keyring().open(&filling::subject(id), &row.salt).await.map_err(Problem::internal)?,
        None => hex::encode(s.host.env.random::<16>()),
    };
    let print = fingerprint(&salt, &w.content);
    let latest = w.row.as_ref().map_or(0, |r| r.latest);
    let same = w.before.as_ref().is_some_and(|before| fingerprint(&salt, before) == print);
    let mut body = ConfigSetBody {
        name: name.to_owned(),
        version: if same { latest } else { latest + 1 },
        changed: !same,
        fingerprint: print.clone(),
        diff: differences(w.before.as_ref(), &w.content),
        restart_needed: Vec::new(),
        created: w.row.is_none(),
        etag: w.row.as_ref().map_or(0, |r| r.version),
    };
    if !same && w.row.as_ref().is_some_and(|r| r.immutable) {
        return Err(Problem::conflict("scheduler.config_immutable", format!("`{name}` is immutable: set another one, and let applications use that")));
    }
    if !same && !w.dry_run {
        let mut events = Vec::new();
        let mut claims = Vec::new();
        if w.row.is_none() {
            let salt = seal(s, id, &salt).await?;
            let (org, project) = (space.org().id, space.project.id);
            let (secret, immutable) = (w.content.secret, w.immutable);
            events.push(ConfigEvent::Created { config: id, org, project, space: space.id, name: name.to_owned(), secret, immutable, salt });
            claims.push(Claim::take(scope(space, secret), name));
        }
        let text = serde_json::to_string(&w.content).map_err(Problem::internal)?;
        events.push(ConfigEvent::Set {
            config: id,
            space: space.id,
            number: latest + 1,
            content: seal(s, id, &text).await?,
            fingerprint: print,
            keys: keys(&w.content),
            bytes,
            reason: w.reason,
            from: w.from,
        });
        append(s, caller, space, id, body.etag, events, claims).await?;
        let row = find(s, space, (name, Some(w.content.secret))).await?;
        (body.version, body.etag) = (row.latest, row.version);
    }
    if let Some(row) = store::kept(s.orm(), space.id, name, w.content.secret).await.map_err(database)? {
        let users = using::all(s, space).await?.remove(&row.id).unwrap_or_default();
        // Before it is set it is not known to be old yet.
        let outdated = |u: &&super::bodies::ConfigUseBody| u.restart_needed || (w.dry_run && !same && u.variables);
        body.restart_needed = users.iter().filter(outdated).map(|u| u.app.clone()).collect();
    }
    Ok(body)
}

/// Keys that came, went or have another content.
fn differences(before: Option<&Config>, after: &Config) -> Vec<String> {
    let empty = Config::default();
    let (old, new) = (before.unwrap_or(&empty), after);
    let mut lines = Vec::new();
    for key in keys(new).into_keys() {
        match (old.get(&key), new.get(&key)) {
            (None, _) => lines.push(format!("+ {key}")),
            (was, is) if was != is => lines.push(format!("~ {key}: another content")),
            _ => {}
        }
    }
    lines.extend(keys(old).into_keys().filter(|key| new.get(key).is_none()).map(|key| format!("- {key}")));
    lines
}

async fn content_of(s: &Scheduler, row: &Kept, number: u32) -> Result<Config, Problem> {
    let version = store::kept_version(s.orm(), row.id, number).await.map_err(database)?;
    let version = version.ok_or_else(|| Problem::not_found("version", format_args!("{number} of {}; its newest is {}", row.name, row.latest)))?;
    Ok((*filling::open(s, &version).await.map_err(Problem::internal)?).clone())
}

fn refuse_long(reason: &str) -> Result<(), Problem> {
    if reason.chars().count() > 500 {
        return Err(Problem::invalid("reason", "a reason has at most 500 characters"));
    }
    Ok(())
}

fn refuse_stale(expect: Expect, version: i64, name: &str) -> Result<(), Problem> {
    match expect {
        Expect::Version(expected) if expected != version => {
            Err(Problem::new(Kind::Stale, "request.stale", format!("`{name}` has the ETag \"{version}\" now: read it again")))
        }
        Expect::Version(_) | Expect::Any => Ok(()),
    }
}

/// Configs have names of their own, and so have secrets.
fn scope(space: &SpaceRef, secret: bool) -> String {
    format!("{}.{}", if secret { "secret" } else { "config" }, space.id)
}

async fn seal(s: &Scheduler, id: Uuid, text: &str) -> Result<Sealed, Problem> {
    s.host.keyring().seal(&filling::subject(id), text).await.map_err(Problem::internal)
}

/// Why nothing was appended.
enum Refused {
    /// An application has taken the config's turn.
    Turn,
    Because(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Because(problem)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Turn => Self::conflict("scheduler.config_in_use", "an application is being deployed with it just now: try again"),
            Refused::Because(problem) => problem,
        }
    }
}

/// Somebody was faster.
pub fn changed_meanwhile() -> Problem {
    Problem::new(Kind::Stale, "request.stale", "somebody changed it meanwhile: read it again")
}

async fn append(
    s: &Scheduler,
    caller: &Caller,
    space: &SpaceRef,
    id: Uuid,
    expected: i64,
    events: Vec<ConfigEvent>,
    claims: Vec<Claim>,
) -> Result<(), Refused> {
    let events = events.iter().map(EventData::encode).collect();
    let write = StreamWrite { stream: StreamId::of::<ConfigEvent>(id), expected: Some(expected), events };
    let meta = caller.meta(Some(space.org().id));
    let position = match s.host.log().append(Append { writes: vec![write], claims, meta }).await {
        Ok(appended) => appended.position,
        // The same request once more: what it did then stands.
        Err(AppendError::Repeated { position, .. }) => position,
        Err(AppendError::NameTaken { scope, .. }) if scope == tying::TURN => return Err(Refused::Turn),
        Err(AppendError::NameTaken { name, .. }) => {
            let detail = format!("`{name}` was made by somebody else just now: read it, and set it again");
            return Err(Problem::conflict("request.name_taken", detail).into());
        }
        Err(AppendError::Stale { .. }) => return Err(changed_meanwhile().into()),
        Err(error) => return Err(Problem::unavailable("the event log").with_source(error).into()),
    };
    s.host.settled(position).await;
    Ok(())
}
