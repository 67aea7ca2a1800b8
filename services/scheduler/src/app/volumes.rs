//! Volumes of a space: they live on nodes, and the nodes say what there is, also of applications that are gone. Snapshots stay on
//! the node; backups and copies go through here. Those of Kubernetes clusters are claims (`cluster_volumes`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use gantry_auth::{Caller, SpaceRef, from_of};
use gantry_contract::audit::AuditFact;
use gantry_contract::proto::scheduler::{OpenSession, SessionFrame};
use gantry_kernel::{AppId, Kind, Name, Problem, Role};
use serde::{Deserialize, Serialize};

use super::context::Scheduler;
use super::deploy::database;
use super::sessions::{Link, dial, must_lead};
use super::{cluster_content, cluster_volumes};
use crate::domain::session::{CLOSE, END, End, INPUT, OUTPUT};
use crate::store;

const ANSWER: Duration = Duration::from_secs(600);
const MOST_LIST: usize = 16 << 20;

#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VolumeBody {
    pub name: String,
    #[serde(default)]
    pub node: String,
    /// The application it was made for; `orphaned` if that is no more.
    pub app: String,
    pub app_id: String,
    pub workload: String,
    /// Its limit; 0 for none.
    pub size_bytes: u64,
    /// What it takes of the node's disk.
    pub used_bytes: u64,
    /// An instance has it, or is about to.
    pub in_use: bool,
    #[serde(default)]
    pub orphaned: bool,
    pub snapshots: Vec<SnapshotBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SnapshotBody {
    pub name: String,
    /// Seconds since 1970.
    pub at_unix: u64,
    pub used_bytes: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct VolumesBody {
    pub items: Vec<VolumeBody>,
    /// Nodes that did not answer: theirs are not listed.
    pub unreachable: Vec<String>,
}

/// What is asked of a node about one volume.
#[derive(Clone, Debug)]
pub enum VolumeVerb {
    Snapshot(String),
    RemoveSnapshot(String),
    RollBack(String),
    Delete,
}

impl VolumeVerb {
    pub(super) fn words(&self) -> (&'static str, &'static str, Vec<String>) {
        match self {
            Self::Snapshot(name) => ("volume-snapshot", "volume.snapshot-made", vec![name.clone()]),
            Self::RemoveSnapshot(name) => ("volume-remove-snapshot", "volume.snapshot-deleted", vec![name.clone()]),
            Self::RollBack(name) => ("volume-roll-back", "volume.rolled-back", vec![name.clone()]),
            Self::Delete => ("volume-delete", "volume.deleted", Vec::new()),
        }
    }
}

/// What can be known to be refused before anybody is asked. `snapshots`: those the volume has.
pub(super) fn refused(volume: &str, snapshots: &[SnapshotBody], verb: &VolumeVerb) -> Option<Problem> {
    let has = |name: &str| snapshots.iter().any(|one| one.name == name);
    match verb {
        VolumeVerb::Snapshot(name) | VolumeVerb::RollBack(name) if !is_snapshot_name(name) => {
            Some(Problem::invalid("snapshot", "must be 1 to 99 letters, digits, `-`, `.` and `_`, and must not start with a dot or end with `.new`"))
        }
        VolumeVerb::Snapshot(name) if has(name) => Some(Problem::conflict(
            "scheduler.volume_failed",
            format!("there is a snapshot `{name}` of {volume} already: choose another name, or delete it first"),
        )),
        VolumeVerb::RollBack(name) | VolumeVerb::RemoveSnapshot(name) if !has(name) => Some(Problem::not_found("snapshot", name)),
        VolumeVerb::Snapshot(_) | VolumeVerb::RollBack(_) | VolumeVerb::RemoveSnapshot(_) | VolumeVerb::Delete => None,
    }
}

/// As nodes and clusters take it.
fn is_snapshot_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !name.is_empty() && name.len() < 100 && !name.starts_with('.') && !name.ends_with(".new") && name.bytes().all(fits)
}

/// All of the space, over all nodes that answer.
///
/// # Errors
/// When this process does not lead, or the database is away.
pub async fn list(s: &Scheduler, space: &SpaceRef) -> Result<VolumesBody, Problem> {
    must_lead(s)?;
    let names = vec![space.org().name.to_string(), space.project.name.to_string(), space.name.to_string()];
    let asked = s.agents.attached().into_iter().map(|node| {
        let open = OpenSession { kind: "volume-list".into(), command: names.clone(), ..OpenSession::default() };
        async move {
            let said = match dial(s, &node, open).await {
                Ok(link) => said(link).await,
                Err(problem) => Err(problem),
            };
            (node, said)
        }
    });
    let rows = store::apps(s.orm(), space.id, None, 10_000).await.map_err(database)?;
    let apps: BTreeMap<String, bool> = rows.iter().map(|a| (a.id.to_string(), a.deleted)).collect();
    let (claims, mut unreachable) = cluster_volumes::list(s, space, &rows).await;
    let mut items = Vec::new();
    for (node, said) in join_all(asked).await {
        match said.and_then(|text| serde_json::from_slice::<Vec<VolumeBody>>(&text).map_err(Problem::internal)) {
            Ok(found) => {
                items.extend(found.into_iter().map(|v| VolumeBody { node: node.to_string(), orphaned: apps.get(&v.app_id).copied().unwrap_or(true), ..v }))
            }
            Err(problem) => {
                tracing::warn!(node.id = %node, error = problem.chain(), "a node does not say which volumes it has");
                unreachable.push(node.to_string());
            }
        }
    }
    // Nodes know spaces by name only, and a name may have been another's before: what is known to be theirs stays theirs.
    let gone: BTreeSet<String> = items.iter().filter(|v: &&VolumeBody| v.orphaned).map(|v| v.app_id.clone()).collect();
    for id in gone {
        let Ok(app) = id.parse::<AppId>() else { continue };
        if store::app_by_id(s.orm(), app).await.map_err(database)?.is_some_and(|row| row.space != space.id.0) {
            items.retain(|v| v.app_id != id);
        }
    }
    items.extend(claims);
    let known = store::nodes(s.orm()).await.map_err(database)?.into_iter().filter(|n| !n.removed);
    let attached = s.agents.attached();
    unreachable.extend(known.map(|n| n.name).filter(|n| !attached.iter().any(|a| a.as_str() == n)));
    items.sort_by(|a, b| (&a.app, &a.name, &a.node).cmp(&(&b.app, &b.name, &b.node)));
    unreachable.sort();
    unreachable.dedup();
    Ok(VolumesBody { items, unreachable })
}

/// One volume. `node` chooses where a name is on several, after a move.
///
/// # Errors
/// Not found, with the nodes that could not be asked.
pub async fn find(s: &Scheduler, space: &SpaceRef, name: &str, node: Option<&str>) -> Result<VolumeBody, Problem> {
    let all = list(s, space).await?;
    let mut found: Vec<VolumeBody> = all.items.into_iter().filter(|v| v.name == name && node.is_none_or(|n| v.node == n)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Problem::conflict("scheduler.volume_on_several_nodes", format!("{name} is on several nodes; say which with `node`"))),
        (None, _) if all.unreachable.is_empty() => Err(Problem::not_found("volume", name)),
        (None, _) => {
            let detail = format!("no node that answers has it; these do not answer: {}", all.unreachable.join(", "));
            Err(Problem::new(Kind::Unavailable, "scheduler.node_away", detail).retry_after(Duration::from_secs(5)))
        }
    }
}

/// What somebody asks of a volume as it was found just now: what cannot be is refused with words before its node is asked.
///
/// # Errors
/// As [`change`]; a name that is none, a snapshot that is not there, or is there already.
pub async fn ask(s: &Scheduler, caller: &Caller, space: &SpaceRef, volume: &VolumeBody, verb: VolumeVerb) -> Result<(), Problem> {
    // What clusters have under other names they find themselves.
    let known = if cluster_volumes::is_there(volume) { None } else { refused(&volume.name, &volume.snapshots, &verb) };
    let Some(problem) = known else { return change(s, caller, space, volume, verb).await };
    let (_, action, command) = verb.words();
    record(s, caller, space, volume, action, &command.join(" "), Some(&problem)).await;
    Err(problem)
}

/// Where a volume is to be made.
///
/// # Errors
/// What is no name of a node, or a node that there is not.
pub async fn require_place(s: &Scheduler, at: &VolumeBody) -> Result<(), Problem> {
    if cluster_volumes::is_there(at) {
        return Ok(());
    }
    let name = Name::parse(&at.node).map_err(|e| Problem::invalid("node", e.to_string()))?;
    store::node(s.orm(), name.as_str()).await.map_err(database)?.map(drop).ok_or_else(|| Problem::not_found("node", name))
}

/// Does something to one volume, for somebody who may edit the space.
///
/// # Errors
/// A missing right, no such volume, one that is in use, or a node that does not answer.
pub async fn change(s: &Scheduler, caller: &Caller, space: &SpaceRef, volume: &VolumeBody, verb: VolumeVerb) -> Result<(), Problem> {
    s.host.auth.require(caller, Role::Editor, space.scope())?;
    let (kind, action, command) = verb.words();
    let what = command.join(" ");
    let open = OpenSession { kind: kind.into(), path: volume.name.clone(), command, ..OpenSession::default() };
    let done = async {
        if cluster_volumes::is_there(volume) {
            return cluster_volumes::change(s, space, volume, &verb).await;
        }
        let node = Name::parse(&volume.node).map_err(Problem::internal)?;
        said(dial(s, &node, open).await?).await.map(drop)
    }
    .await;
    record(s, caller, space, volume, action, &what, done.as_ref().err()).await;
    done
}

/// Its content, or that of a snapshot, as a tar archive over the session.
///
/// # Errors
/// A node that does not answer.
pub async fn read(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody, snapshot: &str) -> Result<Link, Problem> {
    if cluster_volumes::is_there(volume) {
        return cluster_content::read(s, space, volume).await;
    }
    let open = OpenSession { kind: "volume-read".into(), path: volume.name.clone(), command: vec![snapshot.to_owned()], ..OpenSession::default() };
    dial(s, &Name::parse(&volume.node).map_err(Problem::internal)?, open).await
}

/// Takes a tar archive as the whole content of `volume`, which need not be there yet.
///
/// # Errors
/// A node that does not answer.
pub async fn write(s: &Scheduler, space: &SpaceRef, volume: &VolumeBody) -> Result<Link, Problem> {
    if cluster_volumes::is_there(volume) {
        return cluster_content::write(s, space, volume).await;
    }
    let owner = serde_json::json!({"org": space.org().name, "project": space.project.name, "space": space.name, "app": volume.app,
        "app_id": volume.app_id, "workload": volume.workload, "size_bytes": volume.size_bytes});
    let open = OpenSession { kind: "volume-write".into(), path: volume.name.clone(), command: vec![owner.to_string()], ..OpenSession::default() };
    dial(s, &Name::parse(&volume.node).map_err(Problem::internal)?, open).await
}

/// From one volume into another, wherever they are. Gives how many bytes went over.
///
/// # Errors
/// The first word of either side on what went wrong.
pub async fn pour(mut from: Link, mut into: Link) -> Result<u64, Problem> {
    let mut bytes = 0;
    loop {
        match from.from_agent.message().await {
            Ok(Some(frame)) => match frame.data.split_first() {
                Some((&OUTPUT, rest)) => {
                    bytes += rest.len() as u64;
                    let data = [&[INPUT], rest].concat();
                    if into.to_agent.send(Ok(SessionFrame { data, ..SessionFrame::default() })).await.is_err() {
                        break;
                    }
                }
                Some((&END, _)) => {
                    finished(End::parse(&frame.data))?;
                    let data = vec![CLOSE, INPUT];
                    if into.to_agent.send(Ok(SessionFrame { data, ..SessionFrame::default() })).await.is_err() {
                        break;
                    }
                    break;
                }
                _ => {}
            },
            Ok(None) | Err(_) => return Err(broken()),
        }
    }
    ended(&mut into).await.map(|()| bytes)
}

/// Waits for the other side's word.
///
/// # Errors
/// What it says.
pub async fn ended(link: &mut Link) -> Result<(), Problem> {
    while let Ok(Some(frame)) = link.from_agent.message().await {
        if let Some(end) = End::parse(&frame.data) {
            return finished(Some(end));
        }
    }
    Err(broken())
}

/// All that a short session says.
async fn said(mut link: Link) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    let all = async {
        while let Ok(Some(frame)) = link.from_agent.message().await {
            match frame.data.split_first() {
                Some((&END, _)) => return finished(End::parse(&frame.data)),
                Some((&OUTPUT, bytes)) if text.len() + bytes.len() <= MOST_LIST => text.extend_from_slice(bytes),
                _ => {}
            }
        }
        Err(broken())
    };
    tokio::time::timeout(ANSWER, all).await.unwrap_or_else(|_| Err(broken()))?;
    Ok(text)
}

pub fn finished(end: Option<End>) -> Result<(), Problem> {
    match end {
        Some(End::Exited(0)) => Ok(()),
        Some(End::Failed(why)) => Err(Problem::conflict("scheduler.volume_failed", why)),
        Some(End::Exited(_) | End::Left) | None => Err(broken()),
    }
}

fn broken() -> Problem {
    Problem::new(Kind::Unavailable, "scheduler.node_away", "the node went away in the middle; look what is there before you repeat it")
        .retry_after(Duration::from_secs(5))
}

/// What was done to a volume, or not.
pub async fn record(s: &Scheduler, caller: &Caller, space: &SpaceRef, volume: &VolumeBody, action: &str, what: &str, failed: Option<&Problem>) {
    let how = failed.map_or_else(String::new, |p| format!(": {}", p.detail));
    let fact = AuditFact {
        org: Some(space.org().id),
        reason: format!("{} of {} on {}: {what}{how}", volume.name, volume.app, volume.node),
        from: from_of(caller.from.as_deref(), caller.acting.as_deref()).unwrap_or_default(),
        ..s.host.fact(caller.subject.clone(), action.to_owned(), format!("volume:{}", volume.name), if failed.is_some() { "failed" } else { "ok" })
    };
    s.host.audit(fact).await;
}

#[cfg(test)]
mod tests {
    use gantry_kernel::Kind::{Conflict, Invalid, NotFound};

    use super::*;

    #[test]
    fn what_cannot_be_done_to_a_volume_is_refused_with_the_right_status() {
        let there = [SnapshotBody { name: "one".into(), at_unix: 0, used_bytes: 0 }];
        let kind = |verb: VolumeVerb| refused("x.data", &there, &verb).map(|problem| problem.kind);
        let named = |name: &str| name.to_owned();
        for bad in ["", "../x", "a b", ".hidden", "half.new", &"x".repeat(100)] {
            assert_eq!(kind(VolumeVerb::Snapshot(named(bad))), Some(Invalid), "{bad}");
            assert_eq!(kind(VolumeVerb::RollBack(named(bad))), Some(Invalid), "{bad}");
        }
        assert_eq!(kind(VolumeVerb::Snapshot(named("one"))), Some(Conflict), "given twice");
        assert_eq!(kind(VolumeVerb::Snapshot(named("two"))), None);
        assert_eq!((kind(VolumeVerb::RollBack(named("one"))), kind(VolumeVerb::RollBack(named("two")))), (None, Some(NotFound)));
        assert_eq!((kind(VolumeVerb::RemoveSnapshot(named("one"))), kind(VolumeVerb::RemoveSnapshot(named("two")))), (None, Some(NotFound)));
        assert_eq!(kind(VolumeVerb::Delete), None);
    }
}
