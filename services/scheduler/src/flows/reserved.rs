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

/// What an answer of billing says about this application, and about all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It has what is right.
    Told,
    /// This one is refused, or something is wrong with it alone: the same again now would bring the same, and others are answered.
    Own,
    /// Nobody is answered.
    Away,
}

impl Answer {
    fn of(answer: &Result<(), Problem>) -> Self {
        match answer.as_ref().map_err(|problem| problem.kind) {
            Ok(()) => Self::Told,
            Err(Kind::Unavailable | Kind::TooMany) => Self::Away,
            Err(
                Kind::Invalid
                | Kind::Unauthenticated
                | Kind::Forbidden
                | Kind::NotFound
                | Kind::Conflict
                | Kind::Stale
                | Kind::TooLarge
                | Kind::QuotaExceeded
                | Kind::Internal,
            ) => Self::Own,
        }
    }
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
            self.leftovers.is_away = self.note_reserved(reserving, answer).await == Answer::Away;
        }
    }

    /// The same of several at once.
    pub(super) async fn keep_all_reserved(&mut self, all: &[&Planned], world: &World) {
        let of = |one: &&Planned| self.to_reserve(&one.subject, &one.goal, one.exchange.as_ref(), world);
        let asked: Vec<_> = all.iter().filter_map(of).map(|reserving| ask(self.s.clone(), reserving)).collect();
        if asked.is_empty() {
            return;
        }
        let mut is_away = false;
        for (reserving, answer) in join_all(asked).await {
            is_away |= self.note_reserved(reserving, answer).await == Answer::Away;
        }
        self.leftovers.is_away = is_away;
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
            } else {
                match self.hand_back(&left).await {
                    Answer::Told => {}
                    Answer::Own => {
                        store::postpone_reserving(self.s.orm(), left.id).await?;
                        continue;
                    }
                    Answer::Away => return store::postpone_reserving(self.s.orm(), left.id).await.map_err(Into::into),
                }
            }
            store::end_reserving(self.s.orm(), left.id).await?;
        }
        Ok(())
    }

    /// Of an application that never came to be, or is gone, nothing is held.
    async fn hand_back(&mut self, left: &Left) -> Answer {
        let answer = quotas::reserve(&self.s.host, left.org, left.project, left.app, "", &Demand::default()).await;
        if let Err(problem) = &answer {
            tracing::debug!(app.id = %left.app, error = problem.chain(), "a reservation could not be given back");
            // What there is none of needs not be given back.
            if matches!(problem.kind, Kind::Invalid | Kind::Forbidden | Kind::NotFound) {
                return Answer::Told;
            }
        }
        let answer = Answer::of(&answer);
        self.leftovers.is_away = answer == Answer::Away;
        answer
    }

    /// `None`: billing knows it.
    fn to_reserve(&self, subject: &Subject, goal: &Model, exchange: Option<&Exchange>, world: &World) -> Option<Reserving> {
        let (app, demand) = (subject.view.id, self.demand(exchange, subject, goal, world));
        if self.reserved.get(&app) == Some(&demand) {
            return None;
        }
        Some(Reserving { app, org: OrgId(subject.row.org), project: ProjectId(subject.row.project), author: self.author(subject), demand })
    }

    async fn note_reserved(&mut self, of: Reserving, answer: Result<(), Problem>) -> Answer {
        let meaning = Answer::of(&answer);
        if let Err(problem) = answer {
            match problem.kind {
                // The limit was lowered meanwhile; what runs goes on, and the next change will be refused.
                Kind::QuotaExceeded => tracing::warn!(app.id = %of.app, reason = problem.detail, "an application is above its quota"),
                _ => tracing::debug!(app.id = %of.app, error = problem.chain(), "the reservation could not be repeated"),
            }
            // An application that is as wanted is not looked at again by itself, and one that is gone never.
            if let Err(error) = store::owe_reserving(self.s.orm(), of.app, of.org, of.project, meaning == Answer::Away).await {
                tracing::warn!(app.id = %of.app, %error, "billing is told what the application holds with its next change only");
            }
        }
        // What was refused is not asked anew in each round, but when it is due again or asks for something else.
        if meaning != Answer::Away {
            self.reserved.insert(of.app, of.demand);
        }
        meaning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_is_not_taken_for_billing_being_away() {
        let of = |kind| Answer::of(&Err(Problem::new(kind, "x", "said so")));
        assert_eq!(Answer::of(&Ok(())), Answer::Told);
        for kind in [Kind::Invalid, Kind::Forbidden, Kind::NotFound, Kind::Conflict, Kind::QuotaExceeded, Kind::Internal] {
            assert_eq!(of(kind), Answer::Own, "{kind:?}");
        }
        assert_eq!((of(Kind::Unavailable), of(Kind::TooMany)), (Answer::Away, Answer::Away));
    }
}
