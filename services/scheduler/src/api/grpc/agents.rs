//! `Agents.Attach`: one stream per node. Hello first, then reports; the answer is the wanted state whenever it changes.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use futures::{Stream, StreamExt};
use gantry_contract::proto::scheduler::agent_message::Message;
use gantry_contract::proto::scheduler::agents_server::Agents;
use gantry_contract::proto::scheduler::{AgentMessage, ControlMessage, Lease, SessionFrame};
use gantry_kernel::{Name, Problem};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::adapters::agents::WAITING;
use crate::adapters::agents_words as words;
use crate::app::Scheduler;
use crate::app::sessions::{FRAMES, Link};

pub struct AgentsApi(pub Scheduler);

#[tonic::async_trait]
impl Agents for AgentsApi {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        gantry_auth::peer(&request, &["agent"])?;
        if !self.0.leading.load(Ordering::SeqCst) {
            return Err(Status::unavailable("another scheduler decides; try again"));
        }
        let mut messages = request.into_inner();
        let Some(AgentMessage { message: Some(Message::Hello(hello)) }) = messages.message().await? else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let node = Name::parse(&hello.node).map_err(|e| Problem::invalid("node", e.to_string()))?;
        let (outbox, inbox) = mpsc::channel(WAITING);
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
        gantry_auth::peer(&request, &["agent"])?;
        let mut frames = request.into_inner();
        let first = frames.message().await?.ok_or_else(|| Status::invalid_argument("the first message must be a ticket"))?;
        let (outbox, inbox) = mpsc::channel(FRAMES);
        if !self.0.sessions.arrived(&first.ticket, Link { to_agent: outbox, from_agent: frames }) {
            return Err(Status::not_found("nobody waits for this session any more"));
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(inbox))))
    }
}
