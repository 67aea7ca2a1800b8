//! Hears from the kernel that a container has printed something (inotify(7)), so that quiet log files need not be read over and over.
//! Where the kernel gives no such sign (no watches are left, the folder is not there yet) whoever asks looks by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use gantry_kernel::InstanceId;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of events that are taken in at once; one is 16 and the name of a file.
const EVENTS: usize = 4096;

/// Who may have printed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Printed {
    By(BTreeSet<InstanceId>),
    /// It is not known who.
    Anybody,
}

impl Printed {
    pub fn nobody() -> Self {
        Self::By(BTreeSet::new())
    }

    pub fn has(&self, id: InstanceId) -> bool {
        match self {
            Self::By(some) => some.contains(&id),
            Self::Anybody => true,
        }
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::By(mut some), Self::By(more)) => {
                some.extend(more);
                Self::By(some)
            }
            _ => Self::Anybody,
        }
    }
}

pub struct LogBell {
    kernel: Option<AsyncFd<OwnedFd>>,
    watched: BTreeMap<InstanceId, i32>,
}

impl LogBell {
    pub fn open() -> Self {
        let kernel = open().map_err(|error| tracing::info!(%error, "log files are looked at by the clock: the kernel does not tell what is written")).ok();
        Self { kernel, watched: BTreeMap::new() }
    }

    /// Listens to the log folders of these instances below `logs` and to no others. Gives those that will not be heard.
    pub fn listen(&mut self, logs: &Path, instances: &BTreeSet<InstanceId>) -> BTreeSet<InstanceId> {
        let Some(kernel) = &self.kernel else { return instances.clone() };
        self.watched.retain(|id, watch| {
            let stays = instances.contains(id);
            if !stays {
                // Only fails when the folder is gone, and the watch with it.
                let _ = inotify::remove_watch(kernel.get_ref(), *watch);
            }
            stays
        });
        let mut deaf = BTreeSet::new();
        for id in instances.iter().filter(|id| !self.watched.contains_key(id)).copied().collect::<Vec<_>>() {
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            match inotify::add_watch(kernel.get_ref(), logs.join(id.to_string()), flags) {
                Ok(watch) => drop(self.watched.insert(id, watch)),
                Err(_) => drop(deaf.insert(id)),
            }
        }
        deaf
    }

    /// As soon as somebody has printed something. Nothing is lost when this is not waited for to its end.
    pub async fn rung(&mut self) -> Printed {
        let Some(kernel) = &self.kernel else { return pending().await };
        let events = loop {
            let Ok(mut ready) = kernel.readable().await else { break None };
            if let Ok(read) = ready.try_io(|kernel| events(kernel.get_ref())) {
                break read.ok();
            }
        };
        self.taken_in(events)
    }

    /// What was printed by now, without waiting.
    pub fn now(&mut self) -> Printed {
        let mut printed = Printed::nobody();
        while let Some(read) = self.kernel.as_ref().map(|kernel| events(kernel.get_ref())) {
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Printed::Anybody,
                Ok(read) => printed = printed.and(self.taken_in(Some(read))),
            }
        }
        printed
    }

    fn taken_in(&mut self, events: Option<Vec<(i32, ReadFlags)>>) -> Printed {
        let Some(events) = events else { return Printed::Anybody };
        let mut by = BTreeSet::new();
        for (watch, what) in events {
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                return Printed::Anybody;
            }
            let Some(id) = self.watched.iter().find(|(_, w)| **w == watch).map(|(id, _)| *id) else { continue };
            if what.contains(ReadFlags::IGNORED) {
                // The folder is gone; another one of its name is another watch.
                self.watched.remove(&id);
            }
            by.insert(id);
        }
        Printed::By(by)
    }
}

fn open() -> io::Result<AsyncFd<OwnedFd>> {
    let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    #[allow(deprecated, reason = "its successor is unsafe for types that change their descriptor, which an OwnedFd does not")]
    let kernel = AsyncFd::with_interest(kernel, Interest::READABLE)?;
    Ok(kernel)
}

/// At least one: the watch and what happened there.
fn events(kernel: &OwnedFd) -> io::Result<Vec<(i32, ReadFlags)>> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); EVENTS];
    let mut reader = inotify::Reader::new(kernel, &mut buffer);
    let mut read = Vec::new();
    loop {
        let event = reader.next()?;
        read.push((event.wd(), event.events()));
        if reader.is_buffer_empty() {
            return Ok(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantry_kernel::Uuid;

    use super::*;

    fn id(n: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(n))
    }

    fn by(some: impl IntoIterator<Item = u128>) -> Printed {
        Printed::By(some.into_iter().map(id).collect())
    }

    #[tokio::test]
    async fn who_prints_is_heard_and_who_is_quiet_or_gone_is_not() {
        let logs = tempfile::tempdir().unwrap();
        let file = |n: u128| logs.path().join(id(n).to_string()).join("0.log");
        for n in [1, 2] {
            std::fs::create_dir(logs.path().join(id(n).to_string())).unwrap();
        }
        let mut bell = LogBell::open();
        assert_eq!(bell.listen(logs.path(), &[1, 2, 3].map(id).into()), BTreeSet::from([id(3)]), "it has no folder yet");
        assert_eq!(bell.now(), Printed::nobody());
        std::fs::write(file(1), "one\n").unwrap();
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), bell.rung()).await.unwrap(), by([1]));
        std::fs::write(file(1), "one\ntwo\n").unwrap();
        std::fs::write(file(2), "one\n").unwrap();
        assert_eq!(bell.now(), by([1, 2]));
        assert!(tokio::time::timeout(Duration::from_millis(50), bell.rung()).await.is_err(), "quiet again");
        assert!(bell.listen(logs.path(), &[2].map(id).into()).is_empty());
        bell.now();
        std::fs::write(file(1), "").unwrap();
        assert_eq!(bell.now(), Printed::nobody(), "nobody listens to it");
    }

    #[test]
    fn what_is_not_known_is_anybody() {
        assert_eq!(by([1]).and(by([2])), by([1, 2]));
        assert_eq!(by([1]).and(Printed::Anybody), Printed::Anybody);
        assert!(Printed::Anybody.has(id(9)) && by([1]).has(id(1)) && !by([1]).has(id(2)));
    }
}
