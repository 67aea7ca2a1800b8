//! Which upstreams are to be synchronised now, and how many go at once. A synchronisation keeps a connection of the database (its lease)
//! for as long as the other side takes, so there are few rooms; those of the platform are not for organisations, whose servers may be
//! slow on purpose. Asked by the timer and by whoever wants one now.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use gantry_kernel::{OffsetDateTime, Uuid};
use time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Upstream;
use super::renew::asks_later;

/// Of so many connections of the database, one is for upstreams of the platform and one for those of organisations.
const SHARE: u32 = 5;

pub struct Rooms {
    platform: Arc<Semaphore>,
    orgs: Arc<Semaphore>,
    freed: Arc<Notify>,
}

/// Held while a synchronisation goes on.
pub struct Room {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Notify>,
    used: bool,
}

impl Room {
    /// A synchronisation has begun in it: its end is news to whoever waits for a room. That somebody looked in and went away is none, or the
    /// timer would wake itself for as long as another replica, or a long run here, holds the lease of an upstream whose time has come.
    pub fn begun(&mut self) {
        self.used = true;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Free before it is said.
        self.permit = None;
        if self.used {
            self.freed.notify_one();
        }
    }
}

impl Rooms {
    /// `connections`: how many the service has to its database.
    pub fn new(connections: u32) -> Self {
        let each = (connections / SHARE).max(1) as usize;
        let platform = Arc::new(Semaphore::new(each));
        // With very few connections there is one room for all.
        let orgs = if connections < SHARE { platform.clone() } else { Arc::new(Semaphore::new(each)) };
        Self { platform, orgs, freed: Arc::default() }
    }

    /// A room, given back on drop; `None`: all are taken.
    pub fn take(&self, of_an_org: bool) -> Option<Room> {
        let rooms = if of_an_org { &self.orgs } else { &self.platform };
        let permit = rooms.clone().try_acquire_owned().ok()?;
        Some(Room { permit: Some(permit), freed: self.freed.clone(), used: false })
    }

    /// Waits until a synchronisation has left its room since the last time.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// Those whose time has come, the one that has waited longest first, so that nobody is always passed over. `last`: when each was begun.
pub fn due(all: Vec<Upstream>, last: &HashMap<Uuid, OffsetDateTime>, now: OffsetDateTime) -> Vec<Upstream> {
    let over = |of: &Upstream| {
        let settings = &of.settings;
        let kept = (of.is_directory() || asks_later(of)) && settings.enabled && settings.sync_minutes > 0;
        let since = last.get(&of.id.0).map_or(Duration::MAX, |at| now - *at);
        (kept && since >= Duration::minutes(settings.sync_minutes.into())).then_some(since)
    };
    let mut found: Vec<(Duration, Upstream)> = all.into_iter().filter_map(|of| over(&of).map(|since| (since, of))).collect();
    found.sort_by_key(|(since, _)| Reverse(*since));
    found.into_iter().map(|(_, of)| of).collect()
}

#[cfg(test)]
mod tests {
    use gantry_contract::upstream::Settings;
    use gantry_kernel::UpstreamId;

    use super::*;
    use crate::domain::upstream::settings::tests::ldap;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn upstream(id: u128, settings: Settings) -> Upstream {
        let id = UpstreamId(Uuid::from_u128(id));
        Upstream { id, org: None, name: id.to_string(), settings: Arc::new(settings), secret: None, version: 1, created_at: NOW, changed_at: NOW }
    }

    #[test]
    fn who_has_waited_longest_comes_first_and_who_need_not_does_not_come() {
        let every = |sync_minutes| Settings { sync_minutes, ..ldap() };
        let all = vec![
            upstream(1, every(5)),
            upstream(2, every(60)),
            upstream(3, every(5)),
            upstream(4, every(0)),
            upstream(5, Settings { enabled: false, ..every(5) }),
            upstream(6, every(5)),
        ];
        let ago = |minutes| NOW - Duration::minutes(minutes);
        let last: HashMap<Uuid, OffsetDateTime> = [(1, ago(6)), (2, ago(59)), (3, ago(50))].map(|(n, at)| (Uuid::from_u128(n), at)).into();
        let order: Vec<u128> = due(all, &last, NOW).into_iter().map(|u| u.id.0.as_u128()).collect();
        assert_eq!(order, [6, 3, 1]);
    }

    #[test]
    fn organisations_take_no_room_of_the_platform() {
        let rooms = Rooms::new(10);
        let held: Vec<_> = std::iter::from_fn(|| rooms.take(true)).collect();
        assert_eq!(held.len(), 2);
        let own = rooms.take(false);
        assert!(own.is_some() && rooms.take(true).is_none());
        drop(held);
        assert!(rooms.take(true).is_some());
    }

    #[tokio::test]
    async fn who_waits_for_a_room_hears_that_one_is_free() {
        let rooms = Rooms::new(2);
        let mut held = rooms.take(false);
        let mut waits = std::pin::pin!(rooms.freed());
        assert!(futures::poll!(&mut waits).is_pending());
        held.as_mut().unwrap().begun();
        drop(held);
        assert!(futures::poll!(&mut waits).is_ready() && rooms.take(false).is_some());
    }

    #[tokio::test]
    async fn who_looked_in_and_began_nothing_wakes_nobody() {
        let rooms = Rooms::new(10);
        drop(rooms.take(false));
        let mut waits = std::pin::pin!(rooms.freed());
        assert!(futures::poll!(&mut waits).is_pending());
        assert!(rooms.take(false).is_some(), "it is free nevertheless");
    }

    #[test]
    fn with_few_connections_there_is_one_room() {
        let rooms = Rooms::new(2);
        let held = rooms.take(true);
        assert!(held.is_some() && rooms.take(false).is_none());
        drop(held);
        assert!(rooms.take(false).is_some());
    }
}
