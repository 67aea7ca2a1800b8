//! The runner: makes the world match what the runs' events say should happen now. Woken by the log and by a timer, without
//! input of its own; after a crash it finds interrupted steps marked as running and does them again. One at a time holds the
//! lease, so several replicas may wait.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_es::Meta;
use gantry_es_pg::{ExecuteError, Lease};
use gantry_kernel::{OffsetDateTime, ProjectId, RunId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::keeping;
use super::steps::{End, StepWork, Tools};
use crate::adapters::step_log::{self, StepLog};
use crate::domain::{self, Action, Limits, NewRun, Outcome, Run, RunCommand, RunRefusal, RunStatus, Waiting};
use crate::store::{queries, run};

const LEASE: &str = "cicd-runner";
/// Nothing is found only by this: it is for what no event tells (a container runtime that came back).
const TICK: Duration = Duration::from_secs(2);
/// Steps get this long to stop when the service does.
const STOP: Duration = Duration::from_secs(8);

type StepKey = (RunId, String);

pub struct Runner {
    pub tools: Arc<Tools>,
    pub limits: Limits,
    /// How far the tables are that say which runs there are.
    pub tables: watch::Receiver<i64>,
    pub usage: super::metering::Metering,
}

/// Steps being carried out by this process.
#[derive(Default)]
struct InFlight {
    tasks: JoinSet<Finished>,
    stops: HashMap<StepKey, CancellationToken>,
}

struct Finished {
    about: NewRun,
    step: String,
    end: End,
    started: OffsetDateTime,
    ended: OffsetDateTime,
    stopped: bool,
}

impl Runner {
    /// Works until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        while let Some(mut lease) = Lease::acquire(&self.tools.cicd.host.db().pool, LEASE, &cancel).await {
            let mut flight = InFlight::default();
            self.work(self.tables.clone(), &mut lease, &mut flight, &cancel).await;
            flight.stop().await;
            if cancel.is_cancelled() {
                lease.release().await;
                return;
            }
        }
    }

    /// `head` is how far the tables are. Returns when cancelled or when the lease is lost.
    async fn work(&self, mut head: watch::Receiver<i64>, lease: &mut Lease, flight: &mut InFlight, cancel: &CancellationToken) {
        let mut swept: Option<Vec<RunId>> = None;
        loop {
            head.mark_unchanged();
            match self.round(flight).await {
                Ok(alive) => {
                    // Only after a change, and once at the start: what a killed process left behind.
                    if swept.as_ref() != Some(&alive) && keeping::sweep(&self.tools, &alive).await {
                        swept = Some(alive);
                    }
                }
                Err(error) => tracing::warn!(error = format!("{error:#}"), "a round of the runner failed; it tries again"),
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(finished) = flight.tasks.join_next() => match finished {
                    Ok(finished) => self.finished(flight, finished).await,
                    Err(error) => {
                        // Its step is still marked as running and will be done again, but its key must not stay taken.
                        tracing::error!(%error, "a step's task ended by itself");
                        flight.forget_lost();
                    }
                },
                changed = head.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(TICK) => if !lease.check().await {
                    tracing::warn!("the runner's lease is lost; its steps stop here");
                    return;
                }
            }
        }
    }

    /// One look at all runs that are not over; gives them.
    async fn round(&self, flight: &mut InFlight) -> anyhow::Result<Vec<RunId>> {
        let cicd = &self.tools.cicd;
        let active = queries::active_runs(&cicd.host.db().orm).await?;
        let (queued, running): (Vec<_>, Vec<_>) = active.iter().partition(|row| row.state == "queued");
        let admitted: HashSet<RunId> = domain::admit(&waiting(&running), &waiting(&queued), self.limits).into_iter().collect();
        for row in queued.iter().filter(|row| admitted.contains(&RunId(row.id))) {
            self.execute(row.id.into(), row.org_id.into(), RunCommand::Start).await?;
        }
        for row in active.iter().filter(|row| row.state != "queued" || admitted.contains(&RunId(row.id))) {
            self.advance(flight, row.id.into(), row.org_id.into()).await?;
        }
        let alive: Vec<RunId> = active.iter().map(|row| RunId(row.id)).collect();
        for ((run, _), stop) in &flight.stops {
            if !alive.contains(run) {
                stop.cancel();
            }
        }
        Ok(alive)
    }

    /// Carries out what the run's plan says, until it has nothing new to say.
    async fn advance(&self, flight: &mut InFlight, id: RunId, org: gantry_kernel::OrgId) -> anyhow::Result<()> {
        let mut run = self.tools.cicd.runs.load(id).await?.state;
        loop {
            let mut changed = None;
            for action in domain::next(&run) {
                match action {
                    Action::Attend(step) => self.attend(flight, &run, &step),
                    Action::StartStep(step) => changed = self.execute(id, org, RunCommand::StartStep { step }).await?.or(changed),
                    Action::Finish { ok, reason } => changed = self.execute(id, org, RunCommand::Finish { ok, reason }).await?.or(changed),
                }
            }
            match changed {
                Some(state) if state.status == RunStatus::Running => run = state,
                _ => return Ok(()),
            }
        }
    }

    /// A step that is marked as running must run: it does, or it was interrupted and begins anew.
    fn attend(&self, flight: &mut InFlight, run: &Run, step: &str) {
        let Some(about) = &run.about else { return };
        let key = (about.run, step.to_owned());
        let Some(step) = about.pipeline.step(step).filter(|_| !flight.stops.contains_key(&key)) else { return };
        let stop = CancellationToken::new();
        flight.stops.insert(key.clone(), stop.clone());
        let work = StepWork { about: about.clone(), step: step.clone(), images: run.images.clone(), cancel: stop };
        let tools = self.tools.clone();
        flight.tasks.spawn(async move { carry_out(tools, work).await });
    }

    async fn finished(&self, flight: &mut InFlight, finished: Finished) {
        let Finished { about, step, end, started, ended, stopped } = finished;
        if !stopped {
            let duration = ended - started;
            self.usage.step_ended(&about, &step, started, ended).await;
            if let Some((image, digest)) = end.image.clone() {
                self.record(&about, RunCommand::ImagePushed { step: step.clone(), image, digest }).await;
            }
            for command in keeping::keep(&self.tools, &about, &step).await {
                self.record(&about, command).await;
            }
            tracing::info!(run.id = %about.run, step, ok = end.ok(), exit_code = end.exit_code, duration_ms = %duration.whole_milliseconds(), "a step has ended");
            let outcome =
                Outcome { ok: end.ok(), exit_code: end.exit_code, reason: end.reason, duration_ms: u64::try_from(duration.whole_milliseconds()).unwrap_or(0) };
            self.record(&about, RunCommand::FinishStep { step: step.clone(), outcome }).await;
        }
        flight.stops.remove(&(about.run, step));
    }

    /// What cannot be recorded now is done again: the step is still marked as running.
    async fn record(&self, about: &NewRun, command: RunCommand) {
        if let Err(error) = self.execute(about.run, about.org, command).await {
            tracing::warn!(run.id = %about.run, error = format!("{error:#}"), "a step's result could not be recorded; the step will be done again");
        }
    }

    /// `None`: nothing changed. A refusal means that the run went another way meanwhile (it was cancelled): no fault.
    async fn execute(&self, run: RunId, org: gantry_kernel::OrgId, command: RunCommand) -> anyhow::Result<Option<Run>> {
        let meta = Meta { actor: "service:cicd".into(), ..Meta::default() }.tenant(org);
        match self.tools.cicd.runs.execute(run, command, meta).await {
            Ok(executed) if executed.events.is_empty() => Ok(None),
            Ok(executed) => Ok(Some(executed.state)),
            Err(ExecuteError::Refused(RunRefusal::AlreadyOver | RunRefusal::NotReady(_) | RunRefusal::NotRunning | RunRefusal::NotDone)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

async fn carry_out(tools: Arc<Tools>, work: StepWork) -> Finished {
    let started = tools.cicd.host.env.now();
    let path = step_log::path(&tools.cicd.home, work.about.run, work.step.name.as_str());
    let end = match StepLog::open(&path) {
        Ok(log) => {
            if path.metadata().is_ok_and(|m| m.len() > 0) {
                log.line("[gantry] the step was interrupted and begins anew");
            }
            let end = tools.carry_out(&work, &log).await;
            match (end.ok(), end.reason.is_empty()) {
                (true, _) => log.line("[gantry] ended well"),
                (false, true) => log.line(&format!("[gantry] failed with exit code {}", end.exit_code)),
                (false, false) => log.line(&format!("[gantry] failed: {}", end.reason)),
            }
            end
        }
        Err(error) => End { exit_code: -1, reason: format!("the step's log cannot be written: {error}"), image: None },
    };
    let (ended, stopped) = (tools.cicd.host.env.now(), work.cancel.is_cancelled());
    Finished { step: work.step.name.to_string(), about: work.about, end, started, ended, stopped }
}

fn waiting(rows: &[&run::Model]) -> Vec<Waiting> {
    rows.iter().map(|row| Waiting { run: row.id.into(), project: ProjectId(row.project_id) }).collect()
}

impl InFlight {
    /// Asks all steps to stop and gives them a moment; what is left then is dropped, and found again by its name later.
    async fn stop(mut self) {
        for stop in self.stops.values() {
            stop.cancel();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP, all).await.is_err() {
            tracing::warn!("some steps did not stop in time");
        }
    }

    /// A task that panicked took its key with it; which one is not known, so all that have ended are looked at again.
    fn forget_lost(&mut self) {
        if self.tasks.is_empty() {
            self.stops.clear();
        }
    }
}
