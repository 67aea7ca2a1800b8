//! Agents and the nodes they speak for: the rule of `domain::speaker` on what is recorded, for every RPC of agents.

use gantry_contract::scheduler::NodeEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_kernel::{Kind, Name, Problem};

use super::context::Scheduler;
use super::deploy::database;
use crate::domain::speaker::Speaker;
use crate::store;

/// That `speaker` may speak for `node`.
///
/// # Errors
/// Forbidden, with what to do; or the database refuses.
pub async fn heard(s: &Scheduler, speaker: &Speaker, node: &Name) -> Result<(), Problem> {
    let certified = store::is_certified(s.orm(), node.as_str()).await.map_err(database)?;
    speaker.may_speak_for(node, certified).map_err(|silenced| {
        tracing::warn!(node.id = %node, ?speaker, "an agent that may not speak for a node was refused");
        Problem::new(Kind::Forbidden, "scheduler.not_this_node", silenced.to_string())
    })
}

/// Records that a node has a certificate of its own, when it shows it for the first time.
///
/// # Errors
/// When the database or the log is away.
pub async fn note_certificate(s: &Scheduler, speaker: &Speaker) -> Result<(), Problem> {
    let Speaker::Node(node) = speaker else { return Ok(()) };
    if store::is_certified(s.orm(), node.as_str()).await.map_err(database)? {
        return Ok(());
    }
    let append = Append::one(StreamId::of::<NodeEvent>(node), None, vec![NodeEvent::Certified { node: node.clone() }.encode()], Meta::system());
    let appended = s.host.log().append(append).await.map_err(|e| Problem::unavailable("the event log").with_source(e))?;
    s.host.settled(appended.position).await;
    Ok(())
}
