//! Nodes for people: list, cordon, uncordon, drain.

use gantry_contract::scheduler::NodeEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_kernel::{FieldFault, Name, OffsetDateTime, Problem};
use serde::Serialize;

use super::context::Scheduler;
use super::deploy::database;
use crate::domain::engine::Facts;
use crate::domain::placement::NodeSettings;
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
    let body = |row: store::node::Model| {
        let here = || alive.iter().filter(|i| i.node == row.name);
        NodeBody {
            state: if row.lost { "lost" } else { "ready" }.into(),
            cordoned: row.cordoned,
            draining: row.draining,
            facts: serde_json::from_value(row.facts.clone()).unwrap_or_default(),
            settings: serde_json::from_value(row.settings.clone()).unwrap_or_default(),
            instances: u32::try_from(here().count()).unwrap_or(u32::MAX),
            reserved_cpu_millis: here().map(|i| i.cpu_millis.unsigned_abs()).sum(),
            reserved_memory_bytes: here().map(|i| i.memory_bytes.unsigned_abs()).sum(),
            joined_at: row.joined_at,
            name: row.name,
        }
    };
    Ok(store::nodes(s.orm()).await.map_err(database)?.into_iter().map(body).collect())
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

/// Sets a node's settings as a whole.
///
/// # Errors
/// Not found, faults in the settings, or the log is away.
pub async fn configure(s: &Scheduler, name: &str, settings: NodeSettings, meta: Meta) -> Result<NodeSettings, Problem> {
    let row = store::node(s.orm(), name).await.map_err(database)?.ok_or_else(|| Problem::not_found("node", name))?;
    let node = Name::parse(&row.name).map_err(Problem::internal)?;
    let faults: Vec<FieldFault> = settings.faults().into_iter().map(|(field, detail)| FieldFault { field, detail }).collect();
    if !faults.is_empty() {
        return Err(Problem::invalid_fields(faults));
    }
    let value = serde_json::to_value(&settings).map_err(Problem::internal)?;
    if serde_json::from_value::<NodeSettings>(row.settings).is_ok_and(|before| before == settings) {
        return Ok(settings);
    }
    let event = NodeEvent::SettingsChanged { node: node.clone(), settings: value };
    let append = Append::one(StreamId::of::<NodeEvent>(&node), None, vec![event.encode()], meta);
    let appended = s.host.log().append(append).await.map_err(|e| Problem::unavailable("the event log").with_source(e))?;
    s.host.settled(appended.position).await;
    Ok(settings)
}
