//! Several applications of a round at once: what is read of them is read at the same time, one after the other finds its places, since each
//! has to count what those before it took, and what follows is written while the next ones find theirs. Who takes something from another
//! application is written before any other is looked at.

use std::collections::HashMap;

use futures::future::join_all;
use gantry_contract::scheduler::InstanceEvent;
use gantry_es::Meta;
use gantry_es_pg::{Append, Appended};
use gantry_kernel::{AppId, InstanceId, OrgId};
use tokio::task::JoinHandle;

use super::advance::{Subject, read};
use super::place::Steps;
use super::reconcile::{Reconciler, subject};
use super::rollout::Exchange;
use super::world::World;
use crate::app::Scheduler;
use crate::domain::model::Model;
use crate::store;

/// How many are read, and written, at once.
pub(super) const AT_ONCE: usize = 16;

/// An application as it was read before its turn.
pub(super) struct Ahead {
    /// Of its instances, see [`Reconciler::change_of`]: what has moved since is read again.
    change: u64,
    read: anyhow::Result<Option<Subject>>,
}

/// What was found when an application was looked at.
pub(super) enum Look {
    /// Nothing is left to do. True: all is as wanted.
    Done(bool),
    Planned(Box<Planned>),
}

/// The next steps of an application on nodes, which are to be written. While they are, [`Begun`] has them.
pub(super) struct Planned {
    pub subject: Subject,
    pub goal: Model,
    pub exchange: Option<Exchange>,
    /// It is deleted, and nothing of it is left.
    pub gone: bool,
    pub settled: bool,
    pub steps: Steps,
}

impl Planned {
    fn app(&self) -> AppId {
        self.subject.view.id
    }

    /// Does it send instances of another application away?
    fn concerns_others(&self) -> bool {
        self.steps.events.iter().any(|event| subject(event).2 != self.app())
    }
}

impl Reconciler {
    /// Looks after these, in this order. One application's trouble is not the others'.
    pub(super) async fn advance_all(&mut self, apps: &[AppId], world: &mut World) {
        let mut ahead = self.read_ahead(apps).await;
        let mut begun = Vec::new();
        for app in apps {
            match self.plan(*app, ahead.remove(app), world).await {
                Ok(Look::Done(calm)) => self.looked(*app, Ok(calm)),
                Ok(Look::Planned(one)) => {
                    let flush = one.concerns_others();
                    begun.push(self.begin(*one));
                    if flush {
                        self.carry_out(std::mem::take(&mut begun), world).await;
                    }
                }
                Err(error) => self.looked(*app, Err(error)),
            }
        }
        self.carry_out(begun, world).await;
    }

    fn looked(&mut self, app: AppId, looked: anyhow::Result<bool>) {
        self.note_trouble(app, looked.is_err());
        match looked {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(app.id = %app, error = format!("{error:#}"), "an application could not be looked after and will be tried again");
            }
        }
        self.unsettled.insert(app);
    }

    async fn read_ahead(&mut self, apps: &[AppId]) -> HashMap<AppId, Ahead> {
        let (mut known, mut reading) = (Vec::new(), Vec::new());
        for app in apps {
            // Whose instances cannot be read now is read when it is its turn, and says so then.
            let (Ok(change), Ok(alive)) = (self.change_of(*app).await, self.alive_of(*app).await) else { continue };
            known.push((*app, change));
            reading.push(read(self.s.clone(), *app, alive));
        }
        let all = join_all(reading).await;
        known.into_iter().zip(all).map(|((app, change), read)| (app, Ahead { change, read })).collect()
    }

    /// What was read of it, if that is still so.
    pub(super) async fn read_of(&mut self, app: AppId, ahead: Option<Ahead>) -> anyhow::Result<Option<Subject>> {
        let change = self.change_of(app).await?;
        match ahead.filter(|ahead| ahead.change == change) {
            Some(ahead) => ahead.read,
            None => {
                let alive = self.alive_of(app).await?;
                read(self.s.clone(), app, alive).await
            }
        }
    }

    /// Begins to write what was planned. A task of its own: to find the places of the next ones takes a core as long as writing these takes
    /// the database.
    fn begin(&mut self, mut planned: Planned) -> Begun {
        let events: Vec<InstanceEvent> = std::mem::take(&mut planned.steps.events);
        let (append, ids) = self.append_of(events, Meta::system().tenant(OrgId(planned.subject.row.org))).unzip();
        let (s, app, gone, steps) = (self.s.clone(), planned.app(), planned.gone, std::mem::take(&mut planned.steps));
        let writing = self.s.host.tracker.spawn(async move {
            let written = write(&s, app, gone, &steps, append).await;
            (steps, written)
        });
        Begun { planned, ids: ids.unwrap_or_default(), writing }
    }

    /// Waits until it is written, and takes what follows from it.
    async fn carry_out(&mut self, begun: Vec<Begun>, world: &World) {
        let mut all = Vec::new();
        for Begun { mut planned, ids, writing } in begun {
            let written = match writing.await {
                Ok((steps, written)) => {
                    planned.steps = steps;
                    written
                }
                Err(error) => Err(error.into()),
            };
            all.push((planned, ids, written));
        }
        let last = all.iter().filter_map(|(.., written)| Some(written.as_ref().ok()?.appended.as_ref()?.position)).max();
        if let Some(last) = last
            && let Err(error) = self.settle(last).await
        {
            for (one, ..) in all {
                self.looked(one.app(), Err(anyhow::anyhow!("{error:#}")));
            }
            return;
        }
        let whole = |written: &Written| written.rest.is_ok();
        let to_finish: Vec<&Planned> = all.iter().filter(|(.., written)| written.as_ref().is_ok_and(whole)).map(|(one, ..)| one).collect();
        self.keep_all_reserved(&to_finish, world).await;
        for (one, ids, written) in all {
            let app = one.app();
            let looked = match written {
                Ok(Written { appended, rest }) => {
                    if let Some(appended) = &appended {
                        self.appended(&ids, appended);
                    }
                    match rest {
                        Ok(()) => self.finish(one, world).await,
                        Err(error) => Err(error),
                    }
                }
                Err(error) => Err(error),
            };
            self.looked(app, looked);
        }
    }
}

/// What is being written.
struct Begun {
    /// Without its steps.
    planned: Planned,
    /// Whose events they are.
    ids: Vec<InstanceId>,
    /// Gives the steps back.
    writing: JoinHandle<(Steps, anyhow::Result<Written>)>,
}

/// What was written of one application.
struct Written {
    /// Its events, if there were any.
    appended: Option<Appended>,
    /// What stands beside them.
    rest: anyhow::Result<()>,
}

async fn write(s: &Scheduler, app: AppId, gone: bool, steps: &Steps, append: Option<Append>) -> anyhow::Result<Written> {
    let Steps { pending, chosen, displaced, arrived, .. } = steps;
    store::save_pending(s.orm(), app, pending, s.host.env.now()).await?;
    if gone {
        store::forget(s.orm(), app).await?;
    }
    store::save_displacements(s.orm(), displaced).await?;
    let appending = async {
        match append {
            Some(append) => s.host.log().append(append).await.map(Some),
            None => Ok(None),
        }
    };
    // Nobody asks why an instance is where it is before it is there: both are written at the same time.
    let (appended, saved) = tokio::join!(appending, store::save_decisions(s.orm(), app, chosen));
    let appended = appended?;
    let rest = match saved {
        Ok(()) => store::arrived(s.orm(), arrived).await,
        Err(error) => Err(error),
    };
    Ok(Written { appended, rest: rest.map_err(anyhow::Error::from) })
}
