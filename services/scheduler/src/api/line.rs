//! A session on the caller's side: a WebSocket, or the two streams of an RPC. It is carried between that and the node's agent here,
//! the same for both, until one side ends or its bounds are reached. Who may open one is decided before (`rest/sessions.rs`).

use std::future::{pending, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::stream::{BoxStream, SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use gantry_auth::Caller;
use gantry_contract::proto::scheduler::SessionFrame;
use gantry_host::sign_in::{self, UNKNOWN};
use gantry_kernel::{Kind, Scope};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::app::Scheduler;
use crate::app::sessions::{self, Link, PERMISSION, Session};
use crate::domain::session::End;

/// Largest message of a caller.
pub const PIECE: usize = 1 << 20;
/// How often it is looked whether the session may go on; the other side is asked for a sign of life as often.
const LOOK: Duration = Duration::from_secs(5);
/// For the caller to take in how it ended.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Frames from the caller and to the caller, as `domain::session` numbers them. The first ends when the caller has gone.
pub struct Line {
    pub from_caller: BoxStream<'static, Vec<u8>>,
    pub to_caller: ToCaller,
}

impl Line {
    pub fn of(socket: WebSocket) -> Self {
        let (to_caller, from_caller) = socket.split();
        Self { from_caller: binary(from_caller), to_caller: ToCaller::Socket(to_caller) }
    }
}

fn binary(messages: SplitStream<WebSocket>) -> BoxStream<'static, Vec<u8>> {
    let open = messages.take_while(|message| ready(matches!(message, Ok(m) if !matches!(m, Message::Close(_)))));
    let frames = open.filter_map(|message| {
        ready(match message {
            Ok(Message::Binary(bytes)) if !bytes.is_empty() => Some(bytes.into()),
            _ => None,
        })
    });
    frames.boxed()
}

pub enum ToCaller {
    Socket(SplitSink<WebSocket, Message>),
    Rpc(mpsc::Sender<Vec<u8>>),
}

impl ToCaller {
    /// False when the caller has gone.
    async fn send(&mut self, frame: Vec<u8>) -> bool {
        match self {
            Self::Socket(socket) => socket.send(Message::Binary(frame.into())).await.is_ok(),
            Self::Rpc(messages) => messages.send(frame).await.is_ok(),
        }
    }

    /// Asks for a sign of life. False when the caller has gone.
    async fn ping(&mut self) -> bool {
        match self {
            Self::Socket(socket) => socket.send(Message::Ping(Vec::new().into())).await.is_ok(),
            Self::Rpc(messages) => !messages.is_closed(),
        }
    }

    /// Ends when the caller of an RPC has gone. Of a WebSocket its own stream tells.
    fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let messages = match self {
            Self::Socket(_) => None,
            Self::Rpc(messages) => Some(messages.clone()),
        };
        async move {
            match messages {
                Some(messages) => messages.closed().await,
                None => pending().await,
            }
        }
    }

    async fn end(&mut self, end: &End) {
        // Only fails when the caller has gone in the same moment.
        self.send(end.frame()).await;
        if let Self::Socket(socket) = self {
            let close = CloseFrame { code: 1000, reason: "".into() };
            let _ = socket.send(Message::Close(Some(close))).await;
        }
    }
}

/// The streams of an RPC, in the extensions of the REST call that it is: whoever opens the session takes them.
#[derive(Clone)]
pub struct Streams(Arc<Mutex<Option<Line>>>);

impl Streams {
    pub fn new(line: Line) -> Self {
        Self(Arc::new(Mutex::new(Some(line))))
    }

    pub fn take(&self) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The node broke off.
pub fn away() -> End {
    End::Failed("the node went away".into())
}

/// Whether somebody may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    May,
    /// Nobody can say now.
    Unknown,
    /// The right is gone.
    MayNot,
    SignedOut,
}

/// The right, and the sign-in with which the session was opened.
async fn look(s: &Scheduler, caller: &Caller, scope: Scope) -> Looked {
    match s.host.auth.permit(caller, PERMISSION, scope).map_err(|problem| problem.kind) {
        Ok(()) => {}
        Err(Kind::Unavailable) => return Looked::Unknown,
        Err(_) => return Looked::MayNot,
    }
    match sign_in::stands(&s.host, caller).await {
        Ok(true) => Looked::May,
        Ok(false) => Looked::SignedOut,
        Err(problem) => {
            tracing::debug!(error = %problem.chain(), "whether a sign-in still stands cannot be asked");
            Looked::Unknown
        }
    }
}

/// `known`: when it was last certain that it may go on.
fn refused(looked: Looked, known: &mut Instant, now: Instant) -> Option<End> {
    let why = match looked {
        Looked::May => {
            *known = now;
            return None;
        }
        Looked::Unknown if now.duration_since(*known) < UNKNOWN => return None,
        Looked::Unknown => "it is not known any more who may do this; open it again when the platform is well",
        Looked::MayNot => "the right to it was taken away",
        Looked::SignedOut => "the sign-in with which it was opened has ended",
    };
    Some(End::Failed(why.into()))
}

/// Until one side ends, nothing more goes over it, it has lasted too long, or its owner may not any more.
pub async fn carry(s: Scheduler, mut session: Session, line: Line) {
    let Line { mut from_caller, mut to_caller } = line;
    let gone = to_caller.gone();
    let (moved, last) = watch::channel(Instant::now());
    let (lives, mut alive) = watch::channel(());
    let Link { to_agent, from_agent } = &mut session.link;
    let up = async {
        while let Some(data) = from_caller.next().await {
            moved.send_replace(Instant::now());
            if to_agent.send(Ok(SessionFrame { data, ..SessionFrame::default() })).await.is_err() {
                // The agent's own word on why is on its way.
                pending::<()>().await;
            }
        }
        End::Left
    };
    let down = async {
        loop {
            let frame = tokio::select! {
                frame = from_agent.message() => frame,
                changed = alive.changed() => {
                    if changed.is_err() || !to_caller.ping().await {
                        return End::Left;
                    }
                    continue;
                }
            };
            let Ok(Some(frame)) = frame else { return away() };
            if let Some(end) = End::parse(&frame.data) {
                return end;
            }
            moved.send_replace(Instant::now());
            if !to_caller.send(frame.data).await {
                return End::Left;
            }
        }
    };
    let (mut caller, scope, began) = (session.caller.clone(), session.scope, Instant::now());
    let mut known = began;
    let bounds = async {
        loop {
            tokio::select! {
                () = s.host.cancel.cancelled() => return End::Failed("the platform is being restarted; open it again".into()),
                () = tokio::time::sleep(LOOK.min(Duration::from_secs(s.config.session_idle_seconds.into()))) => {}
            }
            if last.borrow().elapsed().as_secs() >= s.config.session_idle_seconds.into() {
                return End::Failed(format!("nothing went over it for {} s", s.config.session_idle_seconds));
            }
            if began.elapsed().as_secs() >= s.config.session_seconds.into() {
                return End::Failed(format!("it has lasted {} s, which is the most", s.config.session_seconds));
            }
            // A right for some hours counts by the clock, not by when the session began.
            caller.at = s.host.env.now();
            if let Some(end) = refused(look(&s, &caller, scope).await, &mut known, Instant::now()) {
                return end;
            }
            lives.send_replace(());
        }
    };
    let end = tokio::select! { end = down => end, end = up => end, end = bounds => end, () = gone => End::Left };
    if end != End::Left {
        // One who reads nothing must not keep open what was to end.
        let _ = tokio::time::timeout(LAST_WORD, to_caller.end(&end)).await;
    }
    sessions::close(&s, session, &end).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_outlives_a_short_time_without_knowledge_of_rights_and_no_longer() {
        let began = Instant::now();
        let mut known = began;
        let second = Duration::from_secs(1);
        assert_eq!(refused(Looked::Unknown, &mut known, began + UNKNOWN - second), None);
        assert_eq!(refused(Looked::May, &mut known, began + UNKNOWN), None);
        assert_eq!(refused(Looked::Unknown, &mut known, began + UNKNOWN + UNKNOWN - second), None);
        assert!(matches!(refused(Looked::Unknown, &mut known, began + UNKNOWN + UNKNOWN), Some(End::Failed(_))));
        for (looked, word) in [(Looked::MayNot, "right"), (Looked::SignedOut, "sign-in")] {
            assert!(matches!(refused(looked, &mut known, began), Some(End::Failed(why)) if why.contains(word)), "{looked:?}");
        }
    }
}
