//! Scale, restart, stop, start, roll back, delete, and the steps of a release.

use std::collections::BTreeMap;

use gantry_auth::SpaceRef;
use gantry_contract::scheduler::AppEvent;
use gantry_es::{Meta, StreamId};
use gantry_es_pg::{Claim, ExecuteError, Executed, Expect, Options};
use gantry_host::from_execute;
use gantry_kernel::{AppId, Name, Problem, Role};

use super::context::Scheduler;
use super::deploy::{database, name_scope, node_count};
use super::kept::{tying, using};
use super::pool_turn::{self, Tie};
use super::preview::{self, ChangePreview, Would};
use super::reserving::Reserving;
use super::{addresses, held, models, pools, ports};
use crate::adapters::quotas;
use crate::domain::app::{App, Command, Refusal};
use crate::domain::model::{Demand, Model};
use crate::domain::stored;
use crate::store;

/// A change of one application that exists.
pub struct Change {
    pub space: SpaceRef,
    pub app: String,
    pub command: Command,
    pub subject: String,
    pub meta: Meta,
    pub expect: Expect,
}

/// What a change needs beside its decision: looked at, and nothing of it written.
struct Prepared {
    row: store::app::Model,
    app: AppId,
    /// What would be reserved then.
    demand: Demand,
    /// The outline that is put to work again; of most changes, none.
    goes_back_to: Model,
    from_pools: Tie,
}

/// More may be needed, so that it is reserved first.
fn reserves_before(command: &Command) -> bool {
    matches!(command, Command::Scale { .. } | Command::Start | Command::Rollback { .. })
}

/// What waits for room in the quota reserves all of it when it is its turn. Until then it takes nothing by another change: it would hold the
/// room for which those before it wait, and wait for them.
fn waits(row: &store::app::Model, command: &Command) -> bool {
    row.queued.is_some() && !matches!(command, Command::Rollback { .. })
}

/// Whether it could ever be granted: of what waits, only what never fits is refused.
async fn check(s: &Scheduler, change: &Change, prepared: &Prepared) -> Result<(), Problem> {
    let (org, project) = (change.space.org().id, change.space.project.id);
    match quotas::check(&s.host, org, project, prepared.app, &change.subject, &prepared.demand).await {
        Err(problem) if problem.code == quotas::FULL && waits(&prepared.row, &change.command) => Ok(()),
        checked => checked,
    }
}

/// How a release goes on is counted by the reconciler; its beginning has reserved for both revisions.
fn counts(command: &Command) -> bool {
    !matches!(
        command,
        Command::Promote { .. }
            | Command::PauseRelease { .. }
            | Command::ResumeRelease
            | Command::AbortRelease { .. }
            | Command::PauseScaling { .. }
            | Command::ResumeScaling { .. }
    )
}

async fn prepare(s: &Scheduler, change: &Change) -> Result<Prepared, Problem> {
    s.host.auth.require_subject(&change.subject, Role::Editor, change.space.scope())?;
    let row = find(s, &change.space, &change.app).await?;
    let app = AppId(row.id);
    let mut goes_back_to = Model::default();
    if let Command::Rollback { revision } = &change.command
        && let Some(to) = store::revision(s.orm(), app, i64::try_from(*revision).unwrap_or(i64::MAX)).await.map_err(database)?
        // One that cannot be read is refused by the decision.
        && let Ok(stored) = stored::read(&to.model)
    {
        using::still_there(s, &stored.outline).await?;
        goes_back_to = stored.outline;
    }
    let mut from_pools = Tie::default();
    if !addresses::of(&goes_back_to).is_empty() {
        let (all, tie) = pools::tied(s).await?;
        from_pools = tie;
        let claimed = addresses::claimed(s.orm(), app).await.map_err(database)?;
        addresses::still_there(&goes_back_to, &all, change.space.org().id, &claimed.others)?;
    }
    let demand = demand_after(s, &row, &change.command).await?;
    Ok(Prepared { row, app, demand, goes_back_to, from_pools })
}

impl Prepared {
    fn options(&self, change: &Change) -> Options {
        let meta = Meta { tenant: Some(change.space.org().id), ..change.meta.clone() };
        let mut options = Options { meta, expect: change.expect, claims: addresses::claims(&self.goes_back_to), ..Options::default() };
        self.from_pools.add_to(&mut options);
        options
    }
}

/// The new version and the application.
///
/// # Errors
/// A missing right, a refusal, an exceeded quota, or a part that is away.
pub async fn change(s: &Scheduler, change: Change) -> Result<(AppId, i64), Problem> {
    let prepared = prepare(s, &change).await?;
    let (app, demand) = (prepared.app, prepared.demand);
    let (org, project) = (change.space.org().id, change.space.project.id);
    let gives_back = matches!(change.command, Command::Stop | Command::Delete);
    let mut begun = None;
    if reserves_before(&change.command) && waits(&prepared.row, &change.command) {
        check(s, &change, &prepared).await?;
    } else if reserves_before(&change.command) {
        let under_way = Reserving::begin(s, &change.space, app).await?;
        if let Err(problem) = quotas::reserve(&s.host, org, project, app, &change.subject, &demand).await {
            under_way.refused(s, &problem).await;
            return Err(problem);
        }
        begun = Some(under_way);
    }
    let decided = decide(s, change, &prepared).await;
    if let Some(begun) = begun {
        // What was reserved for a change that was refused is given back.
        if decided.is_ok() { begun.done(s).await } else { begun.doubtful(s).await }
    }
    let (author, executed) = decided?;
    s.host.settled(executed.position).await;
    // Less is given back after the change; the reconciler repeats it if this fails.
    if gives_back && let Err(problem) = quotas::reserve(&s.host, org, project, app, &author, &demand).await {
        tracing::warn!(app.id = %app, error = problem.chain(), "a reservation could not be given back yet");
    }
    Ok((app, executed.version))
}

/// Makes the change: with whoever brought the revision at work. What it holds stays theirs, whoever changes what.
async fn decide(s: &Scheduler, change: Change, prepared: &Prepared) -> Result<(String, Executed<App>), Problem> {
    let app = prepared.app;
    let current = store::revision(s.orm(), app, prepared.row.current).await.map_err(database)?;
    let author = current.map(|r| r.actor).unwrap_or_default();
    let options = prepared.options(&change);
    let executed = if matches!(change.command, Command::Delete) {
        delete(s, &change.space, &prepared.row, options.meta, change.expect).await?
    } else {
        let refused = refused(prepared.from_pools, change.expect);
        tying::execute(s, app, change.command, options, &prepared.goes_back_to, refused).await?
    };
    Ok((author, executed))
}

/// What [`change`] would do: the same checks and the same decision, and nothing is written. With the version that the application has.
///
/// # Errors
/// As [`change`].
pub async fn preview(s: &Scheduler, change: Change) -> Result<(ChangePreview, i64), Problem> {
    // What was decided just now has to be seen, too.
    s.host.settled(s.host.log().head()).await;
    let prepared = prepare(s, &change).await?;
    let (app, demand) = (prepared.app, prepared.demand);
    if reserves_before(&change.command) {
        check(s, &change, &prepared).await?;
    }
    let options = prepared.options(&change);
    let demand = Some(demand).filter(|_| counts(&change.command));
    let would = s.apps.consider(app, change.command, &options).await.map_err(refused(prepared.from_pools, change.expect))?;
    let seen = Would { space: &change.space, app, row: Some(&prepared.row), events: &would.events, model: None, demand };
    Ok((preview::of(s, seen).await?, would.version))
}

fn refused(from: Tie, expect: Expect) -> impl Fn(ExecuteError<Refusal>) -> Problem {
    move |error| match error {
        ExecuteError::NameTaken { scope, name } if scope == addresses::SCOPE => {
            addresses::taken_already(&format!("the address {name} was taken by another application just now; deploy the revision anew"))
        }
        ExecuteError::Stale { .. } if from.is_tied() && expect == Expect::Any => pool_turn::changed(),
        other => from_execute(other),
    }
}

/// So often it is looked again at what the application has, if that changes all the time.
const TRIES: u32 = 20;

/// With everything that the application has, and nothing that is another's: what it has is read as of the version at which it is deleted.
async fn delete(s: &Scheduler, space: &SpaceRef, row: &store::app::Model, meta: Meta, expect: Expect) -> Result<Executed<App>, Problem> {
    let app = AppId(row.id);
    let mut version = match expect {
        Expect::Any => row.version,
        Expect::Version(version) => version,
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let claims = owned(s, space, app).await?.into_iter().map(|(scope, name)| Claim::release(scope, name)).collect();
        let options = Options { meta: meta.clone(), expect: Expect::Version(version), claims, ..Options::default() };
        match s.apps.execute(app, Command::Delete, options).await {
            Err(ExecuteError::Stale { actual, .. }) if expect == Expect::Any && tries < TRIES => version = actual,
            done => return done.map_err(from_execute),
        }
    }
}

/// The name, the ports and the addresses that an application has: (scope, name).
pub(super) async fn owned(s: &Scheduler, space: &SpaceRef, app: AppId) -> Result<Vec<(String, String)>, Problem> {
    let mut scopes = vec![name_scope(space), addresses::SCOPE.to_owned()];
    scopes.extend(ports::SCOPE.iter().map(|scope| (*scope).to_owned()));
    store::claimed_by(s.orm(), StreamId::of::<AppEvent>(app).as_str(), &scopes).await.map_err(database)
}

/// # Errors
/// Not found, or the database is away.
pub async fn find(s: &Scheduler, space: &SpaceRef, app: &str) -> Result<store::app::Model, Problem> {
    let found = store::app(s.orm(), space.id, app).await.map_err(database)?;
    found.ok_or_else(|| Problem::not_found("application", format_args!("{}/{app}", space.path())))
}

async fn demand_after(s: &Scheduler, row: &store::app::Model, command: &Command) -> Result<Demand, Problem> {
    let revision = match command {
        Command::Rollback { revision: to } => i64::try_from(*to).unwrap_or(i64::MAX),
        _ => row.current,
    };
    let stopped = match command {
        Command::Delete | Command::Stop => true,
        Command::Start => false,
        _ => row.stopped,
    };
    // An unknown revision is refused by the decision, with its own words.
    let known = store::revision(s.orm(), AppId(row.id), revision).await.map_err(database)?;
    if stopped || known.is_none() {
        return Ok(Demand::default());
    }
    let model = s.models.get(&s.host, AppId(row.id), revision.unsigned_abs()).await.map_err(|e| models::refused(e, revision.unsigned_abs()))?;
    let mut scale = if revision == row.current { scaled(row) } else { put_back(row, revision, &model) };
    if let Command::Scale { workload, replicas } = command {
        scale.insert(workload.clone(), *replicas);
    }
    let nodes = node_count(s).await?;
    let beside = if revision == row.current { held::now(s, row, &model, &scale, nodes).await? } else { Demand::default() };
    Ok(model.demand(&scale, nodes).plus(beside))
}

/// The numbers that an earlier revision has when it is put to work again, as `domain::app` sets them: what was set by hand comes back with
/// the revision that is being replaced, and what follows something goes on as it was measured.
fn put_back(row: &store::app::Model, to: i64, model: &Model) -> BTreeMap<Name, u32> {
    let returns = row.release_revision.is_some() && row.release_from == Some(to);
    let gone_back = row.release_revision.is_none() && row.finished.is_none_or(|finished| finished == to);
    let mut scale = if returns || gone_back { scaled_in(&row.base_scale) } else { BTreeMap::new() };
    scale.extend(measured(row, model));
    scale
}

/// What was measured last, of the workloads that follow something in this model: they have it from its first moment.
pub(super) fn measured(row: &store::app::Model, model: &Model) -> BTreeMap<Name, u32> {
    let follows = |name: &Name| model.workloads.get(name).is_some_and(|w| w.scaling.is_some());
    scaled_in(&row.autoscale).into_iter().filter(|(name, _)| follows(name)).collect()
}

/// Replicas set by hand.
pub fn scaled(row: &store::app::Model) -> BTreeMap<Name, u32> {
    scaled_in(&row.scale)
}

/// As the row has it.
pub fn scaled_in(scale: &serde_json::Value) -> BTreeMap<Name, u32> {
    let map = scale.as_object().cloned().unwrap_or_default();
    map.into_iter().filter_map(|(name, n)| Some((Name::parse(&name).ok()?, u32::try_from(n.as_u64()?).ok()?))).collect()
}
