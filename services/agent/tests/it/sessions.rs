//! Sessions into real containers, over the stream the agent dials.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_agent::app::sessions::{CLOSE, END, ERRORS, INPUT, OUTPUT, SIZE, Sessions};
use gantry_contract::proto::scheduler as wire;
use gantry_contract::proto::scheduler::agents_server::{Agents, AgentsServer};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::containerd::BUSYBOX;
use crate::stage::{Stage, id, web};

/// The scheduler's half of sessions: who has dialled, by ticket.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<BTreeMap<String, oneshot::Sender<Caller>>>>);

pub struct Caller {
    to: mpsc::Sender<Result<wire::SessionFrame, Status>>,
    from: Streaming<wire::SessionFrame>,
}

#[derive(Debug, Default)]
pub struct Said {
    out: Vec<u8>,
    err: String,
    pub end: serde_json::Value,
}

#[tonic::async_trait]
impl Agents for Desk {
    type AttachStream = futures::stream::BoxStream<'static, Result<wire::ControlMessage, Status>>;
    type SessionStream = ReceiverStream<Result<wire::SessionFrame, Status>>;

    async fn attach(&self, _: Request<Streaming<wire::AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("only sessions here"))
    }

    async fn session(&self, request: Request<Streaming<wire::SessionFrame>>) -> Result<Response<Self::SessionStream>, Status> {
        let mut from = request.into_inner();
        let first = from.message().await?.unwrap();
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&first.ticket).expect("a ticket that was given");
        let (to, inbox) = mpsc::channel(16);
        let _ = waiting.send(Caller { to, from });
        Ok(Response::new(ReceiverStream::new(inbox)))
    }
}

impl Desk {
    pub async fn open(&self, sessions: &Sessions, kind: &str, with: impl FnOnce(&mut wire::OpenSession)) -> Caller {
        let ticket = format!("{kind}-{}", self.0.lock().unwrap().len());
        let mut open = wire::OpenSession { ticket: ticket.clone(), instance_id: id(1).to_string(), kind: kind.into(), ..Default::default() };
        with(&mut open);
        let (arrived, coming) = oneshot::channel();
        self.0.lock().unwrap().insert(ticket, arrived);
        sessions.open(open);
        tokio::time::timeout(Duration::from_secs(60), coming).await.expect("the agent dials").unwrap()
    }
}

impl Caller {
    pub async fn send(&self, channel: u8, bytes: &[u8]) {
        let data = [&[channel], bytes].concat();
        self.to.send(Ok(wire::SessionFrame { data, ..Default::default() })).await.unwrap();
    }

    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let frame = tokio::time::timeout(Duration::from_secs(90), self.from.message()).await.expect("it goes on").ok()??;
        Some((frame.data[0], frame.data[1..].to_vec()))
    }

    pub async fn all(mut self) -> Said {
        let mut said = Said::default();
        while let Some((channel, bytes)) = self.next().await {
            match channel {
                OUTPUT => said.out.extend_from_slice(&bytes),
                ERRORS => said.err.push_str(&String::from_utf8(bytes).unwrap()),
                END => {
                    said.end = serde_json::from_slice(&bytes).unwrap();
                    return said;
                }
                other => panic!("channel {other}"),
            }
        }
        panic!("no end was said after {said:?}");
    }
}

/// A desk that agents dial to, until cancelled.
pub async fn serve(stage: &Stage) -> (Desk, gantry_host::Channel, CancellationToken) {
    let desk = Desk::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = Server::builder()
        .add_service(AgentsServer::new(desk.clone()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
    stage.spawn(async move { serving.await.unwrap() });
    let channel = gantry_host::Channel::new(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy(), "scheduler").endless();
    (desk, channel, stop)
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ports_files_and_processes_are_reached() {
    let Some(stage) = Stage::new().await else { return };
    gantry_testkit::clause("6.6.1.3.b");
    let node = stage.agent().await;
    let helper = wire::WantedInstance {
        name: "helper".into(),
        image: BUSYBOX.into(),
        args: ["-c", "echo beside > /tmp/who; while sleep 0.2; do echo tick; done"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    stage.want(&node, [wire::WantedInstance { stdin: true, sidecars: vec![helper], ..web(1, "inside") }], []);
    stage.until("ready", || stage.status(&node, 1).ready).await;
    let (desk, channel, stop) = serve(&stage).await;
    let sessions = stage.sessions(&node, channel.clone()).await;

    commands(&desk, &sessions).await;
    files(&desk, &sessions).await;
    further_containers(&desk, &sessions).await;
    processes(&desk, &sessions).await;
    a_command_ends_with_its_caller(&stage, &desk, &sessions).await;
    a_command_that_a_killed_agent_left_is_ended(&stage, &desk, &sessions).await;

    // An agent that is stopped leaves none behind.
    let exec = desk.open(&sessions, "exec", |o| o.command = vec!["sleep".into(), "818".into()]).await;
    stage.until("it is known", || sleeping("818") == 1 && written_down(&stage) == 1).await;
    stage.stop_agent(node).await;
    assert_eq!((sleeping("818"), written_down(&stage)), (0, 0));
    drop(exec);
    let node = stage.agent().await;
    let sessions = stage.sessions(&node, channel).await;
    stage.until("ready again", || stage.status(&node, 1).ready).await;

    let port = desk.open(&sessions, "forward", |o| o.port = 8080).await;
    port.send(INPUT, b"GET / HTTP/1.0\r\n\r\n").await;
    let said = port.all().await;
    assert!(String::from_utf8(said.out).unwrap().ends_with("inside") && said.end["exit_code"] == 0, "{:?}", said.end);
    let closed = desk.open(&sessions, "forward", |o| o.port = 9).await.all().await;
    assert!(closed.end["error"].as_str().unwrap().contains("refused"), "{:?}", closed.end);

    // The instance ends in the middle.
    let talk = "echo up; while sleep 0.2; do echo heard >/proc/1/fd/1; done";
    let mut exec = desk.open(&sessions, "exec", |o| o.command = shell(talk)).await;
    let mut attached = desk.open(&sessions, "attach", |_| {}).await;
    // Both are there: the command has said so, and what it writes for the instance is heard.
    assert_eq!(exec.next().await, Some((OUTPUT, b"up\n".to_vec())));
    assert_eq!(attached.next().await.map(|(channel, _)| channel), Some(OUTPUT));
    stage.want(&node, [], []);
    let (said, left) = tokio::join!(exec.all(), attached.all());
    assert_eq!((said.out, &said.end["exit_code"]), (Vec::new(), &137.into()));
    assert!(left.end["exit_code"].as_i64().is_some(), "{:?}", left.end);
    let gone = desk.open(&sessions, "exec", |o| o.command = shell("true")).await.all().await;
    assert!(gone.end["error"].as_str().unwrap().contains("does not run") || gone.end["error"].as_str().unwrap().contains("EXITED"), "{:?}", gone.end);
    stop.cancel();
    stage.finish(node).await;
}

async fn commands(desk: &Desk, sessions: &Sessions) {
    let said = desk.open(sessions, "exec", |o| o.command = shell("echo out; echo err >&2; exit 7")).await.all().await;
    assert_eq!((said.out.as_slice(), said.err.as_str(), &said.end["exit_code"]), (&b"out\n"[..], "err\n", &7.into()));
    let with_input = |o: &mut wire::OpenSession| (o.command, o.stdin) = (shell("cat; echo after"), true);
    let exec = desk.open(sessions, "exec", with_input).await;
    exec.send(INPUT, b"typed\n").await;
    exec.send(CLOSE, &[INPUT]).await;
    assert_eq!(exec.all().await.out, b"typed\nafter\n");
    // Ends when its terminal has the size.
    let to_size = "until [ \"$(stty size)\" = '17 91' ]; do sleep 0.1; done; stty size";
    let on_terminal = |o: &mut wire::OpenSession| (o.command, o.stdin, o.tty) = (shell(to_size), true, true);
    let exec = desk.open(sessions, "exec", on_terminal).await;
    exec.send(SIZE, br#"{"Width":91,"Height":17}"#).await;
    let said = exec.all().await;
    assert!(String::from_utf8(said.out).unwrap().contains("17 91"));
    let said = desk.open(sessions, "exec", |o| o.command = vec!["no-such-program".into()]).await.all().await;
    assert!(said.end["error"].as_str().unwrap().contains("no-such-program"), "{:?}", said.end);
}

async fn further_containers(desk: &Desk, sessions: &Sessions) {
    let beside = |o: &mut wire::OpenSession| o.container = "helper".into();
    let cat = |o: &mut wire::OpenSession| {
        beside(o);
        o.command = shell("cat /tmp/who");
    };
    assert_eq!(desk.open(sessions, "exec", cat).await.all().await.out, b"beside\n");
    let said = desk.open(sessions, "processes", beside).await.all().await;
    let all: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
    assert!(all.as_array().unwrap().iter().all(|p| !p["command"].as_str().unwrap().contains("httpd")), "{all}");
    let file = |o: &mut wire::OpenSession| {
        beside(o);
        o.path = "/tmp/who".into();
    };
    let said = desk.open(sessions, "download", file).await.all().await;
    assert!(said.out.windows(7).any(|w| w == b"beside\n"));
    let mut attached = desk.open(sessions, "attach", beside).await;
    assert_eq!(attached.next().await, Some((OUTPUT, b"tick\n".to_vec())));
    drop(attached);
    let main = |o: &mut wire::OpenSession| (o.container, o.command) = ("main".into(), shell("cat /www/index.html"));
    assert_eq!(desk.open(sessions, "exec", main).await.all().await.out, b"inside");
    let none = |o: &mut wire::OpenSession| (o.container, o.command) = ("other".into(), shell("true"));
    let said = desk.open(sessions, "exec", none).await.all().await;
    assert!(said.end["error"].as_str().unwrap().contains("there are: main, helper"), "{:?}", said.end);
}

async fn files(desk: &Desk, sessions: &Sessions) {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    (header.set_size(5), header.set_mode(0o640));
    archive.append_data(&mut header, "deep/file", &b"hello"[..]).unwrap();
    let upload = desk.open(sessions, "upload", |o| o.path = "/tmp/new".into()).await;
    upload.send(INPUT, &archive.into_inner().unwrap()).await;
    upload.send(CLOSE, &[INPUT]).await;
    assert_eq!(upload.all().await.end["exit_code"], 0);
    let said = desk.open(sessions, "exec", |o| o.command = shell("cat /tmp/new/deep/file; stat -c ' %a %u' /tmp/new/deep/file; ln -s /etc /tmp/new/out")).await;
    assert_eq!(said.all().await.out, b"hello 640 0\n");

    let said = desk.open(sessions, "download", |o| o.path = "/tmp/new".into()).await.all().await;
    let mut back = tar::Archive::new(&said.out[..]);
    let names: Vec<String> = back.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["new", "new/deep", "new/deep/file", "new/out"]);
    // A link of the container's leads within the container: never to the node's own file.
    let said = desk.open(sessions, "download", |o| o.path = "/tmp/new/out/passwd".into()).await.all().await;
    let text = String::from_utf8_lossy(&said.out).into_owned();
    assert!(text.contains("web:x:1000") && !text.contains("nobody"), "{text}");
    let said = desk.open(sessions, "download", |o| o.path = "/no/such".into()).await.all().await;
    assert!(said.end["error"].as_str().unwrap().contains("/no/such"), "{:?}", said.end);
}

async fn processes(desk: &Desk, sessions: &Sessions) {
    let exec = desk.open(sessions, "exec", |o| o.command = vec!["sleep".into(), "4711".into()]).await;
    let pid = loop {
        let said = desk.open(sessions, "processes", |_| {}).await.all().await;
        let all: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
        let of = |text: &str| all.as_array().unwrap().iter().find(|p| p["command"].as_str().unwrap().contains(text)).cloned();
        assert_eq!(of("httpd").unwrap()["pid"], 1);
        if let Some(sleep) = of("sleep 4711") {
            break sleep["pid"].as_u64().unwrap();
        }
    };
    let signal = |pid: u32, name: &'static str| desk.open(sessions, "signal", move |o| (o.pid, o.signal) = (pid, name.into()));
    assert!(signal(99_999, "TERM").await.all().await.end["error"].as_str().unwrap().contains("99999"));
    assert!(signal(1, "NONSENSE").await.all().await.end["error"].as_str().unwrap().contains("NONSENSE"));
    assert_eq!(signal(u32::try_from(pid).unwrap(), "TERM").await.all().await.end["exit_code"], 0);
    assert_eq!(exec.all().await.end["exit_code"], 143);
}

async fn a_command_ends_with_its_caller(stage: &Stage, desk: &Desk, sessions: &Sessions) {
    let mut exec = desk.open(sessions, "exec", |o| o.command = shell("trap '' HUP; sleep 815 & echo $$; sleep 816")).await;
    let (_, text) = exec.next().await.unwrap();
    assert!(!text.is_empty());
    let there = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = all.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok());
        lines.filter(|l| l.starts_with(b"sleep\x00815") || l.starts_with(b"sleep\x00816")).count()
    };
    stage.until("both sleep", || there() == 2).await;
    drop(exec);
    stage.until("nothing of the command is left", || there() == 0 && written_down(stage) == 0).await;
}

async fn a_command_that_a_killed_agent_left_is_ended(stage: &Stage, desk: &Desk, sessions: &Sessions) {
    let exec = desk.open(sessions, "exec", |o| o.command = vec!["sleep".into(), "817".into()]).await;
    stage.until("it is known", || sleeping("817") == 1 && written_down(stage) == 1).await;
    // As an agent does that starts anew.
    sessions.commands.left().await.end().await;
    assert_eq!((sleeping("817"), written_down(stage)), (0, 0));
    assert_eq!(exec.all().await.end["exit_code"], 129);
}

fn sleeping(seconds: &str) -> usize {
    let line = [&b"sleep\x00"[..], seconds.as_bytes(), b"\x00"].concat();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| std::fs::read(e.path().join("cmdline")).ok()).filter(|l| *l == line).count()
}

fn written_down(stage: &Stage) -> usize {
    std::fs::read_dir(stage.home.join("agent/commands")).map_or(0, Iterator::count)
}
