//! The two streams that leave the node: status to the scheduler, log lines to JetStream.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use gantry_agent::adapters::logs::Shipper;
use gantry_agent::app::shipping::Shipping;
use gantry_agent::flows::control::Control;
use gantry_bus::{Bus, streams};
use gantry_contract::logs::LogBatch;
use gantry_contract::proto::scheduler as wire;
use gantry_contract::proto::scheduler::agents_server::{Agents, AgentsServer};
use tokio::sync::watch;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::stage::{Stage, id, web};

/// A scheduler that says what it is told to say, and keeps what it hears.
#[derive(Clone)]
struct Word {
    wanted: watch::Sender<wire::WantedState>,
    heard: Arc<Mutex<Vec<wire::AgentMessage>>>,
    /// It goes away, with its streams.
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Agents for Word {
    type AttachStream = futures::stream::BoxStream<'static, Result<wire::ControlMessage, Status>>;

    async fn attach(&self, request: Request<Streaming<wire::AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let (mut inbox, heard) = (request.into_inner(), self.heard.clone());
        let reading = async move {
            while let Some(Ok(message)) = inbox.next().await {
                lock(&heard).push(message);
            }
        };
        let words =
            WatchStream::new(self.wanted.subscribe()).map(|state| Ok(wire::ControlMessage { message: Some(wire::control_message::Message::Wanted(state)) }));
        // Reading goes on as long as the answer is read; its end ends the answer.
        let both = futures::stream::select(words.map(Some), futures::stream::once(reading).map(|()| None));
        let both = both.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(both.take_while(|w| futures::future::ready(w.is_some())).filter_map(futures::future::ready).boxed()))
    }

    type SessionStream = futures::stream::BoxStream<'static, Result<wire::SessionFrame, Status>>;

    async fn session(&self, _: Request<Streaming<wire::SessionFrame>>) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented("no sessions here"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_says_hello_follows_the_word_and_goes_on_while_the_scheduler_is_away() {
    let Some(stage) = Stage::new().await else { return };
    let node = stage.agent().await;
    let word = Word {
        wanted: watch::Sender::new(wire::WantedState { generation: 7, instances: vec![web(1, "x")], ..Default::default() }),
        heard: Arc::default(),
        stop: CancellationToken::new(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |listener, word: &Word, stop: CancellationToken| {
        let word = Word { stop: stop.clone(), ..word.clone() };
        let serving =
            Server::builder().add_service(AgentsServer::new(word)).serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned());
        stage.spawn(async move { serving.await.unwrap() });
    };
    let first = CancellationToken::new();
    serve(listener, &word, first.clone());
    let facts = wire::NodeFacts { cpu_millis: 2000, runtime: "containerd".into(), ..Default::default() };
    let channel = gantry_host::Channel::new(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy(), "scheduler").endless();
    let sessions = stage.sessions(&node, channel.clone()).await;
    let control = Control { line: channel.into(), node: "node-1".into(), facts, pods: None, shared: node.shared.clone(), disk: node.disk.clone(), sessions };
    let cancel = CancellationToken::new();
    let attached = cancel.clone();
    stage.spawn(control.run(attached));

    let pods = stage.pods();
    let ready = || {
        lock(&word.heard)
            .iter()
            .rev()
            .find_map(|m| match &m.message {
                Some(wire::agent_message::Message::Status(s)) => Some(s.generation == 7 && s.instances.iter().any(|i| i.ready && i.address.starts_with(&pods))),
                _ => None,
            })
            .unwrap_or(false)
    };
    stage.until("the scheduler hears that the instance is ready", ready).await;
    let hello = lock(&word.heard).first().cloned().unwrap().message;
    assert!(matches!(hello, Some(wire::agent_message::Message::Hello(h)) if h.node == "node-1" && h.facts.as_ref().is_some_and(|f| f.cpu_millis == 2000)));
    // The lease: messages come without any change.
    let count = lock(&word.heard).len();
    stage.until("the lease is renewed", || lock(&word.heard).len() > count).await;

    // The scheduler goes; a container dies meanwhile.
    first.cancel();
    let pid = stage.pid(1).await;
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    stage.until("it is back without the scheduler", || stage.status(&node, 1).restarts == 1 && stage.status(&node, 1).ready).await;

    // It comes back with another word.
    lock(&word.heard).clear();
    word.wanted.send_replace(wire::WantedState { generation: 9, instances: vec![], ..Default::default() });
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let second = CancellationToken::new();
    serve(listener, &word, second.clone());
    stage.until("the new word is followed", || node.shared.status.borrow().generation == 9 && node.shared.pods.borrow().is_empty()).await;
    let greeted = || lock(&word.heard).iter().any(|m| matches!(m.message, Some(wire::agent_message::Message::Hello(_))));
    stage.until("hello again", greeted).await;
    cancel.cancel();
    second.cancel();
    stage.finish(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_reach_the_stream_once_also_over_restarts() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.2.1.g");
    gantry_testkit::clause("7.4.3.e");
    let servers = tokio::task::spawn_blocking(gantry_testkit::servers).await.unwrap();
    let prefix = format!("tlog{}", std::process::id());
    let bus = Bus::connect(&servers.nats_url, &prefix, "agent-test").await.unwrap();
    let node = stage.agent().await;
    let shipping = |node: &gantry_agent::node::Node, cancel: &CancellationToken| {
        let (bus, shared, logs, disk, cancel) = (bus.clone(), node.shared.clone(), node.logs.clone(), node.disk.clone(), cancel.clone());
        let socket = stage.containerd.socket.clone();
        stage.spawn(async move {
            let mut shipper = Shipper::open("node-1".into(), logs.clone(), disk, gantry_cri::Cri::lazy(socket)).await;
            shipper.rotate_at(20_000);
            Shipping { shipper, shared, bus, logs }.run(cancel).await;
        })
    };
    let cancel = CancellationToken::new();
    let first = shipping(&node, &cancel);
    let script = "i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.3; done; echo oops >&2; sleep 1000";
    let printing = gantry_contract::proto::scheduler::WantedInstance { args: vec!["-c".into(), script.into()], probes: vec![], ..web(1, "") };
    stage.want(&node, [printing.clone()], []);

    let stream = bus.sample_stream(streams::LOGS).await.unwrap();
    let consumer = stream.create_consumer(async_nats::jetstream::consumer::pull::OrderedConfig::default()).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut lines: Vec<(u32, String, String)> = Vec::new();
    let mut subjects = BTreeSet::new();
    let mut take = async |until: &str| {
        let end = tokio::time::Instant::now() + Duration::from_secs(90);
        loop {
            let message = tokio::time::timeout_at(end, messages.next()).await.unwrap_or_else(|_| panic!("no `{until}` in time")).unwrap().unwrap();
            subjects.insert(message.subject.to_string());
            let batch: LogBatch = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!((batch.instance, batch.app.as_str(), batch.node.as_str()), (id(1), "web", "node-1"));
            lines.extend(batch.lines.into_iter().map(|l| (batch.attempt, l.stream, l.text)));
            if lines.last().is_some_and(|l| l.2 == until) || lines.iter().rev().take(600).any(|l| l.2 == until) {
                return;
            }
        }
    };
    take("line 200").await;
    // Another shipper takes over in the middle.
    cancel.cancel();
    first.await.unwrap();
    let cancel = CancellationToken::new();
    let second = shipping(&node, &cancel);
    take("oops").await;
    let printed: Vec<_> = lines.iter().filter(|l| l.1 == "stdout").map(|l| l.2.clone()).collect();
    assert_eq!(printed, (0..600).map(|i| format!("line {i}")).collect::<Vec<_>>());
    assert_eq!(subjects, BTreeSet::from([format!("{prefix}.logs.acme.shop.test.web")]));
    // 600 lines of 45 bytes are more than one file may hold here.
    let files = std::fs::read_dir(node.logs.join(id(1).to_string())).unwrap().map(|f| f.unwrap());
    let files: Vec<(String, u64)> = files.map(|f| (f.file_name().to_string_lossy().into_owned(), f.metadata().unwrap().len())).collect();
    assert!(files.len() == 2 && files.iter().any(|(name, _)| name == "0.log.1"), "{files:?}");
    assert!(files.iter().all(|(_, length)| *length < 40_000), "no file is longer than it may be and what was printed in a moment: {files:?}");

    stage.want(&node, [], []);
    let folder = node.logs.join(id(1).to_string());
    stage.until("its log folder is gone", || !folder.exists()).await;
    cancel.cancel();
    second.await.unwrap();
    bus.js.delete_stream(bus.stream_name(streams::LOGS)).await.unwrap();
    stage.finish(node).await;
}
