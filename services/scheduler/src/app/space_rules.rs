//! What counts for where all of a space's workloads run: read, and set as a whole.

use std::collections::BTreeSet;

use gantry_auth::SpaceRef;
use gantry_contract::scheduler::PlacementEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, AppendError, Expect};
use gantry_kernel::{FieldFault, Kind, Problem, Role, Scope};

use super::context::Scheduler;
use super::deploy::database;
use super::preview::{self, ChangePreview};
use crate::domain::cluster::ClusterSettings;
use crate::domain::kubernetes::cluster::TOGETHER;
use crate::domain::placement::SpaceRules;
use crate::store;

/// # Errors
/// When the database refuses, or what is stored cannot be read.
pub async fn get(s: &Scheduler, space: &SpaceRef) -> Result<SpaceRules, Problem> {
    Ok(read(s, space).await?.0)
}

/// What runs a space's workloads.
#[derive(Clone, Copy, Debug)]
pub enum SpaceEngine {
    /// Nodes with agents.
    Nodes,
    /// A Kubernetes cluster, whose routes join a Gateway or do not, and may have time limits there or not, and where a StatefulSet may
    /// replace several pods together or may not. `classless`: its Ingresses have no class, and none there is the default.
    Cluster { gateway: bool, timeouts: bool, together: bool, classless: bool },
}

/// # Errors
/// As [`get`].
pub async fn engine(s: &Scheduler, space: &SpaceRef) -> Result<SpaceEngine, Problem> {
    let rules = get(s, space).await?;
    if !rules.on_clusters() {
        return Ok(SpaceEngine::Nodes);
    }
    // What is deployed has to fit each of them.
    let (mut gateway, mut timeouts, mut together, mut classless) = (true, true, true, false);
    for name in named(&rules) {
        // Known where the cluster is looked after; elsewhere it is told by a test of it.
        let found = s.clusters.get(name).and_then(|one| one.engine.connection().found);
        timeouts &= found.as_ref().is_none_or(|f| f.capabilities.route_timeouts || !f.capabilities.gateway);
        together &= found.as_ref().is_none_or(|f| f.minor >= TOGETHER);
        let row = store::cluster(s.orm(), name).await.map_err(database)?;
        let settings: Option<ClusterSettings> = row.map(|r| serde_json::from_value(r.settings)).transpose().map_err(Problem::internal)?;
        if let (Some(settings), Some(found)) = (&settings, &found) {
            let joins = found.capabilities.gateway && !settings.gateway.is_empty();
            classless |= !joins && settings.ingress_class.is_empty() && found.capabilities.default_ingress_class == Some(false);
        }
        gateway &= settings.is_some_and(|s| !s.gateway.is_empty());
    }
    Ok(SpaceEngine::Cluster { gateway, timeouts, together, classless })
}

/// The clusters that rules name.
fn named(rules: &SpaceRules) -> BTreeSet<&str> {
    rules.cluster.as_deref().into_iter().chain(rules.clusters.iter().flat_map(|fleet| fleet.names())).collect()
}

/// With the version of their stream, 0 if nothing was ever set. Rules that cannot be read are a fault, not none: they would be lost with the
/// next change.
///
/// # Errors
/// As [`get`].
pub async fn read(s: &Scheduler, space: &SpaceRef) -> Result<(SpaceRules, i64), Problem> {
    match store::space_rules(s.orm(), space.id).await.map_err(database)? {
        Some((rules, version)) => Ok((serde_json::from_value(rules).map_err(Problem::internal)?, version)),
        None => Ok((SpaceRules::default(), 0)),
    }
}

/// Rules that may be set.
struct Accepted {
    /// Those before; of rules that cannot be read nothing is known, and all of them are replaced.
    known: Option<SpaceRules>,
    version: i64,
}

async fn accept(s: &Scheduler, space: &SpaceRef, rules: &SpaceRules, expect: Expect, subject: &str) -> Result<Accepted, Problem> {
    s.host.auth.require_subject(subject, Role::Admin, space.scope())?;
    let stored = store::space_rules(s.orm(), space.id).await.map_err(database)?;
    let version = stored.as_ref().map_or(0, |(_, version)| *version);
    let known: Option<SpaceRules> = stored.map_or_else(|| Some(SpaceRules::default()), |(rules, _)| serde_json::from_value(rules).ok());
    let before = known.clone().unwrap_or_default();
    if let Expect::Version(expected) = expect
        && expected != version
    {
        return Err(stale(space, version));
    }
    // The platform itself connects to it, from inside of its network; and priorities above the platform's limit concern others.
    let platform = (rules.external != before.external && rules.external.is_some(), "a scheduler of its own is asked by the platform");
    let above = rules.most_priority.is_some_and(|p| p > s.config.placement.most_priority) && rules.most_priority != before.most_priority;
    for (needed, why) in [platform, (above, "priorities are above the platform's limit")] {
        if needed && s.host.auth.require_subject(subject, Role::Admin, Scope::Platform).is_err() {
            return Err(Problem::forbidden(format_args!("admin on the platform, because {why}")));
        }
    }
    let faults: Vec<FieldFault> = rules.faults().into_iter().map(|(field, detail)| FieldFault { field, detail }).collect();
    if !faults.is_empty() {
        return Err(Problem::invalid_fields(faults));
    }
    let org = space.org().id;
    for name in named(rules).difference(&named(&before)) {
        // Others' clusters are not there for this space, and their names are not told.
        let found = store::cluster(s.orm(), name).await.map_err(database)?.filter(|c| c.org.is_none_or(|owner| owner == org));
        let field = if rules.clusters.is_some() { "clusters" } else { "cluster" };
        found.ok_or_else(|| Problem::invalid(field, format!("there is no cluster `{name}` for this space; `gantry cluster list` shows those there are")))?;
    }
    Ok(Accepted { known, version })
}

/// What [`set`] would do: the same checks, and nothing is written. With the version that the rules have.
///
/// # Errors
/// As [`set`].
pub async fn preview(s: &Scheduler, space: &SpaceRef, rules: &SpaceRules, expect: Expect, subject: &str) -> Result<(ChangePreview, i64), Problem> {
    let Accepted { known, version } = accept(s, space, rules, expect, subject).await?;
    Ok((preview::of_rules(s, space, known.as_ref(), rules).await?, version))
}

/// Sets a space's rules as a whole; with their new version.
///
/// # Errors
/// A missing right, another version than the one expected, faults in the rules, a change at the same time, or the log is away.
pub async fn set(s: &Scheduler, space: &SpaceRef, rules: SpaceRules, expect: Expect, subject: &str, meta: Meta) -> Result<(SpaceRules, i64), Problem> {
    let Accepted { known, version } = accept(s, space, &rules, expect, subject).await?;
    if known.as_ref() == Some(&rules) {
        return Ok((rules, version));
    }
    let org = space.org().id;
    let event = PlacementEvent::Changed { space: space.id, org, rules: serde_json::to_value(&rules).map_err(Problem::internal)? };
    // The rights were looked at against those before: what somebody else set meanwhile must not come back by this.
    let append = Append::one(StreamId::of::<PlacementEvent>(space.id), Some(version), vec![event.encode()], Meta { tenant: Some(org), ..meta });
    let (version, position) = match s.host.log().append(append).await {
        Ok(appended) => (version + 1, appended.position),
        // The same request once more: what it did then stands.
        Err(AppendError::Repeated { version, position, .. }) => (version, position),
        Err(AppendError::Stale { actual, .. }) => return Err(stale(space, actual)),
        Err(error) => return Err(Problem::unavailable("the event log").with_source(error)),
    };
    s.host.settled(position).await;
    Ok((rules, version))
}

fn stale(space: &SpaceRef, version: i64) -> Problem {
    Problem::new(Kind::Stale, "request.stale", format!("the placement rules of {} have the ETag \"{version}\" now: read them again", space.path()))
}
