//! An agent that speaks the real protocol but only pretends: what it is told to have "runs" after a moment, is put into
//! rotation after another, and leaves it before it stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_contract::proto::scheduler::agent_message::Message;
use gantry_contract::proto::scheduler::agents_client::AgentsClient;
use gantry_contract::proto::scheduler::control_message::Message as Control;
use gantry_contract::proto::scheduler::{AgentMessage, BalancerStatus, Hello, InstanceStatus, NodeFacts, Status, WantedState};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::place::Place;

const STEP: Duration = Duration::from_millis(40);

/// What the pretended node is like now. Tests look at it and change it.
#[derive(Default)]
pub struct Node {
    pub wanted: WantedState,
    /// Ready instances with the image each "runs".
    pub running: BTreeMap<String, String>,
    /// In rotation, by service.
    pub rotation: BTreeMap<String, BTreeSet<String>>,
    pub exited: BTreeMap<String, i32>,
    /// Images that never become ready.
    pub broken: BTreeSet<String>,
    /// How few were in rotation of any balanced service at once, since the last reset.
    pub fewest: Option<usize>,
}

#[derive(Clone)]
pub struct Agent {
    pub node: Arc<Mutex<Node>>,
    zone: String,
    cancel: tokio_util::sync::CancellationToken,
}

impl Agent {
    pub async fn join(place: &Place, name: &str, cpu_millis: u64) -> Self {
        Self::join_in(place, name, cpu_millis, "").await
    }

    pub async fn join_in(place: &Place, name: &str, cpu_millis: u64, zone: &str) -> Self {
        let agent = Self { node: Arc::default(), zone: zone.into(), cancel: tokio_util::sync::CancellationToken::new() };
        agent.attach(place, name, cpu_millis).await;
        place.has_node(name).await;
        agent
    }

    /// Connects (again), with what it has; retries until a scheduler takes it.
    pub async fn attach(&self, place: &Place, name: &str, cpu_millis: u64) {
        let facts = NodeFacts {
            architecture: "amd64".into(),
            os: "linux".into(),
            cpu_millis,
            memory_bytes: 8 << 30,
            storage_bytes: 100 << 30,
            runtime: "pretended".into(),
            zone: self.zone.clone(),
            ..NodeFacts::default()
        };
        let hello = Hello { node: name.into(), facts: Some(facts) };
        for _ in 0..200 {
            let mut client = AgentsClient::new(place.channel("agent").await);
            let (sender, receiver) = mpsc::channel(16);
            sender.send(AgentMessage { message: Some(Message::Hello(hello.clone())) }).await.unwrap();
            match client.attach(ReceiverStream::new(receiver)).await {
                Ok(response) => {
                    tokio::spawn(self.clone().live(response.into_inner(), sender));
                    return;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("no scheduler takes the agent");
    }

    async fn live(self, mut control: tonic::Streaming<gantry_contract::proto::scheduler::ControlMessage>, sender: mpsc::Sender<AgentMessage>) {
        let mut tick = tokio::time::interval(STEP);
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return,
                message = control.message() => match message {
                    Ok(Some(message)) => if let Some(Control::Wanted(wanted)) = message.message {
                        self.node.lock().unwrap().wanted = wanted;
                    },
                    _ => return,
                },
                _ = tick.tick() => {
                    let status = self.node.lock().unwrap().step();
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

    pub fn running(&self) -> Vec<String> {
        self.node.lock().unwrap().running.keys().cloned().collect()
    }
}

impl Node {
    /// One step of time: stop what shall stop (out of rotation first), start what is missing, balance what is ready.
    fn step(&mut self) -> Status {
        let wanted: BTreeMap<_, _> = self.wanted.instances.iter().map(|i| (i.instance_id.clone(), i.clone())).collect();
        let in_rotation = |rotation: &BTreeMap<String, BTreeSet<String>>, id: &str| rotation.values().any(|r| r.contains(id));
        let stop: Vec<String> =
            self.running.keys().filter(|id| wanted.get(*id).is_none_or(|w| w.stopping) && !in_rotation(&self.rotation, id)).cloned().collect();
        for id in stop {
            self.running.remove(&id);
        }
        self.exited.retain(|id, _| wanted.contains_key(id));
        // Readiness comes one step after the start, rotation one step after readiness.
        let ready: BTreeSet<String> = self.running.keys().cloned().collect();
        for (id, instance) in &wanted {
            let broken = self.broken.iter().any(|b| instance.image.contains(b.as_str()));
            if !instance.stopping && !broken && !self.exited.contains_key(id) {
                self.running.insert(id.clone(), instance.image.clone());
            }
        }
        self.rotation = self
            .wanted
            .services
            .iter()
            .filter(|s| s.listen_port > 0 || !s.routes.is_empty())
            .map(|s| {
                let serves = |b: &&gantry_contract::proto::scheduler::Backend| {
                    let stopping = wanted.get(&b.instance_id).is_some_and(|w| w.stopping);
                    // Of another node's instances only the address says that they are ready.
                    !stopping && if wanted.contains_key(&b.instance_id) { ready.contains(&b.instance_id) } else { !b.address.is_empty() }
                };
                (s.service_id.clone(), s.backends.iter().filter(serves).map(|b| b.instance_id.clone()).collect())
            })
            .collect();
        if let Some(least) = self.rotation.values().map(BTreeSet::len).min() {
            self.fewest = Some(self.fewest.map_or(least, |f| f.min(least)));
        }
        Status {
            generation: self.wanted.generation,
            instances: self.statuses(&wanted),
            balancers: self.rotation.iter().map(|(id, r)| BalancerStatus { service_id: id.clone(), in_rotation: r.iter().cloned().collect() }).collect(),
        }
    }

    fn statuses(&self, wanted: &BTreeMap<String, gantry_contract::proto::scheduler::WantedInstance>) -> Vec<InstanceStatus> {
        let status = |id: &str, state: &str, ready, exit_code| InstanceStatus {
            instance_id: id.into(),
            state: state.into(),
            ready,
            address: if ready { format!("10.88.0.{}", id.bytes().map(usize::from).sum::<usize>() % 250) } else { String::new() },
            exit_code,
            reason: if exit_code == 0 { String::new() } else { format!("exit code {exit_code}") },
            ..InstanceStatus::default()
        };
        let mut out: Vec<_> = self.running.keys().map(|id| status(id, "running", true, 0)).collect();
        out.extend(self.exited.iter().map(|(id, code)| status(id, "exited", false, *code)));
        out.extend(
            wanted
                .keys()
                .filter(|id| !self.running.contains_key(*id) && !self.exited.contains_key(*id) && !wanted[*id].stopping)
                .map(|id| status(id, "starting", false, 0)),
        );
        out
    }

    /// The container of an instance ends for good.
    pub fn kill(&mut self, id: &str, code: i32) {
        self.running.remove(id);
        self.exited.insert(id.to_owned(), code);
    }
}
