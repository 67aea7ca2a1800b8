//! Into a pod: a command, the streams of a container's own process, or one connection to a port.
//!
//! Commands and streams go over WebSockets with the subprotocol `v5.channel.k8s.io` (API servers from 1.30 on, which also can be
//! told that input has ended) or, where that is not known, `v4.channel.k8s.io`: each message begins with the number of its
//! channel, 0 input, 1 output, 2 standard error, 3 the end as a `Status`, 4 the terminal's size, and in v5 255 with the number of
//! a channel to close (k8s.io/apimachinery/pkg/util/remotecommand, KEP-4006).
//!
//! Ports go over `v4.channel.k8s.io`, two channels a port, which every version from 1.28 to 1.36 has: the API server hands the
//! WebSocket on to the kubelet as it is. What kubectl uses since 1.31, SPDY tunnelled through a WebSocket
//! (`SPDY/3.1+portforward.k8s.io`), is no way for us: 1.28 to 1.30 do not have it, and it is a second protocol of streams inside
//! of the first, whose gain is many connections over one socket; here each connection has its own. What v4 lacks is an end of one
//! direction alone: see [`Input::end`].

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use reqwest::Upgraded;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Socket};
use crate::trouble::Trouble;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const SIZE: u8 = 4;
const CLOSE: u8 = 255;
/// Of a forwarded port.
const DATA: u8 = 0;
const TROUBLE: u8 = 1;
/// Larger pieces are cut: what is in between buffers a message as a whole.
const PIECE: usize = 32 << 10;

/// A container of a pod.
#[derive(Clone, Debug)]
pub struct Target {
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program and its arguments.
    pub command: Vec<String>,
    pub stdin: bool,
    /// On a terminal: then standard error is part of the output.
    pub tty: bool,
}

/// Both directions.
pub struct Remote {
    pub input: Input,
    pub output: Output,
}

pub struct Input {
    to: SplitSink<WebSocketStream<Upgraded>, Message>,
    ends: bool,
}

pub struct Output {
    from: SplitStream<WebSocketStream<Upgraded>>,
    words: Words,
}

/// What messages mean.
enum Words {
    Process,
    /// Which of its two channels have said their port, as each does first.
    Port([bool; 2]),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The last.
    Done(Outcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Exited(i32),
    /// A sentence for a person.
    Failed(String),
    /// It was closed without a word of how it ended.
    Closed,
}

impl Client {
    /// # Errors
    /// When the cluster refuses it; so for all of this. That a program is not there is told by [`Outcome`].
    pub async fn exec(&self, at: &Target, run: &Command) -> Result<Remote, Trouble> {
        let command = run.command.iter().map(|word| ("command", word.as_str()));
        self.process(at, "exec", command, run.stdin, run.tty).await
    }

    /// `tty`: as the container has it.
    pub async fn attach(&self, at: &Target, stdin: bool, tty: bool) -> Result<Remote, Trouble> {
        self.process(at, "attach", std::iter::empty(), stdin, tty).await
    }

    /// One connection to a port, from inside of the pod.
    pub async fn forward(&self, at: &Target, port: u16) -> Result<Remote, Trouble> {
        let path = path(at, "portforward", [("ports", port.to_string().as_str())].into_iter());
        let Socket { stream, .. } = self.socket(&path, &[V4]).await?;
        let (to, from) = stream.split();
        Ok(Remote { input: Input { to, ends: false }, output: Output { from, words: Words::Port([false; 2]) } })
    }

    async fn process<'a>(&self, at: &'a Target, verb: &str, more: impl Iterator<Item = (&'a str, &'a str)>, stdin: bool, tty: bool) -> Result<Remote, Trouble> {
        let word = |yes: bool| if yes { "true" } else { "false" };
        let flags = [("container", at.container.as_str()), ("stdin", word(stdin)), ("stdout", "true"), ("stderr", word(!tty)), ("tty", word(tty))];
        let path = path(at, verb, flags.into_iter().chain(more));
        let socket = match self.socket(&path, &[V5, V4]).await {
            // Some that know only the older refuse the whole offer.
            Err(Trouble::Refused { message, .. } | Trouble::Unavailable { message, .. }) if message.contains("protocol") => self.socket(&path, &[V4]).await?,
            opened => opened?,
        };
        let ends = socket.protocol == V5;
        let (to, from) = socket.stream.split();
        Ok(Remote { input: Input { to, ends }, output: Output { from, words: Words::Process } })
    }
}

fn path<'a>(at: &Target, verb: &str, query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("/api/v1/namespaces/{}/pods/{}/{verb}?{query}", at.namespace, at.pod)
}

impl Input {
    /// Can it be said that input has ended?
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// All of this is false when nobody takes it any more; how it ended the output says.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(PIECE) {
            if !self.send(STDIN, piece).await {
                return false;
            }
        }
        true
    }

    /// Nothing more comes. Without [`Self::ends`] it cannot be said, and nothing is sent.
    pub async fn end(&mut self) -> bool {
        !self.ends || self.send(CLOSE, &[STDIN]).await
    }

    pub async fn size(&mut self, width: u16, height: u16) -> bool {
        self.send(SIZE, json!({ "Width": width, "Height": height }).to_string().as_bytes()).await
    }

    /// For those on the way that close what is silent.
    pub async fn ping(&mut self) -> bool {
        self.to.send(Message::Ping(Bytes::new())).await.is_ok()
    }

    async fn send(&mut self, channel: u8, bytes: &[u8]) -> bool {
        let mut data = Vec::with_capacity(bytes.len() + 1);
        data.push(channel);
        data.extend_from_slice(bytes);
        self.to.send(Message::Binary(data.into())).await.is_ok()
    }
}

impl Output {
    /// After [`Said::Done`] nothing more is to be asked.
    pub async fn next(&mut self) -> Said {
        loop {
            match self.from.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    if let Some(said) = self.words.read(bytes) {
                        return said;
                    }
                }
                Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Said::Done(Outcome::Closed),
            }
        }
    }
}

impl Words {
    fn read(&mut self, bytes: Bytes) -> Option<Said> {
        let channel = *bytes.first()?;
        let rest = bytes.slice(1..);
        match self {
            Self::Port(said) => {
                let first = said.get_mut(usize::from(channel)).is_some_and(|said| !std::mem::replace(said, true));
                match channel {
                    // Its own number, as two bytes.
                    _ if first => None,
                    DATA if !rest.is_empty() => Some(Said::Stdout(rest)),
                    TROUBLE if !rest.is_empty() => Some(Said::Done(Outcome::Failed(String::from_utf8_lossy(&rest).trim().to_owned()))),
                    _ => None,
                }
            }
            // An empty message says that the channel is there.
            Self::Process if rest.is_empty() => None,
            Self::Process => match channel {
                STDOUT => Some(Said::Stdout(rest)),
                STDERR => Some(Said::Stderr(rest)),
                STATUS => Some(Said::Done(outcome(&rest))),
                _ => None,
            },
        }
    }
}

/// Of a `Status`: `details.causes` carry a program's exit code.
fn outcome(status: &[u8]) -> Outcome {
    let Ok(status) = serde_json::from_slice::<Value>(status) else { return Outcome::Failed(String::from_utf8_lossy(status).trim().to_owned()) };
    if status["status"] == "Success" {
        return Outcome::Exited(0);
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes.into_iter().find(|c| c["reason"] == "ExitCode").and_then(|c| c["message"].as_str()?.parse().ok());
    match code {
        Some(code) => Outcome::Exited(code),
        None => Outcome::Failed(status["message"].as_str().unwrap_or("the cluster gives no reason").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &mut Words, bytes: &'static [u8]) -> Option<Said> {
        words.read(Bytes::from_static(bytes))
    }

    #[test]
    fn channels_of_a_process_are_told_apart_and_its_exit_code_is_found() {
        let mut words = Words::Process;
        assert_eq!(read(&mut words, b"\x01"), None, "it only says that it is there");
        assert_eq!(read(&mut words, b"\x03"), None);
        assert_eq!(read(&mut words, b"\x01out"), Some(Said::Stdout(Bytes::from_static(b"out"))));
        assert_eq!(read(&mut words, b"\x02err"), Some(Said::Stderr(Bytes::from_static(b"err"))));
        assert_eq!(read(&mut words, b"\xff\x01"), None);
        assert_eq!(read(&mut words, br#"{"metadata":{},"status":"Success"}"#), None, "a channel that nobody knows");
        assert_eq!(read(&mut words, b"\x03{\"metadata\":{},\"status\":\"Success\"}"), Some(Said::Done(Outcome::Exited(0))));
        let ended = br#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"137"}]}}"#;
        assert_eq!(outcome(ended), Outcome::Exited(137));
        let missing = br#"{"status":"Failure","message":"exec: \"x\": executable file not found in $PATH","reason":"InternalError","details":{"causes":[{"message":"x"}]},"code":500}"#;
        assert_eq!(outcome(missing), Outcome::Failed("exec: \"x\": executable file not found in $PATH".into()));
        assert_eq!(outcome(b"gone"), Outcome::Failed("gone".into()));
    }

    #[test]
    fn both_channels_of_a_port_begin_with_its_number() {
        let mut words = Words::Port([false; 2]);
        assert_eq!(read(&mut words, &[0, 0x90, 0x1f]), None);
        assert_eq!(read(&mut words, &[1, 0x90, 0x1f]), None);
        assert_eq!(read(&mut words, b"\x00hello"), Some(Said::Stdout(Bytes::from_static(b"hello"))));
        assert_eq!(read(&mut words, b"\x01refused\n"), Some(Said::Done(Outcome::Failed("refused".into()))));
        assert_eq!(read(&mut words, &[7, 1]), None);
    }

    #[test]
    fn what_is_asked_stands_in_the_address() {
        let at = Target { namespace: "x".into(), pod: "web-1".into(), container: "web".into() };
        let words = [("command", "sh"), ("command", "a b&c")];
        assert_eq!(path(&at, "exec", words.into_iter()), "/api/v1/namespaces/x/pods/web-1/exec?command=sh&command=a+b%26c");
    }
}
