//! The part of an application's look about workloads whose number follows what is measured, or a schedule.

use std::collections::BTreeMap;

use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_kernel::{AppId, Kind, Name, OffsetDateTime, OrgId, Problem, ProjectId};

use super::advance::Subject;
use super::reconcile::Reconciler;
use super::rollout::Exchange;
use super::world::World;
use crate::adapters::quotas;
use crate::app::change::scaled;
use crate::domain::app::Command;
use crate::domain::clock::Clock;
use crate::domain::gauges::{self, Place};
use crate::domain::model::{Model, Scaling, Workload};
use crate::domain::scaling::{self, Facts, Reading};
use crate::store::{self, Scaled};

/// An answer older than this says nothing about now.
const FRESH: time::Duration = time::Duration::seconds(60);
/// What was recommended is written down so often if nothing changes.
const WRITTEN: time::Duration = time::Duration::seconds(30);
/// A schedule is looked at so often.
const LOOK: time::Duration = time::Duration::seconds(10);
/// After the quota had no room: whoever waits meanwhile does not make it be asked in every round.
const FULL: time::Duration = time::Duration::seconds(5);
const IDLE_SECONDS: u32 = 300;

impl Reconciler {
    /// Sets numbers. True: one has changed, and the application is to be looked at with its new row.
    pub(super) async fn follow_measures(&mut self, subject: &Subject, goal: &Model, exchange: Option<&Exchange>, world: &World) -> anyhow::Result<bool> {
        let app = subject.view.id;
        let following: Vec<(&Name, &Workload, &Scaling)> = goal.workloads.iter().filter_map(|(n, w)| Some((n, w, w.scaling.as_ref()?))).collect();
        if following.is_empty() {
            return Ok(false);
        }
        self.measured.insert(app);
        let now = self.s.host.env.now();
        let next = self.steps_at.get(&app).copied().unwrap_or(now + LOOK).min(now + LOOK);
        self.steps_at.insert(app, next);
        let mut kept: Option<BTreeMap<Name, Scaled>> = None;
        let mut changed = false;
        for (name, workload, scaling) in following {
            let interval = time::Duration::seconds(self.s.config.measure_interval_seconds.into());
            let waits = self.waited_for(subject, name, world);
            let due = self.scaled.get(&(app, name.clone())).is_none_or(|last| now - last.at >= interval);
            let full = self.full_until.get(&(app, name.clone())).is_some_and(|until| now < *until);
            if subject.row.scaling_paused.get(name.as_str()).is_some() || full || (!due && !waits) {
                continue;
            }
            let before = match self.scaled.get(&(app, name.clone())) {
                Some(known) => known.clone(),
                None => {
                    if kept.is_none() {
                        kept = Some(self.kept_scalings(app, now).await?);
                    }
                    let known = kept.as_mut().and_then(|all| all.remove(name));
                    known.unwrap_or(Scaled { replicas: 0, reason: String::new(), history: scaling::History::default(), at: now - WRITTEN })
                }
            };
            let current = workload.count(scaled(&subject.row).get(name).copied(), 0);
            let readings = self.readings(subject, name, workload, scaling, now);
            let (idle, woken) = (!has_work(&readings) && self.is_idle(subject, name, scaling, now), waits);
            let asked = !Self::services(subject, name).is_empty();
            let facts = Facts { now, current, readings: &readings, scheduled: scheduled(scaling, now), asked, idle, woken };
            let mut decision = scaling::decide(scaling, &before.history, &facts);
            self.full_until.remove(&(app, name.clone()));
            if decision.replicas > current
                && let Err(refused) = self.reserve(subject, goal, exchange, name, decision.replicas, world).await
            {
                let replicas = self.reserve_fewer(subject, goal, exchange, name, (current, decision.replicas), &refused, world).await;
                decision = decision.limited(now, current, replicas, &refused.detail);
                self.full_until.insert((app, name.clone()), now + FULL);
            }
            if decision.replicas != current {
                tracing::info!(app.id = %app, app.name = %subject.view.name, workload = %name, current, replicas = decision.replicas, reason = decision.reason, "the number of instances follows");
                let command = Command::Autoscale { workload: name.clone(), replicas: decision.replicas, reason: decision.reason.chars().take(500).collect() };
                let executed = self.s.apps.execute(app, command, Options::from(Meta::system().tenant(OrgId(subject.row.org)))).await?;
                if executed.position > 0 {
                    self.settle(executed.position).await?;
                }
                changed = true;
            }
            let after = Scaled { replicas: decision.replicas, reason: decision.reason, history: decision.history, at: now };
            if after.replicas != before.replicas || after.reason != before.reason || now - self.written(app, name) >= WRITTEN {
                store::save_scaling(self.s.orm(), app, name, &after).await?;
                self.written_at.insert((app, name.clone()), now);
            }
            self.scaled.insert((app, name.clone()), after);
            // What the next one may reserve is counted with this one's new number, which only the new row has.
            if changed {
                break;
            }
        }
        if changed {
            self.dirty.insert(app);
        }
        Ok(changed)
    }

    /// As they were written down. Where what was recommended cannot be read, nothing goes away before a whole window has passed again.
    async fn kept_scalings(&self, app: AppId, now: OffsetDateTime) -> anyhow::Result<BTreeMap<Name, Scaled>> {
        let store::Scalings { mut known, unreadable } = store::load_scalings(self.s.orm(), app).await?;
        for (workload, error) in unreadable {
            self.s.unreadable.tell("scaling", format_args!("{app}/{workload}"), error, "its number goes down only after a whole window again");
            if let Some(one) = Name::parse(&workload).ok().and_then(|name| known.get_mut(&name)) {
                one.history = scaling::History::unknown(now);
            }
        }
        Ok(known)
    }

    fn written(&self, app: AppId, name: &Name) -> OffsetDateTime {
        self.written_at.get(&(app, name.clone())).copied().unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    fn services(subject: &Subject, name: &Name) -> Vec<String> {
        let of = subject.view.services().into_iter().filter(|(_, s)| s.workload == *name);
        of.flat_map(|(_, s)| [subject.view.service_id(s), crate::domain::traffic::preview_id(&subject.view.service_id(s))]).collect()
    }

    fn readings(&self, subject: &Subject, name: &Name, workload: &Workload, scaling: &Scaling, now: OffsetDateTime) -> Vec<Result<Reading, String>> {
        let services = Self::services(subject, name);
        let place = place(subject, name, &services);
        // What cannot be measured at all was listed when the document was accepted.
        let gauges = scaling.metrics.iter().filter_map(|m| gauges::gauge(m, workload, &place).ok());
        gauges
            .map(|gauge| {
                let answer = self.s.measures.latest(&gauge.query, now).filter(|a| now - a.at <= FRESH);
                match answer.map(|a| a.value) {
                    // Percent of nothing: no number of instances brings it to its target.
                    Some(Ok(Some(value))) => Some(gauge.reading(value))
                        .filter(|r| r.target > 0.0)
                        .ok_or_else(|| format!("the target of {} is percent of what is reserved, and nothing is", gauge.name)),
                    Some(Ok(None)) | None => Err(format!("{} is not measured yet", gauge.name)),
                    Some(Err(error)) => Err(format!("{}: {error}", gauge.name)),
                }
            })
            .collect()
    }

    /// Nobody has asked for as long as it takes, and the instances have been there as long.
    fn is_idle(&self, subject: &Subject, name: &Name, scaling: &Scaling, now: OffsetDateTime) -> bool {
        let services = Self::services(subject, name);
        if scaling.min > 0 || services.is_empty() {
            return false;
        }
        let seconds = if scaling.idle_seconds == 0 { IDLE_SECONDS } else { scaling.idle_seconds };
        let query = gauges::asked(&place(subject, name, &services), seconds);
        let none = self.s.measures.latest(&query, now).filter(|a| now - a.at <= FRESH).is_some_and(|a| matches!(a.value, Ok(Some(n)) if n < 0.5));
        let stands = subject.alive.iter().filter(|i| i.workload == name.as_str()).map(|i| (i.placed_at, i.running_at));
        none && scaling::have_stood(stands, now, seconds)
    }

    /// Does a node hold a request for it?
    fn waited_for(&self, subject: &Subject, name: &Name, world: &World) -> bool {
        let services = Self::services(subject, name);
        world.reports.values().any(|r| services.iter().any(|id| r.waiting.contains(id)))
    }

    /// Reserves so many instances of one workload.
    async fn reserve(
        &mut self,
        subject: &Subject,
        goal: &Model,
        exchange: Option<&Exchange>,
        name: &Name,
        replicas: u32,
        world: &World,
    ) -> Result<(), Problem> {
        let mut row = subject.row.clone();
        row.scale[name.as_str()] = replicas.into();
        let demand = self.demand_of(exchange, &row, goal, world);
        let (org, project) = (OrgId(subject.row.org), ProjectId(subject.row.project));
        // What is reserved is compared anew, also if the number does not change after all.
        self.reserved.remove(&subject.view.id);
        quotas::reserve(&self.s.host, org, project, subject.view.id, &self.author(subject), &demand).await
    }

    /// Where the quota has no room for all that are wanted, as many of them as are found with few questions; more in the next rounds. `between`:
    /// how many there are, and how many were `refused`.
    #[expect(clippy::too_many_arguments, reason = "what is reserved for, and between which numbers")]
    async fn reserve_fewer(
        &mut self,
        subject: &Subject,
        goal: &Model,
        exchange: Option<&Exchange>,
        name: &Name,
        between: (u32, u32),
        refused: &Problem,
        world: &World,
    ) -> u32 {
        let (current, mut replicas) = between;
        // Billing that is away says nothing about how many fit.
        let mut is_full = refused.kind == Kind::QuotaExceeded;
        while is_full && let Some(half) = scaling::fewer(current, replicas) {
            match self.reserve(subject, goal, exchange, name, half, world).await {
                Ok(()) => return half,
                Err(problem) => is_full = problem.kind == Kind::QuotaExceeded,
            }
            replicas = half;
        }
        current
    }
}

fn place<'a>(subject: &'a Subject, name: &'a Name, services: &'a [String]) -> Place<'a> {
    let home = &subject.view.home;
    Place {
        org: home.org_name.as_str(),
        project: home.project_name.as_str(),
        space: home.space_name.as_str(),
        app: subject.view.name.as_str(),
        workload: name.as_str(),
        services,
    }
}

/// Is there work that does not come as requests, such as a queue that is not empty?
fn has_work(readings: &[Result<Reading, String>]) -> bool {
    readings.iter().flatten().any(|r| r.value > 0.0 && !matches!(r.name.as_str(), "cpu" | "memory" | gauges::REQUESTS))
}

/// The most that a schedule asks for now, and which one.
fn scheduled(scaling: &Scaling, now: OffsetDateTime) -> Option<(u32, String)> {
    let active = scaling.schedules.iter().filter(|s| {
        let last = |cron: &str| Clock::parse(cron, &s.time_zone).ok()?.last(now);
        last(&s.from).is_some_and(|from| last(&s.to).is_none_or(|to| from > to))
    });
    let zone = |s: &crate::domain::model::ScaleSchedule| if s.time_zone.is_empty() { "UTC".to_owned() } else { s.time_zone.clone() };
    active.max_by_key(|s| s.replicas).map(|s| (s.replicas, format!("`{}` ({})", s.from, zone(s))))
}
