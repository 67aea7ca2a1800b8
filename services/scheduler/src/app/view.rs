//! Applications as people and other services see them.

mod ended;
mod inside;
mod on_clusters;
mod registered;

use std::collections::BTreeMap;

use gantry_auth::SpaceRef;
use gantry_kernel::{AppId, InstanceId, Name, OffsetDateTime, Problem};
use serde::Serialize;

use super::change::scaled;
use super::context::{Scheduler, home};
use super::deploy::database;
use super::rollout::{self, ReleaseBody};
use crate::domain::engine::Seen;
use crate::domain::model::{Model, Protocol, Route, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::status::{Condition, state};
use crate::domain::wanted::{AppView, Reports, Standing};
use crate::domain::{placement, stored};
use crate::store;

pub use on_clusters::{ClusterPartBody, OnClusterBody, ShareBody};
pub use registered::ServiceBody;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AppBody {
    #[schema(value_type = String, format = Uuid)]
    pub id: AppId,
    pub name: String,
    pub org: String,
    pub project: String,
    pub space: String,
    /// pending | releasing | running | degraded | failed | stopped | deleting | deleted
    pub state: String,
    /// One sentence for a person.
    pub reason: String,
    /// At work, or on its way there.
    pub revision: u64,
    /// The last one that was fully at work.
    pub finished_revision: Option<u64>,
    pub workloads: Vec<WorkloadBody>,
    pub endpoints: Vec<EndpointBody>,
    /// What runs on Kubernetes clusters, by cluster and workload.
    pub clusters: Vec<ClusterPartBody>,
    /// The release that is under way.
    pub release: Option<ReleaseBody>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    #[serde(skip)]
    pub version: i64,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WorkloadBody {
    pub name: String,
    pub kind: WorkloadKind,
    pub image: String,
    pub replicas: u32,
    pub ready: u32,
    pub cpu_millis: u32,
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EndpointBody {
    pub service: String,
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
    pub url: String,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InstanceBody {
    #[schema(value_type = String, format = Uuid)]
    pub id: InstanceId,
    pub name: String,
    pub workload: String,
    pub index: u32,
    pub revision: u64,
    pub node: String,
    /// pending | starting | running | unhealthy | stopping | exited | lost
    pub state: String,
    /// Ready, and in rotation wherever it is balanced.
    pub available: bool,
    pub address: String,
    pub restarts: u32,
    pub exit_code: Option<i32>,
    pub reason: String,
    /// Its containers besides the main one, by name: what `exec`, `attach` and the like take as `container`.
    pub containers: Vec<String>,
    /// Why it has to leave its node, if it has to.
    pub displaced: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub placed_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub running_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RevisionBody {
    pub revision: u64,
    pub format: String,
    pub images: Vec<String>,
    pub reason: String,
    /// Who brought it: "user:<uuid>", "service:<name>".
    pub author: String,
    pub current: bool,
    /// Against the revision before it, one line each.
    pub diff: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Why an application is as it is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WhyBody {
    pub state: String,
    pub reason: String,
    pub waiting: Vec<WaitingBody>,
    /// Instances in trouble or ended lately, newest first.
    pub instances: Vec<InstanceBody>,
    /// Why each instance that has not ended is where it is, as far as that was recorded.
    pub placed: Vec<PlacedBody>,
    /// Why workloads whose number follows something have the number they have.
    pub scaling: Vec<super::scaling::ScalingBody>,
    /// How it stands on the Kubernetes cluster, if it is on one; of several, the first that something is to be said of.
    pub cluster: Option<OnClusterBody>,
    /// Of a space on several clusters: what each has, and why.
    pub clusters: Vec<ShareBody>,
    /// Which network policies select its instances.
    pub policies: Vec<super::policies::SelectingBody>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PlacedBody {
    #[schema(value_type = String, format = Uuid)]
    pub instance: InstanceId,
    pub name: String,
    pub workload: String,
    pub chosen: placement::Chosen,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WaitingBody {
    pub workload: String,
    pub instances: u32,
    pub reason: String,
    /// The nodes with the fewest reasons against them first, at most 50.
    pub nodes: Vec<placement::Finding>,
    /// How many nodes were looked at.
    pub nodes_seen: u32,
    /// Each rule in the way, and on how many nodes.
    pub against: Vec<placement::Against>,
    /// What would have to change: each alone would be enough.
    pub remedies: Vec<placement::Remedy>,
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// Everything about one application, gathered once.
pub struct Seeing {
    pub row: store::app::Model,
    pub view: AppView,
    pub alive: Vec<store::instance::Model>,
    pub pending: BTreeMap<String, (store::Pending, OffsetDateTime)>,
    reports: Reports,
    outline: Model,
    now: OffsetDateTime,
    /// Which revision cannot be read, if one of those that matter now cannot: its application is left as it is.
    pub unreadable: Option<String>,
}

/// So many ended instances are told, of so many that are looked at.
const TOLD: usize = 20;
const LOOKED_AT: u64 = 200;

/// What all nodes reported that are not lost.
pub fn reports(s: &Scheduler) -> Reports {
    let timeout = s.config.node_timeout();
    let heard = s.agents.snapshot().into_iter().filter(|(_, v)| v.silent_for <= timeout);
    let mut all: Reports = heard.filter_map(|(name, view)| Some((name, view.report?))).collect();
    s.clusters.report(&mut all);
    all
}

/// # Errors
/// When the database refuses.
pub async fn see(s: &Scheduler, row: store::app::Model, reports: &Reports) -> Result<Seeing, Problem> {
    let alive = store::alive(s.orm(), AppId(row.id)).await.map_err(database)?;
    let pending = store::load_pending(s.orm(), AppId(row.id)).await.map_err(database)?;
    Ok(Seeing { pending, ..see_standing(s, row, alive, reports).await? })
}

/// The same with the instances that have not ended, by workload and number, and without what they wait for.
///
/// # Errors
/// When the database refuses.
pub async fn see_standing(s: &Scheduler, row: store::app::Model, alive: Vec<store::instance::Model>, reports: &Reports) -> Result<Seeing, Problem> {
    let app = AppId(row.id);
    let (mut models, mut unreadable) = (BTreeMap::new(), None);
    let mut needed: Vec<i64> = alive.iter().map(|i| i.revision).chain([row.current]).chain(row.release_from).collect();
    needed.sort_unstable();
    needed.dedup();
    for revision in needed {
        // The outline is enough to look at, and needs no key.
        let Some(found) = s.models.outline(s.orm(), app, revision.unsigned_abs()).await.map_err(database)? else { continue };
        match found {
            Ok(outline) => drop(models.insert(revision.unsigned_abs(), outline)),
            Err(error) => {
                s.unreadable.tell("revision", format_args!("{app}/{revision}"), &error, "its application is left as it is");
                unreadable = Some(format!(
                    "revision {revision} cannot be read by this version of the platform, and the application is left as it is: update the platform, or stop the application and deploy it anew ({error})"
                ));
            }
        }
    }
    let current = row.current.unsigned_abs();
    let outline = models.get(&current).map(|m| (**m).clone()).unwrap_or_default();
    let broken = || Problem::internal(anyhow::anyhow!("the row of application {app} holds no names"));
    let view = AppView {
        id: app,
        name: Name::parse(&row.name).map_err(|_| broken())?,
        home: home(&row).ok_or_else(broken)?,
        current,
        from: row.release_from.map(i64::unsigned_abs),
        models,
        instances: alive.iter().filter_map(standing).collect(),
        traffic: rollout::traffic(&row, &outline),
    };
    Ok(Seeing { row, view, alive, pending: BTreeMap::new(), reports: reports.clone(), outline, now: s.host.env.now(), unreadable })
}

/// A row as the pure functions want it.
pub fn standing(row: &store::instance::Model) -> Option<Standing> {
    Some(Standing {
        id: InstanceId(row.id),
        workload: Name::parse(&row.workload).ok()?,
        index: row.number.unsigned_abs(),
        revision: row.revision.unsigned_abs(),
        node: Name::parse(&row.node).ok()?,
        phase: Phase::parse(&row.phase),
        address: row.address.clone(),
    })
}

impl Seeing {
    fn available(&self, id: InstanceId) -> bool {
        self.view.instances.iter().find(|i| i.id == id).is_some_and(|i| i.phase != Phase::Stopping && self.view.is_available(i, &self.reports))
    }

    pub fn condition(&self) -> Condition {
        let scale = scaled(&self.row);
        let stopped = self.row.stopped || self.row.deleted;
        let stays = |i: &store::instance::Model| i.revision != self.row.current && self.stays(i);
        let current = |i: &&store::instance::Model| i.revision == self.row.current || stays(i);
        let mut wanted = 0;
        for (name, workload) in &self.outline.workloads {
            let here = u32::try_from(self.alive.iter().filter(|i| i.workload == name.as_str() && current(i)).count()).unwrap_or(u32::MAX);
            wanted += match workload.kind {
                // Finished jobs are not missed, and a global workload's number is that of its instances and the waiting ones.
                WorkloadKind::Job => here,
                WorkloadKind::Global => here + self.pending.get(name.as_str()).map_or(0, |(p, _)| p.instances),
                WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::CronJob => workload.count(scale.get(name).copied(), 0),
            };
        }
        let trouble = self.alive.iter().find(|i| !i.reason.is_empty() && i.phase != "running" && i.phase != "stopping");
        Condition {
            deleted: self.row.deleted,
            stopped: self.row.stopped,
            alive: u32::try_from(self.alive.len()).unwrap_or(u32::MAX),
            wanted: if stopped { 0 } else { wanted },
            available: u32::try_from(self.alive.iter().filter(current).filter(|i| self.available(InstanceId(i.id))).count()).unwrap_or(u32::MAX),
            step: rollout::sentence(&self.row, &self.outline, self.now),
            releasing: self.row.release_revision.map(|r| (r.unsigned_abs(), self.row.release_from.map(i64::unsigned_abs))),
            failure: self.row.failure.clone(),
            pending: self.pending.iter().next().map(|(workload, (p, _))| sentence(workload, p)),
            kept: u32::try_from(self.alive.iter().filter(|i| i.phase != "stopping" && stays(i)).count()).unwrap_or(u32::MAX),
            given_up: self.given_up(),
            trouble: trouble.map(|i| format!("{}: {}", i.workload, i.reason)),
        }
    }

    /// Does it stay also when it is of an earlier revision?
    fn stays(&self, instance: &store::instance::Model) -> bool {
        let found = self.outline.workloads.iter().find(|(name, _)| name.as_str() == instance.workload);
        found.is_some_and(|(_, workload)| super::standing::stays(&self.row, workload, instance))
    }

    pub fn body(&self, s: &Scheduler) -> AppBody {
        let (word, reason) = match &self.unreadable {
            Some(unreadable) => ("failed", unreadable.clone()),
            None => state(&self.condition()),
        };
        let scale = scaled(&self.row);
        let ready = |name: &Name| self.view.instances.iter().filter(|i| i.workload == *name && self.available(i.id)).count();
        let workloads = self.outline.workloads.iter().map(|(name, w)| WorkloadBody {
            name: name.to_string(),
            kind: w.kind,
            image: w.pinned.clone().unwrap_or_else(|| w.image.clone()),
            replicas: w.count(scale.get(name).copied(), u32::try_from(self.alive.iter().filter(|i| i.workload == name.as_str()).count()).unwrap_or(0)),
            ready: u32::try_from(ready(name)).unwrap_or(u32::MAX),
            cpu_millis: w.requests.cpu_millis,
            memory_bytes: w.requests.memory_bytes,
        });
        AppBody {
            id: AppId(self.row.id),
            name: self.row.name.clone(),
            org: self.row.org_name.clone(),
            project: self.row.project_name.clone(),
            space: self.row.space_name.clone(),
            state: word.into(),
            reason,
            revision: self.row.current.unsigned_abs(),
            finished_revision: self.row.finished.map(i64::unsigned_abs),
            workloads: workloads.collect(),
            endpoints: self.endpoints(s),
            clusters: self.cluster_parts(),
            release: rollout::body(&self.row, &self.outline, s.host.env.now()),
            created_at: self.row.created_at,
            updated_at: self.row.updated_at,
            version: self.row.version,
        }
    }

    /// Where its services are reached from outside of the space.
    fn endpoints(&self, s: &Scheduler) -> Vec<EndpointBody> {
        match s.clusters.of(AppId(self.row.id)) {
            on if on.is_empty() => endpoints(&self.outline, s),
            on => on
                .iter()
                .filter(|(_, running)| !running.lost)
                .flat_map(|(_, running)| super::cluster_endpoints::endpoints(&self.outline, &self.view, running))
                .collect(),
        }
    }

    pub fn outline(&self) -> &Model {
        &self.outline
    }

    pub fn instances(&self) -> Vec<InstanceBody> {
        self.alive.iter().map(|row| self.instance(row)).collect()
    }

    fn instance(&self, row: &store::instance::Model) -> InstanceBody {
        let id = InstanceId(row.id);
        let seen = Name::parse(&row.node).ok().and_then(|node| self.reports.get(&node)?.instances.get(&id));
        let state = match (Phase::parse(&row.phase), seen.map(|o| o.seen)) {
            (Phase::Placed, Some(Seen::Starting | Seen::Running)) => "starting",
            (Phase::Placed, Some(Seen::Unhealthy)) => "unhealthy",
            (Phase::Placed, _) => "pending",
            (Phase::Running, _) => "running",
            (Phase::Unhealthy, _) => "unhealthy",
            (Phase::Stopping, _) => "stopping",
            (Phase::Lost, _) => "lost",
            (Phase::Stopped | Phase::Completed | Phase::Failed, _) => "exited",
        };
        let address = seen.map_or_else(|| row.address.clone(), |o| o.address.clone());
        let reason = if row.reason.is_empty() { seen.map(|o| o.reason.clone()).unwrap_or_default() } else { row.reason.clone() };
        let workload = Name::parse(&row.workload).ok();
        let spec = workload.as_ref().and_then(|w| self.outline.workloads.get(w));
        InstanceBody {
            id,
            name: workload.map(|w| crate::domain::wanted::instance_name(&self.view.name, &w, row.number.unsigned_abs())).unwrap_or_default(),
            workload: row.workload.clone(),
            index: row.number.unsigned_abs(),
            revision: row.revision.unsigned_abs(),
            node: row.node.clone(),
            state: state.into(),
            available: row.ended_at.is_none() && self.available(id),
            address,
            restarts: row.restarts.unsigned_abs(),
            exit_code: row.exit_code,
            reason,
            containers: spec.into_iter().flat_map(|w| w.others()).map(|c| c.name.clone()).collect(),
            displaced: row.displaced.clone(),
            placed_at: row.placed_at,
            running_at: row.running_at,
            ended_at: row.ended_at,
        }
    }

    /// # Errors
    /// When the database refuses.
    pub async fn why(&self, s: &Scheduler) -> Result<WhyBody, Problem> {
        let (word, reason) = state(&self.condition());
        let waiting = self.pending.iter().map(|(workload, (p, since))| WaitingBody {
            workload: workload.clone(),
            instances: p.instances,
            reason: p.reason.clone(),
            nodes: p.findings.clone(),
            nodes_seen: p.nodes,
            against: p.against.clone(),
            remedies: p.remedies.clone(),
            since: *since,
        });
        let scaling = super::scaling::all(s, &self.row, &self.outline).await?;
        let ended = self.listed(store::ended(s.orm(), AppId(self.row.id), LOOKED_AT).await.map_err(database)?);
        let trouble = self.alive.iter().filter(|i| !self.available(InstanceId(i.id)));
        let instances = trouble.chain(ended.iter().take(TOLD)).map(|i| self.instance(i)).collect();
        let mut chosen = store::load_decisions(s.orm(), AppId(self.row.id)).await.map_err(database)?;
        let placed = self.alive.iter().filter_map(|i| {
            let body = self.instance(i);
            Some(PlacedBody { instance: body.id, name: body.name, workload: body.workload, chosen: chosen.remove(&body.id)? })
        });
        let (cluster, clusters) = (self.on_cluster(s), self.cluster_shares(s).await?);
        let policies = super::policies::selecting(s, &self.row, &self.outline).await?;
        let (waiting, placed) = (waiting.collect(), placed.collect());
        Ok(WhyBody { state: word.into(), reason, waiting, instances, placed, scaling, cluster, clusters, policies })
    }
}

/// What a workload waits for: the reason if there is one, otherwise what is in the way on the best node.
pub fn sentence(workload: &str, pending: &store::Pending) -> String {
    if !pending.reason.is_empty() {
        return format!("{workload}: {}", pending.reason);
    }
    match (pending.findings.first(), pending.remedies.first()) {
        (None, _) => format!("{workload}: there is no node"),
        (Some(first), None) => format!("{workload}: no node has room; {}: {}", first.node, first.reasons.join(", ")),
        (Some(first), Some(remedy)) => {
            format!(
                "{workload}: no node has room; {}: {}; on {} of {} nodes it would be enough to {}",
                first.node,
                first.reasons.join(", "),
                remedy.nodes,
                pending.nodes,
                remedy.change
            )
        }
    }
}

fn endpoints(model: &Model, s: &Scheduler) -> Vec<EndpointBody> {
    let mut out = Vec::new();
    for service in &model.services {
        let name = service.name.to_string();
        if let Some(publish) = service.publish.filter(|p| p.listen > 0) {
            let host = s.config.ingress_host.clone();
            let scheme = if service.protocol == Protocol::Udp { "udp" } else { "http" };
            let url = format!("{scheme}://{host}:{}", publish.listen);
            out.push(EndpointBody { service: name.clone(), host, port: publish.listen, protocol: service.protocol, url });
        }
        if let Some(address) = service.address.as_ref().and_then(|a| a.given) {
            let scheme = if service.protocol == Protocol::Udp { "udp" } else { "http" };
            let (host, port) = (address.to_string(), service.public_port());
            let url = format!("{scheme}://{host}:{port}");
            out.push(EndpointBody { service: name.clone(), host, port, protocol: service.protocol, url });
        }
        if let Some(preview) = &service.preview {
            out.extend(rollout::endpoints(service, preview, s));
        }
        for (route, (host, path)) in service.routes.iter().filter_map(|route| Some((route, Route::shown_at(route)?))) {
            let (scheme, port) = if route.is_secure() { ("https", s.config.secure_route_port) } else { ("http", s.config.route_port) };
            let url = format!("{scheme}://{host}:{port}{path}");
            out.push(EndpointBody { service: name.clone(), host: host.to_owned(), port, protocol: Protocol::Http, url });
        }
    }
    out
}

/// All applications of a space after a name.
///
/// # Errors
/// When the database refuses.
pub async fn list(s: &Scheduler, space: &SpaceRef, after: Option<&str>, limit: u64) -> Result<Vec<AppBody>, Problem> {
    let reports = reports(s);
    let mut out = Vec::new();
    for row in store::apps(s.orm(), space.id, after, limit).await.map_err(database)? {
        out.push(see(s, row, &reports).await?.body(s));
    }
    Ok(out)
}

/// Newest first.
///
/// # Errors
/// When the database refuses.
pub async fn revisions(s: &Scheduler, row: &store::app::Model) -> Result<Vec<RevisionBody>, Problem> {
    let rows = store::revisions(s.orm(), AppId(row.id)).await.map_err(database)?;
    let outlines: Vec<Result<Model, stored::Unreadable>> = rows.iter().map(|r| stored::read(&r.model).map(|s| s.outline)).collect();
    let diff = |n: usize| match (outlines.get(n + 1), &outlines[n]) {
        (_, Err(error)) | (Some(Err(error)), _) => vec![format!("not known: {error}")],
        (before, Ok(model)) => super::deploy::diff(before.and_then(|b| b.as_ref().ok()), model),
    };
    let body = |(n, r): (usize, &store::revision::Model)| RevisionBody {
        revision: r.revision.unsigned_abs(),
        format: r.format.clone(),
        images: serde_json::from_value(r.images.clone()).unwrap_or_default(),
        reason: r.reason.clone(),
        author: r.actor.clone(),
        current: r.revision == row.current,
        diff: diff(n),
        at: r.at,
    };
    Ok(rows.iter().enumerate().map(body).collect())
}
