//! Publishes a service's log to its stream, in order. The stream itself says how far it is, so a deleted or
//! restored store is simply filled from where it stands.

use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream::stream::Stream;
use futures::future::try_join_all;
use gantry_es_pg::{Lease, Log};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::Bus;
use crate::message::{headers_of, position_of, subject_of};

/// Publications under way at once.
const BATCH: i64 = 500;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Starts the relay; one of all replicas does the work, the others wait for its lease.
pub fn start_relay(bus: Bus, log: Log, cancel: CancellationToken, tasks: &TaskTracker) {
    tasks.spawn(async move {
        let mut pause = Duration::from_millis(200);
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
    let mut stream = bus.event_stream(log.origin()).await?;
    let mut position = last_position(&mut stream).await?;
    let head = log.head();
    if position > head {
        bail!("the stream of {} is at position {position}, its log only at {head}: was the database restored? Delete the stream to fill it anew", log.origin());
    }
    let mut wake = log.watch_head();
    loop {
        wake.mark_unchanged();
        let events = log.read(position, BATCH).await?;
        if events.is_empty() {
            // The timer also notices a store that was deleted under us, and a lost lease.
            tokio::select! {
                changed = wake.changed() => changed.context("the log was closed")?,
                () = tokio::time::sleep(Duration::from_secs(5)) => {
                    if !lease.check().await {
                        bail!("the lease was lost");
                    }
                    stream.info().await.context("the stream is gone")?;
                    let stored = last_position(&mut stream).await?;
                    if stored != position {
                        bail!("the stream is at {stored} instead of {position}");
                    }
                }
            }
            continue;
        }
        let mut acks = Vec::with_capacity(events.len());
        for event in &events {
            let payload = serde_json::to_vec(&event.data)?;
            acks.push(bus.js.publish_with_headers(subject_of(&bus.prefix, event), headers_of(event), payload.into()).await?.into_future());
        }
        try_join_all(acks).await?;
        position = events.last().map_or(position, |e| e.position);
        *pause = Duration::from_millis(200);
    }
}

async fn last_position(stream: &mut Stream) -> anyhow::Result<i64> {
    let last = stream.info().await?.state.last_sequence;
    let messages = stream.cached_info().state.messages;
    if messages == 0 {
        return Ok(0);
    }
    let message = stream.get_raw_message(last).await.context("the stream's last message cannot be read")?;
    position_of(&message.headers).context("the stream's last message carries no position")
}
