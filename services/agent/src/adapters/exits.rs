//! Hears from the kernel when a container's process ends, so that the runtime need not be asked over and over. Works with every
//! runtime whose containers are processes of this machine; for others the keeper goes on asking.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_cri::{ContainerState, Cri};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The runtime learns of an end a moment after the kernel; if it does not within this time, asking it often is of no use either.
const RUNTIME_KNOWS_WITHIN: Duration = Duration::from_secs(5);

/// Between two attempts to listen to a container.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// How well the end of a container will be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// One has ended and the runtime does not say so yet.
    Overdue,
    /// The end of each will be heard.
    Good,
    /// At least one is not listened to.
    Deaf,
}

#[derive(Clone, Copy, Debug)]
enum State {
    NotYet,
    Listening,
    Ended(Instant),
}

struct Watched {
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

/// The running containers being listened to.
pub struct Exits {
    cri: Cri,
    wake: Arc<Notify>,
    tracker: TaskTracker,
    cancel: CancellationToken,
    watched: BTreeMap<String, Watched>,
}

impl Exits {
    /// `wake` is told whenever a container's process ends.
    pub fn new(cri: Cri, wake: Arc<Notify>, tracker: TaskTracker, cancel: CancellationToken) -> Self {
        Self { cri, wake, tracker, cancel, watched: BTreeMap::new() }
    }

    /// Listens to these containers, which the runtime says are running, and to no others.
    pub fn watch<'a>(&mut self, running: impl IntoIterator<Item = &'a str>) -> Hearing {
        let mut before = std::mem::take(&mut self.watched);
        let mut hearing = Hearing::Good;
        for container in running {
            let watched = before.remove(container).unwrap_or_else(|| self.start(container.to_owned()));
            match *watched.state.lock().unwrap_or_else(PoisonError::into_inner) {
                State::Ended(at) if at.elapsed() < RUNTIME_KNOWS_WITHIN => hearing = Hearing::Overdue,
                State::NotYet | State::Ended(_) if hearing == Hearing::Good => hearing = Hearing::Deaf,
                State::NotYet | State::Ended(_) | State::Listening => {}
            }
            self.watched.insert(container.to_owned(), watched);
        }
        for gone in before.into_values() {
            gone.stop.cancel();
        }
        hearing
    }

    fn start(&self, container: String) -> Watched {
        let watched = Watched { state: Arc::new(Mutex::new(State::NotYet)), stop: self.cancel.child_token() };
        let (cri, wake, state, stop) = (self.cri.clone(), self.wake.clone(), watched.state.clone(), watched.stop.clone());
        let set = move |now| *state.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let listening = async move {
            let process = at_last(&container, || open(&cri, &container)).await;
            set(State::Listening);
            // Readable once the process has ended (pidfd_open(2)).
            let _ = process.readable().await;
            set(State::Ended(Instant::now()));
            wake.notify_one();
        };
        self.tracker.spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = listening => {} }
        });
        watched
    }
}

/// What cannot be listened to now is tried again with growing pauses: a runtime that was slow, or away, does not make the node deaf for as long
/// as its containers run.
async fn at_last<T, F: Future<Output = io::Result<T>>>(container: &str, open: impl Fn() -> F) -> T {
    let mut pause = FIRST_PAUSE;
    loop {
        match open().await {
            Ok(opened) => return opened,
            Err(error) => tracing::debug!(container, %error, "the container's end will be seen by asking the runtime"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// The process of a running container.
async fn open(cri: &Cri, container: &str) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = pid(cri, container).await?;
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    // Had it ended before it was opened, the number could be somebody else's by now.
    if self::pid(cri, container).await? != pid {
        return Err(io::ErrorKind::NotFound.into());
    }
    #[allow(deprecated, reason = "its successor is unsafe for types that change their descriptor, which an OwnedFd does not")]
    AsyncFd::with_interest(process, Interest::READABLE)
}

async fn pid(cri: &Cri, container: &str) -> io::Result<u32> {
    let status = cri.container_status(container).await.map_err(io::Error::other)?;
    status.pid.filter(|_| status.state == ContainerState::Running).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no process on this machine"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_container_that_cannot_be_listened_to_at_first_is_heard_later() {
        let (tries, began) = (Cell::new(0), Instant::now());
        let open = || {
            tries.set(tries.get() + 1);
            let tried = tries.get();
            async move { if tried < 10 { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(tried) } }
        };
        assert_eq!(at_last("c", open).await, 10);
        let waited = 3 * LAST_PAUSE + Duration::from_secs(1 + 2 + 4 + 8 + 16 + 32);
        assert!((waited..waited + FIRST_PAUSE).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
