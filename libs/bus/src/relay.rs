//! Publishes a service's log to its stream, in order. The stream itself says how far it is (`stored`), so a deleted or
//! restored store is simply filled from where it stands.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SEQUENCE;
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use gantry_es::Recorded;
use gantry_es_pg::{Lease, Log, endless};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::Bus;
use crate::message::{headers_of, subject_of};
use crate::stored::{Stored, look, sound};

/// Events read at once.
const BATCH: i64 = 1_000;
/// Events that are confirmed together.
const BLOCK: usize = 100;
/// Blocks under way at once, beside the batch being published.
const UNCONFIRMED: usize = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How often the stream is looked at, whether or not there is something to publish: a store that was deleted, cut or damaged under us shows
/// by nothing else.
const LOOK: Duration = Duration::from_secs(5);

/// Starts the relay; one of all replicas does the work, the others wait for its lease.
pub fn start_relay(bus: Bus, log: Log, cancel: CancellationToken, tasks: &TaskTracker) {
    let stop = cancel.clone();
    endless(format!("relay of {}", log.origin()), tasks, &stop, async move {
        let mut pause = FIRST_PAUSE;
        while let Some(mut lease) = Lease::acquire(&log.db().admin, "relay", &cancel).await {
            let outcome = tokio::select! {
                outcome = relay(&bus, &log, &mut lease, &mut pause) => outcome,
                () = cancel.cancelled() => return lease.release().await,
            };
            if let Err(error) = outcome {
                tracing::warn!(service = log.origin(), error = format!("{error:#}"), "events wait in the log until they can be published");
            }
            drop(lease);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    });
}

async fn relay(bus: &Bus, log: &Log, lease: &mut Lease, pause: &mut Duration) -> anyhow::Result<()> {
    let stream = bus.event_stream(log.origin()).await?;
    let mut at = sound(&stream, log).await?;
    let mut looked = Instant::now();
    let mut wake = log.watch_head();
    let mut unconfirmed = FuturesOrdered::new();
    loop {
        wake.mark_unchanged();
        // What is appended after this look is seen at `wake`; a question to the database for what is not there would cost every append one.
        let events = if log.head() > at.position { log.read_shared(at.position, BATCH).await? } else { Vec::new() };
        if events.is_empty() {
            // New events need not wait until the last ones are confirmed. The timer also notices a store that was deleted under us, and a
            // lost lease.
            tokio::select! {
                changed = wake.changed() => changed.context("the log was closed")?,
                Some(confirmed) = unconfirmed.next() => confirmed?,
                () = tokio::time::sleep(LOOK), if unconfirmed.is_empty() => {
                    if !lease.check().await {
                        bail!("the lease was lost");
                    }
                    let found = look(&stream).await.context("the stream is gone")?;
                    if found.missing() || found.stored != at {
                        bail!("the stream is at {:?} with {} events instead of {at:?}", found.stored, found.messages);
                    }
                    looked = Instant::now();
                    // All is well again, although there was nothing to publish.
                    *pause = FIRST_PAUSE;
                }
            }
            continue;
        }
        for block in events.chunks(BLOCK) {
            let (acknowledged, sequence) = publish(bus, block, &mut at).await?;
            unconfirmed.push_back(confirm(acknowledged, sequence));
        }
        // What is under way stays bounded, and the next events are read while the last blocks are stored.
        while unconfirmed.len() > UNCONFIRMED {
            unconfirmed.next().await.context("it is longer than that")??;
        }
        // Whoever always has something to publish never comes to the timer. What is on its way is not there yet, so only what lies behind counts.
        if looked.elapsed() >= LOOK {
            let found = look(&stream).await.context("the stream is gone")?;
            if found.missing() {
                bail!("of {} events up to {:?} the stream has only {}", found.stored.position, found.stored, found.messages);
            }
            looked = Instant::now();
        }
        *pause = FIRST_PAUSE;
    }
}

/// Publishes a block. Every message says which sequence it must follow, so JetStream takes it only right behind the one
/// before: if one is lost or refused, all after it are, too, and the answer to the last one speaks for the whole block.
async fn publish(bus: &Bus, block: &[Arc<Recorded>], at: &mut Stored) -> anyhow::Result<(PublishAckFuture, u64)> {
    // All are made before the first goes out: the task of the connection writes what it finds, and finding them one by one it would ask
    // the kernel, and wake the server, for each.
    let mut messages: Vec<_> = block.iter().map(|event| message(bus, event, at)).collect();
    let (subject, headers, payload) = messages.pop().context("a block has events")?;
    for (subject, headers, payload) in messages {
        bus.client.publish_with_headers(subject, headers, payload).await?;
    }
    Ok((bus.js.publish_with_headers(subject, headers, payload).await?, at.sequence))
}

async fn confirm(acknowledged: PublishAckFuture, sequence: u64) -> anyhow::Result<()> {
    let stored = acknowledged.await?.sequence;
    anyhow::ensure!(stored == sequence, "an event was stored as {stored} instead of {sequence}");
    Ok(())
}

/// The event as it must stand behind `at`, which moves on to it.
fn message(bus: &Bus, event: &Recorded, at: &mut Stored) -> (String, HeaderMap, Bytes) {
    let mut headers = headers_of(event);
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, at.sequence.to_string());
    *at = Stored { position: event.position, sequence: at.sequence + 1, event: event.id };
    (subject_of(&bus.prefix, event), headers, Bytes::copy_from_slice(event.data.as_str().as_bytes()))
}
