//! Live migration: an instance goes on elsewhere with its memory, its open files and what it has written. It is frozen on its node and
//! carried over; it is given up only when its successor runs from what was carried, and in every other case it runs on where it stood.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_auth::{Caller, from_of};
use gantry_contract::audit::AuditFact;
use gantry_contract::proto::scheduler::{OpenSession, SessionFrame};
use gantry_contract::scheduler::InstanceEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, StreamWrite};
use gantry_kernel::{AppId, InstanceId, Kind, Name, OrgId, Problem, ProjectId, Role, SpaceId};
use serde::Serialize;
use tokio::sync::mpsc;
use tonic::Status;

use super::change::find;
use super::context::Scheduler;
use super::deploy::database;
use super::nodes::{self, NodeBody};
use super::sessions::{At, Link, dial};
use super::view;
use crate::domain::cluster::cluster_of;
use crate::domain::engine::Seen;
use crate::domain::migration::{Target, fits, stays};
use crate::domain::observe::Phase;
use crate::domain::session::{CLOSE, END, End, INPUT, OUTPUT};
use crate::domain::stored;
use crate::domain::wanted::instance_name;
use crate::store;

/// For its node to freeze it and for what was taken to go over; it stands still meanwhile.
const CARRIED: Duration = Duration::from_secs(600);
/// For its successor to run. It stands still meanwhile.
const GOES_ON: Duration = Duration::from_secs(120);
/// For one side to say something short.
const ANSWER: Duration = Duration::from_secs(30);
/// How often it is looked whether both nodes are still there.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Serialize, utoipa::ToSchema)]
pub struct MigratedBody {
    /// The instance that goes on; the one before is gone.
    pub instance: InstanceId,
    pub name: String,
    pub node: String,
    /// What went from node to node.
    pub carried_bytes: u64,
    /// From when it was asked to stand still until it ran again.
    pub stood_still_millis: u64,
}

/// Those that this process carries out and has written down: each successor with the instance that it follows.
#[derive(Clone, Default)]
pub struct Moves(Arc<Mutex<BTreeMap<InstanceId, InstanceId>>>);

impl Moves {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, InstanceId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, before: InstanceId, successor: InstanceId) -> UnderWay {
        self.lock().insert(successor, before);
        UnderWay { moves: self.clone(), successor }
    }

    pub fn is_under_way(&self, before: InstanceId) -> bool {
        self.lock().values().any(|b| *b == before)
    }

    /// Whom a successor follows, as long as that is under way.
    pub fn before(&self, successor: InstanceId) -> Option<InstanceId> {
        self.lock().get(&successor).copied()
    }
}

/// Over when dropped.
struct UnderWay {
    moves: Moves,
    successor: InstanceId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.moves.lock().remove(&self.successor);
    }
}

/// What is moved, and where to.
struct Move {
    caller: Caller,
    row: store::app::Model,
    from: store::instance::Model,
    workload: Name,
    name: String,
    source: Name,
    target: Name,
    successor: InstanceId,
}

/// Moves one instance to `node`, which may be the one where it is: then it goes on in a new pod there. Goes on also when the caller
/// leaves.
///
/// # Errors
/// A missing right; an instance, a workload or a node that cannot, with the reason; one that could not go on there, and then the
/// instance runs on where it was.
pub async fn migrate(s: &Scheduler, caller: &Caller, at: At, node: &str) -> Result<MigratedBody, Problem> {
    s.host.auth.require(caller, Role::Editor, at.space.scope())?;
    let row = find(s, &at.space, &at.app).await?;
    let alive = store::alive(s.orm(), AppId(row.id)).await.map_err(database)?;
    let app = Name::parse(&row.name).map_err(Problem::internal)?;
    let called = |i: &store::instance::Model| Name::parse(&i.workload).map_or_else(|_| String::new(), |w| instance_name(&app, &w, i.number.unsigned_abs()));
    let from = alive.into_iter().find(|i| i.id.to_string() == at.instance || called(i) == at.instance);
    let from = from.ok_or_else(|| Problem::not_found("instance", &at.instance))?;
    let name = called(&from);
    if cluster_of(&from.node).is_some() {
        return Err(cannot(&name, "it is on a Kubernetes cluster, whose API has no live migration".into()));
    }
    if !stands(&from) {
        return Err(cannot(
            &name,
            format!("it has to run and to stay where it is, and it is {}", if from.displaced.is_some() { "leaving" } else { from.phase.as_str() }),
        ));
    }
    let workload = Name::parse(&from.workload).map_err(Problem::internal)?;
    let revision = store::revision(s.orm(), AppId(row.id), from.revision).await.map_err(database)?;
    let revision = revision.filter(|_| from.revision == row.current && row.finished == Some(row.current));
    let revision = revision.ok_or_else(|| cannot(&name, "a release is under way; move it when that has ended".into()))?;
    let model = stored::read(&revision.model).map_err(Problem::internal)?.outline;
    let spec = model.workloads.get(&workload).ok_or_else(|| cannot(&name, "its workload is no more".into()))?;
    let target = Name::parse(node).map_err(|e| Problem::invalid("node", e.to_string()))?;
    let source = Name::parse(&from.node).map_err(Problem::internal)?;
    if let Some(why) = stays(spec, &model.volumes, source == target) {
        return Err(cannot(&name, why));
    }
    let all = nodes::list(s).await?;
    let there = all.iter().find(|n| n.name == target.as_str()).ok_or_else(|| Problem::not_found("node", node))?;
    let here = all.iter().find(|n| n.name == source.as_str());
    if let Some(why) = fits(&seen(there, here), spec.requests.cpu_millis.into(), spec.requests.memory_bytes, source == target) {
        return Err(cannot(&name, format!("node {target} does not take it: {why}")));
    }
    let successor = InstanceId(s.host.uuid());
    let (own, scope) = (s.clone(), at.space.org().id);
    let moving = Move { caller: caller.clone(), row, from, workload, name, source, target, successor };
    let going = async move {
        let went = go(&own, &moving, scope).await;
        record(&own, &moving, scope, went.as_ref()).await;
        went
    };
    s.host.tracker.spawn(going).await.map_err(Problem::internal)?
}

/// It runs, and nobody wants it to go.
fn stands(instance: &store::instance::Model) -> bool {
    matches!(Phase::parse(&instance.phase), Phase::Running | Phase::Unhealthy) && instance.displaced.is_none()
}

fn seen<'a>(there: &'a NodeBody, here: Option<&'a NodeBody>) -> Target<'a> {
    Target {
        ready: there.state == "ready" && there.problem.is_none(),
        open: !there.cordoned && !there.draining,
        facts: &there.facts,
        settings: &there.settings,
        reserved_cpu_millis: there.reserved_cpu_millis,
        reserved_memory_bytes: there.reserved_memory_bytes,
        source: here.map(|n| &n.facts),
    }
}

async fn go(s: &Scheduler, moving: &Move, org: OrgId) -> Result<MigratedBody, Problem> {
    let open = |kind: &str, id: InstanceId| OpenSession { kind: kind.into(), instance_id: id.to_string(), ..OpenSession::default() };
    let mut into = dial(s, &moving.target, open("checkpoint-take", moving.successor)).await?;
    // It is frozen only when somebody is there to take it.
    match tokio::time::timeout(ANSWER, next(&mut into)).await {
        Ok(Some(Said::Bytes(_))) => {}
        Ok(Some(Said::End(End::Failed(why)))) => return Err(cannot(&moving.name, format!("on {}: {why}", moving.target))),
        _ => return Err(broken(&moving.target)),
    }
    let began = tokio::time::Instant::now();
    let mut from = dial(s, &moving.source, open("checkpoint-give", InstanceId(moving.from.id))).await?;
    let carried = tokio::select! {
        carried = tokio::time::timeout(CARRIED, carry(moving, &mut from, &mut into)) => carried.unwrap_or_else(|_| Err(broken(&moving.source)))?,
        () = away(s, &moving.source) => return Err(broken(&moving.source)),
        () = away(s, &moving.target) => return Err(broken(&moving.target)),
    };
    // That took its time, and what is to go by now is not to go on elsewhere first.
    let alive = store::alive(s.orm(), AppId(moving.row.id)).await.map_err(database)?;
    if !alive.iter().any(|i| i.id == moving.from.id && stands(i)) {
        return Err(cannot(&moving.name, "it is to stop, or to leave its node, by now".into()));
    }
    // From here on it is written down; until here nobody knows anything of it, and it runs on by itself when the sessions end.
    let before = InstanceId(moving.from.id);
    let _under_way = s.moves.begin(before, moving.successor);
    store::save_displacements(s.orm(), &[(before, store::Purpose::GoesOn(moving.successor))]).await.map_err(database)?;
    placed(s, moving, org).await?;
    if let Err(why) = goes_on(s, moving).await {
        stayed(s, moving, org).await?;
        say(&from.to_agent, &[CLOSE, INPUT]).await;
        return Err(Problem::conflict("scheduler.migration_failed", format!("{} runs on where it was: on {} {why}", moving.name, moving.target)));
    }
    let stood_still = began.elapsed();
    say(&from.to_agent, &[&[INPUT], &b"moved"[..]].concat()).await;
    // It is gone when this is answered; that it does not answer changes nothing: its node stops it when it hears the word.
    let _ = tokio::time::timeout(ANSWER, async { while !matches!(next(&mut from).await, None | Some(Said::End(_))) {} }).await;
    Ok(MigratedBody {
        instance: moving.successor,
        name: moving.name.clone(),
        node: moving.target.to_string(),
        carried_bytes: carried,
        stood_still_millis: u64::try_from(stood_still.as_millis()).unwrap_or(u64::MAX),
    })
}

/// What one side says.
enum Said {
    Bytes(Vec<u8>),
    Closed,
    End(End),
}

/// Nothing if it has gone away.
async fn next(link: &mut Link) -> Option<Said> {
    while let Ok(Some(frame)) = link.from_agent.message().await {
        match frame.data.split_first() {
            Some((&OUTPUT, bytes)) => return Some(Said::Bytes(bytes.to_vec())),
            Some((&CLOSE, [OUTPUT])) => return Some(Said::Closed),
            Some((&END, _)) => return End::parse(&frame.data).map(Said::End),
            _ => {}
        }
    }
    None
}

/// False if it has gone away.
async fn say(to: &mpsc::Sender<Result<SessionFrame, Status>>, data: &[u8]) -> bool {
    to.send(Ok(SessionFrame { data: data.to_vec(), ..SessionFrame::default() })).await.is_ok()
}

/// All that was taken, until the other side has it whole. Gives how many bytes that were.
async fn carry(moving: &Move, from: &mut Link, into: &mut Link) -> Result<u64, Problem> {
    let mut bytes = 0;
    loop {
        match next(from).await {
            Some(Said::Bytes(piece)) => {
                bytes += piece.len() as u64;
                // It says why when it is asked.
                if !say(&into.to_agent, &[&[INPUT], piece.as_slice()].concat()).await {
                    break;
                }
            }
            Some(Said::Closed) => break,
            Some(Said::End(End::Failed(why))) => return Err(cannot(&moving.name, format!("on {}: {why}", moving.source))),
            Some(Said::End(_)) | None => return Err(broken(&moving.source)),
        }
    }
    say(&into.to_agent, &[CLOSE, INPUT]).await;
    loop {
        match next(into).await {
            Some(Said::End(End::Exited(0))) => return Ok(bytes),
            Some(Said::End(End::Failed(why))) => return Err(cannot(&moving.name, format!("on {}: {why}", moving.target))),
            Some(Said::End(_)) | None => return Err(broken(&moving.target)),
            Some(Said::Bytes(_) | Said::Closed) => {}
        }
    }
}

/// Writes down the successor, and that the instance leaves: it is stopped when the successor is ready.
async fn placed(s: &Scheduler, moving: &Move, org: OrgId) -> Result<(), Problem> {
    let (row, app) = (&moving.from, AppId(moving.row.id));
    let amount = |value: i64| u64::try_from(value).unwrap_or(0);
    let successor = InstanceEvent::Placed {
        instance: moving.successor,
        app,
        org: OrgId(row.org),
        project: ProjectId(row.project),
        space: SpaceId(row.space),
        workload: moving.workload.clone(),
        index: row.number.unsigned_abs(),
        revision: row.revision.unsigned_abs(),
        node: moving.target.clone(),
        cpu_millis: u32::try_from(row.cpu_millis).unwrap_or(u32::MAX),
        memory_bytes: amount(row.memory_bytes),
        storage_bytes: amount(row.storage_bytes),
    };
    let before = InstanceId(row.id);
    let leaves = InstanceEvent::Displaced { instance: before, app, node: moving.source.clone(), reason: format!("it goes on, as it is, on {}", moving.target) };
    let writes = vec![
        StreamWrite { stream: StreamId::of::<InstanceEvent>(moving.successor), expected: Some(0), events: vec![successor.encode()] },
        StreamWrite { stream: StreamId::of::<InstanceEvent>(before), expected: None, events: vec![leaves.encode()] },
    ];
    append(s, writes, moving.caller.meta(Some(org))).await
}

/// The successor is not to be, and the instance stays.
async fn stayed(s: &Scheduler, moving: &Move, org: OrgId) -> Result<(), Problem> {
    let app = AppId(moving.row.id);
    let (before, successor) = (InstanceId(moving.from.id), moving.successor);
    let alive = store::alive(s.orm(), app).await.map_err(database)?;
    let mut writes = Vec::new();
    if alive.iter().any(|i| i.id == successor.0 && i.phase != "stopping") {
        let event = InstanceEvent::Stopping { instance: successor, app };
        writes.push(StreamWrite { stream: StreamId::of::<InstanceEvent>(successor), expected: None, events: vec![event.encode()] });
    }
    // Of a node that was lost it is written down already.
    if alive.iter().any(|i| i.id == before.0 && i.displaced.is_some()) {
        let event = InstanceEvent::Stayed { instance: before, app };
        writes.push(StreamWrite { stream: StreamId::of::<InstanceEvent>(before), expected: None, events: vec![event.encode()] });
    }
    if !writes.is_empty() {
        // The request's key is that of the placement: with it, this would be taken for the same once more.
        append(s, writes, Meta { command_id: None, ..moving.caller.meta(Some(org)) }).await?;
    }
    store::arrived(s.orm(), &[before]).await.map_err(database)
}

async fn append(s: &Scheduler, writes: Vec<StreamWrite>, meta: Meta) -> Result<(), Problem> {
    let appended = s.host.log().append(Append { writes, claims: Vec::new(), meta }).await.map_err(|e| Problem::unavailable("the event log").with_source(e))?;
    s.host.settled(appended.position).await;
    Ok(())
}

/// Waits until the successor runs. Why it does not, if it does not.
async fn goes_on(s: &Scheduler, moving: &Move) -> Result<(), String> {
    let mut changes = s.agents.changes();
    let waits = async {
        loop {
            changes.mark_unchanged();
            let reports = view::reports(s);
            let seen = reports.get(&moving.target).and_then(|r| r.instances.get(&moving.successor));
            match seen.map(|o| (o.seen, o)) {
                Some((Seen::Running, o)) if o.restarts == 0 => return Ok(()),
                // Started again, it is not what was carried.
                Some((Seen::Running | Seen::Unhealthy | Seen::Failed | Seen::Exited | Seen::Stopping, o)) => {
                    return Err(format!("it could not go on: {}", if o.reason.is_empty() { "it ended at once" } else { o.reason.as_str() }));
                }
                Some((Seen::Starting, _)) | None => {}
            }
            if changes.changed().await.is_err() {
                return Err("nobody saw it go on".to_owned());
            }
        }
    };
    tokio::select! {
        went = tokio::time::timeout(GOES_ON, waits) => went.unwrap_or_else(|_| Err(format!("it did not go on within {} s", GOES_ON.as_secs()))),
        () = away(s, &moving.target) => Err("it did not go on before the node was lost".into()),
        () = s.host.cancel.cancelled() => Err("nobody saw it go on, because the scheduler is being stopped".into()),
    }
}

/// Waits until a node has been silent for so long that it counts as lost.
async fn away(s: &Scheduler, node: &Name) {
    let timeout = s.config.node_timeout();
    while s.agents.silent_for(node).is_some_and(|silent| silent <= timeout) {
        tokio::time::sleep(LOOK).await;
    }
}

fn cannot(name: &str, why: String) -> Problem {
    Problem::conflict("scheduler.cannot_migrate", format!("{name} cannot be moved as it is: {why}"))
}

fn broken(node: &Name) -> Problem {
    Problem::new(Kind::Unavailable, "scheduler.node_away", format!("node {node} broke off; the instance runs on where it was"))
        .retry_after(Duration::from_secs(5))
}

async fn record(s: &Scheduler, moving: &Move, org: OrgId, went: Result<&MigratedBody, &Problem>) {
    let (result, how) = match went {
        Ok(body) => ("ok", format!("{} bytes, stood still for {} ms", body.carried_bytes, body.stood_still_millis)),
        Err(problem) => ("failed", problem.detail.clone()),
    };
    let caller = &moving.caller;
    let fact = AuditFact {
        org: Some(org),
        reason: format!("{} from {} to {}: {how}", moving.name, moving.source, moving.target),
        from: from_of(caller.from.as_deref(), caller.acting.as_deref()).unwrap_or_default(),
        ..s.host.fact(caller.subject.clone(), "instance.migrate", format!("instance:{}", moving.from.id), result)
    };
    s.host.audit(fact).await;
}
