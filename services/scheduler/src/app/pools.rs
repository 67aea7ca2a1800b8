//! Pools of public addresses: operators set them, organisations see those that they may use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_auth::Caller;
use gantry_contract::scheduler::{AppEvent, PoolEvent};
use gantry_es::EventData;
use gantry_es_pg::{Append, AppendError, StreamWrite};
use gantry_kernel::{AppId, FieldFault, Name, OrgId, Problem, Role, Scope, Uuid};
use serde::{Deserialize, Serialize};

use super::addresses;
use super::context::{Scheduler, home};
use super::deploy::database;
use super::pool_turn::{self, Tie};
use super::view;
use crate::domain::model::Model;
use crate::domain::pools::{Candidate, Pools, Stored, holders};
use crate::domain::stored;
use crate::domain::traffic::Traffic;
use crate::domain::wanted::{AppView, Standing};
use crate::store;

/// So often it is looked again at who has what, if addresses are given out all the time.
const TRIES: u32 = 20;

/// What can be set of a pool.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSettings {
    /// Networks (203.0.113.0/28), ranges (203.0.113.10-203.0.113.20) and addresses of IPv4, which are led to the nodes.
    pub addresses: Vec<String>,
    /// The organisations that may use it, by name; empty: all. One that is deleted stays by the id with which the list has it: a pool of
    /// deleted organisations alone is nobody's.
    pub orgs: Vec<String>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PoolBody {
    pub name: String,
    pub addresses: Vec<String>,
    /// The organisations that may use it, of those that the caller may know; empty: all. One that is deleted, by its id.
    pub orgs: Vec<String>,
    pub size: u32,
    pub free: u32,
    /// Those that are taken, by applications that the caller may know.
    pub claims: Vec<AddressClaimBody>,
}

/// An address that an application has.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AddressClaimBody {
    pub address: String,
    /// `<org>/<project>/<space>/<application>`
    pub app: String,
    /// The node that has it now; for those who may look at the platform.
    pub node: Option<String>,
}

/// As they are stored, with the version of their stream. What cannot be read is a fault: addresses would be given twice, or taken away.
async fn stored(s: &Scheduler) -> Result<(BTreeMap<String, Stored>, i64), Problem> {
    match store::pools(s.orm()).await.map_err(database)? {
        Some((pools, version)) => Ok((serde_json::from_value(pools).map_err(Problem::internal)?, version)),
        None => Ok((BTreeMap::new(), 0)),
    }
}

/// All of them, for whoever gives an address of one.
///
/// # Errors
/// When the database refuses, or what is stored cannot be read.
pub async fn tied(s: &Scheduler) -> Result<(Pools, Tie), Problem> {
    let (stored, version) = stored(s).await?;
    Ok((Pools::of(&stored), Tie::to(version)))
}

/// Those that the caller may use, or all for who may look at the platform.
///
/// # Errors
/// As [`tied`].
pub async fn list(s: &Scheduler, caller: &Caller) -> Result<Vec<PoolBody>, Problem> {
    let (stored, _) = stored(s).await?;
    let pools = Pools::of(&stored);
    let claims = claims(s).await?;
    let knows = |scope: Scope| s.host.auth.require(caller, Role::Viewer, scope).is_ok();
    let operator = knows(Scope::Platform);
    // Whoever may look at anything of an organisation may use what it may.
    let parts = |org: OrgId| {
        s.host.auth.read(|rights| {
            let projects = rights.projects().filter(|p| p.org.id == org);
            projects.flat_map(|p| std::iter::once(Scope::Project(p.id)).chain(rights.spaces_of(p.id))).collect::<Vec<_>>()
        })
    };
    let belongs = |org: OrgId| knows(Scope::Org(org)) || parts(org).into_iter().any(knows);
    let on = if operator { holding(s, &claims).await? } else { BTreeMap::new() };
    let mut out = Vec::new();
    for (name, pool) in &pools.0 {
        let own: Vec<OrgId> = pool.orgs.iter().copied().filter(|org| operator || belongs(*org)).collect();
        if !operator && own.is_empty() && !pool.orgs.is_empty() {
            continue;
        }
        let taken: Vec<&Claim> = claims.all.iter().filter(|c| pool.contains(c.address)).collect();
        let used = u32::try_from(taken.iter().map(|c| c.address).collect::<BTreeSet<_>>().len()).unwrap_or(u32::MAX);
        let body = |c: &&Claim| AddressClaimBody { address: c.address.to_string(), app: c.app.clone(), node: on.get(&c.address).map(Name::to_string) };
        out.push(PoolBody {
            name: name.clone(),
            addresses: stored.get(name).map(|p| p.addresses.clone()).unwrap_or_default(),
            // Were a deleted one left out, a pool of it alone would look like one for all, and become that with the next change.
            orgs: own.into_iter().map(|id| s.host.auth.read(|rights| rights.org_ref(id).map_or_else(|| id.to_string(), |o| o.name.to_string()))).collect(),
            size: pool.size(),
            free: pool.size().saturating_sub(used),
            claims: taken.iter().filter(|c| operator || c.org.is_some_and(|org| knows(Scope::Org(org)))).map(body).collect(),
        });
    }
    Ok(out)
}

/// Makes a pool, or sets it as a whole. Addresses that services have must stay in a pool.
///
/// # Errors
/// A missing right, faults, an address in use that would be in no pool, a change at the same time, or the log is away.
pub async fn set(s: &Scheduler, caller: &Caller, name: &Name, settings: PoolSettings) -> Result<PoolBody, Problem> {
    s.host.auth.require(caller, Role::Admin, Scope::Platform)?;
    let (mut stored, version) = stored(s).await?;
    let had: Vec<OrgId> = stored.get(name.as_str()).map(|pool| pool.orgs.clone()).unwrap_or_default();
    let known = |org: &String| match s.host.auth.org(org) {
        Ok(found) => Ok(found.id),
        Err(missing) => org.parse::<OrgId>().ok().filter(|id| had.contains(id)).ok_or(missing),
    };
    let orgs: Vec<OrgId> = settings.orgs.iter().map(known).collect::<Result<BTreeSet<_>, Problem>>()?.into_iter().collect();
    let faults = Pools::of(&stored).faults(name.as_str(), &settings.addresses);
    if !faults.is_empty() {
        return Err(Problem::invalid_fields(faults.into_iter().map(|(field, detail)| FieldFault { field, detail }).collect()));
    }
    let next = Stored { addresses: settings.addresses, orgs };
    let before = stored.insert(name.to_string(), next.clone());
    if before.as_ref() != Some(&next) {
        let event = PoolEvent::Set { pool: name.clone(), addresses: next.addresses.clone(), orgs: next.orgs.clone() };
        change(s, caller, version, (&before.unwrap_or_default(), Some(&next)), event).await?;
    }
    let found = list(s, caller).await?.into_iter().find(|p| p.name == name.as_str());
    found.ok_or_else(|| Problem::not_found("address pool", name))
}

/// # Errors
/// A missing right, not found, an address in use, a change at the same time, or the log is away.
pub async fn delete(s: &Scheduler, caller: &Caller, name: &str) -> Result<(), Problem> {
    s.host.auth.require(caller, Role::Admin, Scope::Platform)?;
    let missing = || Problem::not_found("address pool", name);
    let (stored, version) = stored(s).await?;
    let before = stored.get(name).ok_or_else(missing)?;
    change(s, caller, version, (before, None), PoolEvent::Deleted { pool: Name::parse(name).map_err(|_| missing())? }).await
}

/// From `before` to `next`, unless somebody has an address that would be in no pool then.
async fn change(s: &Scheduler, caller: &Caller, version: i64, (before, next): (&Stored, Option<&Stored>), event: PoolEvent) -> Result<(), Problem> {
    let mut tries = 0;
    loop {
        tries += 1;
        pool_turn::hold(s, version).await?;
        keeps(s, before, next).await?;
        let write = StreamWrite { stream: pool_turn::stream(), expected: Some(version), events: vec![event.encode()] };
        let append = Append { writes: vec![write], claims: vec![pool_turn::still_held()], meta: caller.meta(None) };
        match s.host.log().append(append).await {
            Ok(appended) => {
                s.host.settled(appended.position).await;
                return Ok(());
            }
            // What somebody was given meanwhile is looked at, too.
            Err(AppendError::NameTaken { .. }) if tries < TRIES => {}
            Err(AppendError::Stale { .. } | AppendError::NameTaken { .. }) => return Err(pool_turn::stale()),
            Err(error) => return Err(Problem::unavailable("the event log").with_source(error)),
        }
    }
}

/// Refuses what would take an address from who has it.
async fn keeps(s: &Scheduler, before: &Stored, next: Option<&Stored>) -> Result<(), Problem> {
    let pool = |stored: &Stored| Pools::of(&BTreeMap::from([(String::new(), stored.clone())]));
    let (before, next) = (pool(before), next.map(pool).unwrap_or_default());
    let lost: Vec<String> = claims(s)
        .await?
        .all
        .into_iter()
        .filter(|c| before.with(c.address).is_some() && next.with(c.address).is_none())
        .map(|c| format!("{} ({})", c.address, c.app))
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    let detail = format!("addresses of it are in use: {}; their services must not ask for them any more first", lost.join(", "));
    Err(Problem::conflict("scheduler.pool_in_use", detail))
}

struct Claim {
    address: Ipv4Addr,
    org: Option<OrgId>,
    app: String,
}

/// What is taken, in order, and by whom.
struct Claims {
    all: Vec<Claim>,
    apps: BTreeMap<Uuid, store::app::Model>,
}

async fn claims(s: &Scheduler) -> Result<Claims, Problem> {
    let taken = store::claimed(s.orm(), addresses::SCOPE).await.map_err(database)?;
    let owner = |stream: &str| stream.strip_prefix(AppEvent::AGGREGATE)?.strip_prefix('-')?.parse::<AppId>().ok();
    let ids: BTreeSet<Uuid> = taken.iter().filter_map(|(_, stream)| Some(owner(stream)?.0)).collect();
    let rows = store::holders(s.orm(), &ids.into_iter().collect::<Vec<Uuid>>()).await.map_err(database)?;
    let apps: BTreeMap<Uuid, store::app::Model> = rows.into_iter().map(|row| (row.id, row)).collect();
    let claim = |(name, stream): (String, String)| {
        let (address, row) = (name.parse::<Ipv4Addr>().ok()?, owner(&stream).and_then(|id| apps.get(&id.0)));
        let app = row.map_or(stream, |r| format!("{}/{}/{}/{}", r.org_name, r.project_name, r.space_name, r.name));
        Some(Claim { address, org: row.map(|r| OrgId(r.org)), app })
    };
    let mut all: Vec<Claim> = taken.into_iter().filter_map(claim).collect();
    all.sort_by_key(|c| c.address);
    Ok(Claims { all, apps })
}

/// Which nodes have the addresses of these, as nodes are told.
async fn holding(s: &Scheduler, claims: &Claims) -> Result<BTreeMap<Ipv4Addr, Name>, Problem> {
    let serving = || claims.apps.values().filter(|r| !r.deleted && !r.stopped && r.current > 0);
    let ids: Vec<Uuid> = serving().map(|r| r.id).collect();
    let mut models: BTreeMap<Uuid, BTreeMap<u64, Arc<Model>>> = BTreeMap::new();
    for revision in store::holders_serving(s.orm(), &ids).await.map_err(database)? {
        // One that cannot be read says so itself.
        let outline = stored::read(&revision.model).ok().map(|stored| (revision.revision.unsigned_abs(), Arc::new(stored.outline)));
        models.entry(revision.app).or_default().extend(outline);
    }
    let mut instances: BTreeMap<Uuid, Vec<Standing>> = BTreeMap::new();
    for row in store::holders_alive(s.orm(), &ids).await.map_err(database)? {
        instances.entry(row.app).or_default().extend(view::standing(&row));
    }
    let view = |row: &store::app::Model| {
        Some(AppView {
            id: AppId(row.id),
            name: Name::parse(&row.name).ok()?,
            home: home(row)?,
            current: row.current.unsigned_abs(),
            from: row.release_from.map(i64::unsigned_abs),
            models: models.get(&row.id).cloned().unwrap_or_default(),
            instances: instances.get(&row.id).cloned().unwrap_or_default(),
            traffic: Traffic::default(),
        })
    };
    let views: Vec<AppView> = serving().filter_map(view).collect();
    let nodes = candidates(store::nodes(s.orm()).await.map_err(database)?.iter());
    Ok(holders(&views, &nodes, &view::reports(s)))
}

/// The nodes that can have addresses. Those that are not heard from yet count until they are lost: after a start of this process no address
/// is to move to whoever comes back first.
pub fn candidates<'a>(rows: impl Iterator<Item = &'a store::node::Model>) -> Vec<Candidate> {
    let candidate = |row: &store::node::Model| Some(Candidate { name: Name::parse(&row.name).ok()?, draining: row.draining });
    rows.filter(|row| !row.lost).filter_map(candidate).collect()
}
