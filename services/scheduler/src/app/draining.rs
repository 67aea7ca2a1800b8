//! What would leave a node if it was drained, for whoever looks before. Nothing is written.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use gantry_kernel::{AppId, InstanceId, Name, Problem};
use serde::Serialize;

use super::change::scaled;
use super::context::Scheduler;
use super::deploy::database;
use super::standing::Around;
use super::{standing, view};
use crate::domain::draining::{Leaving, outcome};
use crate::domain::model::{Model, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::wanted::{Reports, node_volumes};
use crate::store;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DrainPreview {
    /// False: it is being drained already.
    pub changed: bool,
    /// What stands there. Whether other nodes have room for it is not looked at.
    pub workloads: Vec<LeavingPreview>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LeavingPreview {
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
    pub workload: String,
    /// On this node, without those that are being stopped.
    pub instances: u32,
    /// Of them those that leave it.
    pub leaving: u32,
    /// Must never run twice: while one is here, the node cannot be removed by force.
    pub fenced: bool,
    /// What becomes of them, or why they stay; for a person.
    pub reason: String,
}

/// # Errors
/// Not found, or the database is away.
pub async fn preview(s: &Scheduler, node: &str) -> Result<DrainPreview, Problem> {
    let nodes = store::nodes(s.orm()).await.map_err(database)?;
    let own = nodes.iter().find(|n| n.name == node).ok_or_else(|| Problem::not_found("node", node))?;
    let draining: BTreeSet<String> = nodes.iter().filter(|n| n.draining).map(|n| n.name.clone()).chain([node.to_owned()]).collect();
    let alive = store::all_alive(s.orm()).await.map_err(database)?;
    let apps: BTreeSet<AppId> = alive.iter().filter(|i| i.node == node).map(|i| AppId(i.app)).collect();
    let reports = view::reports(s);
    let mut workloads = Vec::new();
    for app in apps {
        if let Some(row) = store::app_by_id(s.orm(), app).await.map_err(database)? {
            workloads.extend(leaving(s, row, node, &draining, &reports).await?);
        }
    }
    let place = |w: &LeavingPreview| (w.org.clone(), w.project.clone(), w.space.clone(), w.app.clone(), w.workload.clone());
    workloads.sort_by_cached_key(place);
    Ok(DrainPreview { changed: !own.draining, workloads })
}

async fn leaving(s: &Scheduler, row: store::app::Model, node: &str, draining: &BTreeSet<String>, reports: &Reports) -> Result<Vec<LeavingPreview>, Problem> {
    let seeing = view::see(s, row, reports).await?;
    let (row, nothing) = (&seeing.row, Model::default());
    let goal = if row.stopped || row.deleted { &nothing } else { seeing.outline() };
    let ended = standing::ended(s, AppId(row.id), row, goal, &seeing.alive).await.map_err(database)?;
    let goes = |i: &&store::instance::Model| i.node == node && Phase::parse(&i.phase) != Phase::Stopping;
    let here: BTreeSet<InstanceId> = seeing.alive.iter().filter(goes).map(|i| InstanceId(i.id)).collect();
    let names: BTreeSet<&Name> = seeing.view.instances.iter().filter(|i| here.contains(&i.id)).map(|i| &i.workload).collect();
    let mut out = Vec::new();
    for name in names {
        let around = Around { reports, draining, now: s.host.env.now() };
        let mut all = standing::instances(row, &seeing.view, &seeing.alive, (name, goal.workloads.get(name)), around);
        // Nodes report to the process that decides; elsewhere it counts what was recorded.
        if !s.leading.load(Ordering::SeqCst) {
            for one in &mut all {
                one.available = seeing.view.instances.iter().any(|i| i.id == one.id && i.phase == Phase::Running);
            }
        }
        let own: BTreeSet<InstanceId> = all.iter().filter(|i| here.contains(&i.id)).map(|i| i.id).collect();
        let workload = goal.workloads.get(name);
        // Of what stands on each node there is one less then.
        let others = all.iter().filter(|i| !i.stopping && !i.displaced).count();
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let count = workload.map_or(0, |w| w.count(scaled(row).get(name).copied(), others));
        let wanted = standing::wanted(workload, count, standing::completed(row, &ended, name));
        let has_volume = workload.is_some_and(|w| w.kind != WorkloadKind::Global && !node_volumes(w, &goal.volumes).is_empty());
        let instances = u32::try_from(own.len()).unwrap_or(u32::MAX);
        let (leaving, reason) = match &seeing.unreadable {
            Some(why) => (0, why.clone()),
            None => outcome(Leaving { name, workload, wanted, instances: all, own: &own, has_volume }),
        };
        out.push(LeavingPreview {
            org: row.org_name.clone(),
            project: row.project_name.clone(),
            space: row.space_name.clone(),
            app: row.name.clone(),
            workload: name.to_string(),
            instances,
            leaving,
            fenced: workload.is_some_and(|w| w.placement.fenced),
            reason,
        });
    }
    Ok(out)
}
