//! What a change would do, for dry runs. The events of its decision are taken in by the projection and taken back, and the release planner
//! is asked for the way from what stands to what would be wanted then. Nothing is written.

mod bodies;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use gantry_auth::SpaceRef;
use gantry_contract::scheduler::AppEvent;
use gantry_es::{EventData, Meta, NewEvent, Recorded, StreamId};
use gantry_es_pg::Claim;
use gantry_kernel::{AppId, InstanceId, Name, Problem, Uuid};

use super::change::{owned, scaled};
use super::context::Scheduler;
use super::deploy::{database, diff, node_count};
use super::standing::Around;
use super::view::Seeing;
use super::{addresses, fleet, models, rollout, space_rules, standing, view};
use crate::domain::jobs;
use crate::domain::model::{Condition, Demand, Model, Mount, MountKind, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::preview::{Batch, Course, Part, course};
use crate::domain::release::Instance;
use crate::domain::rollout::{self as exchanging, Door, Stage};
use crate::domain::stored;
use crate::domain::wanted::{instance_name, node_volumes, volume_name};
use crate::store;

pub use bodies::ChangePreview;
use bodies::{BatchPreview, ReservesPreview, StartPreview, StepPreview, StopPreview, VolumePreview, WorkloadPreview};
pub use rules::of_rules;

/// A decision that nobody has carried out.
pub struct Would<'a> {
    pub space: &'a SpaceRef,
    pub app: AppId,
    /// The application as it is; none if it is not there yet.
    pub row: Option<&'a store::app::Model>,
    pub events: &'a [AppEvent],
    /// Of a deployment: its model, which is stored nowhere.
    pub model: Option<&'a Model>,
    /// What would be reserved, if the change has that counted.
    pub demand: Option<Demand>,
}

/// # Errors
/// When something of the application cannot be read, or the database is away.
pub async fn of(s: &Scheduler, would: Would<'_>) -> Result<ChangePreview, Problem> {
    let mut out = ChangePreview { revision: would.row.map_or(0, |r| r.current.unsigned_abs()), ..ChangePreview::default() };
    let Some(after) = after(s, &would).await? else { return Ok(out) };
    let reports = view::reports(s);
    let seeing = match would.row {
        Some(row) => Some(view::see(s, row.clone(), &reports).await?),
        None => None,
    };
    let revised = match would.model {
        Some(model) => stored::outline(model),
        None => outline(s, would.app, after.current).await?,
    };
    (out.changed, out.revision) = (true, after.current.unsigned_abs());
    out.events = would.events.iter().map(|e| e.encode().kind).collect();
    out.diff = differences(&would, seeing.as_ref().map(Seeing::outline), &revised);
    out.reserves = would.demand.map(ReservesPreview::from);
    let ended = after.stopped || after.deleted;
    let goal = if ended { Model::default() } else { revised };
    out.given_back = given_back(s, &would, &goal).await?;
    out.notes.extend(after.queued.as_ref().map(|why| format!("it waits for room in the quota before anything is started: {why}")));
    if after.release_paused && after.release_revision.is_some() && !ended {
        out.notes.push("the release is paused: no old instance that serves is replaced until it is resumed".into());
    }
    let name = Name::parse(&after.name).map_err(|_| Problem::internal(anyhow::anyhow!("the row of application {} holds no name", would.app)))?;
    let rules = space_rules::get(s, would.space).await?;
    let ways = Ways::find(s, &would, &after, &goal, seeing.as_ref()).await?;
    out.workloads = ways.told(&goal);
    out.steps = ways.steps(&after, s.host.env.now());
    if rules.on_clusters() {
        out.notes.push("its cluster starts and stops the pods, by its own rules for replacing them".into());
        // A deployment tells them itself.
        if !ended && would.model.is_none() {
            out.clusters = fleet::prospect(s, would.space, Some(&after), &name, &goal).await?;
        }
        return Ok(out);
    }
    let told = ways.course();
    out.more_batches = told.more;
    if let Some(seeing) = &seeing {
        out.volumes = volumes(would.app, seeing, &told, &after, &goal);
    }
    out.batches = batches(&name, seeing.as_ref(), told, ways.begun);
    Ok(out)
}

/// The application's row then; `None`: nothing happens.
async fn after(s: &Scheduler, would: &Would<'_>) -> Result<Option<store::app::Model>, Problem> {
    if would.events.is_empty() {
        return Ok(None);
    }
    let (at, version) = (s.host.env.now(), would.row.map_or(0, |r| r.version));
    let recorded = would.events.iter().zip(1..).map(|(event, n)| {
        let NewEvent { kind, kind_version, data } = event.encode();
        let stream = StreamId::of::<AppEvent>(would.app);
        // After everything that there is, so that what was placed before a restart is older than it.
        Recorded {
            position: i64::MAX,
            stream,
            version: version + n,
            id: Uuid::nil(),
            kind,
            kind_version,
            data,
            meta: Meta::system(),
            at,
            origin: "scheduler".into(),
        }
    });
    let recorded: Vec<Recorded> = recorded.collect();
    store::as_if(s.orm(), would.app, &recorded).await.map_err(|e| Problem::unavailable("the database").with_source(e.into_boxed_dyn_error()))
}

/// Of a stored revision; of none before the first.
async fn outline(s: &Scheduler, app: AppId, revision: i64) -> Result<Model, Problem> {
    match store::revision(s.orm(), app, revision).await.map_err(database)? {
        Some(row) => Ok(stored::read(&row.model).map_err(|e| models::refused(e.into(), revision.unsigned_abs()))?.outline),
        None => Ok(Model::default()),
    }
}

/// Of the model if another revision comes to work, unless the deployment tells that itself; else what the events say.
fn differences(would: &Would<'_>, before: Option<&Model>, revised: &Model) -> Vec<String> {
    let mut out = Vec::new();
    for event in would.events {
        match event {
            AppEvent::ReleaseStarted { .. } if would.model.is_none() => out.extend(diff(before, revised)),
            AppEvent::Scaled { workload, replicas, from, .. } => out.push(format!("~ workloads.{workload}.replicas: {from} → {replicas}")),
            AppEvent::Stopped { .. } => out.push("~ stopped: false → true".into()),
            AppEvent::Started { .. } => out.push("~ stopped: true → false".into()),
            _ => {}
        }
    }
    out
}

async fn given_back(s: &Scheduler, would: &Would<'_>, goal: &Model) -> Result<Vec<String>, Problem> {
    let word = |scope: &str, name: &str| match scope {
        "port.tcp" => format!("port {name}/tcp"),
        "port.udp" => format!("port {name}/udp"),
        addresses::SCOPE => format!("address {name}"),
        _ => format!("name {name}"),
    };
    if would.events.iter().any(|e| matches!(e, AppEvent::Deleted { .. })) {
        let own = owned(s, would.space, would.app).await?;
        return Ok(own.into_iter().map(|(scope, name)| word(&scope, &name)).collect());
    }
    if would.events.iter().any(|e| matches!(e, AppEvent::ReleaseStarted { .. })) {
        let claims = addresses::given_back(s.orm(), would.app, goal).await.map_err(database)?;
        let released = claims.into_iter().filter_map(|claim| match claim {
            Claim::Release { scope, name } => Some(word(&scope, &name)),
            Claim::Take { .. } => None,
        });
        return Ok(released.collect());
    }
    Ok(Vec::new())
}

/// What stands, and what would be wanted of it.
struct Ways {
    parts: Vec<Part>,
    /// Of an exchange; empty for everything else.
    stages: Vec<Stage>,
    /// The stage that has begun.
    begun: usize,
    given_up: Vec<InstanceId>,
    /// Instances now, by workload, that are not being stopped.
    before: BTreeMap<Name, u32>,
    /// Those of them that cannot stay.
    stale: BTreeMap<Name, u32>,
}

impl Ways {
    async fn find(s: &Scheduler, would: &Would<'_>, after: &store::app::Model, goal: &Model, seeing: Option<&Seeing>) -> Result<Self, Problem> {
        let nodes = store::nodes(s.orm()).await.map_err(database)?;
        let draining: BTreeSet<String> = nodes.into_iter().filter(|n| n.draining).map(|n| n.name).collect();
        let alive = seeing.map_or(&[] as &[store::instance::Model], |seen| seen.alive.as_slice());
        let ended = standing::ended(s, would.app, after, goal, alive).await.map_err(database)?;
        let reports = view::reports(s);
        let around = Around { reports: &reports, draining: &draining, now: s.host.env.now() };
        let instances = |row: &store::app::Model, of: &Model, name: &Name| -> Vec<Instance> {
            let Some(seeing) = seeing else { return Vec::new() };
            let mut all = standing::instances(row, &seeing.view, &seeing.alive, (name, of.workloads.get(name)), around);
            // Nodes report to the process that decides; elsewhere it counts what was recorded.
            if !s.leading.load(Ordering::SeqCst) {
                for one in &mut all {
                    one.available = seeing.view.instances.iter().any(|i| i.id == one.id && i.phase == Phase::Running);
                }
            }
            all
        };
        let exchange = rollout::stages(after, goal).filter(|_| !goal.workloads.is_empty()).zip(after.release_from);
        let (stages, from, base) = match exchange {
            Some((stages, from)) => (stages, from, outline(s, would.app, from).await?),
            None => (Vec::new(), 0, Model::default()),
        };
        let begun = if stages.is_empty() { 0 } else { rollout::standing(after, stages.len(), s.host.env.now()).step };
        let hidden = rollout::traffic(after, goal).hidden;
        let (scale, everywhere) = (scaled(after), node_count(s).await?);
        let exchanged = |name: &Name| !stages.is_empty() && exchanging::is_exchanged(&base, goal, name);
        let mut names: BTreeSet<Name> = goal.workloads.keys().cloned().collect();
        names.extend(seeing.iter().flat_map(|seen| seen.view.instances.iter().map(|i| i.workload.clone())));
        names.extend(base.workloads.keys().filter(|&name| exchanged(name)).cloned());
        let mut out = Self { parts: Vec::new(), stages: Vec::new(), begun, given_up: Vec::new(), before: BTreeMap::new(), stale: BTreeMap::new() };
        for name in names {
            let workload = goal.workloads.get(&name);
            // Its instances come and go with the schedule.
            if workload.is_some_and(|w| w.kind == WorkloadKind::CronJob) {
                continue;
            }
            let all = instances(after, goal, &name);
            let here: Vec<&Instance> = all.iter().filter(|i| !i.stopping).collect();
            out.before.insert(name.clone(), number(here.len()));
            out.stale.insert(name.clone(), number(here.iter().filter(|i| !i.current || i.displaced).count()));
            // Where one stands it stays; where none stands yet, each node that takes instances has one.
            let nodes = if here.is_empty() { everywhere } else { number(here.len()) };
            let count = workload.map_or(0, |w| w.count(scale.get(&name).copied(), nodes));
            let part = Part {
                wanted: standing::wanted(workload, count, standing::completed(after, &ended, &name)),
                counts: vec![count],
                instances: all,
                revision: after.current.unsigned_abs(),
                depends_on: workload.map(|w| awaited(&name, w)).unwrap_or_default(),
                after: workload.map(|w| w.replaced_after().filter(|&first| !exchanged(first)).cloned().collect()).unwrap_or_default(),
                workload: name.clone(),
            };
            if !exchanged(&name) {
                out.parts.push(part);
                continue;
            }
            let before = store::app::Model { current: from, ..after.clone() };
            let revision = |id: InstanceId| seeing.and_then(|seen| seen.view.instances.iter().find(|i| i.id == id)).map_or(0, |i| i.revision);
            let sides = exchanging::sides(&part.instances, instances(&before, &base, &name), after.current.unsigned_abs(), &hidden, revision);
            out.given_up.extend(sides.given_up);
            let grows = (begun..=stages.len()).map(|at| stages.get(at).map_or(count, |stage| stage.instances(count)));
            out.parts.push(Part { counts: grows.collect(), instances: sides.new, ..part.clone() });
            let beside = rollout::beside(after, &scale, &base, goal);
            let old = base.workloads.get(&name);
            let stays = old.map_or(0, |w| w.count(beside.get(&name).copied(), 0));
            let counts = (begun..=stages.len()).map(|at| if at < stages.len() { stays } else { 0 });
            let wanted = standing::wanted(old, stays, 0);
            out.parts.push(Part {
                wanted,
                counts: counts.collect(),
                instances: sides.old,
                revision: from.unsigned_abs(),
                depends_on: Vec::new(),
                after: Vec::new(),
                ..part
            });
        }
        out.stages = stages;
        Ok(out)
    }

    fn told(&self, goal: &Model) -> Vec<WorkloadPreview> {
        let one = |(name, before): (&Name, &u32)| {
            let of = || self.parts.iter().filter(|p| p.workload == *name);
            let last = |p: &Part| {
                let count = p.counts.last().copied().unwrap_or(0);
                if p.wanted.kind == WorkloadKind::Job { count.saturating_sub(p.wanted.completed) } else { count }
            };
            let pause = goal.workloads.get(name).map_or(0, |w| w.update.delay_seconds);
            WorkloadPreview::of(name, *before, of().map(last).sum(), self.stale.get(name).copied().unwrap_or(0), pause)
        };
        self.before.iter().map(one).collect()
    }

    /// Those after the one that has begun.
    fn steps(&self, after: &store::app::Model, now: gantry_kernel::OffsetDateTime) -> Vec<StepPreview> {
        if self.stages.is_empty() {
            return Vec::new();
        }
        let at = rollout::standing(after, self.stages.len(), now);
        let new = || self.parts.iter().filter(|p| p.counts.len() > 1 && p.revision == after.current.unsigned_abs());
        let one = |step: usize| {
            let since = if step == self.begun + 1 { at.since } else { std::time::Duration::ZERO };
            let door = exchanging::door(&self.stages, &exchanging::Standing { step: step - 1, since, ..at });
            let count = |p: &Part| p.counts.get(step - self.begun).copied().unwrap_or(0);
            StepPreview {
                step: number(step),
                percent: self.stages.get(step).map_or(100, |stage| stage.share),
                instances: new().map(|p| (p.workload.to_string(), count(p))).collect(),
                waits_for: rollout::waits_for(&door).into(),
                seconds: if let Door::Until(left) = door { left.as_secs() } else { 0 },
            }
        };
        (self.begun + 1..=self.stages.len()).map(one).collect()
    }

    fn course(&self) -> Course {
        let steps = if self.stages.is_empty() { 1 } else { (self.stages.len() + 1).saturating_sub(self.begun) };
        let mut told = course(self.parts.clone(), steps);
        if !self.given_up.is_empty() {
            let first = Batch { stops: self.given_up.clone(), ..Batch::default() };
            told.batches.insert(0, first);
        }
        told
    }
}

/// What has to be there before a workload: of a job that is held back, what never is.
fn awaited(name: &Name, workload: &Workload) -> Vec<(Name, Condition)> {
    let held = jobs::is_suspended(workload).then(|| (name.clone(), Condition::Completed));
    workload.depends_on.iter().map(|(needed, condition)| (needed.clone(), *condition)).chain(held).collect()
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn row(seeing: &Seeing, id: InstanceId) -> Option<&store::instance::Model> {
    seeing.alive.iter().find(|i| i.id == id.0)
}

fn batches(app: &Name, seeing: Option<&Seeing>, told: Course, begun: usize) -> Vec<BatchPreview> {
    let called = |workload: &Name, index: u32| instance_name(app, workload, index);
    let stop = |id: InstanceId| {
        let row = row(seeing?, id)?;
        let name = Name::parse(&row.workload).map(|w| called(&w, row.number.unsigned_abs())).unwrap_or_default();
        Some(StopPreview { instance: id, workload: row.workload.clone(), name, revision: row.revision.unsigned_abs(), node: row.node.clone() })
    };
    let one = |batch: Batch| BatchPreview {
        step: number(begun + batch.step),
        starts: batch
            .starts
            .into_iter()
            .map(|start| StartPreview { name: called(&start.workload, start.index), workload: start.workload.to_string(), revision: start.revision })
            .collect(),
        stops: batch.stops.into_iter().filter_map(stop).collect(),
    };
    told.batches.into_iter().map(one).collect()
}

/// Of what is stopped: its volumes without a name go along, those with one stay where they are. Those that an instance will have again
/// are not told.
fn volumes(app: AppId, seeing: &Seeing, told: &Course, after: &store::app::Model, goal: &Model) -> Vec<VolumePreview> {
    let scale = scaled(after);
    let used: BTreeSet<String> = goal
        .workloads
        .iter()
        .flat_map(|(name, w)| {
            let numbers = if w.kind == WorkloadKind::Stateful { w.count(scale.get(name).copied(), 0) } else { 1 };
            let volumes = node_volumes(w, &goal.volumes);
            (0..numbers).flat_map(move |n| volumes.iter().map(|v| volume_name(app, w.kind, v, n)).collect::<Vec<_>>())
        })
        .collect();
    let mut out = BTreeSet::new();
    for id in told.batches.iter().flat_map(|b| &b.stops) {
        let Some((row, instance)) = row(seeing, *id).zip(seeing.view.instances.iter().find(|i| i.id == *id)) else { continue };
        let Some(model) = seeing.view.models.get(&instance.revision) else { continue };
        let Some(workload) = model.workloads.get(&instance.workload) else { continue };
        let named = node_volumes(workload, &model.volumes).into_iter().map(|v| volume_name(app, workload.kind, v, instance.index));
        let kept = named.filter(|v| !used.contains(v)).map(|volume| VolumePreview { volume, node: row.node.clone(), kept: true });
        out.extend(kept);
        let called = instance_name(&seeing.view.name, &instance.workload, instance.index);
        let lost = unnamed(workload).map(|m| VolumePreview { volume: format!("{called} {}", m.target), node: row.node.clone(), kept: false });
        out.extend(lost);
    }
    out.into_iter().collect()
}

fn unnamed(workload: &Workload) -> impl Iterator<Item = &Mount> {
    let others = workload.others().flat_map(|c| &c.mounts);
    workload.mounts.iter().chain(others).filter(|m| m.kind == MountKind::Volume && m.source.is_empty())
}
