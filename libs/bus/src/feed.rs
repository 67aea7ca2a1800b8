//! Feeds a projection from another service's stream: in order, exactly once, whatever is redelivered or restarted.
//! The checkpoint is the origin's position, kept in the projection's own transaction; JetStream keeps nothing for us.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use gantry_es_pg::{Batch, Db, Projection, ProjectionRunner, Source, endless, prepare};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::Bus;
use crate::message::{from_message, position_of};

const BATCH: usize = 1_000;
/// How long a round waits for the first message.
const WAIT: Duration = Duration::from_secs(5);
/// A pause of this length ends a batch: the rest is not on its way yet.
const GAP: Duration = Duration::from_millis(1);
/// Nor does the first message of a batch wait any longer for others: in a steady stream there is never a gap.
const GATHERING: Duration = Duration::from_millis(10);

struct Feed {
    bus: Bus,
    service: String,
    open: Mutex<Option<Open>>,
}

struct Open {
    messages: Ordered,
    /// The origin's position of the last message handed out.
    position: i64,
}

/// Starts feeding `projection` from `service`'s events. Returns a watch of the position it has reached.
///
/// # Errors
/// When the projection's tables cannot be made, or its version was raised (then its tables are emptied and it starts anew).
pub async fn subscribe(
    bus: &Bus,
    db: &Db,
    service: &str,
    projection: Arc<dyn Projection>,
    cancel: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<watch::Receiver<i64>> {
    if prepare(db, &*projection, service).await? {
        start_anew(db, &*projection).await?;
    }
    let at: i64 = sqlx_position(db, projection.name()).await?;
    let (report, reached) = watch::channel(at);
    // The feed waits by itself; nobody wakes it.
    let (keep, wake) = watch::channel(0);
    let feed = Feed { bus: bus.clone(), service: service.to_owned(), open: Mutex::new(None) };
    let (db, stop) = (db.clone(), cancel.clone());
    endless(format!("projection {}", projection.name()), tasks, cancel, async move {
        ProjectionRunner::run(db, Box::new(feed), projection, report, wake, stop).await;
        drop(keep);
    });
    Ok(reached)
}

async fn sqlx_position(db: &Db, name: &str) -> anyhow::Result<i64> {
    let checkpoints = gantry_es_pg::checkpoints(db).await?;
    checkpoints.into_iter().find(|c| c.name == name).map(|c| c.position).context("the checkpoint was just made")
}

/// A foreign log cannot be read beside the live tables at will, so a new version refills them from the stream.
async fn start_anew(db: &Db, projection: &dyn Projection) -> anyhow::Result<()> {
    use sea_orm::{ConnectionTrait, TransactionTrait};
    let (version, name) = (projection.version(), projection.name());
    let tx = db.admin_orm().begin().await?;
    // The checkpoint first, as whoever takes in events has it: a replica of the version before may be at it.
    tx.execute_unprepared(&format!("select 1 from projections where name = '{name}' for update")).await?;
    for table in projection.tables() {
        tx.execute_unprepared(&format!("drop table if exists {table} cascade")).await?;
    }
    tx.execute_unprepared(projection.ddl()).await?;
    let anew = format!("update projections set position = 0, sequence = 0, version = {version}, error = null, failed_at = null where name = '{name}'");
    tx.execute_unprepared(&anew).await?;
    tx.commit().await?;
    Ok(())
}

#[async_trait]
impl Source for Feed {
    async fn next(&self, position: i64, sequence: i64) -> anyhow::Result<Batch> {
        let mut slot = self.open.lock().await;
        // A rolled-back batch leaves the reader ahead of the checkpoint: start over from there.
        if slot.as_ref().is_none_or(|open| open.position != position) {
            *slot = Some(self.open_at(position, sequence).await?);
        }
        let open = slot.as_mut().context("it was just opened")?;
        let result = read(open).await;
        if result.is_err() {
            *slot = None;
        }
        result
    }

    fn again(&self) -> Box<dyn Source> {
        Box::new(Self { bus: self.bus.clone(), service: self.service.clone(), open: Mutex::new(None) })
    }

    fn waits(&self) -> bool {
        true
    }
}

impl Feed {
    async fn open_at(&self, position: i64, sequence: i64) -> anyhow::Result<Open> {
        let stream = self.bus.event_stream(&self.service).await?;
        // The remembered sequence holds only if that message still is where it was; a refilled stream counts anew.
        let holds = match u64::try_from(sequence) {
            Ok(at) if at > 0 => stream.get_raw_message(at).await.ok().and_then(|m| position_of(&m.headers)) == Some(position),
            _ => false,
        };
        let deliver_policy = match u64::try_from(sequence) {
            Ok(at) if holds => DeliverPolicy::ByStartSequence { start_sequence: at + 1 },
            _ => DeliverPolicy::All,
        };
        let consumer = stream.create_consumer(OrderedConfig { deliver_policy, ..OrderedConfig::default() }).await?;
        Ok(Open { messages: consumer.messages().await?, position })
    }
}

async fn read(open: &mut Open) -> anyhow::Result<Batch> {
    let mut batch = Batch::new();
    let mut until = Instant::now() + WAIT;
    while batch.len() < BATCH {
        // What is there already needs no timer.
        let next = match open.messages.next().now_or_never() {
            Some(next) => next,
            None => {
                let wait = if batch.is_empty() { until } else { until.min(Instant::now() + GAP) };
                let Ok(next) = tokio::time::timeout_at(wait, open.messages.next()).await else { break };
                next
            }
        };
        let message = next.context("the subscription ended")??;
        let sequence = message.info().map_err(|e| anyhow::anyhow!("{e}"))?.stream_sequence;
        let headers = message.headers.as_ref().context("a message without headers is no event")?;
        let event = from_message(headers, &message.payload)?;
        if event.position <= open.position {
            continue;
        }
        if event.position != open.position + 1 {
            bail!("the stream has position {} after {}: events are missing in it; its relay refills it", event.position, open.position);
        }
        open.position = event.position;
        if batch.is_empty() {
            until = Instant::now() + GATHERING;
        }
        batch.push((Arc::new(event), i64::try_from(sequence).unwrap_or(0)));
    }
    Ok(batch)
}
