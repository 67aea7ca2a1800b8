//! Sessions inside of containers: a command with its three streams, the container's own streams, a connection to a port of a pod.
//! The runtime gives an address for each; behind it is SPDY with one stream for each direction.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;

use crate::client::{SHORT, bounded};
use crate::spdy::{self, Frame, Frames, Writer};
use crate::{Cri, CriError, wire};

/// Until the runtime has taken the session in.
const OPENING: Duration = Duration::from_secs(10);
/// Pieces that wait for a slow side.
const WAITING: usize = 16;
/// Largest piece of one frame.
const PIECE: usize = 32 << 10;
/// Of what the error stream says; a status is a few hundred bytes.
const LONGEST_WORD: usize = 64 << 10;
const SESSION: &str = "v4.channel.k8s.io";
const FORWARD: &str = "portforward.k8s.io";

/// A command to be run beside those of the container.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    pub command: Vec<String>,
    /// On a terminal of its own: then there is no standard error apart.
    pub tty: bool,
    pub stdin: bool,
}

/// `tty` and `stdin` must not ask for more than the container was made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attach {
    pub tty: bool,
    pub stdin: bool,
}

/// What goes into a session.
#[derive(Clone, Debug)]
pub enum Input {
    Bytes(Bytes),
    /// Of the terminal, in characters.
    Size {
        width: u16,
        height: u16,
    },
    /// Nothing more comes; the other direction goes on.
    End,
}

/// What comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Stdout(Bytes),
    Stderr(Bytes),
    /// Always the last.
    Done(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Exited(i32),
    /// The runtime's words: no such program, nothing listens, the connection broke.
    Failed(String),
}

/// A session under way. It ends when either side is dropped: the runtime sees its streams close.
#[derive(Debug)]
pub struct Streams {
    pub input: mpsc::Sender<Input>,
    pub output: mpsc::Receiver<Output>,
}

impl Cri {
    /// Runs a command in a running container.
    ///
    /// # Errors
    /// As every call; a program that is not there is an [`Outcome`].
    pub async fn exec(&self, container: &str, exec: &Exec) -> Result<Streams, CriError> {
        let request =
            wire::ExecRequest { container_id: container.into(), cmd: exec.command.clone(), tty: exec.tty, stdin: exec.stdin, stdout: true, stderr: !exec.tty };
        let url = bounded("exec", SHORT, self.runtime.clone().exec(request)).await?.url;
        open(&url, exec.tty, exec.stdin).await
    }

    /// The streams of the container's own first process, from now on.
    ///
    /// # Errors
    /// As every call.
    pub async fn attach(&self, container: &str, attach: Attach) -> Result<Streams, CriError> {
        let request = wire::AttachRequest { container_id: container.into(), stdin: attach.stdin, tty: attach.tty, stdout: true, stderr: !attach.tty };
        let url = bounded("attach", SHORT, self.runtime.clone().attach(request)).await?.url;
        open(&url, attach.tty, attach.stdin).await
    }

    /// One connection to a port of the pod, as if from inside of it.
    ///
    /// # Errors
    /// As every call; a port on which nothing listens is an [`Outcome`].
    pub async fn port_forward(&self, pod: &str, port: u16) -> Result<Streams, CriError> {
        let request = wire::PortForwardRequest { pod_sandbox_id: pod.into(), port: vec![port.into()] };
        let url = bounded("port-forward", SHORT, self.runtime.clone().port_forward(request)).await?.url;
        let port = port.to_string();
        let of = |kind: &'static str| vec![("streamtype", kind), ("port", port.as_str()), ("requestid", "0")];
        let (error, both) = (1, 3);
        let mut head = BytesMut::new();
        let mut writer = Writer::default();
        writer.open(error, &of("error"), &mut head);
        spdy::data(error, &[], true, &mut head);
        writer.open(both, &of("data"), &mut head);
        begin(&url, FORWARD, head, Numbers { error, stdin: Some(both), stdout: Some(both), ..Numbers::default() }).await
    }
}

/// Which stream is which.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    error: u32,
    stdin: Option<u32>,
    stdout: Option<u32>,
    stderr: Option<u32>,
    resize: Option<u32>,
}

async fn open(url: &str, tty: bool, stdin: bool) -> Result<Streams, CriError> {
    let mut head = BytesMut::new();
    let (mut writer, mut next) = (Writer::default(), 1);
    let mut open = |kind: &str, wanted: bool| {
        wanted.then(|| {
            let number = next;
            next += 2;
            writer.open(number, &[("streamtype", kind)], &mut head);
            number
        })
    };
    let numbers = Numbers {
        error: open("error", true).unwrap_or_default(),
        stdin: open("stdin", stdin),
        stdout: open("stdout", true),
        stderr: open("stderr", !tty),
        resize: open("resize", tty),
    };
    begin(url, SESSION, head, numbers).await
}

async fn begin(url: &str, protocol: &str, head: BytesMut, numbers: Numbers) -> Result<Streams, CriError> {
    let failed = |detail: String| CriError::Session { address: url.to_owned(), detail };
    let opened = tokio::time::timeout(OPENING, connect(url, protocol)).await;
    let (reader, mut writer, rest) = opened.map_err(|_| failed("it does not answer".into()))?.map_err(failed)?;
    writer.write_all(&head).await.map_err(|error| failed(error.to_string()))?;
    let (input, inbox) = mpsc::channel(WAITING);
    let (outbox, output) = mpsc::channel(WAITING);
    let (pongs, pinged) = mpsc::channel(WAITING);
    let mut frames = FramedRead::new(reader, Frames);
    frames.read_buffer_mut().extend_from_slice(&rest);
    #[allow(clippy::disallowed_methods, reason = "ends with the session, whose other half the caller holds")]
    tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = read(frames, numbers, &outbox, pongs) => outcome,
            () = write(writer, numbers, inbox, pinged) => Outcome::Failed("the connection to the container runtime broke".into()),
            () = outbox.closed() => return,
        };
        // Only fails when nobody listens any more.
        let _ = outbox.send(Output::Done(outcome)).await;
    });
    Ok(Streams { input, output })
}

/// The upgraded connection, and what has come behind the answer already.
async fn connect(url: &str, protocol: &str) -> Result<(OwnedReadHalf, OwnedWriteHalf, BytesMut), String> {
    let at = url.strip_prefix("http://").ok_or("only http:// on the machine's own address is understood")?;
    let (host, path) = at.split_once('/').ok_or("no path")?;
    let mut stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = BytesMut::new();
    let end = loop {
        if let Some(at) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if answer.len() > 16 << 10 || stream.read_buf(&mut answer).await.map_err(|error| error.to_string())? == 0 {
            return Err("its answer is no HTTP".into());
        }
    };
    let rest = answer.split_off(end);
    let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    if first.split(' ').nth(1) != Some("101") {
        return Err(format!("it answers {first:?} {}", String::from_utf8_lossy(&rest).trim()));
    }
    let (reader, writer) = stream.into_split();
    Ok((reader, writer, rest))
}

/// Until the runtime has said all.
async fn read(mut frames: FramedRead<OwnedReadHalf, Frames>, numbers: Numbers, to: &mpsc::Sender<Output>, pongs: mpsc::Sender<u32>) -> Outcome {
    let mut open: Vec<u32> = [Some(numbers.error), numbers.stdout, numbers.stderr].into_iter().flatten().collect();
    let (mut word, mut torn) = (BytesMut::new(), false);
    while !open.is_empty() {
        let (stream, bytes, last) = match frames.next().await {
            Some(Ok(Frame::Data { stream, bytes, last })) => (stream, bytes, last),
            Some(Ok(Frame::Reset { stream })) => {
                // One that has ended before has said all it had to.
                torn |= stream == numbers.error && open.contains(&stream);
                (stream, Bytes::new(), true)
            }
            Some(Ok(Frame::Ping { id })) => {
                // Only fails with the connection.
                let _ = pongs.send(id).await;
                continue;
            }
            Some(Ok(Frame::GoAway | Frame::Other { .. })) => continue,
            Some(Err(_)) | None => break,
        };
        if stream == numbers.error {
            let room = LONGEST_WORD.saturating_sub(word.len());
            word.extend_from_slice(&bytes[..bytes.len().min(room)]);
        } else if !bytes.is_empty() {
            let out = if numbers.stderr == Some(stream) { Output::Stderr(bytes) } else { Output::Stdout(bytes) };
            if to.send(out).await.is_err() {
                break;
            }
        }
        if last {
            open.retain(|n| *n != stream);
        }
    }
    outcome(&word, open.is_empty() && !torn)
}

/// Ends with the connection alone: input that is over leaves the other direction open.
async fn write(mut writer: OwnedWriteHalf, numbers: Numbers, mut inbox: mpsc::Receiver<Input>, mut pinged: mpsc::Receiver<u32>) {
    let mut frame = BytesMut::new();
    let (mut more, mut stdin) = (true, numbers.stdin);
    loop {
        frame.clear();
        tokio::select! {
            Some(id) = pinged.recv() => spdy::pong(id, &mut frame),
            input = inbox.recv(), if more => match (input, stdin) {
                (Some(Input::Bytes(bytes)), Some(stream)) => bytes.chunks(PIECE).for_each(|piece| spdy::data(stream, piece, false, &mut frame)),
                (Some(Input::End), Some(stream)) => {
                    spdy::data(stream, &[], true, &mut frame);
                    stdin = None;
                }
                (Some(Input::Size { width, height }), _) => if let Some(stream) = numbers.resize {
                    let size = format!("{{\"Width\":{width},\"Height\":{height}}}");
                    spdy::data(stream, size.as_bytes(), false, &mut frame);
                },
                (Some(Input::Bytes(_) | Input::End), None) => {}
                (None, _) => more = false,
            },
            else => std::future::pending().await,
        }
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// What the error stream said. `whole`: all streams were ended, not broken, and that one was not torn off.
fn outcome(word: &[u8], whole: bool) -> Outcome {
    if word.is_empty() {
        return if whole { Outcome::Exited(0) } else { Outcome::Failed("the connection to the container runtime broke".into()) };
    }
    // metav1.Status of Kubernetes, as its remote command protocol writes it; of a port-forward it is plain text.
    let Ok(status) = serde_json::from_slice::<serde_json::Value>(word) else { return Outcome::Failed(String::from_utf8_lossy(word).trim().to_owned()) };
    if status["status"] == "Success" {
        return Outcome::Exited(0);
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes.filter(|c| c["reason"] == "ExitCode").find_map(|c| c["message"].as_str()?.parse().ok());
    match code {
        Some(code) => Outcome::Exited(code),
        None => Outcome::Failed(status["message"].as_str().unwrap_or("the container runtime gives no reason").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_that_are_torn_off_without_a_word_are_no_success() {
        let frame = |head: [u8; 4], flags: u8, body: &[u8]| [&head[..], &[flags, 0, 0, u8::try_from(body.len()).unwrap()], body].concat();
        let reset = |stream: u8| frame([0x80, 3, 0, 3], 0, &[0, 0, 0, stream, 0, 0, 0, 5]);
        let ended = |stream: u8, bytes: &[u8]| frame([0, 0, 0, stream], 1, bytes);
        let said = async |frames: Vec<Vec<u8>>| {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut runtime = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (reader, _writer) = listener.accept().await.unwrap().0.into_split();
            runtime.write_all(&frames.concat()).await.unwrap();
            let numbers = Numbers { error: 1, stdin: None, stdout: Some(3), stderr: None, resize: None };
            let ((to, _outbox), (pongs, _pinged)) = (mpsc::channel(4), mpsc::channel(4));
            read(FramedRead::new(reader, Frames), numbers, &to, pongs).await
        };
        assert!(matches!(said(vec![reset(1), reset(3)]).await, Outcome::Failed(_)));
        assert!(matches!(said(vec![ended(3, b"x"), reset(1)]).await, Outcome::Failed(_)));
        assert_eq!(said(vec![ended(1, b""), reset(1), reset(3)]).await, Outcome::Exited(0));
        assert_eq!(said(vec![frame([0, 0, 0, 1], 0, br#"{"status":"Success"}"#), reset(1), reset(3)]).await, Outcome::Exited(0));
    }

    #[test]
    fn the_error_stream_says_how_it_ended() {
        let failure = br#"{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        assert_eq!(outcome(failure, true), Outcome::Exited(7));
        assert_eq!(outcome(br#"{"status":"Success"}"#, true), Outcome::Exited(0));
        assert_eq!(outcome(br#"{"status":"Failure","message":"no sh"}"#, true), Outcome::Failed("no sh".into()));
        assert_eq!(outcome(b"connection refused\n", true), Outcome::Failed("connection refused".into()));
        assert!(matches!((outcome(b"", true), outcome(b"", false)), (Outcome::Exited(0), Outcome::Failed(_))));
    }
}
