//! What is to be accepted is reserved at billing first. A process that ends between the two would leave that for ever, so it is written down
//! before; the reconciler sets right what is left over (`flows::reserved`).

use gantry_auth::SpaceRef;
use gantry_kernel::{AppId, Kind, Problem, Uuid};

use super::context::Scheduler;
use super::deploy::database;
use crate::store;

/// A reservation and what it is for, under way. Dropped without a word, it is looked at some minutes later.
pub struct Reserving(Uuid);

impl Reserving {
    /// # Errors
    /// When the database is away.
    pub async fn begin(s: &Scheduler, space: &SpaceRef, app: AppId) -> Result<Self, Problem> {
        let of = store::Left { id: s.host.uuid(), app, org: space.org().id, project: space.project.id };
        store::begin_reserving(s.orm(), &of).await.map_err(database)?;
        Ok(Self(of.id))
    }

    /// Billing has what is right: what was reserved for is written, or nothing was reserved.
    pub async fn done(self, s: &Scheduler) {
        if let Err(error) = store::end_reserving(s.orm(), self.0).await {
            tracing::warn!(%error, "a reservation that is all right will be looked at once more");
        }
    }

    /// What billing has may be too much.
    pub async fn doubtful(self, s: &Scheduler) {
        if let Err(error) = store::hasten_reserving(s.orm(), self.0).await {
            tracing::warn!(%error, "a reservation will be set right some minutes later");
        }
    }

    /// Billing did not grant it: refused by a limit, nothing was reserved; without an answer, nobody knows.
    pub async fn refused(self, s: &Scheduler, problem: &Problem) {
        match problem.kind {
            Kind::QuotaExceeded => self.done(s).await,
            _ => self.doubtful(s).await,
        }
    }
}
