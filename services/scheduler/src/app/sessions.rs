//! Sessions into instances: commands, terminals, ports, files, processes. The node's agent is told to open one and dials back with
//! a ticket; what it brings is joined with the caller. On a Kubernetes cluster the API server is asked instead
//! (`cluster_sessions`). Who may, how many at a time and what is recorded is decided here.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_auth::{Caller, SpaceRef, from_of};
use gantry_contract::audit::AuditFact;
use gantry_contract::proto::scheduler::control_message::Message;
use gantry_contract::proto::scheduler::{OpenSession, SessionFrame};
use gantry_kernel::{AppId, InstanceId, Kind, Name, OrgId, Problem, Scope};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use super::change::find;
use super::cluster_sessions;
use super::context::Scheduler;
use super::deploy::database;
use crate::domain::cluster::cluster_of;
use crate::domain::observe::Phase;
use crate::domain::session::End;
use crate::domain::wanted::instance_name;
use crate::store;

/// What one must be allowed to do any of it.
pub const PERMISSION: &str = "apps.exec";
/// Frames that wait for a slow side.
pub const FRAMES: usize = 16;
/// The agent is there and only has to dial.
const DIALLING: Duration = Duration::from_secs(10);

/// Both halves of what the agent has opened.
pub struct Link {
    pub to_agent: mpsc::Sender<Result<SessionFrame, Status>>,
    pub from_agent: Frames,
}

/// What comes from an instance.
pub enum Frames {
    Agent(Box<Streaming<SessionFrame>>),
    Cluster(mpsc::Receiver<SessionFrame>),
}

impl Frames {
    /// # Errors
    /// When the way to the agent breaks.
    pub async fn message(&mut self) -> Result<Option<SessionFrame>, Status> {
        match self {
            Self::Agent(frames) => frames.message().await,
            Self::Cluster(frames) => Ok(frames.recv().await),
        }
    }
}

/// Which agents are waited for, and how many sessions each user has.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    waiting: BTreeMap<String, Awaited>,
    users: BTreeMap<String, u32>,
}

/// What an agent was told to open.
struct Awaited {
    node: Name,
    link: oneshot::Sender<Link>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose agent is waited for with this ticket.
    pub fn awaited(&self, ticket: &str) -> Option<Name> {
        self.lock().waiting.get(ticket).map(|w| w.node.clone())
    }

    /// An agent has dialled. False if nobody waits for this ticket.
    pub fn arrived(&self, ticket: &str, link: Link) -> bool {
        let waiting = self.lock().waiting.remove(ticket);
        waiting.is_some_and(|w| w.link.send(link).is_ok())
    }

    fn place(&self, subject: &str, most: u32) -> Result<Place, Problem> {
        let mut open = self.lock();
        let count = open.users.entry(subject.to_owned()).or_default();
        if *count >= most {
            let detail = format!("you have {most} sessions open, which is the most; end one of them first");
            return Err(Problem::new(Kind::TooMany, "scheduler.too_many_sessions", detail).retry_after(Duration::from_secs(10)));
        }
        *count += 1;
        Ok(Place { sessions: self.clone(), subject: subject.to_owned() })
    }
}

/// One of a user's sessions; given back when dropped.
struct Place {
    sessions: Sessions,
    subject: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        if let Some(count) = open.users.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                open.users.remove(&self.subject);
            }
        }
    }
}

/// A ticket that an agent is waited for with; nobody is any more when this is dropped, also by a caller who left.
struct Waits {
    sessions: Sessions,
    ticket: String,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.sessions.lock().waiting.remove(&self.ticket);
    }
}

/// Where somebody wants to go.
pub struct At {
    pub space: SpaceRef,
    pub app: String,
    /// Id or name of an instance.
    pub instance: String,
}

/// A session under way, with what its record will say.
pub struct Session {
    pub link: Link,
    pub caller: Caller,
    pub scope: Scope,
    began: tokio::time::Instant,
    org: OrgId,
    instance: InstanceId,
    name: String,
    node: String,
    action: &'static str,
    what: String,
    _place: Place,
}

/// Opens a session for somebody who may; recorded before anything is sent over it. `open` lacks ticket and instance.
///
/// # Errors
/// A missing right, no such instance, one that does not run, too many sessions, or a node that does not answer.
pub async fn open(s: &Scheduler, caller: &Caller, at: At, action: &'static str, what: String, open: OpenSession) -> Result<Session, Problem> {
    let scope = at.space.scope();
    s.host.auth.permit(caller, PERMISSION, scope)?;
    let row = find(s, &at.space, &at.app).await?;
    let alive = store::alive(s.orm(), AppId(row.id)).await.map_err(database)?;
    let app = Name::parse(&row.name).map_err(Problem::internal)?;
    let called = |i: &store::instance::Model| Name::parse(&i.workload).map_or_else(|_| String::new(), |w| instance_name(&app, &w, i.number.unsigned_abs()));
    let found = alive.into_iter().find(|i| i.id.to_string() == at.instance || called(i) == at.instance);
    let found = found.ok_or_else(|| Problem::not_found("instance", &at.instance))?;
    let name = called(&found);
    if matches!(Phase::parse(&found.phase), Phase::Lost | Phase::Stopped | Phase::Completed | Phase::Failed) {
        return Err(Problem::conflict("scheduler.instance_not_running", format!("{name} does not run now ({})", found.phase)));
    }
    let place = s.sessions.place(&caller.subject, s.config.sessions_per_user)?;
    let node = Name::parse(&found.node).map_err(Problem::internal)?;
    let (own, caller, org) = (s.clone(), caller.clone(), at.space.org().id);
    // Also when the caller goes away meanwhile: what a node was told to run is never without a record.
    let opening = async move {
        let open = OpenSession { instance_id: found.id.to_string(), ..open };
        let link = match cluster_of(&found.node) {
            Some(cluster) => cluster_sessions::dial(&own, cluster, AppId(found.app), InstanceId(found.id), open).await?,
            None => dial(&own, &node, open).await?,
        };
        let session = Session {
            link,
            caller,
            scope,
            began: tokio::time::Instant::now(),
            org,
            instance: InstanceId(found.id),
            name,
            node: found.node.clone(),
            action,
            what,
            _place: place,
        };
        record(&own, &session, "ok", "begun".into()).await;
        Ok::<Session, Problem>(session)
    };
    s.host.tracker.spawn(opening).await.map_err(Problem::internal)?
}

/// Has the node's agent dial back. `open` lacks its ticket.
///
/// # Errors
/// When this process does not lead, or the agent does not answer.
pub async fn dial(s: &Scheduler, node: &Name, open: OpenSession) -> Result<Link, Problem> {
    must_lead(s)?;
    let ticket = s.host.uuid().to_string();
    let (arrived, coming) = oneshot::channel();
    s.sessions.lock().waiting.insert(ticket.clone(), Awaited { node: node.clone(), link: arrived });
    let _waits = Waits { sessions: s.sessions.clone(), ticket: ticket.clone() };
    let message = Message::Open(OpenSession { ticket, ..open });
    let link = if s.agents.tell(node, message, DIALLING).await { tokio::time::timeout(DIALLING, coming).await.ok().and_then(Result::ok) } else { None };
    link.ok_or_else(|| {
        let detail = format!("the agent of node {node} does not answer; instances there go on, but cannot be reached now");
        Problem::new(Kind::Unavailable, "scheduler.node_away", detail).retry_after(Duration::from_secs(5))
    })
}

/// # Errors
/// When nodes and clusters are another process's.
pub(super) fn must_lead(s: &Scheduler) -> Result<(), Problem> {
    if s.leading.load(Ordering::SeqCst) {
        return Ok(());
    }
    let detail = "the nodes are attached to another process of the scheduler; try again";
    Err(Problem::new(Kind::Unavailable, "scheduler.not_leading", detail).retry_after(Duration::from_secs(1)))
}

/// What is left of a session when it has ended: the record.
pub async fn close(s: &Scheduler, session: Session, end: &End) {
    let seconds = session.began.elapsed().as_secs();
    let result = if matches!(end, End::Failed(_)) { "failed" } else { "ok" };
    record(s, &session, result, format!("ended after {seconds} s: {end}")).await;
}

async fn record(s: &Scheduler, session: &Session, result: &str, how: String) {
    let from = from_of(session.caller.from.as_deref(), session.caller.acting.as_deref()).unwrap_or_default();
    let fact = AuditFact {
        org: Some(session.org),
        reason: format!("{} in {} on {}: {how}", session.what, session.name, session.node),
        from,
        ..s.host.fact(session.caller.subject.clone(), session.action, format!("instance:{}", session.instance), result)
    };
    s.host.audit(fact).await;
}
