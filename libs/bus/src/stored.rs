//! What a service's stream holds, told by the stream itself, and how it becomes a true copy of the log again: what is no event is taken out,
//! and a stream in which events are missing is emptied, so that the relay fills it anew. Only the relay, which holds the lease, does so.

use anyhow::{Context, bail};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, Info, LastRawMessageErrorKind, Stream};
use gantry_es_pg::Log;
use gantry_kernel::Uuid;

use crate::message::{id_of, position_of};

/// Where a stream ends: which event is its last, and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub position: i64,
    /// The last that was given out, whether or not its message is still there: the next message follows this one.
    pub sequence: u64,
    /// The event's id; nil for an empty stream.
    pub event: Uuid,
}

/// A stream at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub stored: Stored,
    /// How many messages there are.
    pub messages: u64,
    /// It keeps whatever it is given, as the streams of events are made. An operator may have set it a limit, and then the oldest are gone by design.
    pub whole: bool,
}

impl Found {
    /// Positions have no gaps, so the last one says how many there should be. A store that lost a block in its middle, or of which somebody
    /// deleted a message, still ends with the right event, and whoever has to read past the hole would wait for ever.
    pub fn missing(&self) -> bool {
        self.whole && self.messages < self.stored.position.unsigned_abs()
    }
}

/// Where it stands.
///
/// # Errors
/// When the server does not answer, or the last message is no event.
pub(crate) async fn look(stream: &Stream) -> anyhow::Result<Found> {
    let info = stream.get_info().await?;
    let last = last_of(stream, &info).await?;
    found(&info, last.as_ref()).context("the stream's last message is no event")
}

/// The stream's place behind which the log's next event belongs, after what must not be there was taken out.
///
/// # Errors
/// When the server does not answer, or the stream is not this log's.
pub(crate) async fn sound(stream: &Stream, log: &Log) -> anyhow::Result<Stored> {
    let found = loop {
        let info = stream.get_info().await?;
        let last = last_of(stream, &info).await?;
        if let Some(found) = found(&info, last.as_ref()) {
            break found;
        }
        // Somebody tried the bus out, say. It stands where the next event belongs, and every subscriber stands before it.
        if let Some(stray) = last {
            let subject = stray.subject.as_str();
            tracing::warn!(service = log.origin(), subject, sequence = stray.sequence, "a message that is no event is taken out of the stream of events");
            stream.delete_message(stray.sequence).await?;
        }
    };
    let Found { stored, messages, .. } = found;
    let (of, head, position) = (log.origin(), log.head(), stored.position);
    if position > head {
        bail!("the stream of {of} is at position {position}, its log only at {head}: was the database restored? Delete the stream to fill it anew");
    }
    // A log that was restored and has grown past the stream since: what follows would stand on events that it does not have.
    if position > 0 && !has(log, &stored).await? {
        bail!("the stream of {of} has another event at position {position} than its log: was the database restored? Delete the stream to fill it anew");
    }
    if !found.missing() {
        return Ok(stored);
    }
    tracing::warn!(service = of, messages, position, "events are missing in the stream; it is emptied and filled anew from the log");
    stream.purge().await.context("the stream cannot be emptied")?;
    Ok(look(stream).await?.stored)
}

/// Whether the event that the stream ends with is the log's.
async fn has(log: &Log, at: &Stored) -> anyhow::Result<bool> {
    let there = log.read_shared(at.position - 1, 1).await?;
    Ok(there.first().is_some_and(|event| (event.position, event.id) == (at.position, at.event)))
}

/// The last message that is still there.
async fn last_of(stream: &Stream, info: &Info) -> anyhow::Result<Option<StreamMessage>> {
    if info.state.messages == 0 {
        return Ok(None);
    }
    if let Ok(message) = stream.get_raw_message(info.state.last_sequence).await {
        return Ok(Some(message));
    }
    // The last one was deleted: the one before it counts. Streams of events have one subject, with a wildcard.
    let subject = info.config.subjects.first().context("the stream has no subject")?;
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error).context("the stream's last message cannot be read"),
    }
}

/// Nothing when the last message is no event.
fn found(info: &Info, last: Option<&StreamMessage>) -> Option<Found> {
    let sequence = info.state.last_sequence;
    let stored = match last {
        None => Stored { position: 0, sequence, event: Uuid::nil() },
        Some(message) => Stored { position: position_of(&message.headers)?, sequence, event: id_of(&message.headers)? },
    };
    Some(Found { stored, messages: info.state.messages, whole: keeps_all(&info.config) })
}

/// The server says -1 or 0 for "no limit".
fn keeps_all(config: &Config) -> bool {
    config.max_bytes <= 0 && config.max_messages <= 0 && config.max_messages_per_subject <= 0 && config.max_age.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_with_the_fifth_event_and_has_four_lost_one() {
        let stored = Stored { position: 5, sequence: 9, event: Uuid::from_u128(1) };
        let found = |messages, whole| Found { stored, messages, whole };
        assert!(found(4, true).missing());
        assert!(!found(5, true).missing());
        // What an operator has limited is meant to lose its oldest.
        assert!(!found(4, false).missing());
        let empty = Stored { position: 0, sequence: 9, event: Uuid::nil() };
        assert!(!Found { stored: empty, messages: 0, whole: true }.missing());
    }

    #[test]
    fn limits_of_an_operator_are_seen() {
        let none = Config { max_bytes: -1, max_messages: -1, max_messages_per_subject: -1, ..Config::default() };
        assert!(keeps_all(&none) && keeps_all(&Config::default()));
        for limited in [
            Config { max_bytes: 1, ..none.clone() },
            Config { max_messages: 1, ..none.clone() },
            Config { max_messages_per_subject: 1, ..none.clone() },
            Config { max_age: std::time::Duration::from_secs(1), ..none },
        ] {
            assert!(!keeps_all(&limited), "{limited:?}");
        }
    }
}
