//! A space's clusters for people: which there are and how they are, and what each of them would have of an application.

use std::collections::BTreeMap;

use gantry_auth::SpaceRef;
use gantry_es::Meta;
use gantry_es_pg::Expect;
use gantry_kernel::{AppId, Name, Problem};
use serde::Serialize;

use super::change::scaled;
use super::clusters::{HealthBody, health};
use super::context::Scheduler;
use super::deploy::{database, diff};
use super::space_rules;
use crate::domain::cluster::ClusterSettings;
use crate::domain::fleet::{Asked, Bound, ClusterOverrides, Fleet, FleetMember, FleetPolicy, Part, Site, bound, overridden, portion, shares};
use crate::domain::model::{Model, WorkloadKind};
use crate::domain::placement::SpaceRules;
use crate::store::{self, Cluster, Share};

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpaceClustersBody {
    /// None: the space runs on nodes, or on the one cluster that is named.
    pub policy: Option<FleetPolicy>,
    /// In the order in which they are preferred.
    pub clusters: Vec<SpaceClusterBody>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SpaceClusterBody {
    pub cluster: String,
    pub weight: u32,
    pub region: String,
    pub zone: String,
    pub health: HealthBody,
    pub overrides: ClusterOverrides,
}

/// What one cluster would have.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ProspectBody {
    pub cluster: String,
    /// Replicas by workload; what is not here has nothing on it.
    pub replicas: BTreeMap<String, u32>,
    /// Why so many, by workload.
    pub reasons: BTreeMap<String, String>,
    /// What is other on it, one line each.
    pub overrides: Vec<String>,
}

/// # Errors
/// When the database refuses, or what is stored cannot be read.
pub async fn get(s: &Scheduler, space: &SpaceRef) -> Result<SpaceClustersBody, Problem> {
    let rules = space_rules::get(s, space).await?;
    let policy = rules.clusters.as_ref().map(|f| f.policy);
    let single = |cluster: &String| FleetMember { cluster: cluster.clone(), weight: 1, overrides: ClusterOverrides::default() };
    let members = match &rules.clusters {
        Some(fleet) => fleet.clusters.clone(),
        None => rules.cluster.iter().map(single).collect(),
    };
    let rows = known(s, space).await?;
    let one = |member: FleetMember| -> Result<SpaceClusterBody, Problem> {
        let row = rows.iter().find(|r| r.name == member.cluster);
        let settings = row.map(settings).transpose()?.unwrap_or_default();
        let missing = || HealthBody { state: "missing".into(), since: None, problem: Some("there is no such cluster for this space".into()) };
        Ok(SpaceClusterBody {
            health: row.map_or_else(missing, |r| health(s, r)),
            cluster: member.cluster,
            weight: member.weight,
            region: settings.region,
            zone: settings.zone,
            overrides: member.overrides,
        })
    };
    Ok(SpaceClustersBody { policy, clusters: members.into_iter().map(one).collect::<Result<_, _>>()? })
}

/// Instead of the one cluster or the nodes that it ran on; without any, it runs on nodes again.
///
/// # Errors
/// As [`space_rules::set`].
pub async fn set(s: &Scheduler, space: &SpaceRef, fleet: Option<Fleet>, subject: &str, meta: Meta) -> Result<SpaceClustersBody, Problem> {
    let (before, version) = space_rules::read(s, space).await?;
    let rules = SpaceRules { cluster: None, clusters: fleet, ..before };
    // Whatever else of them somebody sets meanwhile is not lost by this.
    space_rules::set(s, space, rules, Expect::Version(version), subject, meta).await?;
    get(s, space).await
}

/// What each cluster of the space would have of a model, were it deployed now.
///
/// # Errors
/// As [`get`].
pub async fn prospect(s: &Scheduler, space: &SpaceRef, row: Option<&store::app::Model>, app: &Name, model: &Model) -> Result<Vec<ProspectBody>, Problem> {
    let Some(fleet) = space_rules::get(s, space).await?.clusters else { return Ok(Vec::new()) };
    let rows = known(s, space).await?;
    let (before, scale) = match row {
        Some(row) => (store::load_shares(s.orm(), AppId(row.id)).await.map_err(database)?, scaled(row)),
        None => (Vec::new(), BTreeMap::new()),
    };
    let mut out: Vec<ProspectBody> = Vec::new();
    let mut parts: Vec<BTreeMap<Name, Part>> = vec![BTreeMap::new(); fleet.clusters.len()];
    for member in &fleet.clusters {
        out.push(ProspectBody { cluster: member.cluster.clone(), replicas: BTreeMap::new(), reasons: BTreeMap::new(), overrides: Vec::new() });
    }
    for (name, workload) in &model.workloads {
        let key = format!("{app}/{name}");
        let sites: Vec<Site> = fleet.clusters.iter().map(|member| site(member, &rows, &key)).collect::<Result<_, _>>()?;
        let count = workload.scaling.as_ref().map_or_else(|| scale.get(name).copied().unwrap_or(workload.replicas), |scaling| scaling.max);
        let decided = before.iter().find(|b: &&Share| b.workload == name.as_str() && b.target > 0);
        let home = decided.and_then(|b| fleet.clusters.iter().position(|m| m.cluster == b.cluster));
        let tie = bound(workload);
        let asked = Asked { kind: workload.kind, bound: tie, count, home, done: false };
        let told = shares(fleet.policy, &asked, &sites);
        let divided = tie == Bound::Free && workload.kind == WorkloadKind::Stateless && fleet.policy != FleetPolicy::Duplicate;
        let of: Vec<u32> = if divided { told.iter().map(|t| t.replicas.unwrap_or(0)).collect() } else { Vec::new() };
        for (at, share) in told.into_iter().enumerate() {
            if let Some(replicas) = share.replicas {
                out[at].replicas.insert(name.to_string(), replicas);
                parts[at].insert(name.clone(), Part { replicas, of: of.clone(), at });
            }
            out[at].reasons.insert(name.to_string(), share.reason);
        }
    }
    for ((body, here), member) in out.iter_mut().zip(&parts).zip(&fleet.clusters) {
        let plain = portion(model, here, &scale);
        body.overrides = diff(Some(&plain), &overridden(plain.clone(), &member.overrides));
        for (what, class) in [("ingress class", &member.overrides.ingress_class), ("storage class", &member.overrides.storage_class)] {
            if !class.is_empty() {
                body.overrides.push(format!("~ {what}: {class}"));
            }
        }
    }
    Ok(out)
}

fn site(member: &FleetMember, rows: &[Cluster], key: &str) -> Result<Site, Problem> {
    let row = rows.iter().find(|r| r.name == member.cluster);
    let settings = row.map(settings).transpose()?.unwrap_or_default();
    Ok(Site {
        name: member.cluster.clone(),
        weight: member.weight,
        region: settings.region,
        zone: settings.zone,
        lost: row.is_none_or(|r| r.lost.is_some()),
        fixed: member.overrides.replicas.get(key).copied(),
    })
}

/// Without them it would be said to be nowhere, and replicas divided otherwise than they are.
fn settings(row: &Cluster) -> Result<ClusterSettings, Problem> {
    serde_json::from_value(row.settings.clone()).map_err(Problem::internal)
}

/// Others' clusters are not there for this space.
async fn known(s: &Scheduler, space: &SpaceRef) -> Result<Vec<Cluster>, Problem> {
    let (rows, org) = (store::clusters(s.orm()).await.map_err(database)?, space.org().id);
    Ok(rows.into_iter().filter(|c| c.org.is_none_or(|owner| owner == org)).collect())
}
