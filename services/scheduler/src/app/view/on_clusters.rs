//! How an application stands on the Kubernetes clusters that it is on.

use std::collections::BTreeMap;

use gantry_kernel::{AppId, InstanceId, Problem};
use gantry_kubernetes::Kind;
use serde::Serialize;

use super::Seeing;
use crate::adapters::clusters::Running;
use crate::app::context::Scheduler;
use crate::app::deploy::database;
use crate::domain::cluster::cluster_of;
use crate::domain::cluster_routes;
use crate::store;

/// What one cluster has of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClusterPartBody {
    pub cluster: String,
    pub workload: String,
    pub instances: u32,
    pub ready: u32,
}

/// What one of several clusters is asked for.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ShareBody {
    pub workload: String,
    pub cluster: String,
    /// Asked for now.
    pub replicas: u32,
    /// Asked for when all that moves has moved.
    pub target: u32,
    pub ready: u32,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct OnClusterBody {
    pub name: String,
    /// All objects are there as wanted.
    pub applied: bool,
    /// What is in the way of the objects, or of reaching the cluster.
    pub problem: Option<String>,
    /// What others have changed of its objects, and of those of its space.
    pub drift: Vec<DriftBody>,
    /// What the cluster has warned of when its objects were applied last: fields and versions that go, pods that a level of Pod
    /// Security would refuse.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DriftBody {
    /// `Deployment/shop-web`
    pub object: String,
    pub fields: Vec<String>,
    /// Who has set fields of it, the latest first.
    pub managers: Vec<String>,
}

impl Seeing {
    pub(super) fn on_cluster(&self, s: &Scheduler) -> Option<OnClusterBody> {
        let one = |(name, running): (String, Running)| {
            let (standing, connection) = (running.engine.standing(&self.row.id.to_string()), running.engine.connection());
            // What the space has there (its namespace, quota and policies) is nobody's but that of the applications in it.
            let space = running.engine.standing(&self.row.space.to_string());
            let drift = standing.drift.into_iter().chain(space.drift).map(|d| DriftBody { object: d.object, fields: d.fields, managers: d.managers });
            let refused = || {
                let route = Kind::of("gateway.networking.k8s.io/v1", "HTTPRoute")?;
                running.engine.objects(&self.row.id.to_string(), route).iter().find_map(cluster_routes::refused)
            };
            let problem = standing.problem.or(space.problem).or(connection.problem).or_else(refused);
            OnClusterBody { name, applied: standing.applied, problem, drift: drift.collect(), warnings: standing.warnings }
        };
        let mut all: Vec<OnClusterBody> = s.clusters.of(AppId(self.row.id)).into_iter().map(one).collect();
        let troubled = all.iter().position(|c| c.problem.is_some() || !c.drift.is_empty() || !c.applied);
        let telling = troubled.or_else(|| all.iter().position(|c| !c.warnings.is_empty())).unwrap_or(0);
        (telling < all.len()).then(|| all.swap_remove(telling))
    }

    pub(super) fn cluster_parts(&self) -> Vec<ClusterPartBody> {
        let mut parts: BTreeMap<(&str, &str), (u32, u32)> = BTreeMap::new();
        for row in &self.alive {
            let Some(cluster) = cluster_of(&row.node) else { continue };
            let part = parts.entry((cluster, row.workload.as_str())).or_default();
            part.0 += 1;
            part.1 += u32::from(self.available(InstanceId(row.id)));
        }
        let body = |((cluster, workload), (instances, ready)): ((&str, &str), (u32, u32))| ClusterPartBody {
            cluster: cluster.to_owned(),
            workload: workload.to_owned(),
            instances,
            ready,
        };
        parts.into_iter().map(body).collect()
    }

    /// What is recorded of several clusters, with what is ready there.
    pub(super) async fn cluster_shares(&self, s: &Scheduler) -> Result<Vec<ShareBody>, Problem> {
        let parts = self.cluster_parts();
        let body = |share: store::Share| {
            let part = parts.iter().find(|p| p.cluster == share.cluster && p.workload == share.workload);
            let ready = part.map_or(0, |p| p.ready);
            ShareBody { workload: share.workload, cluster: share.cluster, replicas: share.replicas, target: share.target, ready, reason: share.reason }
        };
        Ok(store::load_shares(s.orm(), AppId(self.row.id)).await.map_err(database)?.into_iter().map(body).collect())
    }
}
