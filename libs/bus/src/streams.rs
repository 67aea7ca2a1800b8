//! Names and limits of the streams.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use crate::connect::{Bus, BusError};

/// Container output on its way to the log store.
pub const LOGS: &str = "logs";
/// Metering samples on their way to billing.
pub const USAGE: &str = "usage";
/// Sign-ins, denials and failures on their way to the audit trail.
pub const AUDIT: &str = "audit";

/// How long a sample's id is remembered, so that a repeated publication is dropped by the server.
const DEDUPE: Duration = Duration::from_secs(120);
/// The same for events. Each says which one it follows, so a repetition is refused whenever it comes; the server's memory of every id, which
/// a busy log fills by millions, adds nothing to that.
const DEDUPE_EVENTS: Duration = Duration::from_secs(5);

impl Bus {
    /// `GANTRY_IDENTITY` for prefix `gantry` and `identity`.
    pub fn stream_name(&self, of: &str) -> String {
        format!("{}_{of}", self.prefix).to_uppercase().replace(['.', '-'], "_")
    }

    /// The copy of a service's event log: kept whole.
    ///
    /// # Errors
    /// When JetStream refuses.
    pub async fn event_stream(&self, service: &str) -> Result<Stream, BusError> {
        self.stream(service, Config { duplicate_window: DEDUPE_EVENTS, ..Config::default() }).await
    }

    /// The sequence of the last message on a service's event stream, asked of the server: also a sign that it answers.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn last_of(&self, service: &str) -> Result<u64, BusError> {
        let mut stream = self.event_stream(service).await?;
        Ok(stream.info().await.map_err(|e| BusError::JetStream(e.to_string()))?.state.last_sequence)
    }

    /// A stream of samples: the oldest go when `max_bytes` or `max_age` is reached.
    ///
    /// # Errors
    /// When JetStream refuses.
    pub async fn sample_stream(&self, name: &str) -> Result<Stream, BusError> {
        let limits = Config { max_bytes: 1 << 30, max_age: Duration::from_secs(7 * 86_400), duplicate_window: DEDUPE, ..Config::default() };
        self.stream(name, limits).await
    }

    async fn stream(&self, of: &str, limits: Config) -> Result<Stream, BusError> {
        let config = Config {
            name: self.stream_name(of),
            subjects: vec![format!("{}.{of}.>", self.prefix)],
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            allow_direct: true,
            ..limits
        };
        self.js.get_or_create_stream(config).await.map_err(|e| BusError::JetStream(e.to_string()))
    }
}
