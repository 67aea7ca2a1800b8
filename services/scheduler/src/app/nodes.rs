//! Nodes for people: list, cordon, uncordon, drain, remove. What is set for them: `app::node_settings`.

use std::collections::{BTreeMap, HashMap};

use gantry_contract::proto::scheduler as proto;
use gantry_contract::scheduler::{InstanceEvent, NodeEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, AppendError, StreamWrite};
use gantry_kernel::{AppId, InstanceId, Kind, Name, OffsetDateTime, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Scheduler;
use super::deploy::database;
use crate::domain::engine::{Facts, ImageSeen};
use crate::domain::placement::NodeSettings;
use crate::domain::stored;
use crate::store;

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct NodeBody {
    pub name: String,
    /// ready | lost
    pub state: String,
    pub cordoned: bool,
    pub draining: bool,
    pub facts: Facts,
    /// As operators set them.
    pub settings: NodeSettings,
    /// Of what cannot be read of it: nothing is placed there until it can.
    pub problem: Option<String>,
    /// How the images stand that it was to fetch before an instance needs them, by name.
    pub images: BTreeMap<String, ImageSeen>,
    pub instances: u32,
    pub reserved_cpu_millis: u64,
    pub reserved_memory_bytes: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub joined_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug)]
pub enum NodeVerb {
    Cordon,
    Uncordon,
    Drain,
}

/// # Errors
/// When the database refuses.
pub async fn list(s: &Scheduler) -> Result<Vec<NodeBody>, Problem> {
    let alive = store::all_alive(s.orm()).await.map_err(database)?;
    let mut standing: HashMap<&str, Vec<&store::instance::Model>> = HashMap::new();
    for instance in &alive {
        standing.entry(&instance.node).or_default().push(instance);
    }
    let views = s.agents.snapshot();
    let images = |name: &str| Name::parse(name).ok().and_then(|n| views.get(&n)).and_then(|v| v.report.as_ref()).map(|r| r.images.clone());
    let body = |row: store::node::Model| {
        let (facts, facts_problem) = read(s, &row, "node's description", row.facts.clone(), "nothing is placed on it until its agent tells it anew");
        let (settings, settings_problem) = read(s, &row, "node's settings", row.settings.clone(), "nothing is placed on it until they are set anew");
        let here = || standing.get(row.name.as_str()).into_iter().flatten();
        NodeBody {
            state: if row.lost { "lost" } else { "ready" }.into(),
            cordoned: row.cordoned,
            draining: row.draining,
            facts,
            settings,
            problem: settings_problem.or(facts_problem),
            images: images(&row.name).unwrap_or_default(),
            instances: u32::try_from(here().count()).unwrap_or(u32::MAX),
            reserved_cpu_millis: here().map(|i| i.cpu_millis.unsigned_abs()).sum(),
            reserved_memory_bytes: here().map(|i| i.memory_bytes.unsigned_abs()).sum(),
            joined_at: row.joined_at,
            name: row.name,
        }
    };
    Ok(store::nodes(s.orm()).await.map_err(database)?.into_iter().map(body).collect())
}

/// What is stored of a node, and what to say if it cannot be read.
fn read<T: DeserializeOwned + Default>(
    s: &Scheduler,
    row: &store::node::Model,
    kind: &'static str,
    value: serde_json::Value,
    then: &str,
) -> (T, Option<String>) {
    match serde_json::from_value(value) {
        Ok(read) => (read, None),
        Err(error) => {
            s.unreadable.tell(kind, &row.name, &error, then);
            (T::default(), Some(format!("what is stored of the {kind} cannot be read, and {then}: {error}")))
        }
    }
}

/// # Errors
/// Not found, or the log is away.
pub async fn change(s: &Scheduler, name: &str, verb: NodeVerb, meta: Meta) -> Result<(), Problem> {
    let row = store::node(s.orm(), name).await.map_err(database)?.ok_or_else(|| Problem::not_found("node", name))?;
    let node = Name::parse(&row.name).map_err(Problem::internal)?;
    let event = match verb {
        NodeVerb::Cordon if row.cordoned => return Ok(()),
        NodeVerb::Uncordon if !row.cordoned && !row.draining => return Ok(()),
        NodeVerb::Drain if row.draining => return Ok(()),
        NodeVerb::Cordon => NodeEvent::Cordoned { node: node.clone() },
        NodeVerb::Uncordon => NodeEvent::Uncordoned { node: node.clone() },
        NodeVerb::Drain => NodeEvent::Drained { node: node.clone() },
    };
    let append = Append::one(StreamId::of::<NodeEvent>(&node), None, vec![event.encode()], meta);
    let appended = s.host.log().append(append).await.map_err(|e| Problem::unavailable("the event log").with_source(e))?;
    s.host.settled(appended.position).await;
    Ok(())
}

/// What a removed node's agent is told.
pub fn removal(node: &Name) -> proto::Rejected {
    let reason = format!(
        "the node {node} was removed from the platform, so everything on it is stopped; to have it back: `gantry node admit {node}`, and a new join token if it had joined by one, since its certificates are revoked"
    );
    proto::Rejected { reason, removed: true }
}

/// Takes a node out of the platform: its agent is told to stop everything, and refused when it comes back. With `force` also one
/// that has instances: these are started elsewhere at once. Identity revokes the node's certificates by the event.
///
/// # Errors
/// Not found, instances that are still there, those among them that must never run twice, or the log is away.
pub async fn remove(s: &Scheduler, name: &str, force: bool, meta: Meta) -> Result<(), Problem> {
    let row = store::node(s.orm(), name).await.map_err(database)?.ok_or_else(|| Problem::not_found("node", name))?;
    let node = Name::parse(&row.name).map_err(Problem::internal)?;
    let here: Vec<store::instance::Model> = store::all_alive(s.orm()).await.map_err(database)?.into_iter().filter(|i| i.node == row.name).collect();
    if !force && !here.is_empty() {
        let detail = format!(
            "{name} has {} instances: drain it first (`gantry node drain {name}`) and wait until it is empty, or say `force`: then they are started elsewhere at once",
            here.len()
        );
        return Err(Problem::conflict("scheduler.node_in_use", detail));
    }
    let mut writes = vec![StreamWrite {
        stream: StreamId::of::<NodeEvent>(&node),
        expected: Some(row.version),
        events: vec![NodeEvent::Removed { node: node.clone() }.encode()],
    }];
    for instance in here {
        let revision = store::revision(s.orm(), AppId(instance.app), instance.revision).await.map_err(database)?;
        let model = revision.map(|r| stored::read(&r.model)).transpose().map_err(|error| {
            let (app, revision) = (AppId(instance.app), instance.revision);
            s.unreadable.tell("revision", format_args!("{app}/{revision}"), &error, "its node is not removed");
            let detail = format!(
                "whether an instance of `{}` on {name} must never run twice (`fenced`) is not known, since its revision {revision} cannot be read: drain the node, or stop its agent and wait until it is lost",
                instance.workload
            );
            Problem::conflict("scheduler.revision_unreadable", detail)
        })?;
        let fenced = model.map(|m| m.outline).is_some_and(|m| m.workloads.iter().any(|(n, w)| n.as_str() == instance.workload && w.placement.fenced));
        if fenced {
            let detail = format!(
                "an instance of `{}` on {name} must never run twice (`fenced`): drain the node, or stop its agent and wait until it is lost",
                instance.workload
            );
            return Err(Problem::conflict("scheduler.node_in_use", detail));
        }
        let (id, app) = (InstanceId(instance.id), AppId(instance.app));
        let event = InstanceEvent::Lost { instance: id, app, node: node.clone() }.encode();
        writes.push(StreamWrite { stream: StreamId::of::<InstanceEvent>(id), expected: None, events: vec![event] });
    }
    let appended = s.host.log().append(Append { writes, claims: Vec::new(), meta }).await.map_err(|error| match error {
        AppendError::Stale { .. } => Problem::new(Kind::Stale, "request.stale", "the node has changed just now: try again"),
        error => Problem::unavailable("the event log").with_source(error),
    })?;
    s.host.settled(appended.position).await;
    Ok(())
}

/// Lets a removed node attach again; what was set for it counts again, but not that it was closed.
///
/// # Errors
/// There is no such removed node, or the log is away.
pub async fn admit(s: &Scheduler, name: &str, meta: Meta) -> Result<(), Problem> {
    let removed = store::removed_nodes(s.orm()).await.map_err(database)?;
    let found = removed.into_iter().find(|n| n == name).ok_or_else(|| Problem::not_found("removed node", name))?;
    let node = Name::parse(&found).map_err(Problem::internal)?;
    let append = Append::one(StreamId::of::<NodeEvent>(&node), None, vec![NodeEvent::Admitted { node: node.clone() }.encode()], meta);
    let appended = s.host.log().append(append).await.map_err(|e| Problem::unavailable("the event log").with_source(e))?;
    s.host.settled(appended.position).await;
    Ok(())
}
