//! Samples and facts that are no aggregate's events.

use bytes::Bytes;
use gantry_kernel::Uuid;

use crate::connect::{Bus, BusError};

/// Publishes to `<prefix>.<stream>.<tail>` and waits until JetStream has stored it. `id` makes a repetition harmless
/// for two minutes; the consumer must know it for longer.
///
/// # Errors
/// When JetStream does not confirm.
pub async fn publish(bus: &Bus, stream: &str, tail: &str, id: Uuid, payload: impl Into<Bytes>) -> Result<(), BusError> {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id.to_string());
    let subject = format!("{}.{stream}.{tail}", bus.prefix);
    let ack = bus.js.publish_with_headers(subject, headers, payload.into()).await.map_err(|e| BusError::JetStream(e.to_string()))?;
    ack.await.map_err(|e| BusError::JetStream(e.to_string()))?;
    Ok(())
}
