//! `Sessions`: what REST does over WebSockets, as streams. Each RPC is the REST call that it names: that one decides and opens, and takes
//! the streams of this one instead of a socket. Only words are translated here.

use std::future::{pending, ready};
use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use gantry_contract::proto::scheduler as proto;
use gantry_contract::proto::scheduler::sessions_server::Sessions;
use gantry_contract::proto::scheduler::{attach_input, exec_input, forward_input, session_output, upload_input};
use gantry_host::Rest;
use gantry_kernel::{Kind, Problem};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::api::line::{Line, Streams, ToCaller};
use crate::app::sessions::FRAMES;
use crate::domain::session::{CLOSE, ERRORS, End, INPUT, OUTPUT, SIZE};

/// Of the caller, to say what it wants.
const START: Duration = Duration::from_secs(10);

pub struct SessionsApi;

type Frames = BoxStream<'static, Vec<u8>>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What an RPC is called by.
struct Asked {
    rpc: &'static str,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Asked {
    /// Makes the REST call with these fields.
    async fn begin(self, fields: Value, from_caller: Frames) -> Result<mpsc::Receiver<Vec<u8>>, Status> {
        let Value::Object(fields) = fields else { return Err(Problem::internal("the fields of a call are an object").into()) };
        let (to_caller, frames) = mpsc::channel(FRAMES);
        let line = Line { from_caller, to_caller: ToCaller::Rpc(to_caller) };
        Rest::ask(self.metadata, &self.extensions, self.rpc, fields, Streams::new(line)).await?;
        Ok(frames)
    }
}

/// Takes the first message out of a request.
async fn opened<T>(request: Request<Streaming<T>>, rpc: &'static str) -> Result<(Asked, T, Streaming<T>), Status> {
    let (metadata, extensions, mut messages) = request.into_parts();
    let first = tokio::time::timeout(START, messages.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("the first message did not come within 10 s"))??;
    let first = first.ok_or_else(unstarted)?;
    Ok((Asked { rpc, metadata, extensions }, first, messages))
}

fn unstarted() -> Status {
    Problem::invalid("start", "must be the first message").into()
}

fn frame(channel: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(data.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(data);
    frame
}

fn size(size: &proto::TerminalSize) -> Vec<u8> {
    frame(SIZE, json!({ "Width": size.width, "Height": size.height }).to_string().as_bytes())
}

/// What a caller says, until it breaks the call off. That it says no more only closes the input, if there is one.
fn frames<T: Send + 'static>(messages: Streaming<T>, stdin: bool, say: fn(T) -> Option<Vec<u8>>) -> Frames {
    let said = stream::unfold(Some(messages), move |messages| async move {
        let Some(mut messages) = messages else { return pending().await };
        loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    if let Some(frame) = say(message) {
                        return Some((frame, Some(messages)));
                    }
                }
                Ok(None) if stdin => return Some((vec![CLOSE, INPUT], None)),
                Ok(None) => return pending().await,
                Err(_) => return None,
            }
        }
    });
    said.boxed()
}

fn failed(why: String) -> Status {
    Problem::conflict("scheduler.session_failed", why).into()
}

fn broken() -> Status {
    Problem::new(Kind::Unavailable, "scheduler.node_away", "the session broke off").into()
}

/// The answers of a session until its end, which `ended` tells; one that breaks off ends with a status that says so.
fn answers<T: Send + 'static>(frames: mpsc::Receiver<Vec<u8>>, told: fn(u8, Vec<u8>) -> Option<T>, ended: fn(i32) -> Option<Result<T, Status>>) -> Answers<T> {
    let all = ReceiverStream::new(frames).map(Some).chain(stream::once(ready(None)));
    let answers = all.scan(false, move |over, frame| {
        let answer = match frame {
            None if *over => None,
            None => Some(Err(broken())),
            Some(frame) => match (End::parse(&frame), frame.split_first()) {
                (Some(end), _) => {
                    *over = true;
                    match end {
                        End::Exited(code) => ended(code),
                        End::Failed(why) => Some(Err(failed(why))),
                        End::Left => None,
                    }
                }
                (None, Some((channel, data))) => told(*channel, data.to_vec()).map(Ok),
                (None, None) => None,
            },
        };
        ready(Some(answer))
    });
    Box::pin(answers.filter_map(ready))
}

fn output(channel: u8, data: Vec<u8>) -> Option<proto::SessionOutput> {
    let output = match channel {
        OUTPUT => session_output::Output::Stdout(data),
        ERRORS => session_output::Output::Stderr(data),
        _ => return None,
    };
    Some(proto::SessionOutput { output: Some(output) })
}

fn exit(code: i32) -> Option<Result<proto::SessionOutput, Status>> {
    Some(Ok(proto::SessionOutput { output: Some(session_output::Output::ExitCode(code)) }))
}

/// What has no exit code of its own ends well, or tells that it did not.
fn end<T>(code: i32) -> Option<Result<T, Status>> {
    (code != 0).then(|| Err(failed(format!("it ended with {code}"))))
}

#[tonic::async_trait]
impl Sessions for SessionsApi {
    type ExecStream = Answers<proto::SessionOutput>;
    type AttachStream = Answers<proto::SessionOutput>;
    type ForwardStream = Answers<proto::ForwardOutput>;
    type DownloadStream = Answers<proto::DownloadPiece>;

    async fn exec(&self, request: Request<Streaming<proto::ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        let (asked, first, messages) = opened(request, "/gantry.scheduler.v1.Sessions/Exec").await?;
        let Some(exec_input::Input::Start(start)) = first.input else { return Err(unstarted()) };
        let from_caller = frames(messages, start.stdin, |message| match message.input? {
            exec_input::Input::Data(data) => Some(frame(INPUT, &data)),
            exec_input::Input::Size(new) => Some(size(&new)),
            exec_input::Input::Start(_) => None,
        });
        let fields = json!({
            "org": start.org, "project": start.project, "space": start.space, "app": start.app, "instance": start.instance,
            "command": json!(start.command).to_string(), "tty": start.tty, "stdin": start.stdin, "container": start.container,
        });
        Ok(Response::new(answers(asked.begin(fields, from_caller).await?, output, exit)))
    }

    async fn attach(&self, request: Request<Streaming<proto::AttachInput>>) -> Result<Response<Self::AttachStream>, Status> {
        let (asked, first, messages) = opened(request, "/gantry.scheduler.v1.Sessions/Attach").await?;
        let Some(attach_input::Input::Start(start)) = first.input else { return Err(unstarted()) };
        let from_caller = frames(messages, start.stdin, |message| match message.input? {
            attach_input::Input::Data(data) => Some(frame(INPUT, &data)),
            attach_input::Input::Size(new) => Some(size(&new)),
            attach_input::Input::Start(_) => None,
        });
        let fields = json!({
            "org": start.org, "project": start.project, "space": start.space, "app": start.app, "instance": start.instance,
            "stdin": start.stdin, "container": start.container,
        });
        Ok(Response::new(answers(asked.begin(fields, from_caller).await?, output, exit)))
    }

    async fn forward(&self, request: Request<Streaming<proto::ForwardInput>>) -> Result<Response<Self::ForwardStream>, Status> {
        let (asked, first, messages) = opened(request, "/gantry.scheduler.v1.Sessions/Forward").await?;
        let Some(forward_input::Input::Start(start)) = first.input else { return Err(unstarted()) };
        let from_caller = frames(messages, true, |message| match message.input? {
            forward_input::Input::Data(data) => Some(frame(INPUT, &data)),
            forward_input::Input::Start(_) => None,
        });
        let fields = json!({
            "org": start.org, "project": start.project, "space": start.space, "app": start.app, "instance": start.instance,
            "port": start.port,
        });
        let out = |channel: u8, data: Vec<u8>| (channel == OUTPUT).then_some(proto::ForwardOutput { data });
        Ok(Response::new(answers(asked.begin(fields, from_caller).await?, out, end)))
    }

    async fn download(&self, request: Request<proto::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let (metadata, extensions, wanted) = request.into_parts();
        let asked = Asked { rpc: "/gantry.scheduler.v1.Sessions/Download", metadata, extensions };
        let fields = json!({
            "org": wanted.org, "project": wanted.project, "space": wanted.space, "app": wanted.app, "instance": wanted.instance,
            "path": wanted.path, "container": wanted.container,
        });
        let out = |channel: u8, data: Vec<u8>| (channel == OUTPUT).then_some(proto::DownloadPiece { data });
        Ok(Response::new(answers(asked.begin(fields, stream::pending().boxed()).await?, out, end)))
    }

    async fn upload(&self, request: Request<Streaming<proto::UploadInput>>) -> Result<Response<proto::UploadResponse>, Status> {
        let (asked, first, messages) = opened(request, "/gantry.scheduler.v1.Sessions/Upload").await?;
        let Some(upload_input::Input::Start(start)) = first.input else { return Err(unstarted()) };
        let from_caller = frames(messages, true, |message| match message.input? {
            upload_input::Input::Data(data) => Some(frame(INPUT, &data)),
            upload_input::Input::Start(_) => None,
        });
        let fields = json!({
            "org": start.org, "project": start.project, "space": start.space, "app": start.app, "instance": start.instance,
            "path": start.path, "container": start.container,
        });
        let mut answers: Answers<proto::UploadResponse> = answers(asked.begin(fields, from_caller).await?, |_, _| None, end);
        match answers.next().await {
            Some(answer) => answer.map(Response::new),
            None => Ok(Response::new(proto::UploadResponse {})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seen(frames: &[&[u8]]) -> Vec<Result<proto::SessionOutput, Status>> {
        let (sender, receiver) = mpsc::channel(8);
        for frame in frames {
            sender.send(frame.to_vec()).await.expect("it is open");
        }
        drop(sender);
        answers(receiver, output, exit).collect().await
    }

    #[tokio::test]
    async fn output_errors_and_the_exit_code_come_in_order_and_a_break_is_told() {
        let all = seen(&[b"\x01out", b"\x02err", b"\x04ignored", b"\x03{\"exit_code\":3}"]).await;
        let words: Vec<_> = all.into_iter().map(|a| a.expect("an answer").output.expect("one of them")).collect();
        let expected = [session_output::Output::Stdout(b"out".to_vec()), session_output::Output::Stderr(b"err".to_vec()), session_output::Output::ExitCode(3)];
        assert_eq!(words, expected);
        let failed = seen(&[b"\x03{\"error\":\"no such program\"}"]).await;
        assert!(matches!(failed.as_slice(), [Err(status)] if status.message() == "no such program"), "{failed:?}");
        let broken = seen(&[b"\x01half"]).await;
        assert!(matches!(broken.as_slice(), [Ok(_), Err(status)] if status.code() == tonic::Code::Unavailable), "{broken:?}");
    }

    #[test]
    fn a_size_is_said_as_the_agent_hears_it() {
        assert_eq!(size(&proto::TerminalSize { width: 80, height: 24 }), b"\x04{\"Width\":80,\"Height\":24}");
    }
}
