//! `Agents.Attach`: one stream per node. Hello first, then reports; the answer is the wanted state whenever it changes.

use std::pin::Pin;
use std::sync::atomic::Ordering;

use futures::{Stream, StreamExt};
use gantry_auth::{Peer, PeerSerial};
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
use crate::app::speakers;
use crate::domain::speaker::Speaker;
use crate::store;

pub struct AgentsApi(pub Scheduler);

/// By its certificate. Whom it may speak for is decided by `app::speakers` for each RPC.
fn speaker<T>(request: &Request<T>) -> Result<Speaker, Problem> {
    match request.extensions().get::<Peer>().and_then(|Peer(name)| Speaker::of(name)) {
        Some(speaker) => Ok(speaker),
        None => gantry_auth::peer(request, &["agent"]).map(|_| Speaker::Suite),
    }
}

/// The serial of the certificate that it shows.
fn serial<T>(request: &Request<T>) -> String {
    request.extensions().get::<PeerSerial>().map(|PeerSerial(serial)| serial.clone()).unwrap_or_default()
}

fn nobody_waits() -> Status {
    Status::not_found("nobody waits for this session any more")
}

#[tonic::async_trait]
impl Agents for AgentsApi {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let (speaker, serial) = (speaker(&request)?, serial(&request));
        if !self.0.leading.load(Ordering::SeqCst) {
            return Err(Status::unavailable("another scheduler decides; try again"));
        }
        let mut messages = request.into_inner();
        let Some(AgentMessage { message: Some(Message::Hello(hello)) }) = messages.message().await? else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        let node = Name::parse(&hello.node).map_err(|e| Problem::invalid("node", e.to_string()))?;
        speakers::heard(&self.0, &speaker, &node).await?;
        let removed = store::removed_nodes(self.0.orm()).await.map_err(database)?;
        let (outbox, inbox) = mpsc::channel(WAITING);
        if removed.iter().any(|name| name == node.as_str()) {
            tracing::warn!(node.id = %node, "a removed node's agent came back and was refused");
            // It is told what to do, and the stream ends.
            let _ = outbox.try_send(Ok(ControlMessage { message: Some(Control::Rejected(removal(&node))) }));
            return Ok(Response::new(Box::pin(ReceiverStream::new(inbox))));
        }
        speakers::counts(&self.0, &speaker, &serial).await?;
        speakers::note_certificate(&self.0, &speaker).await?;
        let session = self.0.agents.attach(node.clone(), words::facts(hello.facts.unwrap_or_default()), outbox);
        tracing::info!(node.id = %node, session, "a node's agent attached");
        let s = self.0.clone();
        self.0.host.tracker.spawn(async move {
            let taken_back = speakers::taken_back(&s, &speaker, &serial);
            tokio::pin!(taken_back);
            loop {
                let message = tokio::select! {
                    () = s.host.cancel.cancelled() => break,
                    () = &mut taken_back => {
                        tracing::warn!(node.id = %node, session, "an agent whose certificate was taken back was cut off");
                        break;
                    }
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
                        if hello.node != node.as_str() {
                            tracing::warn!(node.id = %node, other = hello.node, "an agent that calls its node otherwise in the middle was cut off");
                            break;
                        }
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
        let (speaker, serial) = (speaker(&request)?, serial(&request));
        let mut frames = request.into_inner();
        let first = frames.message().await?.ok_or_else(|| Status::invalid_argument("the first message must be a ticket"))?;
        // The ticket says whose session it is; who may not speak for that node does not use it up.
        let node = self.0.sessions.awaited(&first.ticket).ok_or_else(nobody_waits)?;
        speakers::heard(&self.0, &speaker, &node).await?;
        speakers::counts(&self.0, &speaker, &serial).await?;
        let (outbox, inbox) = mpsc::channel(FRAMES);
        if !self.0.sessions.arrived(&first.ticket, Link { to_agent: outbox, from_agent: Frames::Agent(Box::new(frames)) }) {
            return Err(nobody_waits());
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(inbox))))
    }
}
