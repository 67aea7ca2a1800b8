//! Makes requested instances run, and deleted ones go away. Both are durable work: started by the event's projection, carried
//! on after a crash by whoever is there, every step safe to repeat (the scheduler knows the idempotency key).

use std::sync::Arc;

use async_trait::async_trait;
use gantry_es::Meta;
use gantry_es_pg::{ExecuteError, Options, TodoHandler, TodoItem};
use gantry_kernel::Uuid;
use tonic::Code;

use crate::App;
use crate::adapters::scheduler::Seen;
use crate::domain::instance::{Command, Phase, Refusal, Request};

pub const PROVISION: &str = "provision";
pub const DEPROVISION: &str = "deprovision";

pub struct Provision(pub Arc<App>);

#[async_trait]
impl TodoHandler for Provision {
    fn name(&self) -> &'static str {
        PROVISION
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let app = &self.0;
        let id: Uuid = item.key.parse()?;
        let Some((request, since)) = app.pending(id, Phase::Provisioning).await? else { return Ok(()) };
        let left = app.provision_timeout.saturating_sub((app.host.env.now() - since).unsigned_abs());
        let outcome = match tokio::time::timeout(left, make(app, &request)).await {
            Ok(Ok(())) => Command::Succeed,
            Ok(Err(Stop::Failed(reason))) => Command::Fail { reason },
            Ok(Err(Stop::Again(error))) => return Err(error),
            Err(_) => Command::Fail { reason: format!("it was not running after {} s", app.provision_timeout.as_secs()) },
        };
        app.finish(&request, outcome).await
    }
}

pub struct Deprovision(pub Arc<App>);

#[async_trait]
impl TodoHandler for Deprovision {
    fn name(&self) -> &'static str {
        DEPROVISION
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let app = &self.0;
        let id: Uuid = item.key.parse()?;
        let Some((request, _)) = app.pending(id, Phase::Deleting).await? else { return Ok(()) };
        app.scheduler.delete(&request).await?;
        app.finish(&request, Command::FinishDeletion).await?;
        app.forget_password(id).await?;
        Ok(())
    }
}

enum Stop {
    /// It will not get better by trying again.
    Failed(String),
    Again(anyhow::Error),
}

impl From<tonic::Status> for Stop {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            Code::InvalidArgument
            | Code::PermissionDenied
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Unauthenticated
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::AlreadyExists => Self::Failed(status.message().to_owned()),
            Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Aborted | Code::Internal | Code::Unavailable | Code::DataLoss => {
                Self::Again(status.into())
            }
        }
    }
}

async fn make(app: &App, request: &Request) -> Result<(), Stop> {
    let (document, values) = app.document(request).await.map_err(Stop::Again)?.ok_or_else(|| Stop::Failed("its offering or plan is no longer there".into()))?;
    app.scheduler.deploy(request, document, values).await?;
    let mut watch = app.scheduler.watch(request).await?;
    while let Some(seen) = watch.next().await? {
        match seen {
            Seen::Running => return Ok(()),
            Seen::Failed(reason) => return Err(Stop::Failed(reason)),
            Seen::Underway => {}
        }
    }
    Err(Stop::Again(anyhow::anyhow!("the scheduler ended the watch")))
}

impl App {
    /// The request of an instance that is still in `phase`, and since when.
    async fn pending(&self, id: Uuid, phase: Phase) -> anyhow::Result<Option<(Request, time::OffsetDateTime)>> {
        let state = self.instances.load(id).await?.state;
        let since = self.created_at(id).await?;
        Ok(state.request.filter(|_| state.phase == phase).map(|request| (request, since)))
    }

    async fn finish(&self, request: &Request, command: Command) -> anyhow::Result<()> {
        let released = matches!(command, Command::FinishDeletion);
        let mut options = Options::from(Meta { actor: "service:catalog".into(), ..Meta::default() }.tenant(request.org));
        if released {
            options.claims.push(gantry_es_pg::Claim::release(Self::names_of(request.space), request.name.as_str()));
        }
        match self.instances.execute(request.instance, command, options).await {
            Ok(_) => Ok(()),
            // It was deleted meanwhile: that work goes on elsewhere.
            Err(ExecuteError::Refused(Refusal::WrongPhase(_) | Refusal::Missing)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
