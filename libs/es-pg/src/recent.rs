//! The newest events of this process, kept so that those who follow the log need not read back what was just written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_es::Recorded;

/// Events kept at most, and bytes of their data. Whoever follows the log falls behind while it is written fast; to read each event back
/// then would cost most when there is most to do.
const EVENTS: usize = 12_000;
const BYTES: usize = 8 << 20;

/// A piece of the log without gaps, up to the last append of this process.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    events: VecDeque<Arc<Recorded>>,
    bytes: usize,
}

impl Recent {
    /// What was committed just now, in order.
    pub fn add<'a>(&self, events: impl Iterator<Item = &'a Arc<Recorded>>) {
        // Freed after the lock is given back: followers read here while the log is written.
        let mut gone = Vec::new();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            // Another replica wrote in between: what is kept no longer leads up to here.
            if kept.events.back().is_some_and(|last| last.position + 1 != event.position) {
                gone.extend(std::mem::take(&mut *kept).events);
            }
            kept.bytes += event.data.as_str().len();
            kept.events.push_back(event.clone());
        }
        while kept.events.len() > EVENTS || kept.bytes > BYTES {
            let Some(oldest) = kept.events.pop_front() else { break };
            kept.bytes -= oldest.data.as_str().len();
            gone.push(oldest);
        }
        drop(kept);
    }

    /// Events after `position`, at most `limit`; none: the log itself has to be asked.
    pub fn after(&self, position: i64, limit: usize) -> Vec<Arc<Recorded>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = kept.events.front() else { return Vec::new() };
        let Ok(skip) = usize::try_from(position + 1 - first.position) else { return Vec::new() };
        kept.events.range(skip.min(kept.events.len())..).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::{Json, Meta, StreamId};
    use gantry_kernel::{OffsetDateTime, Uuid};

    use super::*;

    fn event(position: i64, bytes: usize) -> Arc<Recorded> {
        Arc::new(Recorded {
            position,
            stream: StreamId::new("thing", 1),
            version: position,
            id: Uuid::nil(),
            kind: "thing.done".into(),
            kind_version: 1,
            data: Json::from(serde_json::Value::from("x".repeat(bytes))),
            meta: Meta::system(),
            at: OffsetDateTime::UNIX_EPOCH,
            origin: "test".into(),
        })
    }

    fn positions(recent: &Recent, after: i64, limit: usize) -> Vec<i64> {
        recent.after(after, limit).iter().map(|e| e.position).collect()
    }

    #[test]
    fn only_what_follows_without_a_gap_is_given() {
        let recent = Recent::default();
        assert!(positions(&recent, 0, 10).is_empty());
        recent.add([event(5, 1), event(6, 1), event(7, 1)].iter());
        assert!(positions(&recent, 3, 10).is_empty(), "4 is not here");
        assert_eq!(positions(&recent, 4, 2), [5, 6]);
        assert_eq!(positions(&recent, 6, 10), [7]);
        assert!(positions(&recent, 7, 10).is_empty());
        assert!(positions(&recent, 9, 10).is_empty());
        recent.add([event(9, 1)].iter());
        assert!(positions(&recent, 6, 10).is_empty(), "8 was written by somebody else");
        assert_eq!(positions(&recent, 8, 10), [9]);
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_and_by_size() {
        let recent = Recent::default();
        recent.add((1..=13_000).map(|n| event(n, 1)).collect::<Vec<_>>().iter());
        assert!(positions(&recent, 0, 1).is_empty());
        assert_eq!(positions(&recent, 1_000, 1), [1_001]);
        recent.add((13_001..=13_004).map(|n| event(n, 4 << 20)).collect::<Vec<_>>().iter());
        assert!(positions(&recent, 13_000, 9).is_empty());
        assert_eq!(positions(&recent, 13_003, 9), [13_004]);
    }
}
