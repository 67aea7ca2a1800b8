//! Replication: a run is planned once, then done item by item; what is done is written down after each, so that a run goes
//! on where it was, whoever stops in between.

mod plan;
mod receive;
mod send;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use gantry_auth::ProjectRef;
use gantry_contract::registry::flow::{Direction, Happening, Replication};
use gantry_es::Meta;
use gantry_es_pg::Todo;
use gantry_kernel::{Kind, OffsetDateTime, OrgId, Problem, ProjectId, Uuid};
use serde_json::json;

use super::App;
use super::fetch::{Pace, Source};
use crate::adapters::remote::{Remote, RemoteError};
use crate::domain::digest::Digest;
use crate::domain::name::{NameError, RepositoryName};
use crate::domain::settings::newer;
use crate::domain::webhook::Happened;
use crate::error::{Error, Result};
use crate::store::replications::{self, Item, Run};

/// Name of the work.
pub const REPLICATE: &str = "replication";
/// Tries of one item, and of making the plan. Pauses grow to a minute.
const MOST_TRIES: i32 = 8;
/// Items read together.
const BATCH: u64 = 200;
/// Indexes in indexes and referrers of referrers that are followed, and how many manifests belong to one tag: each level is one more call on
/// the stack.
const DEEPEST: usize = 32;
const MOST_TOGETHER: usize = 50_000;
/// How long reports stay.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is known while a run is worked on.
struct Running {
    run: Run,
    rule: Replication,
    remote: Remote,
    pace: Pace,
    /// Organisation and project, by name.
    place: (String, String),
    meta: Meta,
    /// Where at the target a blob is: it can be mounted from there.
    known: Mutex<HashMap<Digest, String>>,
}

/// What one item took.
#[derive(Clone, Copy, Default)]
struct Took {
    bytes: u64,
    blobs: u32,
    there: u32,
}

/// One item under way. Images list images, and what refers to them may be referred to: pushers choose how deep, and with cosign's tags also in
/// circles.
#[derive(Default)]
struct Way {
    took: Took,
    seen: HashSet<Digest>,
    depth: usize,
}

impl Way {
    /// Whether this one is still to be done; it must be left again if so.
    ///
    /// # Errors
    /// Deeper, or more, than anybody means.
    fn enter(&mut self, digest: &Digest) -> Result<bool, Fault> {
        if self.depth >= DEEPEST || self.seen.len() >= MOST_TOGETHER {
            let text = format!("it goes together with more than {MOST_TOGETHER} images and referrers, or they are nested more than {DEEPEST} deep");
            return Err(Fault { text, last: true });
        }
        let new = self.seen.insert(digest.clone());
        self.depth += usize::from(new);
        Ok(new)
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Why an item failed, and whether to try again.
#[derive(Debug)]
struct Fault {
    text: String,
    last: bool,
}

impl From<RemoteError> for Fault {
    fn from(error: RemoteError) -> Self {
        Self { last: error.is_final(), text: error.to_string() }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let last = match &error {
            Error::Internal(_) | Error::Upload(_) => false,
            Error::Denied(problem) => !matches!(problem.kind, Kind::Unavailable | Kind::TooMany | Kind::Internal),
            _ => true,
        };
        Self { text: error.to_string(), last }
    }
}

impl From<sea_orm::DbErr> for Fault {
    fn from(error: sea_orm::DbErr) -> Self {
        Self { text: error.to_string(), last: false }
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self { text: error.to_string(), last: true }
    }
}

impl App {
    /// Begins a run of a rule.
    ///
    /// # Errors
    /// There is no such rule, or a run of it is not over.
    pub async fn begin_replication(&self, project: &ProjectRef, name: &str, cause: &str, dry_run: bool, by: &str) -> Result<Run, Problem> {
        let (settings, _) = self.settings_now(project.id).await?;
        let rule = settings.replications.get(name).ok_or_else(|| Problem::not_found("replication", name))?;
        let run = new_run(self.host.env.uuid(), (project.org.id, project.id), rule, cause, dry_run, by, self.host.env.now());
        let db = &self.host.db().orm;
        if !replications::begin(db, &run).await.map_err(Problem::internal)? {
            return Err(Problem::conflict("registry.replication_running", "a run of this replication is not over: watch it, or cancel it first"));
        }
        Todo::enqueue(db, REPLICATE, &run.id.to_string(), &json!({ "run": run.id })).await.map_err(Problem::internal)?;
        Ok(run)
    }

    /// Works on a run until it is over.
    ///
    /// # Errors
    /// Something is to be tried again later.
    pub async fn replicate(&self, id: Uuid) -> anyhow::Result<()> {
        let db = &self.host.db().orm;
        let Some(run) = replications::find(db, None, id).await?.filter(|r| !r.is_over()) else { return Ok(()) };
        // A newer replica has begun it by a rule that is more than this one understands: that one carries it out.
        if let Err(error) = serde_json::from_value::<Replication>(run.rule.clone())
            && newer::is_newer(&error)
        {
            anyhow::bail!("the rule of the replication {} is of a newer version of this service: {error}", run.name);
        }
        replications::started(db, id, self.host.env.now()).await?;
        let running = match self.prepare(run).await {
            Ok(running) => running,
            Err(fault) => return self.over(id, "failed", Some(&fault.text)).await,
        };
        if !running.run.planned
            && let Err(fault) = self.plan_replication(&running).await
        {
            if fault.last || running.run.tries + 1 >= MOST_TRIES {
                return self.over(id, "failed", Some(&fault.text)).await;
            }
            replications::tried(db, id, &fault.text).await?;
            anyhow::bail!("the replication {} cannot be planned yet: {}", running.run.name, fault.text);
        }
        if !running.run.dry_run {
            self.work_on(&running).await?;
        }
        if replications::find(db, None, id).await?.is_none_or(|r| r.is_over()) {
            return Ok(());
        }
        let counts = replications::counts(db, id).await?;
        if counts.waiting > 0 && !running.run.dry_run {
            anyhow::bail!("{} items of the replication {} are to be tried again", counts.waiting, running.run.name);
        }
        let (state, error) = if counts.failed > 0 { ("failed", Some(format!("{} items failed", counts.failed))) } else { ("done", None) };
        self.over(id, state, error.as_deref()).await
    }

    async fn over(&self, id: Uuid, state: &str, error: Option<&str>) -> anyhow::Result<()> {
        let db = &self.host.db().orm;
        if replications::finish(db, id, state, error, self.host.env.now()).await?
            && let Some(run) = replications::find(db, None, id).await?
        {
            let counts = replications::counts(db, id).await?;
            tracing::info!(tenant.id = %run.org, replication = run.name, run.id = %id, state, error, copied = counts.done, failed = counts.failed, bytes = counts.bytes, "a replication is over");
            let data = json!({
                "replication": run.name, "run": run.id, "cause": run.cause, "dry_run": run.dry_run, "state": state, "error": error,
                "done": counts.done, "failed": counts.failed, "bytes": counts.bytes,
            });
            let happened = Happened { happening: Happening::Replication, what: "replication.finished", repository: None, tag: None, data };
            self.announce(ProjectId(run.project), &happened, None).await;
        }
        replications::remove_old(db, self.host.env.now() - KEPT).await?;
        Ok(())
    }

    async fn prepare(&self, run: Run) -> Result<Running, Fault> {
        let gone = |text: &str| Fault { text: text.to_owned(), last: true };
        let rule: Replication = serde_json::from_value(run.rule.clone()).map_err(|e| gone(&e.to_string()))?;
        let project = ProjectId(run.project);
        let target = match self.settings(project).await?.targets.get(&rule.target).cloned() {
            Some(target) => Some(target),
            // What is at hand may be a moment old; the log is not.
            None => self.settings_now(project).await.map_err(Error::from)?.0.targets.remove(&rule.target),
        };
        let target = target.ok_or_else(|| gone("the target was removed"))?;
        let place = self.host.auth.read(|r| r.projects().find(|p| p.id == project).map(|p| (p.org.name.to_string(), p.name.to_string())));
        let place = place.ok_or_else(|| gone("the project was removed"))?;
        let remote = self.remote(project, &format!("target {}", target.target.name), &target.target.endpoint, target.secret.as_ref()).await?;
        let meta = Meta { actor: run.by_whom.clone(), ..Meta::system() }.tenant(OrgId(run.org));
        Ok(Running { pace: Pace::of(rule.bytes_per_second), rule, remote, place, meta, run, known: Mutex::default() })
    }

    async fn work_on(&self, running: &Running) -> anyhow::Result<()> {
        let db = &self.host.db().orm;
        let (id, mut after) = (running.run.id, -1);
        loop {
            let items = replications::items(db, id, Some("waiting"), after, BATCH).await?;
            let Some(last) = items.last() else { return Ok(()) };
            after = last.number;
            for item in items {
                if replications::find(db, None, id).await?.is_none_or(|r| r.is_over()) {
                    return Ok(());
                }
                let done = self.one(running, &item).await;
                let now = self.host.env.now();
                let item = match done {
                    Ok(took) => Item { bytes: signed(took.bytes), blobs: count(took.blobs), blobs_there: count(took.there), ..ended(item, "done", None, now) },
                    Err(fault) if fault.last || item.tries + 1 >= MOST_TRIES => ended(item, "failed", Some(fault.text), now),
                    Err(fault) => Item { tries: item.tries + 1, error: Some(fault.text), ..item },
                };
                replications::came_of(db, id, &item).await?;
            }
        }
    }

    async fn one(&self, running: &Running, item: &Item) -> Result<Took, Fault> {
        match (running.rule.direction, item.action.as_str()) {
            (Direction::Push, "delete") => running.remote_tag_goes(&item.other, &item.tag).await.map(|()| Took::default()),
            (Direction::Push, _) => self.send_tag(running, item).await,
            (Direction::Pull, "delete") => self.local_tag_goes(running, item).await.map(|()| Took::default()),
            (Direction::Pull, _) => self.receive_tag(running, item).await,
        }
    }
}

impl Running {
    /// A repository on our side, from its name after the project.
    fn ours(&self, rest: &str) -> Result<RepositoryName, NameError> {
        RepositoryName::of(&self.place.0, &self.place.1, rest)
    }

    fn source(&self, repository: &str) -> Source {
        Source { remote: self.remote.clone(), repository: repository.to_owned(), prefix: self.rule.local_prefix.clone(), pace: self.pace.clone() }
    }
}

/// A run that is about to begin.
pub fn new_run(id: Uuid, (org, project): (OrgId, ProjectId), rule: &Replication, cause: &str, dry_run: bool, by: &str, now: OffsetDateTime) -> Run {
    Run {
        id,
        org: org.0,
        project: project.0,
        name: rule.name.clone(),
        rule: serde_json::to_value(rule).expect("rules are JSON"),
        cause: cause.to_owned(),
        dry_run,
        by_whom: by.to_owned(),
        state: "waiting".into(),
        only_repository: None,
        only_tag: None,
        gone: false,
        planned: false,
        same: 0,
        tries: 0,
        error: None,
        created_at: now,
        started_at: None,
        finished_at: None,
    }
}

fn ended(item: Item, state: &str, error: Option<String>, now: OffsetDateTime) -> Item {
    Item { state: state.into(), tries: item.tries + 1, error, finished_at: Some(now), ..item }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Algorithm;

    fn digest(n: usize) -> Digest {
        Digest::of(Algorithm::Sha256, &n.to_be_bytes())
    }

    #[test]
    fn a_circle_ends_and_a_chain_without_an_end_is_a_fault() {
        let mut way = Way::default();
        assert!(way.enter(&digest(0)).unwrap());
        assert!(!way.enter(&digest(0)).unwrap(), "it is under way already");
        way.leave();
        assert!(!way.enter(&digest(0)).unwrap(), "and done");
        for n in 1..=DEEPEST {
            assert!(way.enter(&digest(n)).unwrap(), "{n}");
        }
        assert!(way.enter(&digest(DEEPEST + 1)).unwrap_err().last);
        let mut wide = Way::default();
        for n in 0..MOST_TOGETHER {
            assert!(wide.enter(&digest(n)).unwrap());
            wide.leave();
        }
        assert!(wide.enter(&digest(MOST_TOGETHER)).unwrap_err().last);
    }
}
