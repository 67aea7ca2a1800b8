//! Between a caller's channels and a pod's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantry_kubernetes::{Client, Command, Input, Outcome, Remote, Said, Target};
use serde_json::Value;
use tokio::sync::watch;

use super::{Pipe, is_missing, path_of, send};
use crate::domain::session::{ERRORS, OUTPUT, Word};

/// Balancers before API servers close what is silent for some minutes, the strict ones for one.
const BEAT: Duration = Duration::from_secs(20);
/// Where it cannot be said that input has ended, the other side has so long after its last word.
const LINGER: Duration = Duration::from_secs(10);
/// Of input that is kept until it is known that its command runs.
const KEPT: usize = 256 << 10;
/// The end of input, as it is typed on a terminal.
const END_OF_TEXT: [u8; 1] = [4];

/// What is at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Other {
    Process { tty: bool },
    Port,
}

/// What was said to a command before it has said anything: it may have to be said again to another.
#[derive(Default)]
struct Early {
    frames: Vec<Vec<u8>>,
    bytes: usize,
    /// It was too much to be kept, or need not be.
    lost: bool,
    heard: bool,
}

impl Early {
    fn none() -> Self {
        Self { lost: true, ..Self::default() }
    }

    fn keep(&mut self, frame: &[u8]) {
        self.bytes += frame.len();
        self.lost |= self.bytes > KEPT;
        if self.lost {
            self.frames.clear();
        } else {
            self.frames.push(frame.to_vec());
        }
    }
}

/// A command; without its mark if the image has no `env`. Nothing if the caller has left; so for all of this.
pub async fn exec(client: &Client, at: &Target, run: &Command, remote: Remote, pipe: &mut Pipe) -> Option<Outcome> {
    let end = Other::Process { tty: run.tty };
    let mut early = Early::default();
    let outcome = both(remote, pipe, end, &mut early).await?;
    match &outcome {
        Outcome::Failed(why) if !early.heard && !early.lost && is_missing(why, "env") => {}
        _ => return Some(outcome),
    }
    let mut remote = match client.exec(at, run).await {
        Ok(remote) => remote,
        Err(trouble) => return Some(Outcome::Failed(trouble.to_string())),
    };
    for frame in &early.frames {
        write(&mut remote.input, frame, end).await;
    }
    both(remote, pipe, end, &mut Early::none()).await
}

/// All else.
pub async fn carry(remote: Remote, end: Other, pipe: &mut Pipe) -> Option<Outcome> {
    both(remote, pipe, end, &mut Early::none()).await
}

async fn both(remote: Remote, pipe: &mut Pipe, end: Other, early: &mut Early) -> Option<Outcome> {
    let Remote { mut input, mut output } = remote;
    let Pipe { to, from } = pipe;
    let to = &*to;
    let heard = AtomicBool::new(false);
    let (ended, mut was) = watch::channel(false);
    let lingers = !input.ends() && end != Other::Process { tty: true };
    let up = async {
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
        loop {
            tokio::select! {
                frame = from.recv() => {
                    let Some(Ok(frame)) = frame else { return };
                    if !heard.load(Ordering::Relaxed) {
                        early.keep(&frame.data);
                    }
                    if Word::parse(&frame.data) == Some(Word::End) {
                        ended.send_replace(true);
                    }
                    if !write(&mut input, &frame.data, end).await {
                        // How it ended is on its way.
                        std::future::pending::<()>().await;
                    }
                }
                _ = beat.tick() => {
                    input.ping().await;
                }
            }
        }
    };
    let down = async {
        loop {
            let said = tokio::select! {
                said = output.next() => said,
                () = silence(&mut was), if lingers => return Some(silent(end)),
            };
            let (channel, bytes) = match said {
                Said::Stdout(bytes) => (OUTPUT, bytes),
                Said::Stderr(bytes) => (ERRORS, bytes),
                Said::Done(outcome) => return Some(outcome),
            };
            heard.store(true, Ordering::Relaxed);
            if !send(to, channel, &bytes).await {
                return None;
            }
        }
    };
    // Seen also while nothing is taken in, when nothing is asked of `from`.
    let outcome = tokio::select! { end = down => end, () = up => None, () = to.closed() => None };
    early.heard = heard.load(Ordering::Relaxed);
    outcome
}

/// Since input has ended, or since the last word if that was later.
async fn silence(ended: &mut watch::Receiver<bool>) {
    if ended.wait_for(|ended| *ended).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(LINGER).await;
}

fn silent(end: Other) -> Outcome {
    match end {
        // Whoever forwards a port has closed its connection, and gets no answer any more.
        Other::Port => Outcome::Closed,
        Other::Process { .. } => Outcome::Failed(
            "this cluster cannot be told that input has ended (Kubernetes before 1.30), and the command says nothing more; use a terminal".into(),
        ),
    }
}

async fn write(input: &mut Input, frame: &[u8], end: Other) -> bool {
    match Word::parse(frame) {
        Some(Word::Bytes(bytes)) => input.write(bytes).await,
        Some(Word::End) if !input.ends() && end == Other::Process { tty: true } => input.write(&END_OF_TEXT).await,
        Some(Word::End) => input.end().await,
        Some(Word::Size { width, height }) if end != Other::Port => input.size(width, height).await,
        Some(Word::Size { .. }) | None => true,
    }
}

fn status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let all = ["containerStatuses", "initContainerStatuses"].into_iter().filter_map(|list| pod["status"][list].as_array());
    all.flatten().find(|c| c["name"] == container)
}

/// How often a container has been started again.
pub fn restarts(pod: &Value, container: &str) -> u64 {
    status(pod, container).and_then(|c| c["restartCount"].as_u64()).unwrap_or(0)
}

/// Of a container whose streams have ended, if it has ended, too: the kubelet tells it a moment later.
pub async fn exit_code(client: &Client, at: &Target, restarts_before: u64) -> Option<i32> {
    for _ in 0..10 {
        let pod = client.get(&path_of(at)).await.ok()?;
        let container = status(&pod, &at.container)?;
        let state = if restarts(&pod, &at.container) > restarts_before { "lastState" } else { "state" };
        if let Some(code) = container[state]["terminated"]["exitCode"].as_i64() {
            return i32::try_from(code).ok();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_said_too_early_is_kept_as_long_as_it_is_little() {
        let mut early = Early::default();
        early.keep(&[0; 10]);
        early.keep(&[0; 20]);
        assert_eq!((early.frames.len(), early.lost), (2, false));
        early.keep(&vec![0; KEPT]);
        assert!(early.lost && early.frames.is_empty());
    }

    #[test]
    fn a_container_is_found_among_the_pods() {
        let pod = json!({"status": {"containerStatuses": [{"name": "side", "restartCount": 9}, {"name": "web", "restartCount": 2}]}});
        assert_eq!((restarts(&pod, "web"), restarts(&pod, "none"), restarts(&json!({}), "web")), (2, 0, 0));
    }
}
