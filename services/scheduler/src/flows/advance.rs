//! The part of a round about one application: plan, place, stop, and move its release on. See [`super::together`] for several at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_es_pg::{ExecuteError, Expect, Options};
use gantry_kernel::{AppId, Name, OffsetDateTime, OrgId, SpaceId};

use super::earlier::earlier;
use super::order::renews_first;
use super::place::{Steps, free_number};
use super::reconcile::Reconciler;
use super::rollout::{Exchange, Verdict, without_exchange};
use super::together::{Ahead, Look, Planned};
use super::world::World;
use crate::app::change::scaled;
use crate::app::standing::Around;
use crate::app::{Scheduler, addresses, standing, view};
use crate::domain::app::Command;
use crate::domain::jobs::{self, Tries, Turn};
use crate::domain::model::{Condition, Model, Update, Workload, WorkloadKind};
use crate::domain::observe::Phase;
use crate::domain::placement;
use crate::domain::release::{self, Action, Wanted};
use crate::domain::wanted::{AppView, Reports, node_volumes};
use crate::store::{self, Pending};

/// Failures older than this no longer slow a workload down.
const REMEMBERED: time::Duration = time::Duration::minutes(10);

/// One application while it is looked after.
pub(super) struct Subject {
    pub row: store::app::Model,
    pub view: AppView,
    pub alive: Vec<store::instance::Model>,
    pub ended: Vec<store::instance::Model>,
    /// Of jobs that are limited and not done.
    pub tries: BTreeMap<Name, Tries>,
    pub model: Arc<Model>,
}

/// One workload of it, and what shall be there. Of an exchange's old side that is not what is wanted of the application.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub subject: &'a Subject,
    pub goal: &'a Model,
    pub name: &'a Name,
}

impl Reconciler {
    /// The next steps of an application. What is on clusters takes them at once.
    pub(super) async fn plan(&mut self, app: AppId, ahead: Option<Ahead>, world: &mut World) -> anyhow::Result<Look> {
        let Some(mut subject) = self.read_of(app, ahead).await? else { return Ok(Look::Done(true)) };
        self.everywhere.remove(&app);
        if !subject.row.deleted && subject.model.workloads.values().any(|w| w.kind == WorkloadKind::Global) {
            self.everywhere.insert(app);
        }
        // What a node has not said yet after a restart must not be taken for "not ready".
        if subject.alive.iter().any(|i| world.unheard.contains(&i.node)) {
            return Ok(Look::Done(false));
        }
        let goal = if subject.row.stopped || subject.row.deleted { Model::default() } else { (*subject.model).clone() };
        let rules = world.rules(SpaceId(subject.row.space));
        let on_cluster = |node: &str| crate::domain::cluster::cluster_of(node).is_some();
        if world.unreadable.contains(&SpaceId(subject.row.space)) && (self.s.clusters.has(app) || subject.alive.iter().any(|i| on_cluster(&i.node))) {
            // What is on a cluster would be taken for what is on nodes, and brought there.
            anyhow::bail!("the placement rules of its space cannot be read, so it is left on its cluster as it is");
        }
        if let Some(cluster) = &rules.cluster {
            self.take_live_numbers(cluster, &mut subject);
        }
        let exchange = self.exchange(&subject, &goal, world).await?;
        self.know(app, subject.view.current).await?;
        if subject.row.queued.is_none() {
            self.passed.remove(&app);
        }
        if let Some(reason) = subject.row.queued.clone().filter(|_| !goal.workloads.is_empty())
            && !self.admitted(&subject, &goal, exchange.as_ref(), reason, world).await?
        {
            return Ok(Look::Done(false));
        }
        // A cluster has autoscalers of its own.
        if !rules.on_clusters() && self.follow_measures(&subject, &goal, exchange.as_ref(), world).await? {
            return Ok(Look::Done(false));
        }
        let granted = subject.model.workloads.values().map(|w| placement::granted(w, &self.s.config.placement, &rules));
        self.priorities.insert(app, granted.max().unwrap_or(0));
        let gone = subject.row.deleted && subject.alive.is_empty();
        if let Some(fleet) = &rules.clusters {
            let settled = self.advance_on_fleet(fleet, &subject, &goal, exchange.as_ref(), world).await?;
            if gone && settled {
                self.forget_app(app);
            }
            return Ok(Look::Done(settled));
        }
        if self.clusters.shared.remove(&app) {
            store::save_shares(self.s.orm(), app, &[]).await?;
        }
        if let Some(cluster) = rules.cluster.clone() {
            let settled = self.advance_on_cluster(&cluster, &subject, &goal, exchange.as_ref(), world).await?;
            if gone && settled {
                self.forget_app(app);
            }
            return Ok(Look::Done(settled));
        }
        let mut steps = Steps::default();
        let mut settled = true;
        let names: BTreeSet<Name> = goal
            .workloads
            .keys()
            .cloned()
            .chain(subject.view.instances.iter().map(|i| i.workload.clone()))
            .chain(exchange.iter().flat_map(Exchange::names).cloned())
            .collect();
        for name in &names {
            if let Some(workload) = goal.workloads.get(name).filter(|w| w.kind == WorkloadKind::CronJob) {
                self.run_due(&subject, name, workload, world, &mut steps).await?;
                continue;
            }
            let part = Part { subject: &subject, goal: &goal, name };
            settled &= match &exchange {
                Some(both) if both.has(&goal, name) => self.keep_both(both, part, world, &mut steps).await,
                _ => {
                    let own = instances(&subject, name, world);
                    self.keep(part, None, own.clone(), &own, world, &mut steps).await
                }
            };
        }
        if let Some(exchange) = &exchange {
            if self.give_up(exchange, &subject, Meta::system().tenant(OrgId(subject.row.org))).await? {
                // What it says is looked at again with its new row.
                return Ok(Look::Done(false));
            }
            if let (Verdict::Open(reason), Some(first)) = (&exchange.verdict, goal.workloads.keys().next()) {
                let waits = || Pending::because(0, format!("the next step of the release waits: {reason}"));
                steps.pending.entry(first.to_string()).or_insert_with(waits);
            }
        }
        // A run that was given up is told until the next one is due, and nobody has to look again before.
        settled &= steps.pending.values().all(|p| p.instances == 0);
        Ok(Look::Planned(Box::new(Planned { subject, goal, exchange, gone, settled, steps })))
    }

    /// What follows when the steps are written. True: all is as wanted.
    pub(super) async fn finish(&mut self, planned: Planned, world: &World) -> anyhow::Result<bool> {
        let Planned { subject, goal, exchange, gone, settled, steps } = planned;
        let app = subject.view.id;
        let meta = Meta::system().tenant(OrgId(subject.row.org));
        let (mut ended, mut rests) = (true, false);
        if let Some(exchange) = &exchange {
            ended = self.step_on(exchange, &subject, &goal, world, meta.clone()).await?;
            rests = self.rests(exchange, &subject, &goal, world);
        }
        self.note_rest(&subject, rests);
        if !rests && !subject.row.release_paused {
            match steps.given_up {
                Some(reason) => self.fail_release(&subject, reason, exchange.is_some(), meta).await?,
                None => self.move_release(&subject, settled && ended, exchange.is_some(), &steps.pending, meta).await?,
            }
        }
        if settled && ended {
            self.leave_clusters(app, SpaceId(subject.row.space), None);
        }
        let calm = settled && (ended || rests);
        if gone && calm {
            self.forget_app(app);
        }
        Ok(calm)
    }

    /// The next steps for one set of instances of a workload: all of it, or one side of an exchange, of which `count` are wanted.
    /// `all` are the workload's, whose numbers are taken. True: they are as they shall be.
    pub(super) async fn keep(
        &mut self,
        part: Part<'_>,
        count: Option<u32>,
        own: Vec<release::Instance>,
        all: &[release::Instance],
        world: &mut World,
        steps: &mut Steps,
    ) -> bool {
        let Part { subject, goal, name } = part;
        let app = subject.view.id;
        let (mut wanted, hold) = self.wanted(subject, goal, name, world);
        wanted.count = count.unwrap_or(wanted.count);
        let turn = turn(subject, goal, name, self.s.host.env.now());
        if turn != Turn::GoesOn {
            // What still runs of it is stopped.
            wanted.count = wanted.completed;
        }
        let renewal = renews_first(subject, goal, name, world);
        wanted.hold |= renewal.is_some();
        let mut plan = release::plan(&wanted, &own);
        if own.len() == all.len() && (renewal.is_some() || self.is_held(subject, goal, name)) {
            plan = without_exchange(plan, &own);
        }
        if let Some(reason) = hold {
            let missing = wanted.target().saturating_sub(u32::try_from(own.len()).unwrap_or(0));
            if missing > 0 {
                steps.pending.insert(name.to_string(), Pending::because(missing, reason));
            }
        }
        if let Some(reason) = renewal {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let old = count(own.iter().filter(|i| !i.current && !i.stopping).count());
            let waits = old.max(wanted.target().saturating_sub(count(own.len())));
            if waits > 0 {
                steps.pending.entry(name.to_string()).or_insert_with(|| Pending::because(waits, reason));
            }
        }
        match turn {
            Turn::GoesOn => {}
            Turn::Held => drop(steps.pending.insert(name.to_string(), Pending::because(0, "is held back, as its document says (suspended)".into()))),
            Turn::GivenUp(reason) => {
                steps.given_up.get_or_insert_with(|| format!("{name}: {reason}"));
                steps.pending.insert(name.to_string(), Pending::because(0, reason));
            }
        }
        if plan.held > 0 {
            let reason = format!("its budget keeps {} ready, so {} cannot leave their node yet", wanted.keep.unwrap_or_default(), plan.held);
            steps.pending.entry(name.to_string()).or_insert_with(|| Pending::because(plan.held, reason));
        }
        let before = steps.events.len();
        // Kept beside: to look through all that was placed for each of a thousand would take a thousand times as long.
        let mut taken = steps.taken(name, all);
        for action in plan.actions {
            match action {
                Action::Stop { instance } => steps.events.push(InstanceEvent::Stopping { instance, app }),
                Action::Place { index } => {
                    if let Some(workload) = goal.workloads.get(name) {
                        let index = match workload.kind {
                            WorkloadKind::Stateless => free_number(index, &taken),
                            WorkloadKind::Job if jobs::is_indexed(workload) => {
                                taken.extend(standing::numbers_done(&subject.row, &subject.ended, name));
                                let Some(number) = jobs::next_number(wanted.count, &taken) else { continue };
                                number
                            }
                            _ => index,
                        };
                        match earlier(subject, name, workload, index) {
                            Some(revision) => self.place_earlier(subject, name, revision, index, world, steps).await,
                            None => self.place(subject, name, workload, index, world, steps).await,
                        }
                        taken.extend(steps.last_number(name));
                    }
                }
            }
        }
        let gang = goal.workloads.get(name).is_some_and(|w| w.placement.all_or_none);
        if gang && own.is_empty() {
            steps.all_or_none(name, before, world);
        }
        plan.settled
    }

    /// Shall nothing that serves be replaced now: the release is paused, or rests after its last step? What is stopped is not replaced: all of
    /// it goes.
    fn is_held(&self, subject: &Subject, goal: &Model, name: &Name) -> bool {
        if subject.row.stopped || subject.row.deleted {
            return false;
        }
        let delay = goal.workloads.get(name).map_or(0, |w| w.update.delay_seconds);
        let rest = time::Duration::seconds(delay.into());
        let now = self.s.host.env.now();
        let of = |i: &&store::instance::Model| i.workload == name.as_str() && i.revision == subject.row.current;
        let came = subject.alive.iter().filter(of).filter_map(|i| i.running_at).max();
        subject.row.release_revision.is_some() && (subject.row.release_paused || came.is_some_and(|at| now - at < rest))
    }

    /// Who brought the revision at work: what it reserves counts against their own quota, too.
    pub(super) fn author(&self, subject: &Subject) -> String {
        self.known.get(&(subject.view.id, subject.view.current)).map(|k| k.author.clone()).unwrap_or_default()
    }

    /// What is wanted of one workload, and why nothing is placed now if that is so.
    fn wanted(&self, subject: &Subject, goal: &Model, name: &Name, world: &mut World) -> (Wanted, Option<String>) {
        let Some(workload) = goal.workloads.get(name) else { return (standing::wanted(None, 0, 0), None) };
        let nodes = if workload.kind == WorkloadKind::Global { self.eligible(subject, name, world) } else { 0 };
        let count = workload.count(scaled(&subject.row).get(name).copied(), nodes);
        let hold = self.dependency(subject, goal, workload, world).or_else(|| pause(subject, name, workload.kind, self.s.host.env.now()));
        let wanted = standing::wanted(Some(workload), count, completed(subject, name));
        (Wanted { hold: hold.is_some(), ..wanted }, hold)
    }

    /// The first dependency that is not there yet.
    pub(super) fn dependency(&self, subject: &Subject, goal: &Model, workload: &Workload, world: &World) -> Option<String> {
        workload.depends_on.iter().find_map(|(needed, condition)| {
            let of = || subject.view.instances.iter().filter(|i| i.workload == *needed && i.phase != Phase::Stopping);
            let other = goal.workloads.get(needed)?;
            let met = match condition {
                Condition::Started => of().any(|i| matches!(i.phase, Phase::Running | Phase::Unhealthy)) || completed(subject, needed) > 0,
                Condition::Healthy => of().any(|i| subject.view.is_available(i, &world.reports)),
                Condition::Completed => completed(subject, needed) >= other.replicas,
            };
            let word = match condition {
                Condition::Started => "started",
                Condition::Healthy => "ready",
                Condition::Completed => "completed",
            };
            (!met).then(|| match turn(subject, goal, needed, self.s.host.env.now()) {
                Turn::GivenUp(reason) => format!("waits for `{needed}`, which {reason}"),
                Turn::Held => format!("waits for `{needed}`, which is held back (suspended)"),
                Turn::GoesOn => format!("waits until `{needed}` has {word}").replace("has ready", "is ready"),
            })
        })
    }

    /// Finishes the release, or lets it fail when nothing has moved for too long.
    pub(super) async fn move_release(
        &mut self,
        subject: &Subject,
        settled: bool,
        exchanges: bool,
        pending: &BTreeMap<String, Pending>,
        meta: Meta,
    ) -> anyhow::Result<()> {
        if subject.row.deleted || subject.row.stopped {
            return Ok(());
        }
        let revision = subject.view.current;
        let command = match subject.row.release_revision {
            Some(_) if settled => Command::FinishRelease { revision },
            None if settled && subject.row.finished != Some(subject.row.current) => Command::FinishRelease { revision },
            Some(_) => {
                let updates: Vec<Update> = subject.model.workloads.values().filter(|w| w.kind != WorkloadKind::Job).map(|w| w.update).collect();
                let since = self.since_progress(subject);
                let Some(update) = updates.iter().max_by_key(|u| u.progress_deadline_seconds) else { return Ok(()) };
                // What is ready has to stay so for a time, in which nothing else has to come.
                let proves = subject.model.workloads.values().map(|w| w.min_ready_seconds).max().unwrap_or(0);
                if !release::overdue(update, since.saturating_sub(Duration::from_secs(proves.into()))) {
                    return Ok(());
                }
                let reason = why_stuck(subject, pending, since);
                tracing::info!(app.id = %subject.view.id, app.name = %subject.view.name, revision, reason, "a release failed");
                Command::FailRelease { revision, reason, back: exchanges || updates.iter().any(|u| u.rollback) }
            }
            None => return Ok(()),
        };
        self.end_release(subject, command, meta).await
    }

    /// A job of the revision has failed for good: the release has, too. Without one under way there is nothing that could end.
    async fn fail_release(&mut self, subject: &Subject, reason: String, exchanges: bool, meta: Meta) -> anyhow::Result<()> {
        if subject.row.deleted || subject.row.stopped || subject.row.release_revision.is_none() {
            return Ok(());
        }
        let revision = subject.view.current;
        tracing::info!(app.id = %subject.view.id, app.name = %subject.view.name, revision, reason, "a release failed with a job of it");
        let back = exchanges || subject.model.workloads.values().any(|w| w.kind != WorkloadKind::Job && w.update.rollback);
        self.end_release(subject, Command::FailRelease { revision, reason, back }, meta).await
    }

    /// Finishes or fails it, as `command` says.
    async fn end_release(&mut self, subject: &Subject, command: Command, meta: Meta) -> anyhow::Result<()> {
        let mut options = Options::from(meta);
        if matches!(command, Command::FinishRelease { .. }) {
            // The revision before is gone, and with it what only its services asked for.
            let back = addresses::given_back(self.s.orm(), subject.view.id, subject.model.as_ref()).await?;
            if !back.is_empty() {
                // What a revision that came meanwhile has claimed must not be among it.
                (options.claims, options.expect) = (back, Expect::Version(subject.row.version));
            }
        }
        let executed = match self.s.apps.execute(subject.view.id, command, options).await {
            Err(ExecuteError::Stale { .. }) => {
                self.dirty.insert(subject.view.id);
                return Ok(());
            }
            executed => executed?,
        };
        if executed.position > 0 {
            self.settle(executed.position).await?;
        }
        Ok(())
    }

    /// While somebody or a time is waited for there is no progress, and none is missed: the time without it begins after that.
    pub(super) fn note_rest(&mut self, subject: &Subject, rests: bool) {
        let (app, now) = (subject.view.id, self.s.host.env.now());
        if subject.row.release_revision.is_none() {
            self.rested.remove(&app);
        } else if rests || subject.row.release_paused || subject.row.stopped {
            self.rested.insert(app, None);
        } else if let Some(goes_on) = self.rested.get_mut(&app) {
            goes_on.get_or_insert(now);
        }
    }

    fn since_progress(&self, subject: &Subject) -> Duration {
        let came_up = subject.alive.iter().filter(|i| i.revision == subject.row.current).filter_map(|i| i.running_at).max();
        let goes_on = self.rested.get(&subject.view.id).copied().flatten();
        let progress = subject.row.release_at.into_iter().chain(subject.row.release_step_at).chain(came_up).chain(goes_on);
        let last = progress.max().unwrap_or(self.since).max(self.since);
        Duration::try_from(self.s.host.env.now() - last).unwrap_or_default()
    }
}

/// `alive`: its instances that have not ended. `None`: there is nothing to look after.
pub(super) async fn read(s: Scheduler, app: AppId, alive: Vec<store::instance::Model>) -> anyhow::Result<Option<Subject>> {
    let Some(row) = store::app_by_id(s.orm(), app).await?.filter(|row| row.current > 0) else { return Ok(None) };
    let seeing = view::see_standing(&s, row, alive, &Reports::new()).await?;
    let model = match &seeing.unreadable {
        None => s.models.get(&s.host, app, seeing.row.current.unsigned_abs()).await?,
        // What is to end needs no model.
        Some(_) if seeing.row.stopped || seeing.row.deleted => Arc::default(),
        Some(unreadable) => anyhow::bail!("{unreadable}"),
    };
    let ended = standing::ended(&s, app, &seeing.row, &model, &seeing.alive).await?;
    let tries = standing::tries(&s, app, &seeing.row, &model, &ended).await?;
    Ok(Some(Subject { row: seeing.row, view: seeing.view, alive: seeing.alive, ended, tries, model }))
}

/// The instances of one workload as the release planner sees them.
pub(super) fn instances(subject: &Subject, name: &Name, world: &World) -> Vec<release::Instance> {
    let around = Around { reports: &world.reports, draining: &world.draining, now: world.now };
    standing::instances(&subject.row, &subject.view, &subject.alive, (name, subject.model.workloads.get(name)), around)
}

pub(super) fn restarted_at(subject: &Subject, name: &Name) -> i64 {
    standing::restarted_at(&subject.row, name)
}

/// How many instances of the present revision have ended well since the last restart.
pub(super) fn completed(subject: &Subject, name: &Name) -> u32 {
    standing::completed(&subject.row, &subject.ended, name)
}

/// Whether a workload goes on, which a job may not.
pub(super) fn turn(subject: &Subject, goal: &Model, name: &Name, now: OffsetDateTime) -> Turn {
    let Some(workload) = goal.workloads.get(name) else { return Turn::GoesOn };
    let count = workload.count(scaled(&subject.row).get(name).copied(), 0);
    jobs::turn(workload, count, completed(subject, name), &subject.tries.get(name).copied().unwrap_or_default(), now)
}

/// After the second failure in a row of time, twice as long each time, a minute at most.
pub(super) fn pause(subject: &Subject, name: &Name, kind: WorkloadKind, now: OffsetDateTime) -> Option<String> {
    let bad = |i: &&store::instance::Model| i.phase == "failed" || (i.phase == "completed" && kind != WorkloadKind::Job);
    let failures: Vec<_> = subject
        .ended
        .iter()
        .filter(|i| i.workload == name.as_str() && i.revision == subject.row.current && i.ended_at.is_some_and(|at| now - at < REMEMBERED))
        .filter(bad)
        .collect();
    let last = failures.iter().filter_map(|i| i.ended_at).max()?;
    let exponent = u32::try_from(failures.len()).unwrap_or(u32::MAX).checked_sub(2)?;
    let seconds = 2_i64.checked_pow(exponent).unwrap_or(60).min(60);
    let until = last + time::Duration::seconds(seconds);
    let reason = failures.first().map(|i| i.reason.clone()).unwrap_or_default();
    (now < until).then(|| format!("failed {} times, tries again in {} s: {reason}", failures.len(), (until - now).whole_seconds() + 1))
}

/// Where the workload's named volumes are that lie on a node, if that is still there.
pub(super) fn home_of_volumes(subject: &Subject, name: &Name, workload: &Workload, index: u32, world: &World) -> Option<String> {
    if node_volumes(workload, &subject.model.volumes).is_empty() {
        return None;
    }
    let numbered = workload.kind == WorkloadKind::Stateful;
    let all = subject.alive.iter().chain(&subject.ended);
    let last = all.filter(|i| i.workload == name.as_str() && (!numbered || i.number.unsigned_abs() == index)).max_by_key(|i| i.position)?;
    world.present.contains(&last.node).then(|| last.node.clone())
}

fn why_stuck(subject: &Subject, pending: &BTreeMap<String, Pending>, since: Duration) -> String {
    let waiting = pending.iter().next().map(|(workload, p)| view::sentence(workload, p));
    let trouble = subject.alive.iter().chain(&subject.ended).find(|i| i.revision == subject.row.current && !i.reason.is_empty() && i.phase != "stopped");
    let cause = waiting.or_else(|| trouble.map(|i| format!("{}: {}", i.workload, i.reason)));
    format!("no progress for {} s; {}", since.as_secs(), cause.unwrap_or_else(|| "the new instances did not become ready".into()))
}
