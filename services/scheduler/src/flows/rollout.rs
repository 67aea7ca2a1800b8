//! The part of an application's look about a release that exchanges instances: the new set beside the old one, the next
//! stage when its instances are ready, and the old ones' end.

use std::sync::Arc;

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_kernel::{InstanceId, Name};

use super::advance::{Part, Subject, instances};
use super::place::Steps;
use super::reconcile::Reconciler;
use super::world::World;
use crate::app::change::scaled_in;
use crate::app::rollout as seen;
use crate::domain::app::Command;
use crate::domain::checks::{self, Candidate, Placeholders, Pods};
use crate::domain::model::{Demand, Model};
use crate::domain::observe::Phase;
use crate::domain::release;
use crate::domain::rollout::{self, Door, Stage, Standing};

/// What was measured of the new revision.
pub(super) enum Verdict {
    Good,
    /// The next step waits.
    Open(String),
    /// Back to the old one.
    Bad(String),
}

/// A release that exchanges instances, while it is looked after.
pub(super) struct Exchange {
    pub(super) stages: Vec<Stage>,
    pub(super) at: Standing,
    /// The revision that is being replaced, as if it was the one at work.
    pub(super) base: Subject,
    /// What the release's checks say.
    pub verdict: Verdict,
    /// The stage for which instances are made ready: the present one, or the next one if nothing else is waited for.
    pub(super) towards: usize,
}

impl Exchange {
    /// Is the workload exchanged, rather than replaced one by one?
    pub fn has(&self, goal: &Model, name: &Name) -> bool {
        rollout::is_exchanged(&self.base.model, goal, name)
    }

    /// Names that only the old revision has.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.base.model.workloads.iter().filter(|(_, w)| w.is_exchanged()).map(|(name, _)| name)
    }

    /// What the old instances reserve besides the new ones, with the numbers of `row`.
    pub fn demand(&self, row: &crate::store::app::Model, goal: &Model, nodes: u32) -> Demand {
        self.base.model.exchanged().demand(&seen::beside(row, &scaled_in(&row.scale), &self.base.model, goal), nodes)
    }

    pub(super) fn ended(&self) -> bool {
        self.at.step >= self.stages.len()
    }

    /// The one that has begun.
    pub(super) fn stage(&self) -> Option<&Stage> {
        self.stages.get(self.at.step)
    }

    pub(super) fn size(&self, stage: usize, count: u32) -> u32 {
        self.stages.get(stage).map_or(count, |s| s.instances(count))
    }
}

impl Reconciler {
    /// `None`: the release under way, if there is one, replaces instances one by one.
    pub(super) async fn exchange(&mut self, subject: &Subject, goal: &Model, world: &World) -> anyhow::Result<Option<Exchange>> {
        let (row, now) = (&subject.row, self.s.host.env.now());
        let Some(stages) = seen::stages(row, goal).filter(|_| !goal.workloads.is_empty()) else { return Ok(None) };
        let Some(from) = row.release_from else { return Ok(None) };
        let model: Arc<Model> = self.s.models.get(&self.s.host, subject.view.id, from.unsigned_abs()).await?;
        self.know(subject.view.id, from.unsigned_abs()).await?;
        let scale = serde_json::to_value(seen::beside(row, &scaled_in(&row.scale), &model, goal))?;
        // Jobs are not exchanged.
        let tries = std::collections::BTreeMap::new();
        let mut base = Subject { row: row.clone(), view: subject.view.clone(), alive: subject.alive.clone(), ended: subject.ended.clone(), tries, model };
        (base.row.current, base.row.scale, base.view.current) = (from, scale, from.unsigned_abs());
        let at = seen::standing(row, stages.len(), now);
        let mut exchange = Exchange { stages, at, base, verdict: Verdict::Good, towards: at.step };
        exchange.verdict = self.verdict(&exchange, subject, goal);
        let door = rollout::door(&exchange.stages, &at);
        if let Door::Until(left) = door {
            self.steps_at.insert(subject.view.id, now + left);
        }
        if matches!(exchange.verdict, Verdict::Good) && door == Door::Open && !exchange.ended() && self.are_ready(&exchange, at.step, subject, goal, world) {
            exchange.towards = at.step + 1;
        }
        Ok(Some(exchange))
    }

    /// What the checks say of the present stage. Answers from before it count for nothing.
    fn verdict(&mut self, exchange: &Exchange, subject: &Subject, goal: &Model) -> Verdict {
        let (app, revision) = (subject.view.id, subject.view.current);
        let asked = exchange.stages.get(exchange.at.step).is_some_and(|s| s.share > 0 || s.header.is_some());
        if !asked || exchange.at.paused || goal.release.checks.is_empty() {
            return Verdict::Good;
        }
        self.measured.insert(app);
        let stands = |i: &&crate::store::instance::Model| Phase::parse(&i.phase) != Phase::Stopping;
        let (new, old): (Vec<_>, Vec<_>) = subject.alive.iter().filter(stands).partition(|i| i.revision.unsigned_abs() == revision);
        let scale = scaled_in(&subject.row.scale);
        let size = |workload: &str| {
            let exchanged = goal.workloads.iter().find(|(name, _)| name.as_str() == workload && exchange.has(goal, name));
            exchanged.map_or(u32::MAX, |(name, w)| exchange.size(exchange.at.step, w.count(scale.get(name).copied(), 0)))
        };
        let id = |i: &crate::store::instance::Model| InstanceId(i.id);
        let candidates = new.into_iter().map(|i| Candidate { id: id(i), workload: &i.workload, placed_at: i.placed_at }).collect();
        let new = checks::of_stage(candidates, subject.row.release_step_at, size);
        let old: Vec<InstanceId> = old.into_iter().map(id).collect();
        let of = Placeholders { app: subject.view.name.as_str(), revision, new: &new, old: &old, pods: self.pods(app, &subject.view.home, &new, &old) };
        let now = self.s.host.env.now();
        let mut verdict = Verdict::Good;
        for (n, check) in goal.release.checks.iter().enumerate() {
            let answer = self.s.measures.latest(&checks::query(check, &of), now);
            let fresh = answer.filter(|a| subject.row.release_step_at.is_none_or(|since| a.at > since));
            let name = checks::name(check);
            let (number, value) = match fresh.map(|a| (a.number, a.value)) {
                Some((number, Ok(Some(value)))) => (number, value),
                Some((_, Ok(None))) | None => {
                    verdict = Verdict::Open(format!("{name} is not measured yet"));
                    continue;
                }
                Some((_, Err(error))) => {
                    verdict = Verdict::Open(format!("{name}: {error}"));
                    continue;
                }
            };
            let Some(fault) = checks::fault(check, value) else {
                self.bad.remove(&(app, revision, n));
                continue;
            };
            let seen = self.bad.entry((app, revision, n)).or_default();
            if seen.0 != number {
                *seen = (number, seen.1 + 1);
            }
            if seen.1 >= check.failures {
                let times = seen.1;
                self.bad.remove(&(app, revision, n));
                return Verdict::Bad(format!("{fault}; so {times} times in a row"));
            }
            verdict = Verdict::Open(fault);
        }
        verdict
    }

    /// Their names, where they are clusters'.
    fn pods(&self, app: gantry_kernel::AppId, home: &crate::domain::app::Home, new: &[InstanceId], old: &[InstanceId]) -> Option<Pods> {
        let clusters = self.s.clusters.of(app);
        let (_, first) = clusters.first()?;
        let namespace = crate::domain::kubernetes::cluster::namespace(home, &first.settings);
        let mut out = Pods { namespace, ..Pods::default() };
        for (_, running) in &clusters {
            running.engine.each_pod_of(&app.to_string(), |pod| {
                let Ok(id) = pod.uid.parse::<InstanceId>() else { return };
                if new.contains(&id) {
                    out.new.push(pod.name.clone());
                } else if old.contains(&id) {
                    out.old.push(pod.name.clone());
                }
            });
        }
        Some(out)
    }

    /// Do enough instances of the new revision stand there for a stage?
    fn are_ready(&self, exchange: &Exchange, stage: usize, subject: &Subject, goal: &Model, world: &World) -> bool {
        goal.workloads.iter().filter(|(name, _)| exchange.has(goal, name)).all(|(name, workload)| {
            let count = workload.count(scaled_in(&subject.row.scale).get(name).copied(), 0);
            let ready = instances(subject, name, world).iter().filter(|i| i.current && i.available).count();
            ready >= usize::try_from(exchange.size(stage, count)).unwrap_or(usize::MAX)
        })
    }

    /// Both sets of one workload. True: they are as they shall be now.
    pub(super) async fn keep_both(&mut self, exchange: &Exchange, part: Part<'_>, world: &mut World, steps: &mut Steps) -> bool {
        let Part { subject, goal, name } = part;
        let all = instances(subject, name, world);
        let revision = |id: InstanceId| subject.view.instances.iter().find(|i| i.id == id).map_or(0, |i| i.revision);
        let before = instances(&exchange.base, name, world);
        let sides = rollout::sides(&all, before, subject.view.current, &subject.view.traffic.hidden, revision);
        steps.events.extend(sides.given_up.into_iter().map(|instance| InstanceEvent::Stopping { instance, app: subject.view.id }));
        let count = goal.workloads.get(name).map_or(0, |w| w.count(scaled_in(&subject.row.scale).get(name).copied(), 0));
        let size = exchange.size(exchange.towards, count);
        let mut settled = self.keep(part, Some(size), sides.new, &all, world, steps).await;
        let empty = Model::default();
        let wanted = if exchange.ended() { &empty } else { &*exchange.base.model };
        let before = Part { subject: &exchange.base, goal: wanted, name };
        settled &= self.keep(before, None, sides.old, &all, world, steps).await;
        settled
    }

    /// Gives the release up if what was measured says so. True: it did.
    pub(super) async fn give_up(&mut self, exchange: &Exchange, subject: &Subject, meta: Meta) -> anyhow::Result<bool> {
        let Verdict::Bad(reason) = &exchange.verdict else { return Ok(false) };
        let revision = subject.view.current;
        tracing::info!(app.id = %subject.view.id, app.name = %subject.view.name, revision, reason, "a release goes back");
        let command = Command::FailRelease { revision, reason: reason.clone(), back: true };
        let executed = self.s.apps.execute(subject.view.id, command, Options::from(meta)).await?;
        if executed.position > 0 {
            self.settle(executed.position).await?;
        }
        self.dirty.insert(subject.view.id);
        Ok(true)
    }

    /// The next stage, if its instances are ready; or the end of the release. False: it has not ended.
    pub(super) async fn step_on(&mut self, exchange: &Exchange, subject: &Subject, goal: &Model, world: &World, meta: Meta) -> anyhow::Result<bool> {
        if exchange.ended() {
            return Ok(true);
        }
        let next = exchange.towards;
        if next > exchange.at.step && self.are_ready(exchange, next, subject, goal, world) {
            let percent = exchange.stages.get(next).map_or(100, |s| s.share);
            let at = Standing { step: next, since: std::time::Duration::ZERO, ..exchange.at };
            let reason = rollout::sentence(&exchange.stages, &at);
            // Of rounds before, of a space that was on several clusters until now.
            let (round, _) = rollout::round(exchange.stages.len(), usize::try_from(subject.row.release_step).unwrap_or(0));
            self.begin_step(subject, rollout::number(exchange.stages.len(), round, next), percent, reason, meta).await?;
        }
        Ok(false)
    }

    /// Writes down that a step has begun.
    pub(super) async fn begin_step(&mut self, subject: &Subject, step: usize, percent: u32, reason: String, meta: Meta) -> anyhow::Result<()> {
        let revision = subject.view.current;
        tracing::info!(app.id = %subject.view.id, app.name = %subject.view.name, revision, step, percent, "a release goes on");
        let command = Command::AdvanceRelease { revision, step: u32::try_from(step).unwrap_or(u32::MAX), percent, reason };
        let executed = self.s.apps.execute(subject.view.id, command, Options::from(meta)).await?;
        if executed.position > 0 {
            self.settle(executed.position).await?;
        }
        self.dirty.insert(subject.view.id);
        Ok(())
    }

    /// What the instances of both revisions reserve.
    pub(super) fn demand(&self, exchange: Option<&Exchange>, subject: &Subject, goal: &Model, world: &World) -> Demand {
        self.demand_of(exchange, &subject.row, goal, world)
    }

    pub(super) fn demand_of(&self, exchange: Option<&Exchange>, row: &crate::store::app::Model, goal: &Model, world: &World) -> Demand {
        let nodes = world.open.max(1);
        let demand = goal.demand(&scaled_in(&row.scale), nodes);
        exchange.filter(|e| !e.ended()).map_or(demand, |e| demand.plus(e.demand(row, goal, nodes)))
    }

    /// Is nothing expected to move now: somebody, or a time, is waited for?
    pub(super) fn rests(&self, exchange: &Exchange, subject: &Subject, goal: &Model, world: &World) -> bool {
        exchange.towards == exchange.at.step && !exchange.ended() && self.are_ready(exchange, exchange.at.step, subject, goal, world)
    }
}

/// While a release is paused, and for some time after each step of one that has pauses, no old instance that serves goes.
pub(super) fn without_exchange(plan: release::Plan, instances: &[release::Instance]) -> release::Plan {
    let serves = |action: &release::Action| match action {
        release::Action::Stop { instance } => instances.iter().any(|i| i.id == *instance && !i.current && i.available),
        release::Action::Place { .. } => false,
    };
    let held = plan.actions.iter().any(serves);
    let actions = plan.actions.into_iter().filter(|a| !serves(a)).collect();
    release::Plan { actions, settled: plan.settled && !held, held: plan.held }
}
