//! The log's twin in memory, for unit tests: same order, same version check, nothing durable.

use std::collections::HashMap;

use gantry_kernel::{OffsetDateTime, Uuid};

use crate::{Meta, NewEvent, Recorded, StreamId};

/// Appends and reads like the real log.
#[derive(Default)]
pub struct MemoryLog {
    events: Vec<Recorded>,
    versions: HashMap<StreamId, i64>,
}

impl MemoryLog {
    /// Appends to one stream; `expected` is the version the writer has seen, 0 for none.
    ///
    /// # Errors
    /// The stream's present version, if it is another.
    pub fn append(&mut self, stream: &StreamId, expected: i64, events: Vec<NewEvent>, meta: &Meta, at: OffsetDateTime) -> Result<(), i64> {
        let version = self.versions.entry(stream.clone()).or_default();
        if *version != expected {
            return Err(*version);
        }
        for event in events {
            *version += 1;
            let position = i64::try_from(self.events.len()).unwrap_or(i64::MAX) + 1;
            self.events.push(Recorded {
                position,
                stream: stream.clone(),
                version: *version,
                id: Uuid::from_u128(position.unsigned_abs().into()),
                kind: event.kind,
                kind_version: event.kind_version,
                data: event.data,
                meta: meta.clone(),
                at,
                origin: "memory".into(),
            });
        }
        Ok(())
    }

    pub fn stream<'a>(&'a self, stream: &'a StreamId) -> impl Iterator<Item = &'a Recorded> {
        self.events.iter().filter(move |e| e.stream == *stream)
    }

    pub fn all(&self) -> &[Recorded] {
        &self.events
    }
}
