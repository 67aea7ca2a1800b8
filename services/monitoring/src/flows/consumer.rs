//! A durable consumer of a sample stream: batches are acknowledged after their transaction, so a break costs nothing
//! but a repetition, which the takers recognise.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_trait::async_trait;
use futures::StreamExt;
use gantry_bus::Bus;
use tokio_util::sync::CancellationToken;

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[async_trait]
pub trait Taker: Send + Sync + 'static {
    /// The stream, as `gantry_bus::streams` names it.
    fn stream(&self) -> &'static str;

    /// Messages of one transaction at most.
    fn batch(&self) -> usize;

    /// Stores the batch in one transaction. Messages that can never be stored are kept beside, not refused.
    ///
    /// # Errors
    /// Nothing was stored; the batch comes again.
    async fn take(&self, batch: &[Message]) -> anyhow::Result<()>;
}

/// Runs until cancelled; every fault is retried with a growing pause.
pub async fn run(bus: Bus, taker: impl Taker, cancel: CancellationToken) {
    let mut pause = Duration::from_millis(200);
    loop {
        let ended = tokio::select! {
            ended = consume(&bus, &taker, &mut pause) => ended,
            () = cancel.cancelled() => return,
        };
        if let Err(error) = ended {
            tracing::warn!(stream = taker.stream(), error = format!("{error:#}"), pause_ms = pause.as_millis(), "a stream cannot be taken in; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn consume(bus: &Bus, taker: &impl Taker, pause: &mut Duration) -> anyhow::Result<()> {
    let stream = bus.sample_stream(taker.stream()).await?;
    let name = format!("monitoring-{}", taker.stream());
    let config = pull::Config {
        durable_name: Some(name.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        max_ack_pending: i64::try_from(4 * taker.batch()).unwrap_or(4_000),
        ..pull::Config::default()
    };
    let consumer: PullConsumer = stream.get_or_create_consumer(&name, config).await?;
    loop {
        // A short wait: a follower sees a line soon after it was printed, and a busy stream still fills its batches.
        let mut messages = consumer.batch().max_messages(taker.batch()).expires(Duration::from_secs(5)).messages().await?;
        let mut batch = Vec::new();
        loop {
            let limit = if batch.is_empty() { Duration::from_secs(10) } else { Duration::from_millis(50) };
            match tokio::time::timeout(limit, messages.next()).await {
                Ok(Some(message)) => batch.push(message.map_err(|error| anyhow::anyhow!(error))?),
                Ok(None) | Err(_) => break,
            }
            if batch.len() >= taker.batch() {
                break;
            }
        }
        if batch.is_empty() {
            continue;
        }
        taker.take(&batch).await?;
        for message in &batch {
            message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
        }
        *pause = Duration::from_millis(200);
    }
}
