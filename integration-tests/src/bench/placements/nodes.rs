//! Thousands of nodes that only pretend to run containers. Each has its own stream to the scheduler and says what a real agent says:
//! hello, its status whenever that changes, and the same every two seconds as its lease. A few connections carry them all, since
//! what is measured is the scheduler and not this machine's sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use gantry_contract::proto::scheduler::agent_message::Message;
use gantry_contract::proto::scheduler::agents_client::AgentsClient;
use gantry_contract::proto::scheduler::control_message::Message as Control;
use gantry_contract::proto::scheduler::{AgentMessage, Hello, NodeFacts, Status};
use gantry_testkit::pretended::Node;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::bench::cloud::Cloud;

/// As agents do (`gantry_agent::flows::control`).
const LEASE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(500);
const MAX_MESSAGE: usize = 64 << 20;
/// Streams on one connection.
const SHARED: usize = 100;
/// The sizes of nodes, in cores; each with four times as many GiB.
const CORES: [u64; 4] = [4, 8, 16, 32];
const ZONES: usize = 20;

/// All of them; they go when it is dropped.
pub struct Nodes {
    channels: Vec<Channel>,
    tasks: JoinSet<()>,
    /// Instances that run on all nodes together, of which the scheduler has been told.
    running: Arc<AtomicI64>,
}

/// One of them, to be cut off alone.
pub struct Single {
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    running: Arc<AtomicI64>,
    last: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Nodes {
    /// `count` nodes in twenty zones; they attach one after the other.
    ///
    /// # Errors
    /// When no connection can be made.
    pub async fn join(cloud: &Cloud, count: usize) -> Result<Self> {
        let mut channels = Vec::new();
        for _ in 0..count.div_ceil(SHARED).max(1) {
            channels.push(cloud.agents_channel().await?);
        }
        let mut nodes = Self { channels, tasks: JoinSet::new(), running: Arc::default() };
        for n in 0..count {
            let cores = CORES[n % CORES.len()];
            let hello = hello(format!("node-{n:05}"), format!("zone-{}", n % ZONES), cores);
            let agent = Agent { hello, running: nodes.running.clone(), alone: Arc::default(), last: Arc::default() };
            let channel = nodes.channels[n / SHARED].clone();
            // Not all of them say the same at the same moment.
            let phase = LEASE.mul_f64((n % 200) as f64 / 200.0);
            nodes.tasks.spawn(agent.live(channel, phase, CancellationToken::new()));
        }
        Ok(nodes)
    }

    /// One more, in a zone of its own and with room for a thousand instances.
    ///
    /// # Errors
    /// When no connection can be made.
    pub async fn large(&self, cloud: &Cloud, name: &str, zone: &str) -> Result<Single> {
        let (cancel, alone, last) = (CancellationToken::new(), Arc::default(), Arc::default());
        let agent = Agent { hello: hello(name.into(), zone.into(), 128), running: self.running.clone(), alone: Arc::clone(&alone), last: Arc::clone(&last) };
        let task = tokio::spawn(agent.live(cloud.agents_channel().await?, Duration::ZERO, cancel.clone()));
        Ok(Single { cancel, task, running: alone, last })
    }

    /// How many instances run by now, as far as the scheduler has been told.
    pub fn running(&self) -> i64 {
        self.running.load(Ordering::Relaxed)
    }
}

impl Single {
    /// How many of them run on this one.
    pub fn running(&self) -> i64 {
        self.running.load(Ordering::Relaxed)
    }

    /// It disappears without a word; gives when it was last heard.
    ///
    /// # Errors
    /// When it never said anything.
    pub async fn die(self) -> Result<Instant> {
        self.cancel.cancel();
        self.task.await?;
        let last = *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        last.context("the node was never heard")
    }
}

fn hello(name: String, zone: String, cores: u64) -> Hello {
    let facts = NodeFacts {
        architecture: "amd64".into(),
        os: "linux".into(),
        cpu_millis: cores * 1000,
        memory_bytes: (cores * 4) << 30,
        storage_bytes: 500 << 30,
        runtime: "pretended".into(),
        runtime_classes: vec!["runc".into()],
        zone,
        ..NodeFacts::default()
    };
    Hello { node: name, facts: Some(facts) }
}

struct Agent {
    hello: Hello,
    /// Of all nodes, and of this one.
    running: Arc<AtomicI64>,
    alone: Arc<AtomicI64>,
    /// When something was said last.
    last: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Agent {
    /// Stays attached, as a real one does, until it is cancelled.
    async fn live(self, channel: Channel, phase: Duration, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.stay(&channel, phase) => {}
        }
        self.running.fetch_sub(self.alone.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    async fn stay(&self, channel: &Channel, phase: Duration) {
        let mut node = Node::default();
        loop {
            if let Err(status) = self.attached(channel, phase, &mut node).await
                && status.code() != tonic::Code::Unavailable
            {
                eprintln!("bench: {} was detached: {status}", self.hello.node);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn attached(&self, channel: &Channel, phase: Duration, node: &mut Node) -> Result<(), tonic::Status> {
        let (sender, outbox) = mpsc::channel(4);
        // Cannot be full: it was just made.
        let _ = sender.try_send(AgentMessage { message: Some(Message::Hello(self.hello.clone())) });
        let mut client = AgentsClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut control = client.attach(ReceiverStream::new(outbox)).await?.into_inner();
        let mut beats = 0;
        let mut lease = tokio::time::interval_at(Instant::now() + phase, LEASE);
        lease.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                word = control.message() => match word? {
                    Some(word) => {
                        if let Some(Control::Wanted(wanted)) = word.message {
                            node.wanted = wanted;
                            // What is wanted runs at once, and is known to be ready.
                            node.step();
                        } else {
                            continue;
                        }
                    }
                    None => return Ok(()),
                },
                _ = lease.tick() => {}
            }
            beats += 1;
            let status = Status { beat: beats, ..node.step() };
            if sender.send(AgentMessage { message: Some(Message::Status(status)) }).await.is_err() {
                return Ok(());
            }
            *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
            let now = i64::try_from(node.running.len()).unwrap_or(i64::MAX);
            self.running.fetch_add(now - self.alone.swap(now, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
