//! An instance that moves: frozen and given away by one node, taken by another. The giving session is the hold on the frozen one: it
//! ends when the other runs (`moved`), and in every other case it runs on where it stood.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_contract::proto::scheduler as wire;
use gantry_kernel::InstanceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::{CLOSE, INPUT, OUTPUT, Pipe, Refused, Sessions};
use crate::adapters::checkpoints::{CheckpointError, Checkpoints, Frozen};
use crate::app::keeper::chain;
use crate::domain::acts::Act;
use crate::domain::wanted::staying;

const PIECE: usize = 64 << 10;
/// What the scheduler says when the instance runs elsewhere.
const MOVED: &[u8] = b"moved";
/// The runtime is asked so often to end what has moved, a second apart.
const STOP_TRIES: u32 = 5;
/// The word that the instance is to stop comes after that it runs elsewhere.
const WORD: Duration = Duration::from_secs(60);
/// What was taken, and what nobody wants to go on here after this time, was given up by the scheduler.
const UNCLAIMED: Duration = Duration::from_secs(600);

impl From<CheckpointError> for Refused {
    fn from(error: CheckpointError) -> Self {
        Self(chain(&error))
    }
}

/// The keeper leaves the instance alone while this is there.
struct Held {
    all: watch::Sender<BTreeSet<InstanceId>>,
    id: InstanceId,
}

impl Held {
    fn new(all: &watch::Sender<BTreeSet<InstanceId>>, id: InstanceId) -> Option<Self> {
        let held = all.send_if_modified(|all| all.insert(id));
        held.then(|| Self { all: all.clone(), id })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.send_modify(|all| {
            all.remove(&self.id);
        });
    }
}

impl Sessions {
    /// Freezes the instance, sends what was taken of it and closes the channel; then waits for how it went.
    pub(super) async fn give(&self, id: InstanceId, container: &str, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
        let wanted = self.wanted(id).ok_or_else(|| Refused("the instance is about to go".into()))?;
        may_move(&wanted).map_err(Refused)?;
        let process = self.first_process(container).await?;
        let held = Held::new(&self.shared.held, id).ok_or_else(|| Refused("it is being moved already".into()))?;
        // What it was doing with it has to be seen by the keeper, or is over.
        self.shared.wake.notify_one();
        let frozen = self.checkpoints.freeze(container, process, &wanted.runtime_class).await?;
        let told = async { if sent(&self.checkpoints, &frozen, pipe).await? { Ok(moved(pipe).await) } else { Ok::<bool, Refused>(false) } };
        let moved = tokio::select! {
            moved = told => moved,
            // The agent ends, and nobody would let it go on.
            () = self.cancel.cancelled() => Ok(false),
        };
        let moved = match moved {
            Ok(moved) => moved,
            Err(error) => {
                self.checkpoints.thaw(frozen).await?;
                return Err(error);
            }
        };
        if !moved {
            self.checkpoints.thaw(frozen).await?;
            return Ok(Some(1));
        }
        // It runs elsewhere: this one must not go on by any means, also not by the next agent if this one ends now. Killed, a frozen one ends
        // without having run again.
        self.checkpoints.ended(frozen).await;
        let mut stopped = self.cri.stop_container(container, Duration::ZERO).await;
        for _ in 1..STOP_TRIES {
            if stopped.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            stopped = self.cri.stop_container(container, Duration::ZERO).await;
        }
        self.shared.acts.record(Act::of_instance("engine.stopped", id, Some(&wanted), stopped.as_ref().err().map(|error| chain(error))));
        let (shared, cancel) = (self.shared.clone(), self.cancel.clone());
        self.tracker.spawn(async move {
            let mut word = shared.wanted.subscribe();
            let stops = async {
                // It only fails when the agent ends.
                let _ = word.wait_for(|w| w.as_ref().is_none_or(|w| w.instances.get(&id).is_none_or(|i| i.stopping))).await.is_ok();
            };
            // Let go too early, it would be started anew.
            tokio::select! { () = stops => {}, () = tokio::time::sleep(WORD) => {}, () = cancel.cancelled() => {} }
            drop(held);
            shared.wake.notify_one();
        });
        // Where it is not stopped it stands frozen, until the word comes by which the keeper takes it away.
        stopped?;
        Ok(Some(0))
    }

    /// Says that it can, and takes what was taken elsewhere for an instance that is about to be wanted here.
    pub(super) async fn take_checkpoint(&self, id: InstanceId, pipe: &mut Pipe) -> Result<Option<i32>, Refused> {
        self.checkpoints.able("").await?;
        pipe.send(OUTPUT, b"ready").await;
        let mut unpacking = self.checkpoints.unpacking(id).await?;
        let mut into = unpacking.stdin.take().ok_or_else(|| Refused("nothing can be unpacked".into()))?;
        loop {
            let Ok(Some(frame)) = pipe.from.message().await else {
                self.checkpoints.broken_off(id, unpacking).await;
                return Ok(None);
            };
            match frame.data.split_first() {
                // It says why it takes no more when it is asked.
                Some((&INPUT, bytes)) if into.write_all(bytes).await.is_err() => break,
                Some((&CLOSE, [INPUT])) => break,
                _ => {}
            }
        }
        drop(into);
        self.checkpoints.taken(id, unpacking).await?;
        let (checkpoints, shared, cancel) = (self.checkpoints.clone(), self.shared.clone(), self.cancel.clone());
        self.tracker.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(UNCLAIMED) => {}
            }
            let wanted = shared.wanted.borrow().as_ref().is_some_and(|w| w.instances.contains_key(&id));
            if !wanted {
                checkpoints.forget(id).await;
            }
        });
        Ok(Some(0))
    }

    fn wanted(&self, id: InstanceId) -> Option<wire::WantedInstance> {
        let wanted = self.shared.wanted.borrow().clone()?;
        wanted.instances.get(&id).filter(|i| !i.stopping).cloned()
    }
}

/// What is not carried along, if the instance has any of it.
fn may_move(wanted: &wire::WantedInstance) -> Result<(), String> {
    let refused = [
        (staying(wanted).next().is_some(), "it has further containers, and only what runs alone is moved as it is"),
        (wanted.tty, "it has a terminal (`tty`), which stays with its node"),
        (wanted.fenced, "it must never run twice (`fenced`), and for a moment there would be two of it"),
        (!wanted.nics.is_empty(), "it has interfaces in networks of its node, which it would find changed"),
        (!wanted.devices.is_empty(), "it has devices of its node"),
    ];
    let why = refused.iter().find(|(is, _)| *is);
    why.map_or(Ok(()), |(_, why)| Err(format!("{why}; move it by `gantry node drain` or restart it instead")))
}

/// False if nobody takes it.
async fn sent(checkpoints: &Checkpoints, frozen: &Frozen, pipe: &Pipe) -> Result<bool, Refused> {
    let mut packing = checkpoints.packing(frozen)?;
    let mut from = packing.stdout.take().ok_or_else(|| Refused("nothing can be packed".into()))?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await.map_err(|e| Refused(e.to_string()))?;
        if count == 0 {
            break;
        }
        if !pipe.send(OUTPUT, &piece[..count]).await {
            return Ok(false);
        }
    }
    if !packing.wait().await.is_ok_and(|status| status.success()) {
        return Err(Refused("what was taken of it could not be read back".into()));
    }
    Ok(pipe.send(CLOSE, &[OUTPUT]).await)
}

/// False also if the scheduler has gone away: then it is not known, and what is known to run is this one.
async fn moved(pipe: &mut Pipe) -> bool {
    while let Ok(Some(frame)) = pipe.from.message().await {
        match frame.data.split_first() {
            Some((&INPUT, word)) => return word == MOVED,
            Some((&CLOSE, _)) => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_be_the_same_elsewhere_is_not_moved() {
        assert_eq!(may_move(&wire::WantedInstance::default()), Ok(()));
        let beside = wire::WantedInstance { sidecars: vec![wire::WantedInstance::default()], ..Default::default() };
        assert!(may_move(&beside).is_err_and(|why| why.contains("further containers")));
        assert!(may_move(&wire::WantedInstance { fenced: true, ..Default::default() }).is_err_and(|why| why.contains("fenced")));
    }

    #[test]
    fn one_hold_at_a_time_and_it_ends_with_its_session() {
        let all = watch::Sender::new(BTreeSet::new());
        let id = InstanceId(gantry_kernel::Uuid::from_u128(1));
        let held = Held::new(&all, id);
        assert!(held.is_some() && Held::new(&all, id).is_none() && all.borrow().contains(&id));
        drop(held);
        assert!(all.borrow().is_empty() && Held::new(&all, id).is_some());
    }
}
