//! The next steps of an application whose space is on several clusters: what each is asked for, then each as one alone, and
//! what follows for the whole.

mod staged;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_kernel::{AppId, InstanceId, Name, OrgId, SpaceId};
use gantry_kubernetes::{Kind, State};

use super::advance::{Subject, completed};
use super::on_cluster::{Side, Stood};
use super::reconcile::Reconciler;
use super::rollout::{Exchange, Verdict};
use super::world::World;
use crate::adapters::clusters::Running;
use crate::app::change::scaled;
use crate::domain::cluster::{ClusterSettings, cluster_of};
use crate::domain::fleet::{Asked, Bound, Fleet, FleetMember, FleetPolicy, Pace, Part, Site, Stand, bound, overridden, portion, shares, step};
use crate::domain::kubernetes::cluster as made;
use crate::domain::model::{Model, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::rollout::{self, Standing};
use crate::store::{self, Pending, Share};
use staged::Staged;
use turn::Turns;

/// One of the clusters, as it is now.
struct Place {
    name: String,
    /// Of another organisation, or of nobody any more: none.
    running: Option<Running>,
    weight: u32,
    region: String,
    zone: String,
    lost: bool,
    seen: bool,
}

/// What was decided about one workload: by cluster, in their order.
struct Dealt {
    /// Asked for now; none: nothing of it is there.
    now: Vec<Option<u32>>,
    target: Vec<Option<u32>>,
    reasons: Vec<String>,
    /// Each has its part of one number.
    divided: bool,
    /// A job that has done all that was asked.
    done: bool,
}

impl Reconciler {
    /// True: all is as wanted.
    pub(super) async fn advance_on_fleet(
        &mut self,
        fleet: &Fleet,
        subject: &Subject,
        goal: &Model,
        exchange: Option<&Exchange>,
        world: &mut World,
    ) -> anyhow::Result<bool> {
        let (app, space) = (subject.view.id, SpaceId(subject.row.space));
        if subject.row.deleted {
            return self.leave_fleet(subject, goal, world).await;
        }
        let places = self.places(fleet, subject).await?;
        let before = store::load_shares(self.s.orm(), app).await?;
        // What ran on one of them until now is not taken for nothing because nobody has looked yet.
        if before.is_empty() && !subject.alive.is_empty() && places.iter().any(|p| !p.lost && p.running.is_some() && !p.seen) {
            return Ok(false);
        }
        let mut dealt: BTreeMap<Name, Dealt> = BTreeMap::new();
        for (name, workload) in &goal.workloads {
            dealt.insert(name.clone(), self.deal(fleet, subject, goal, name, workload, &places, &before));
        }
        self.note_shares(app, &places, &dealt, &before).await?;
        let alone = as_one_alone(subject);
        let meta = Meta::system().tenant(OrgId(subject.row.org));
        if let Some(exchange) = exchange {
            // Whose turn it is only those say that are seen.
            if let Some(place) = places.iter().find(|p| !p.lost && !p.seen) {
                let told = |name: &Name| (name.to_string(), Pending::because(0, format!("on {}: its release waits until it can be seen", place.name)));
                store::save_pending(self.s.orm(), app, &goal.workloads.keys().map(told).collect(), self.s.host.env.now()).await?;
                return Ok(false);
            }
            if self.give_up(exchange, subject, meta.clone()).await? {
                // What it says is looked at again with its new row.
                return Ok(false);
            }
        }
        let mut staged = exchange.map(|e| Staged::of(e, places.iter().map(|place| place.side(e, subject)).collect()));
        if let (Some(exchange), Some(at)) = (exchange, staged.as_ref().filter(|s| s.goes_over()).and_then(|s| s.turn)) {
            let (stages, step) = (exchange.stages.len(), usize::try_from(subject.row.release_step).unwrap_or(0));
            let next = rollout::number(stages, rollout::round(stages, step).0 + 1, 0);
            self.begin_step(subject, next, 0, format!("the first new instances start on {}", places[at].name), meta).await?;
            return Ok(false);
        }
        let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
        let (mut settled, mut waits) = (true, false);
        // Whose turn it is not yet: no reason why the release would fail.
        let mut later: BTreeMap<String, Pending> = BTreeMap::new();
        let mut turns = Turns::of(subject, places.iter().any(|p| p.lost));
        for (at, place) in places.iter().enumerate() {
            let here: BTreeMap<Name, Part> = dealt.iter().filter_map(|(name, d)| Some((name.clone(), part(d, at)?))).collect();
            let Some(running) = &place.running else {
                for name in here.keys().filter(|_| !place.lost) {
                    (settled, waits) = (false, true);
                    let told = format!("on {}: its access cannot be used; see `gantry cluster test {}`", place.name, place.name);
                    pending.entry(name.to_string()).or_insert_with(|| Pending::because(0, told));
                }
                continue;
            };
            if here.is_empty() && !running.engine.has(&app.to_string()) {
                continue;
            }
            if let Some(first) = turns.waits_for(running, &app.to_string()) {
                settled = false;
                for name in here.keys() {
                    later.entry(name.to_string()).or_insert_with(|| Pending::because(0, format!("on {}: waits until {first}", place.name)));
                }
                continue;
            }
            let overrides = &fleet.clusters[at].overrides;
            let mut own = overridden(portion(goal, &here, &scaled(&subject.row)), overrides);
            own.release.clone_from(&goal.release);
            let one = staged.as_ref().map(|s| s.on(at, &here, &own, overrides, running, &alone));
            let mut settings = running.settings.clone();
            for (own, class) in [(&mut settings.ingress_class, &overrides.ingress_class), (&mut settings.storage_class, &overrides.storage_class)] {
                if !class.is_empty() {
                    own.clone_from(class);
                }
            }
            let side = Side { cluster: &place.name, goal: &own, whole: goal, settings: &settings, exchange: one.as_ref() };
            let mut mine = BTreeMap::new();
            let stood = self.stand_on(&side, &alone, world, &mut mine).await?;
            // A lost one is told what to do when it is back; nothing that is due waits for it.
            if place.lost {
                continue;
            }
            match stood {
                Stood::Stands { as_wanted, may_step } => {
                    let ended = staged.as_ref().is_none_or(|s| s.is_done(at));
                    settled &= as_wanted && ended;
                    turns.met(&place.name, as_wanted && ended);
                    if let (Some(staged), Some(one)) = (&mut staged, &one) {
                        staged.look(at, one, may_step, &own, running, &alone);
                    }
                }
                Stood::Waits => {
                    (settled, waits) = (false, true);
                    turns.met(&place.name, false);
                }
                Stood::NotNow => return Ok(false),
            }
            for (name, one) in mine {
                let told = Pending { reason: format!("on {}: {}", place.name, one.reason), ..one };
                pending.entry(name).or_insert(told);
            }
        }
        for (name, d) in &dealt {
            settled &= d.now == d.target;
            let at_lost = d.now.iter().zip(&places).position(|(n, place)| n.is_some() && place.lost && !d.done);
            let told = match (at_lost, d.now.iter().all(Option::is_none)) {
                (Some(at), _) => format!("{}: {}", places[at].name, d.reasons[at]),
                (None, true) => {
                    let each: Vec<String> = places.iter().zip(&d.reasons).map(|(place, reason)| format!("{}: {reason}", place.name)).collect();
                    format!("none of the space's clusters takes it: {}", each.join("; "))
                }
                (None, false) => continue,
            };
            (settled, waits) = (false, true);
            let missing = goal.workloads.get(name).map_or(0, |w| w.replicas);
            pending.insert(name.to_string(), Pending::because(missing, told));
        }
        if let (Some(Verdict::Open(reason)), Some(first)) = (exchange.map(|e| &e.verdict), goal.workloads.keys().next()) {
            let told = || Pending::because(0, format!("the next step of the release waits: {reason}"));
            pending.entry(first.to_string()).or_insert_with(told);
        }
        let names = fleet.names();
        let on_fleet = |i: &store::instance::Model| cluster_of(&i.node).is_some_and(|c| names.contains(c));
        let mut events = Vec::new();
        if settled || goal.workloads.is_empty() {
            let stops = subject.alive.iter().filter(|i| cluster_of(&i.node).is_none() && Phase::parse(&i.phase) != Phase::Stopping);
            events.extend(stops.map(|i| InstanceEvent::Stopping { instance: InstanceId(i.id), app }));
            self.leave_all_but(app, space, &names);
        }
        settled &= subject.alive.iter().all(|i| i.revision == subject.row.current && !goal.workloads.is_empty() && on_fleet(i));
        let told = later.into_iter().chain(pending.clone()).collect();
        store::save_pending(self.s.orm(), app, &told, self.s.host.env.now()).await?;
        self.record(events, meta.clone()).await?;
        self.keep_reserved(&alone, &together(goal, &dealt), exchange, world).await;
        let (mut ended, mut rests) = (true, false);
        if let (Some(exchange), Some(staged)) = (exchange, &staged) {
            (ended, rests) = (staged.turn.is_none(), staged.rests());
            if let (Some(next), Some(at)) = (staged.next(), staged.turn) {
                let (stages, step) = (exchange.stages.len(), usize::try_from(subject.row.release_step).unwrap_or(0));
                let percent = exchange.stages.get(next).map_or(100, |s| s.share);
                let now = Standing { step: next, since: std::time::Duration::ZERO, ..exchange.at };
                let reason = format!("on {}: {}", places[at].name, rollout::sentence(&exchange.stages, &now));
                self.begin_step(subject, rollout::number(stages, rollout::round(stages, step).0, next), percent, reason, meta.clone()).await?;
                return Ok(false);
            }
        }
        // A release does not fail for a cluster that cannot be reached, nor while it is held or rests between its steps.
        self.note_rest(subject, rests);
        if !waits && !rests && !subject.row.release_paused {
            self.move_release(subject, settled && ended, exchange.is_some(), &pending, meta).await?;
        }
        Ok(settled && ended)
    }

    /// The space's clusters in their order.
    async fn places(&self, fleet: &Fleet, subject: &Subject) -> anyhow::Result<Vec<Place>> {
        let rows = store::clusters(self.s.orm()).await?;
        let one = |member: &FleetMember| -> anyhow::Result<Place> {
            let row = rows.iter().find(|r| r.name == member.cluster && r.org.is_none_or(|org| org.0 == subject.row.org));
            let running = row.and_then(|r| self.s.clusters.get(&r.name).filter(|one| one.id == r.id));
            // Divided as if it was nowhere, replicas would move: the application is left as it is.
            let settings = row.map(|r| serde_json::from_value::<ClusterSettings>(r.settings.clone())).transpose();
            let settings = settings.with_context(|| format!("the settings of the cluster {} cannot be read", member.cluster))?.unwrap_or_default();
            Ok(Place {
                name: member.cluster.clone(),
                weight: member.weight,
                region: settings.region,
                zone: settings.zone,
                lost: row.is_none_or(|r| r.lost.is_some()),
                seen: running.as_ref().is_some_and(Running::is_seen),
                running,
            })
        };
        fleet.clusters.iter().map(one).collect()
    }

    #[allow(clippy::too_many_arguments, reason = "all of it is what one workload's division depends on")]
    fn deal(&self, fleet: &Fleet, subject: &Subject, goal: &Model, name: &Name, workload: &Workload, places: &[Place], before: &[Share]) -> Dealt {
        let key = format!("{}/{name}", subject.view.name);
        let site = |(place, member): (&Place, &FleetMember)| Site {
            name: place.name.clone(),
            weight: place.weight,
            region: place.region.clone(),
            zone: place.zone.clone(),
            lost: place.lost,
            fixed: member.overrides.replicas.get(&key).copied(),
        };
        let sites: Vec<Site> = places.iter().zip(&fleet.clusters).map(site).collect();
        let count = match &workload.scaling {
            Some(scaling) => scaling.max,
            None => scaled(&subject.row).get(name).copied().unwrap_or(workload.replicas),
        };
        let bound = bound(workload);
        let done = workload.kind == WorkloadKind::Job && completed(subject, name) >= count;
        let asked = Asked { kind: workload.kind, bound, count, home: home(subject, goal, name, bound, places, before), done };
        let told = shares(fleet.policy, &asked, &sites);
        let target: Vec<Option<u32>> = told.iter().map(|s| s.replicas).collect();
        let reasons = told.into_iter().map(|s| s.reason);
        let moves = bound == Bound::Free && workload.kind == WorkloadKind::Stateless && fleet.policy != FleetPolicy::Duplicate;
        if !moves || workload.scaling.is_some() {
            return Dealt { now: target.clone(), target, reasons: reasons.collect(), divided: moves, done };
        }
        let total = target.iter().flatten().fold(0_u32, |sum, n| sum.saturating_add(*n));
        let surge = if workload.update.surge == 0 && workload.update.max_unavailable == 0 { 1 } else { workload.update.surge };
        let pace = Pace { total, surge, floor: total.saturating_sub(workload.update.max_unavailable) };
        let known = before.iter().any(|s| s.workload == name.as_str());
        let mut stands = Vec::new();
        for (place, target) in places.iter().zip(&target).filter(|(place, _)| !place.lost) {
            let recorded = before.iter().find(|s| s.workload == name.as_str() && s.cluster == place.name).map_or(0, |s| s.replicas);
            let assigned = if known { recorded } else { deployed(place, subject, name) };
            let mut stand = Stand { target: target.unwrap_or(0), assigned, there: assigned, ready: 0, seen: place.seen };
            if let Some(running) = place.running.as_ref().filter(|_| place.seen) {
                stand.there = 0;
                running.engine.each_pod_of(&subject.view.id.to_string(), |pod| {
                    if pod.workload == name.as_str() && !matches!(pod.state, State::Stopping | State::Succeeded | State::Failed) {
                        stand.there += 1;
                        stand.ready += u32::from(pod.ready);
                    }
                });
            }
            stands.push(stand);
        }
        let mut next = step(&pace, &stands).into_iter();
        let at_once = places.iter().zip(&target).map(|(place, target)| match (place.lost, *target) {
            (true, target) => target,
            (false, target) => next.next().filter(|n| *n > 0 || target == Some(0)),
        });
        let now: Vec<Option<u32>> = at_once.collect();
        let reasons = reasons.zip(now.iter().zip(&target)).map(|(reason, (now, target))| match (now.unwrap_or(0), target.unwrap_or(0)) {
            (now, target) if now < target => format!("{reason}; {now} for now, more when others have left elsewhere"),
            (now, target) if now > target => format!("{reason}; {now} until others are ready elsewhere"),
            _ => reason,
        });
        Dealt { reasons: reasons.collect(), now, target, divided: true, done }
    }

    /// Keeps what was decided, if it is not what was decided before.
    async fn note_shares(&mut self, app: AppId, places: &[Place], dealt: &BTreeMap<Name, Dealt>, before: &[Share]) -> anyhow::Result<()> {
        let mut all = Vec::new();
        for (name, d) in dealt {
            for (at, place) in places.iter().enumerate() {
                let (replicas, target) = (d.now[at].unwrap_or(0), d.target[at].unwrap_or(0));
                all.push(Share { workload: name.to_string(), cluster: place.name.clone(), replicas, target, reason: d.reasons[at].clone() });
            }
        }
        all.sort_by(|a, b| (&a.workload, &a.cluster).cmp(&(&b.workload, &b.cluster)));
        // A stopped application starts again where it was.
        if all.is_empty() || all == before {
            return Ok(());
        }
        store::save_shares(self.s.orm(), app, &all).await?;
        self.clusters.shared.insert(app);
        for now in &all {
            let was = before.iter().find(|b| b.workload == now.workload && b.cluster == now.cluster).map_or(0, |b| b.replicas);
            if was != now.replicas {
                tracing::info!(app.id = %app, workload = now.workload, cluster.name = now.cluster, was, now = now.replicas, reason = now.reason, "a cluster's share changes");
            }
        }
        Ok(())
    }

    /// Of what is deleted nothing stays on any cluster; those that are lost hear of it when they are back.
    async fn leave_fleet(&mut self, subject: &Subject, goal: &Model, world: &mut World) -> anyhow::Result<bool> {
        let (app, owner) = (subject.view.id, subject.view.id.to_string());
        let all = self.s.clusters.all();
        let there: Vec<Running> = all.into_iter().map(|(_, one)| one).filter(|one| !one.lost && one.engine.has(&owner)).collect();
        self.leave_all_but(app, SpaceId(subject.row.space), &BTreeSet::new());
        let gone = there.iter().all(|one| one.engine.standing(&owner).gone) && subject.alive.iter().all(|i| cluster_of(&i.node).is_none());
        let stops = subject.alive.iter().filter(|i| cluster_of(&i.node).is_none() && Phase::parse(&i.phase) != Phase::Stopping);
        let events = stops.map(|i| InstanceEvent::Stopping { instance: InstanceId(i.id), app }).collect();
        self.record(events, Meta::system().tenant(OrgId(subject.row.org))).await?;
        store::save_pending(self.s.orm(), app, &BTreeMap::new(), self.s.host.env.now()).await?;
        self.keep_reserved(subject, goal, None, world).await;
        let settled = gone && subject.alive.is_empty();
        if settled {
            store::forget(self.s.orm(), app).await?;
            self.s.clusters.left(app);
        }
        Ok(settled)
    }
}

impl Place {
    fn side(&self, exchange: &Exchange, subject: &Subject) -> staged::Side {
        let there = self.running.as_ref().filter(|_| !self.lost);
        there.map_or(staged::Side::Lost, |running| staged::Side::of(running, &subject.view.id.to_string(), exchange.base.view.current, subject.view.current))
    }
}

/// The parts are numbers already.
fn as_one_alone(subject: &Subject) -> Subject {
    let mut row = subject.row.clone();
    row.scale = serde_json::Value::Object(serde_json::Map::new());
    Subject {
        row,
        view: subject.view.clone(),
        alive: subject.alive.clone(),
        ended: subject.ended.clone(),
        tries: subject.tries.clone(),
        model: Arc::clone(&subject.model),
    }
}

/// What all clusters have of it, as one that has all: with copies on each it is more than the document says.
fn together(goal: &Model, dealt: &BTreeMap<Name, Dealt>) -> Model {
    let mut all = goal.clone();
    for (name, workload) in &mut all.workloads {
        let counted = matches!(workload.kind, WorkloadKind::Stateless | WorkloadKind::Stateful | WorkloadKind::Job) && workload.scaling.is_none();
        if let Some(d) = dealt.get(name).filter(|_| counted) {
            workload.replicas = d.target.iter().flatten().fold(0, |sum: u32, n| sum.saturating_add(*n));
        }
    }
    all
}

fn part(dealt: &Dealt, at: usize) -> Option<Part> {
    let replicas = dealt.now[at]?;
    let of = if dealt.divided { dealt.now.iter().map(|n| n.unwrap_or(0)).collect() } else { Vec::new() };
    Some(Part { replicas, of, at })
}

/// Where a workload that is tied to one cluster is: as it was decided, else where its instances were last. All that keep data
/// are together, because they may keep the same.
fn home(subject: &Subject, goal: &Model, name: &Name, of: Bound, places: &[Place], before: &[Share]) -> Option<usize> {
    let together: BTreeSet<&str> = match of {
        Bound::Free => return None,
        Bound::Data => goal.workloads.iter().filter(|(_, w)| bound(w) == Bound::Data).map(|(n, _)| n.as_str()).collect(),
        Bound::Fenced | Bound::Once => BTreeSet::from([name.as_str()]),
    };
    let at = |cluster: &str| places.iter().position(|p| p.name == cluster);
    let decided = before.iter().find(|s| together.contains(s.workload.as_str()) && s.target > 0).and_then(|s| at(&s.cluster));
    decided.or_else(|| {
        let all = subject.alive.iter().chain(&subject.ended).filter(|i| together.contains(i.workload.as_str()));
        let last = all.filter(|i| cluster_of(&i.node).is_some()).max_by_key(|i| i.placed_at)?;
        at(cluster_of(&last.node)?)
    })
}

/// How many a Deployment that was there before has: a space may have been on one cluster until now.
fn deployed(place: &Place, subject: &Subject, name: &Name) -> u32 {
    let Some(running) = place.running.as_ref().filter(|_| place.seen) else { return 0 };
    let namespace = made::namespace(&subject.view.home, &running.settings);
    let kind = Kind::of("apps/v1", "Deployment");
    let called = |text: &str| kind.and_then(|kind| running.engine.object(kind, &namespace, &made::named(&subject.view.name, text)));
    let object = called(&made::set_name(&subject.model, name, subject.view.current)).or_else(|| called(name.as_str()));
    object.and_then(|o| u32::try_from(o["spec"]["replicas"].as_u64()?).ok()).unwrap_or(0)
}
