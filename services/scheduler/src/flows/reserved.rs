//! What applications hold of their quotas, repeated at billing whenever that has changed. Of several applications at once: while billing is
//! away each of them would be waited for, and nothing else be looked at meanwhile.

use futures::future::join_all;
use gantry_kernel::{AppId, Kind, OrgId, Problem, ProjectId};

use super::advance::Subject;
use super::reconcile::Reconciler;
use super::rollout::Exchange;
use super::together::Planned;
use super::world::World;
use crate::adapters::quotas;
use crate::app::Scheduler;
use crate::domain::model::{Demand, Model};

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
            self.note_reserved(reserving, answer);
        }
    }

    /// The same of several at once.
    pub(super) async fn keep_all_reserved(&mut self, all: &[&Planned], world: &World) {
        let of = |one: &&Planned| self.to_reserve(&one.subject, &one.goal, one.exchange.as_ref(), world);
        let asked: Vec<_> = all.iter().filter_map(of).map(|reserving| ask(self.s.clone(), reserving)).collect();
        for (reserving, answer) in join_all(asked).await {
            self.note_reserved(reserving, answer);
        }
    }

    /// `None`: billing knows it.
    fn to_reserve(&self, subject: &Subject, goal: &Model, exchange: Option<&Exchange>, world: &World) -> Option<Reserving> {
        let (app, demand) = (subject.view.id, self.demand(exchange, subject, goal, world));
        if self.reserved.get(&app) == Some(&demand) {
            return None;
        }
        Some(Reserving { app, org: OrgId(subject.row.org), project: ProjectId(subject.row.project), author: self.author(subject), demand })
    }

    fn note_reserved(&mut self, of: Reserving, answer: Result<(), Problem>) {
        match answer {
            Ok(()) => {}
            // The limit was lowered meanwhile; what runs goes on, and the next change will be refused.
            Err(problem) if problem.kind == Kind::QuotaExceeded => {
                tracing::warn!(app.id = %of.app, reason = problem.detail, "an application is above its quota");
            }
            Err(problem) => {
                tracing::debug!(app.id = %of.app, error = problem.chain(), "the reservation could not be repeated");
                return;
            }
        }
        self.reserved.insert(of.app, of.demand);
    }
}
