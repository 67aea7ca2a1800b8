//! Sessions into instances, opened at the scheduler's word: the agent dials back with the ticket and carries bytes between there
//! and the runtime. What a session has started ends with it.

mod carry;
mod checkpoints;
mod files;
mod volumes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_contract::proto::scheduler::agents_client::AgentsClient;
use gantry_cri::{Attach, Cri, CriError, Exec, Outcome};
use gantry_kernel::InstanceId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keeper::{Shared, chain};
use super::line::Line;
use crate::adapters::checkpoints::Checkpoints;
use crate::adapters::commands::Commands;
use crate::adapters::processes;
use crate::adapters::turns::Turns;
use crate::adapters::volumes::Volumes;
use crate::domain::actual::Pod;
use crate::domain::wanted::staying;

/// Frames that wait for a slow scheduler.
const WAITING: usize = 16;
/// A command waits so long for those before it that are just being started in the same container.
const STARTING: Duration = Duration::from_secs(20);

/// How the main container of an instance is called.
pub const MAIN: &str = "main";

pub const INPUT: u8 = 0;
pub const OUTPUT: u8 = 1;
pub const ERRORS: u8 = 2;
pub const END: u8 = 3;
pub const SIZE: u8 = 4;
pub const CLOSE: u8 = 255;

/// Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    pub line: Line,
    pub cri: Cri,
    pub shared: Shared,
    pub volumes: Volumes,
    pub tracker: TaskTracker,
    pub cancel: CancellationToken,
    pub commands: Commands,
    pub checkpoints: Checkpoints,
    /// Of each container one command is started at a time, so that it is known which process is whose. An engine that hangs at one container's
    /// holds up no other's.
    pub starting: Arc<Turns>,
}

/// The way to the caller and back.
pub struct Pipe {
    pub to: mpsc::Sender<wire::SessionFrame>,
    pub from: tonic::Streaming<wire::SessionFrame>,
}

/// What could not be done, as a sentence for the caller.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl From<CriError> for Refused {
    fn from(error: CriError) -> Self {
        Self(chain(&error))
    }
}

impl Sessions {
    /// Does not wait for it.
    pub fn open(&self, open: wire::OpenSession) {
        let own = self.clone();
        self.tracker.spawn(async move {
            if let Err(status) = own.run(open).await {
                tracing::warn!(error = %format_args!("{:?}: {}", status.code(), status.message()), "a session could not be opened");
            }
        });
    }

    async fn run(&self, open: wire::OpenSession) -> Result<(), tonic::Status> {
        let (to, outbox) = mpsc::channel(WAITING);
        // Cannot be full: it was just made.
        let _ = to.try_send(wire::SessionFrame { ticket: open.ticket.clone(), ..Default::default() });
        let mut client = AgentsClient::new(self.line.now());
        let from = tokio::select! {
            from = client.session(ReceiverStream::new(outbox)) => from?.into_inner(),
            () = self.cancel.cancelled() => return Ok(()),
        };
        let mut pipe = Pipe { to, from };
        let served = tokio::select! {
            served = self.serve(&open, &mut pipe) => served,
            // A command sees it for itself, and its process has to end first; so does who holds a frozen container.
            () = self.cancel.cancelled(), if !matches!(open.kind.as_str(), "exec" | "checkpoint-give") => return Ok(()),
        };
        let end = match served {
            Ok(Some(code)) => serde_json::json!({"exit_code": code}),
            // Nobody is there to be told.
            Ok(None) => return Ok(()),
            Err(refused) => serde_json::json!({"error": refused.to_string()}),
        };
        let said = async {
            pipe.send(END, end.to_string().as_bytes()).await;
            // The stream must outlive what was sent over it: the scheduler ends it when it has read the end.
            let _ = tokio::time::timeout(Duration::from_secs(5), pipe.from.message()).await;
        };
        tokio::select! { () = said => {}, () = self.cancel.cancelled() => {} }
        Ok(())
    }

    /// The exit code; nothing if the caller has left.
    async fn serve(&self, open: &wire::OpenSession, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
        if let Some(verb) = open.kind.strip_prefix("volume-") {
            return self.volume(verb, open, pipe).await;
        }
        let id: InstanceId = open.instance_id.parse().map_err(|_| Refused("no such instance".into()))?;
        if open.kind == "checkpoint-take" {
            return self.take_checkpoint(id, pipe).await;
        }
        let (pod, container) = self.target(id, &open.container)?;
        match open.kind.as_str() {
            "exec" => self.exec(open, &container, pipe).await,
            "attach" => self.attach(id, open, &container, pipe).await,
            "forward" => {
                let port = u16::try_from(open.port).ok().filter(|p| *p > 0).ok_or_else(|| Refused(format!("{} is no port", open.port)))?;
                let streams = self.cri.port_forward(&pod.id, port).await?;
                ended(carry::carry(streams, pipe).await)
            }
            "download" => files::download(self.first_process(&container).await?, &open.path, pipe).await,
            "upload" => files::upload(self.first_process(&container).await?, &open.path, pipe).await,
            "checkpoint-give" => self.give(id, &container, pipe).await,
            "processes" => {
                let all = processes::list(self.first_process(&container).await?).await.map_err(|e| Refused(e.to_string()))?;
                pipe.send(OUTPUT, &serde_json::to_vec(&all).map_err(|e| Refused(e.to_string()))?).await;
                Ok(Some(0))
            }
            "signal" => {
                let first = self.first_process(&container).await?;
                processes::signal(first, open.pid, &open.signal).await.map_err(Refused)?;
                Ok(Some(0))
            }
            other => Err(Refused(format!("this node's agent does not know sessions of kind `{other}`; upgrade it"))),
        }
    }

    /// The pod of an instance and one of its containers that runs: the one of this name, the main one if it is empty.
    fn target(&self, id: InstanceId, name: &str) -> Result<(Pod, String), Refused> {
        let pods = self.shared.pods.borrow().clone();
        let main = matches!(name, "" | MAIN);
        // A further container can be reached before the main one runs: that is when something is wrong with it.
        let pod = pods.iter().find(|p| p.instance == id && if main { p.running() } else { p.ready });
        let pod = pod.ok_or_else(|| Refused("the instance does not run on its node now".into()))?;
        if main {
            let container = pod.container.as_ref().map(|c| c.id.clone()).unwrap_or_default();
            return Ok((pod.clone(), container));
        }
        if let Some(container) = pod.runs_beside(name) {
            return Ok((pod.clone(), container.id.clone()));
        }
        let others: Vec<&str> = pod.beside.keys().map(String::as_str).filter(|n| pod.runs_beside(n).is_some()).collect();
        let there = if others.is_empty() { MAIN.to_owned() } else { format!("{MAIN}, {}", others.join(", ")) };
        Err(Refused(format!("no container {name} of the instance runs now; there are: {there}")))
    }

    async fn first_process(&self, container: &str) -> Result<u32, Refused> {
        let pid = self.cri.container_status(container).await?.pid;
        pid.ok_or_else(|| Refused("the runtime of this instance does not show its processes to the node".into()))
    }

    async fn exec(&self, open: &wire::OpenSession, container: &str, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
        let exec = Exec { command: open.command.clone(), tty: open.tty, stdin: open.stdin };
        let first = self.cri.container_status(container).await?.pid;
        let held = tokio::select! {
            held = tokio::time::timeout(STARTING, self.starting.take(container)) => held.map_err(|_| {
                Refused("the container runtime still has not started a command that was asked for before in this container; try again later".into())
            })?,
            () = self.cancel.cancelled() => return Ok(None),
            () = pipe.to.closed() => return Ok(None),
        };
        let (first, before) = match processes::beside(first).await {
            Ok(before) => (first, before),
            // With nothing known of before, the instance's own process would be taken for the command.
            Err(error) => {
                tracing::warn!(error = %error, "an instance's processes cannot be seen: a command that its caller leaves is not ended");
                (None, BTreeSet::new())
            }
        };
        if self.cancel.is_cancelled() {
            return Ok(None);
        }
        let streams = self.cri.exec(container, &exec).await?;
        // Looked for while the session runs: what ends at once need not be known.
        let started = self.commands.look(first, before, held).await;
        let end = tokio::select! {
            end = carry::carry(streams, pipe) => end,
            () = self.cancel.cancelled() => None,
        };
        match end {
            Some(_) => started.over().await,
            // The runtime leaves it running when its streams are closed.
            None => started.end().await,
        }
        ended(end)
    }

    async fn attach(&self, id: InstanceId, open: &wire::OpenSession, container: &str, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
        let wanted = self.shared.wanted.borrow().clone();
        let instance = wanted.as_ref().and_then(|w| w.instances.get(&id)).ok_or_else(|| Refused("the instance is about to go".into()))?;
        let instance = match open.container.as_str() {
            "" | MAIN => instance,
            name => staying(instance).find(|c| c.name == name).unwrap_or(instance),
        };
        if open.stdin && !instance.stdin {
            return Err(Refused("its document gives it no input (`stdin_open`); attach without input, or use exec".into()));
        }
        let streams = self.cri.attach(container, Attach { tty: instance.tty, stdin: open.stdin }).await?;
        let Some(end) = carry::carry(streams, pipe).await else { return Ok(None) };
        // Its streams have closed, which the runtime may do without a word: the container has ended, or is about to.
        for _ in 0..50 {
            match self.cri.container_status(container).await {
                Ok(status) if status.finished_at > 0 => return Ok(Some(status.exit_code)),
                Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) if error.is_not_found() => break,
                Err(error) => return Err(error.into()),
            }
        }
        match end {
            Outcome::Exited(_) => Ok(Some(0)),
            Outcome::Failed(why) => Err(Refused(why)),
        }
    }
}

fn ended(outcome: Option<Outcome>) -> Result<Option<i32>, Refused> {
    match outcome {
        Some(Outcome::Exited(code)) => Ok(Some(code)),
        Some(Outcome::Failed(why)) => Err(Refused(why)),
        None => Ok(None),
    }
}

impl Pipe {
    /// False when nobody takes it any more.
    pub async fn send(&self, channel: u8, bytes: &[u8]) -> bool {
        send(&self.to, channel, bytes).await
    }
}

pub async fn send(to: &mpsc::Sender<wire::SessionFrame>, channel: u8, bytes: &[u8]) -> bool {
    let mut data = Vec::with_capacity(bytes.len() + 1);
    data.push(channel);
    data.extend_from_slice(bytes);
    to.send(wire::SessionFrame { data, ..Default::default() }).await.is_ok()
}
