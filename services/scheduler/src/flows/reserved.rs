//! What applications hold of their quotas, repeated at billing whenever that has changed. Of several applications at once: while billing is
//! away each of them would be waited for, and nothing else be looked at meanwhile. What billing could not be told, and what was reserved for
//! changes that were never made, is written down (`store::reserving`) and set right here.

use futures::future::join_all;
use gantry_kernel::{AppId, Kind, OffsetDateTime, OrgId, Problem, ProjectId};

use super::advance::Subject;
use super::reconcile::Reconciler;
use super::rollout::Exchange;
use super::together::Planned;
use super::world::World;
use crate::adapters::quotas;
use crate::app::Scheduler;
use crate::domain::model::{Demand, Model};
use crate::store::{self, Left};

/// So often it is looked what has to be set right, of so many applications at most.
const LOOKS: (time::Duration, i64) = (time::Duration::seconds(5), 1_000);
/// While billing does not answer: each is waited for.
const LOOKS_AWAY: (time::Duration, i64) = (time::Duration::seconds(30), 8);

/// When it is looked next what has to be set right, and how billing answered last.
#[derive(Default)]
pub(super) struct Leftovers {
    due: Option<OffsetDateTime>,
    is_away: bool,
}

/// What billing is to be told of an application.
struct Reserving {
    app: AppId,
    org: OrgId,
    project: ProjectId,
    author: String,
    demand: Demand,
}

async fn ask(s: Scheduler, of: Reserving) -> (Reserving, Result<(), Problem>) {
    let answer = quotas::reserve(&s.host, of.org, of.project, of.app, &of.author, &of.demand).await;
    (of, answer)
}

impl Reconciler {
    /// Repeats at billing what this application holds, when that has changed. Billing being away must not keep what was accepted from
    /// running, so it is told at the next look then.
    pub(super) async fn keep_reserved(&mut self, subject: &Subject, goal: &Model, exchange: Option<&Exchange>, world: &World) {
        if let Some(reserving) = self.to_reserve(subject, goal, exchange, world) {
            let (reserving, answer) = ask(self.s.clone(), reserving).await;
            self.note_reserved(reserving, answer).await;
        }
    }

    /// The same of several at once.
    pub(super) async fn keep_all_reserved(&mut self, all: &[&Planned], world: &World) {
        let of = |one: &&Planned| self.to_reserve(&one.subject, &one.goal, one.exchange.as_ref(), world);
        let asked: Vec<_> = all.iter().filter_map(of).map(|reserving| ask(self.s.clone(), reserving)).collect();
        for (reserving, answer) in join_all(asked).await {
            self.note_reserved(reserving, answer).await;
        }
    }

    /// Sets right what billing has of applications that are not, or were not told to it.
    pub(super) async fn settle_leftovers(&mut self) -> anyhow::Result<()> {
        let now = self.s.host.env.now();
        if self.leftovers.due.is_some_and(|at| now < at) {
            return Ok(());
        }
        let (pause, most) = if self.leftovers.is_away { LOOKS_AWAY } else { LOOKS };
        self.leftovers.due = Some(now + pause);
        for left in store::left_reserving(self.s.orm(), most).await? {
            let row = store::app_by_id(self.s.orm(), left.app).await?;
            if row.is_some_and(|row| !row.deleted && row.current > 0) {
                // Whoever looks at it finds that billing has to be told.
                self.reserved.remove(&left.app);
                self.dirty.insert(left.app);
            } else if !self.hand_back(&left).await? {
                return Ok(());
            }
            store::end_reserving(self.s.orm(), left.id).await?;
        }
        Ok(())
    }

    /// Of an application that never came to be, or is gone, nothing is held. False: billing does not answer.
    async fn hand_back(&mut self, left: &Left) -> anyhow::Result<bool> {
        let answer = quotas::reserve(&self.s.host, left.org, left.project, left.app, "", &Demand::default()).await;
        let Err(problem) = answer else {
            self.leftovers.is_away = false;
            return Ok(true);
        };
        tracing::debug!(app.id = %left.app, error = problem.chain(), "a reservation could not be given back");
        // What is refused once is refused always.
        if matches!(problem.kind, Kind::Invalid | Kind::Forbidden | Kind::NotFound) {
            return Ok(true);
        }
        self.leftovers.is_away = true;
        store::postpone_reserving(self.s.orm(), left.id).await?;
        Ok(false)
    }

    /// `None`: billing knows it.
    fn to_reserve(&self, subject: &Subject, goal: &Model, exchange: Option<&Exchange>, world: &World) -> Option<Reserving> {
        let (app, demand) = (subject.view.id, self.demand(exchange, subject, goal, world));
        if self.reserved.get(&app) == Some(&demand) {
            return None;
        }
        Some(Reserving { app, org: OrgId(subject.row.org), project: ProjectId(subject.row.project), author: self.author(subject), demand })
    }

    async fn note_reserved(&mut self, of: Reserving, answer: Result<(), Problem>) {
        self.leftovers.is_away = false;
        match answer {
            Ok(()) => {}
            // The limit was lowered meanwhile; what runs goes on, and the next change will be refused.
            Err(problem) if problem.kind == Kind::QuotaExceeded => {
                tracing::warn!(app.id = %of.app, reason = problem.detail, "an application is above its quota");
            }
            Err(problem) => {
                tracing::debug!(app.id = %of.app, error = problem.chain(), "the reservation could not be repeated");
                self.leftovers.is_away = true;
                // An application that is as wanted is not looked at again by itself, and one that is gone never.
                if let Err(error) = store::owe_reserving(self.s.orm(), of.app, of.org, of.project).await {
                    tracing::warn!(app.id = %of.app, %error, "billing is told what the application holds with its next change only");
                }
                return;
            }
        }
        self.reserved.insert(of.app, of.demand);
    }
}
