//! Takes usage samples from JetStream into the tables. A batch is acknowledged only after its transaction: whatever
//! dies in between is delivered again, and counted once because samples have ids.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use futures::StreamExt;
use gantry_bus::{Bus, streams};
use gantry_contract::usage::UsageSample;
use gantry_es_pg::Db;
use gantry_kernel::{Env, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::domain::sample;
use crate::store::usage::{self, Counted};

const BATCH: usize = 500;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub struct Ingest {
    pub db: Db,
    pub env: Env,
    pub bus: Bus,
}

impl Ingest {
    /// Runs until cancelled; every fault is retried with a growing pause.
    pub async fn run(self, cancel: CancellationToken) {
        let mut pause = Duration::from_millis(200);
        while !cancel.is_cancelled() {
            let ended = tokio::select! {
                ended = self.consume(&mut pause) => ended,
                () = cancel.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(error = format!("{error:#}"), pause_ms = pause.as_millis(), "usage samples cannot be taken in; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn consume(&self, pause: &mut Duration) -> anyhow::Result<()> {
        let stream = self.bus.sample_stream(streams::USAGE).await?;
        let config = pull::Config {
            durable_name: Some("billing-usage".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 4 * BATCH as i64,
            ..pull::Config::default()
        };
        let consumer: PullConsumer = stream.get_or_create_consumer("billing-usage", config).await?;
        loop {
            let mut messages = consumer.batch().max_messages(BATCH).expires(Duration::from_secs(2)).messages().await?;
            let mut batch = Vec::new();
            while let Some(message) = messages.next().await {
                batch.push(message.map_err(|error| anyhow::anyhow!(error))?);
            }
            if batch.is_empty() {
                continue;
            }
            self.take(batch.iter().map(|m| (m.subject.as_str(), m.payload.as_ref()))).await?;
            for message in &batch {
                message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
            }
            *pause = Duration::from_millis(200);
        }
    }

    /// One transaction for the whole batch. What is no sample is kept beside with the reason: it cannot get better by waiting.
    ///
    /// # Errors
    /// When the database refuses; then nothing was counted.
    pub async fn take<'a>(&self, messages: impl Iterator<Item = (&'a str, &'a [u8])>) -> anyhow::Result<()> {
        let now = self.env.now();
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        for (subject, payload) in messages {
            match parse(subject, payload, now) {
                Ok(counted) => good.push(counted),
                Err(reason) => refused.push((reason, String::from_utf8_lossy(payload).replace('\0', "").chars().take(4_000).collect())),
            }
        }
        let days: BTreeSet<_> = good.iter().map(|c| c.sample.from.to_offset(time::UtcOffset::UTC).date()).collect();
        for day in days {
            usage::ensure_day(&self.db.admin, day).await?;
        }
        let added = usage::add(&self.db.pool, &good, &refused, now).await?;
        if !refused.is_empty() {
            tracing::warn!(refused = refused.len(), "some usage samples were refused; see table usage_refused");
        }
        tracing::debug!(samples = good.len(), added, "usage samples taken in");
        Ok(())
    }
}

fn parse(subject: &str, payload: &[u8], now: OffsetDateTime) -> Result<Counted, String> {
    let sample: UsageSample = serde_json::from_slice(payload).map_err(|error| format!("not a sample: {error}"))?;
    let tenant = subject.rsplit('.').next().unwrap_or_default();
    if tenant != sample.org.to_string() {
        return Err("the subject names another tenant than the sample".into());
    }
    let amount = sample::check(&sample, now).map_err(|fault| fault.to_string())?;
    Ok(Counted { sample, amount })
}
