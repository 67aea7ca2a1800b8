//! `Agents.Attach`: one stream per node. Hello first, then reports; the answer is the wanted state whenever it changes.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use futures::{Stream, StreamExt};
use gantry_auth::Peer;
use gantry_contract::proto::scheduler::agent_message::Message;
use gantry_contract::proto::scheduler::agents_server::Agents;
use gantry_contract::proto::scheduler::control_message::Message as Control;
use gantry_contract::proto::scheduler::{AgentMessage, ControlMessage, Lease, SessionFrame};
use gantry_kernel::{Name, Problem};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::adapters::agents::WAITING;
use crate::adapters::agents_words as words;
use crate::app::Scheduler;
use crate::app::deploy::database;
use crate::app::nodes::removal;
use crate::app::sessions::{FRAMES, Frames, Link};
use crate::store;

pub struct AgentsApi(pub Scheduler);

/// The node that a certificate is of; none: an agent with the platform's own certificate for agents, which may speak for any node.
fn node_of<T>(request: &Request<T>) -> Result<Option<Name>, Problem> {
    let named = request.extensions().get::<Peer>().and_then(|Peer(name)| name.strip_prefix("node/")).and_then(|name| Name::parse(name).ok());
    match named {
        Some(node) => Ok(Some(node)),
        None => gantry_auth::peer(request, &["agent"]).map(|_| None),
    }
}

#[tonic::async_trait]
impl Agents for AgentsApi {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let own = node_of(&request)?;
        if !self.0.leading.load(Ordering::SeqCst) {
            return Err(Status::unavailable("another scheduler decides; try again"));
        }
        let mut messages = request.into_inner();
        let Some(AgentMessage { message: Some(Message::Hello(hello)) }) = messages.message().await? else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let node = Name::parse(&hello.node).map_err(|e| Problem::invalid("node", e.to_string()))?;
        if let Some(own) = own.filter(|own| *own != node) {
            let detail = format!("the certificate is the node {own}'s, and the agent calls itself {node}: set `[agent] node`, or join as {node}");
            return Err(Status::permission_denied(detail));
        }
        let removed = store::removed_nodes(self.0.orm()).await.map_err(database)?;
        let (outbox, inbox) = mpsc::channel(WAITING);
        if removed.iter().any(|name| name == node.as_str()) {
            tracing::warn!(node.id = %node, "a removed node's agent came back and was refused");
            // It is told what to do, and the stream ends.
            let _ = outbox.try_send(Ok(ControlMessage { message: Some(Control::Rejected(removal(&node))) }));
            return Ok(Response::new(Box::pin(ReceiverStream::new(inbox))));
        }
        let session = self.0.agents.attach(node.clone(), words::facts(hello.facts.unwrap_or_default()), outbox);
        tracing::info!(node.id = %node, session, "a node's agent attached");
        let s = self.0.clone();
        self.0.host.tracker.spawn(async move {
            loop {
                let message = tokio::select! {
                    () = s.host.cancel.cancelled() => break,
                    message = messages.next() => message,
                };
                match message {
                    Some(Ok(AgentMessage { message: Some(Message::Status(status)) })) => {
                        let beat = status.beat;
                        if !s.agents.report(&node, session, words::report(status)) {
                            break;
                        }
                        let timeout_ms = s.config.node_timeout_seconds.saturating_mul(1000);
                        s.agents.confirm(&node, session, Lease { beat, timeout_ms });
                    }
                    Some(Ok(AgentMessage { message: Some(Message::Hello(hello)) })) => {
                        s.agents.facts(&node, session, words::facts(hello.facts.unwrap_or_default()));
                    }
                    Some(Ok(AgentMessage { message: None })) => {}
                    Some(Err(_)) | None => break,
                }
            }
            s.agents.detach(&node, session);
            tracing::info!(node.id = %node, session, "a node's agent is gone");
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(inbox))))
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionFrame, Status>> + Send>>;

    async fn session(&self, request: Request<Streaming<SessionFrame>>) -> Result<Response<Self::SessionStream>, Status> {
        node_of(&request)?;
        let mut frames = request.into_inner();
        let first = frames.message().await?.ok_or_else(|| Status::invalid_argument("the first message must be a ticket"))?;
        let (outbox, inbox) = mpsc::channel(FRAMES);
        if !self.0.sessions.arrived(&first.ticket, Link { to_agent: outbox, from_agent: Frames::Agent(Box::new(frames)) }) {
            return Err(Status::not_found("nobody waits for this session any more"));
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(inbox))))
    }
}
