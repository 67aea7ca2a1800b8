//! Deployments that wait for room in a quota: in each space whoever came first is served first. Whoever cannot be served for a reason of its
//! own keeps nobody else.

use std::collections::BTreeMap;

use gantry_es::Meta;
use gantry_es_pg::Options;
use gantry_kernel::{AppId, Kind, OrgId, Problem, ProjectId, SpaceId};

use super::advance::Subject;
use super::reconcile::Reconciler;
use super::rollout::Exchange;
use super::world::World;
use crate::adapters::quotas;
use crate::domain::app::Command;
use crate::domain::model::{Model, Workload};
use crate::store::{self, Pending, Queued};

/// A queued application asks so often whether there is room in the quota.
const PAUSE: time::Duration = time::Duration::seconds(2);
const WAITS: &str = "waits for room in the quota: ";

/// Why others need not wait for one that came before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It could not be looked after.
    Troubled,
    /// What it asks for can never be granted by now, or is refused for another reason of its own.
    Never,
    /// The quota of the person who brought it is full: others have their own.
    OfPerson,
}

impl Passed {
    fn by(problem: &Problem) -> Option<Self> {
        match problem.kind {
            Kind::QuotaExceeded if problem.code != quotas::FULL => Some(Self::Never),
            Kind::QuotaExceeded => quotas::is_of_person(problem).then_some(Self::OfPerson),
            // Billing is away, or has too much to do: that is so for all of them.
            Kind::Unavailable | Kind::TooMany => None,
            Kind::Invalid | Kind::Unauthenticated | Kind::Forbidden | Kind::NotFound | Kind::Conflict | Kind::Stale | Kind::TooLarge | Kind::Internal => {
                Some(Self::Never)
            }
        }
    }
}

/// Whom an application waits for beside the room itself. `queue`: those of its space, the first first.
fn before<'a>(queue: &'a [Queued], app: AppId, passed: &BTreeMap<AppId, Passed>) -> Option<&'a Queued> {
    let at = queue.iter().position(|one| one.app == app)?;
    let keeps = |one: &&Queued| match passed.get(&one.app) {
        None => true,
        Some(Passed::OfPerson) => one.author == queue[at].author,
        Some(Passed::Troubled | Passed::Never) => false,
    };
    queue[..at].iter().find(keeps)
}

impl Reconciler {
    /// Whether there is room in the quota by now. While there is none, what runs goes on, and nothing is placed.
    pub(super) async fn admitted(
        &mut self,
        subject: &Subject,
        goal: &Model,
        exchange: Option<&Exchange>,
        mut reason: String,
        world: &World,
    ) -> anyhow::Result<bool> {
        let (app, now) = (subject.view.id, self.s.host.env.now());
        if self.queued_until.get(&app).is_none_or(|until| now >= *until) {
            let queue = store::queued(self.s.orm(), SpaceId(subject.row.space)).await?;
            if let Some(first) = before(&queue, app, &self.passed) {
                reason = first.says();
            } else {
                let demand = self.demand(exchange, subject, goal, world);
                match quotas::reserve(&self.s.host, OrgId(subject.row.org), ProjectId(subject.row.project), app, &self.author(subject), &demand).await {
                    Ok(()) => {
                        self.queued_until.remove(&app);
                        self.passed.remove(&app);
                        let meta = Meta::system().tenant(OrgId(subject.row.org));
                        let executed = self.s.apps.execute(app, Command::Admit { revision: subject.view.current }, Options::from(meta)).await?;
                        self.settle(executed.position).await?;
                        self.dirty.insert(app);
                        // The next look begins with its new row.
                        return Ok(false);
                    }
                    Err(problem) => {
                        self.passed.remove(&app);
                        self.passed.extend(Passed::by(&problem).map(|passed| (app, passed)));
                        reason = problem.detail;
                    }
                }
            }
            self.queued_until.insert(app, now + PAUSE);
        } else if let Some((pending, _)) = store::load_pending(self.s.orm(), app).await?.into_values().next() {
            reason = pending.reason.trim_start_matches(WAITS).to_owned();
        }
        let waits = |w: &Workload| Pending::because(w.replicas.max(1), format!("{WAITS}{reason}"));
        let pending: BTreeMap<String, Pending> = goal.workloads.iter().map(|(name, w)| (name.to_string(), waits(w))).collect();
        store::save_pending(self.s.orm(), app, &pending, now).await?;
        Ok(false)
    }

    /// What came of a look at an application, as far as others may wait for it.
    pub(super) fn note_trouble(&mut self, app: AppId, is_troubled: bool) {
        if is_troubled {
            self.passed.entry(app).or_insert(Passed::Troubled);
        } else if self.passed.get(&app) == Some(&Passed::Troubled) {
            self.passed.remove(&app);
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Uuid;

    use super::*;

    fn id(n: u128) -> AppId {
        AppId(Uuid::from_u128(n))
    }

    #[test]
    fn who_came_first_is_waited_for_unless_it_cannot_be_served_for_a_reason_of_its_own() {
        let one = |n: u128, author: &str| Queued { app: id(n), name: format!("app-{n}"), author: author.into() };
        let queue = [one(3, "user:a"), one(1, "user:b"), one(2, "user:a")];
        let waits_for = |n: u128, passed: &[(u128, Passed)]| {
            let passed = passed.iter().map(|(n, why)| (id(*n), *why)).collect();
            before(&queue, id(n), &passed).map(|first| first.name.as_str())
        };
        assert_eq!(waits_for(3, &[]), None);
        assert_eq!((waits_for(1, &[]), waits_for(2, &[])), (Some("app-3"), Some("app-3")));
        assert_eq!((waits_for(1, &[(3, Passed::Never)]), waits_for(2, &[(3, Passed::Troubled)])), (None, Some("app-1")));
        // The first one waits for its author's own quota: only that author's others wait for it.
        assert_eq!(waits_for(1, &[(3, Passed::OfPerson)]), None);
        assert_eq!(waits_for(2, &[(3, Passed::OfPerson), (1, Passed::Never)]), Some("app-3"));
        assert_eq!(waits_for(9, &[]), None, "it waits for nothing by now");
    }

    #[test]
    fn only_a_full_quota_of_many_keeps_those_behind() {
        let refused = |code: &'static str, detail: &str| Passed::by(&Problem::new(Kind::QuotaExceeded, code, detail));
        assert_eq!(refused(quotas::FULL, "the quota of project allows cpu_millis = 1; in use 1, asked for 1"), None);
        assert_eq!(refused(quotas::FULL, "the quota of user allows cpu_millis = 1; in use 1, asked for 1"), Some(Passed::OfPerson));
        assert_eq!(refused("billing.quota_too_small", "the quota of project allows cpu_millis = 1; in use 0, asked for 2"), Some(Passed::Never));
        for kind in [Kind::Internal, Kind::Conflict, Kind::Invalid, Kind::TooLarge] {
            assert_eq!(Passed::by(&Problem::new(kind, "x", "it has trouble of its own")), Some(Passed::Never), "{kind:?}");
        }
        assert_eq!(Passed::by(&Problem::unavailable("billing")), None);
    }
}
