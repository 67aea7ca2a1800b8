//! An agent that speaks the real protocol but only pretends: it takes a step of its pretended node's time every now and then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_contract::proto::scheduler::agent_message::Message;
use gantry_contract::proto::scheduler::agents_client::AgentsClient;
use gantry_contract::proto::scheduler::control_message::Message as Control;
use gantry_contract::proto::scheduler::{AgentMessage, Hello, NodeFacts, OpenSession, SessionFrame, WantedState};
use gantry_testkit::pretended::Node;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::place::Place;

const STEP: Duration = Duration::from_millis(40);

#[derive(Clone)]
pub struct Agent {
    pub node: Arc<Mutex<Node>>,
    zone: String,
    architecture: String,
    /// Running instances whose checks fail.
    pub unwell: Arc<Mutex<std::collections::BTreeSet<String>>>,
    cancel: tokio_util::sync::CancellationToken,
}

impl Agent {
    pub async fn join(place: &Place, name: &str, cpu_millis: u64) -> Self {
        Self::join_in(place, name, cpu_millis, "").await
    }

    pub async fn join_in(place: &Place, name: &str, cpu_millis: u64, zone: &str) -> Self {
        Self::enter(place, name, cpu_millis, zone, "amd64").await
    }

    pub async fn join_of(place: &Place, name: &str, cpu_millis: u64, architecture: &str) -> Self {
        Self::enter(place, name, cpu_millis, "", architecture).await
    }

    async fn enter(place: &Place, name: &str, cpu_millis: u64, zone: &str, architecture: &str) -> Self {
        let cancel = tokio_util::sync::CancellationToken::new();
        let agent = Self { node: Arc::default(), zone: zone.into(), architecture: architecture.into(), unwell: Arc::default(), cancel };
        agent.attach(place, name, cpu_millis).await;
        place.has_node(name).await;
        agent
    }

    /// Connects (again), with what it has; retries until a scheduler takes it.
    pub async fn attach(&self, place: &Place, name: &str, cpu_millis: u64) {
        self.attach_as(place, name, cpu_millis, "agent").await;
    }

    /// The same with the certificate of `peer`.
    pub async fn attach_as(&self, place: &Place, name: &str, cpu_millis: u64, peer: &str) {
        let facts = NodeFacts {
            architecture: self.architecture.clone(),
            os: "linux".into(),
            cpu_millis,
            memory_bytes: 8 << 30,
            storage_bytes: 100 << 30,
            runtime: "pretended".into(),
            zone: self.zone.clone(),
            address: format!("address of {name}"),
            pod_network: format!("pods of {name}"),
            ..NodeFacts::default()
        };
        let hello = Hello { node: name.into(), facts: Some(facts) };
        for _ in 0..200 {
            let mut client = AgentsClient::new(place.channel(peer));
            let (sender, receiver) = mpsc::channel(16);
            sender.send(AgentMessage { message: Some(Message::Hello(hello.clone())) }).await.unwrap();
            match client.attach(ReceiverStream::new(receiver)).await {
                Ok(response) => {
                    tokio::spawn(self.clone().live(response.into_inner(), sender, client));
                    return;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("no scheduler takes the agent");
    }

    async fn live(
        self,
        mut control: tonic::Streaming<gantry_contract::proto::scheduler::ControlMessage>,
        sender: mpsc::Sender<AgentMessage>,
        client: AgentsClient<tonic::transport::Channel>,
    ) {
        let mut tick = tokio::time::interval(STEP);
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return,
                message = control.message() => match message {
                    Ok(Some(message)) => match message.message {
                        Some(Control::Wanted(wanted)) => self.node.lock().unwrap().wanted = wanted,
                        Some(Control::Routes(routes)) => {
                            let all = routes.nodes.into_iter().map(|r| (r.node, (r.address, r.pod_network))).collect();
                            self.node.lock().unwrap().routes = all;
                        }
                        Some(Control::Open(open)) => {
                            let mut node = self.node.lock().unwrap();
                            node.opened.push(open.clone());
                            if !node.silent {
                                tokio::spawn(session(client.clone(), open));
                            }
                        }
                        Some(Control::Rejected(rejected)) => {
                            let mut node = self.node.lock().unwrap();
                            if rejected.removed {
                                node.wanted = WantedState::default();
                                node.running.clear();
                            }
                            node.rejected = Some(rejected);
                        }
                        Some(Control::Prepull(prepull)) => self.node.lock().unwrap().ahead = prepull.images.into_iter().map(|i| i.image).collect(),
                        _ => {}
                    },
                    _ => return,
                },
                _ = tick.tick() => {
                    let mut status = self.node.lock().unwrap().step();
                    let unwell = self.unwell.lock().unwrap().clone();
                    for one in status.instances.iter_mut().filter(|i| unwell.contains(&i.instance_id)) {
                        (one.state, one.ready, one.reason) = ("unhealthy".into(), false, "its check fails".into());
                    }
                    status.balancers.iter_mut().for_each(|b| b.in_rotation.retain(|id| !unwell.contains(id)));
                    if sender.send(AgentMessage { message: Some(Message::Status(status)) }).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// The node disappears without a word.
    pub fn die(&self) {
        self.cancel.cancel();
    }

    pub fn opened(&self) -> Vec<OpenSession> {
        self.node.lock().unwrap().opened.clone()
    }

    pub fn running(&self) -> Vec<String> {
        self.node.lock().unwrap().running.keys().cloned().collect()
    }
}

/// Gives back what comes until the input is closed, and ends with 5; has one process, with number 1.
pub async fn session(mut client: AgentsClient<tonic::transport::Channel>, open: OpenSession) {
    let (sender, receiver) = mpsc::channel(16);
    let send = async |data: &[u8]| sender.send(SessionFrame { data: data.to_vec(), ..SessionFrame::default() }).await.unwrap();
    sender.send(SessionFrame { ticket: open.ticket.clone(), ..SessionFrame::default() }).await.unwrap();
    let mut from = client.session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    match (open.kind.as_str(), open.pid) {
        ("processes", _) => {
            let one = r#"[{"pid":1,"parent":0,"user":0,"state":"S","threads":1,"cpu_millis":1,"memory_bytes":1,"running_seconds":1,"command":"init"}]"#;
            send(&[&[1], one.as_bytes()].concat()).await;
            send(b"\x03{\"exit_code\":0}").await;
        }
        ("volume-list", _) => {
            let one = |name: &str| {
                format!(
                    r#"{{"name":"{name}","app":"web","app_id":"{}","workload":"web","size_bytes":7,"used_bytes":5,"in_use":false,"snapshots":[]}}"#,
                    uuid::Uuid::nil()
                )
            };
            let list = format!("[{},{}]", one("x.data"), one("y.data"));
            send(&[&[1], list.as_bytes()].concat()).await;
            send(b"\x03{\"exit_code\":0}").await;
        }
        ("volume-read" | "download", _) => {
            send(b"\x01first ").await;
            send(b"\x01second").await;
            send(b"\x03{\"exit_code\":0}").await;
        }
        ("volume-write" | "upload", _) => {
            let mut all = Vec::new();
            while let Ok(Some(frame)) = from.message().await {
                match frame.data.split_first() {
                    Some((0, bytes)) => all.extend_from_slice(bytes),
                    _ => break,
                }
            }
            let end = if all == b"first second" { &b"\x03{\"exit_code\":0}"[..] } else { b"\x03{\"error\":\"that is something else\"}" };
            send(end).await;
        }
        ("checkpoint-take", _) => {
            send(b"\x01ready").await;
            let mut all = Vec::new();
            while let Ok(Some(frame)) = from.message().await {
                match frame.data.split_first() {
                    Some((0, bytes)) => all.extend_from_slice(bytes),
                    _ => break,
                }
            }
            let end = if all == b"frozen state" { &b"\x03{\"exit_code\":0}"[..] } else { b"\x03{\"error\":\"that is something else\"}" };
            send(end).await;
        }
        ("checkpoint-give", _) => {
            send(b"\x01frozen ").await;
            send(b"\x01state").await;
            send(&[255, 1]).await;
            let word = from.message().await.ok().flatten().map(|frame| frame.data).unwrap_or_default();
            send(if word == b"\x00moved" { b"\x03{\"exit_code\":0}" } else { b"\x03{\"exit_code\":1}" }).await;
        }
        ("volume-delete", _) => send(b"\x03{\"error\":\"web-1 uses it\"}").await,
        (kind, _) if kind.starts_with("volume-") => send(b"\x03{\"exit_code\":0}").await,
        ("signal", 1) => send(b"\x03{\"exit_code\":0}").await,
        ("signal", _) => send(b"\x03{\"error\":\"no such process\"}").await,
        _ => {}
    }
    while let Ok(Some(frame)) = from.message().await {
        match frame.data.split_first() {
            Some((0, bytes)) => send(&[&[1], bytes].concat()).await,
            Some((255, _)) => send(b"\x03{\"exit_code\":5}").await,
            _ => {}
        }
    }
}
