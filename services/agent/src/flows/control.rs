//! The stream to the scheduler: hello, then the node's status on every change and as a lease; the whole wanted state comes back.

use std::sync::Arc;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_cri::Cri;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::adapters::disk::Disk;
use crate::adapters::facts::{self, Engine};
use crate::app::keeper::Shared;
use crate::app::lease::{Beats, Lease};
use crate::app::line::Line;
use crate::app::sessions::Sessions;
use crate::domain::routes::{Network, routes};
use crate::domain::wanted::Wanted;
use crate::flows::saving::{self, Words};

/// The scheduler takes the node for lost after a few of these.
const LEASE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A container runtime that the scheduler was told nothing of is asked again this often.
const ENGINE_AGAIN: Duration = Duration::from_secs(5);
/// At shutdown the last word gets this long to reach the disk; what was begun by it waited for that.
const LAST_WORD: Duration = Duration::from_secs(2);
/// Secrets and configs travel inside.
const MAX_MESSAGE: usize = 64 << 20;

pub struct Control {
    pub line: Line,
    pub node: String,
    pub facts: wire::NodeFacts,
    /// This node's pods, if they are shared with other nodes.
    pub pods: Option<Network>,
    pub shared: Shared,
    pub disk: Disk,
    pub sessions: Sessions,
}

impl Control {
    /// Stays attached until cancelled, with growing pauses between attempts. What has to be kept is written beside that.
    pub async fn run(self, cancel: CancellationToken) {
        let (words, waiting) = saving::words();
        let writing = saving::write(waiting, self.disk.clone(), self.shared.clone());
        let leases = saving::leases(self.shared.lease.subscribe(), self.disk.clone(), self.shared.sleep);
        tokio::pin!(writing);
        tokio::select! {
            () = self.stay(words, cancel) => {}
            // These two go on for as long as words and leases may come.
            () = &mut writing => return,
            () = leases => return,
        }
        if tokio::time::timeout(LAST_WORD, writing).await.is_err() {
            tracing::warn!("the disk does not take the last word of the scheduler; the next agent begins with the one before");
        }
    }

    async fn stay(&self, words: Words, cancel: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut engine = None;
        loop {
            let began = tokio::time::Instant::now();
            let ended = tokio::select! {
                () = cancel.cancelled() => return,
                ended = self.attach(&words, &mut engine) => ended,
            };
            if began.elapsed() > LAST_PAUSE {
                pause = FIRST_PAUSE;
            }
            match ended {
                Ok(()) => tracing::info!(node.id = self.node, "the stream to the scheduler has ended; attaching again"),
                Err(status) => {
                    let (code, detail) = (status.code(), status.message());
                    // Once per absence is enough for a person.
                    if pause == FIRST_PAUSE {
                        tracing::warn!(node.id = self.node, error = %format_args!("{code:?}: {detail}"), "not attached to the scheduler; containers go on as last wanted");
                    } else {
                        tracing::debug!(node.id = self.node, error = %format_args!("{code:?}: {detail}"), again_ms = pause.as_millis(), "still not attached to the scheduler");
                    }
                }
            }
            tokio::select! { () = cancel.cancelled() => return, () = tokio::time::sleep(pause) => {} }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// `engine`: what is known of the container runtime since the agent began.
    async fn attach(&self, words: &Words, engine: &mut Option<Engine>) -> Result<(), tonic::Status> {
        let (messages, outbox) = mpsc::channel(4);
        let mut told = self.facts.clone();
        if let Some(engine) = engine.as_ref() {
            (told.runtime, told.runtime_classes) = (engine.runtime.clone(), engine.classes.clone());
        }
        // The agent began before it, or while it hung: the scheduler would never hear what it can do.
        let known = engine_later(&self.sessions.cri, told.runtime.is_empty());
        tokio::pin!(known);
        let hello = wire::Hello { node: self.node.clone(), facts: Some(told) };
        // Cannot be full: it was just made.
        let _ = messages.try_send(message(wire::agent_message::Message::Hello(hello)));
        let mut client = wire::agents_client::AgentsClient::new(self.line.now()).max_decoding_message_size(MAX_MESSAGE);
        let mut inbox = client.attach(ReceiverStream::new(outbox)).await?.into_inner();
        tracing::info!(node.id = self.node, "attached to the scheduler");
        let mut status = self.shared.status.subscribe();
        let mut beats = Beats::default();
        loop {
            let now = wire::Status { beat: beats.next(self.shared.sleep.total()), ..status.borrow_and_update().clone() };
            if messages.send(message(wire::agent_message::Message::Status(now))).await.is_err() {
                return Ok(());
            }
            // Small changes that come together go together.
            let lease = tokio::time::sleep(LEASE);
            tokio::pin!(lease);
            loop {
                tokio::select! {
                    () = &mut lease => break,
                    found = &mut known => {
                        tracing::info!(node.id = self.node, runtime = found.runtime, "the container runtime answers: the scheduler is told what it is");
                        *engine = Some(found);
                        return Ok(());
                    }
                    changed = status.changed() => {
                        if changed.is_err() { return Ok(()) }
                        break;
                    }
                    word = inbox.next() => match word {
                        Some(word) => match word?.message {
                            Some(wire::control_message::Message::Lease(heard)) => {
                                if let Some((sent, slept)) = beats.confirmed(heard.beat) {
                                    let lease = Lease::new(sent, Duration::from_millis(heard.timeout_ms.into())).sent_after(slept);
                                    self.shared.lease.send_replace(lease);
                                }
                            }
                            other => self.take_in(other, words)?,
                        },
                        None => return Ok(()),
                    },
                }
            }
        }
    }

    /// Waits for nothing: while it did, the node would say nothing, and be taken for lost.
    fn take_in(&self, word: Option<wire::control_message::Message>, words: &Words) -> Result<(), tonic::Status> {
        match word {
            Some(wire::control_message::Message::Wanted(state)) => {
                let bytes = state.encode_to_vec();
                let (wanted, faults) = Wanted::parse(state);
                for fault in faults {
                    tracing::error!(%fault, "a part of the wanted state is left out");
                }
                // It is looked at what there is while the disk takes the word; steps begin after that, so that a restart never falls behind
                // what was begun. An agent that ends in between begins nothing by it.
                words.save(&self.shared, bytes);
                self.shared.wanted.send_replace(Some(Arc::new(wanted)));
                Ok(())
            }
            Some(wire::control_message::Message::Open(open)) => {
                self.sessions.open(open);
                Ok(())
            }
            Some(wire::control_message::Message::Rejected(rejected)) if rejected.removed => {
                tracing::error!(node.id = self.node, reason = rejected.reason, "this node is no part of the platform any more; its containers are stopped");
                words.save(&self.shared, wire::WantedState::default().encode_to_vec());
                self.shared.part();
                Err(tonic::Status::permission_denied(rejected.reason))
            }
            Some(wire::control_message::Message::Prepull(ahead)) => {
                self.shared.prepull.send_if_modified(|held| {
                    let changed = *held != ahead.images;
                    *held = ahead.images;
                    changed
                });
                Ok(())
            }
            Some(wire::control_message::Message::Routes(said)) => {
                if let Some(own) = self.pods {
                    let (wanted, faults) = routes(&said, own);
                    for fault in faults {
                        tracing::error!(%fault, "the pods of another node are not reached");
                    }
                    self.shared.routes.send_replace(Some(wanted));
                }
                Ok(())
            }
            Some(wire::control_message::Message::Rejected(rejected)) => Err(tonic::Status::permission_denied(rejected.reason)),
            // Leases are taken where messages are counted.
            Some(wire::control_message::Message::Lease(_)) | None => Ok(()),
        }
    }
}

/// What the runtime is, once it answers, if nothing was known of it (`unknown`); otherwise never.
async fn engine_later(cri: &Cri, unknown: bool) -> Engine {
    while unknown {
        tokio::time::sleep(ENGINE_AGAIN).await;
        if let Some(engine) = facts::engine(cri).await {
            return engine;
        }
    }
    std::future::pending().await
}

fn message(message: wire::agent_message::Message) -> wire::AgentMessage {
    wire::AgentMessage { message: Some(message) }
}
