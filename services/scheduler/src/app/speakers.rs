//! Agents and the nodes they speak for: the rule of `domain::speaker` on what is recorded, for every RPC of agents, and whether identity
//! has taken the certificate back.

use std::future::pending;
use std::time::Duration;

use gantry_contract::proto::identity::NodeStandingRequest;
use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_contract::scheduler::NodeEvent;
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::Append;
use gantry_kernel::{Kind, Name, Problem};

use super::context::Scheduler;
use super::deploy::database;
use crate::domain::speaker::Speaker;
use crate::store;

/// How often the certificate of an attached node is looked at.
const LOOK: Duration = Duration::from_secs(20);

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

/// That the certificate of a node, with this serial, still speaks for it. Nodes are not lost because identity is away: their certificates
/// count on then, and are looked at again while they are attached.
///
/// # Errors
/// Forbidden when it was revoked, or the node has joined anew since; with what to do.
pub async fn counts(s: &Scheduler, speaker: &Speaker, serial: &str) -> Result<(), Problem> {
    let Speaker::Node(node) = speaker else { return Ok(()) };
    match stands(s, node, serial).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            tracing::warn!(node.id = %node, serial, "an agent with a certificate that was taken back was refused");
            let detail = format!(
                "this certificate of the node {node} was revoked, or the node has joined anew since: join this machine with a new token (`gantry node join-token --node {node}`)"
            );
            Err(Problem::new(Kind::Forbidden, "scheduler.not_this_node", detail))
        }
        Err(problem) => {
            tracing::warn!(node.id = %node, error = %problem.chain(), "whether a node's certificate was taken back cannot be asked");
            Ok(())
        }
    }
}

/// Waits until the certificate does not count any more; for ever as long as it does, or it is nobody's to take back.
pub async fn taken_back(s: &Scheduler, speaker: &Speaker, serial: &str) {
    let Speaker::Node(node) = speaker else { return pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        if matches!(stands(s, node, serial).await, Ok(false)) {
            return;
        }
    }
}

async fn stands(s: &Scheduler, node: &Name, serial: &str) -> Result<bool, Problem> {
    let mut request = tonic::Request::new(NodeStandingRequest { node: node.to_string(), serial: serial.to_owned() });
    request.set_timeout(Duration::from_secs(3));
    Ok(TokensClient::new(s.host.channel("identity")?).node_standing(request).await?.into_inner().stands)
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
