//! Seconds of building, on their way to the bill: put down as durable work, and published as soon as the bus takes them.

use async_trait::async_trait;
use gantry_bus::Bus;
use gantry_bus::streams::USAGE;
use gantry_contract::usage::UsageSample;
use gantry_es_pg::{Db, Todo, TodoHandler, TodoItem};
use gantry_kernel::OffsetDateTime;
use sha2::{Digest, Sha256};

use crate::domain::NewRun;

#[derive(Clone)]
pub struct Metering {
    pub db: Db,
    pub bus: Bus,
}

impl Metering {
    pub const NAME: &str = "usage";

    /// The id is made of run, step and start: a repeated sample counts once.
    pub async fn step_ended(&self, about: &NewRun, step: &str, from: OffsetDateTime, to: OffsetDateTime) {
        let digest: [u8; 32] = Sha256::digest(format!("{}/{step}/{}", about.run, from.unix_timestamp_nanos())).into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        let sample = UsageSample {
            id,
            org: about.org,
            project: about.project,
            holder: format!("run:{}", about.run),
            holder_name: about.repository.to_string(),
            meter: "build_seconds".into(),
            amount: (to - from).as_seconds_f64(),
            from,
            to,
        };
        let Ok(payload) = serde_json::to_value(&sample) else { return };
        if let Err(error) = Todo::enqueue(&self.db.orm, Self::NAME, &id.to_string(), &payload).await {
            tracing::warn!(run.id = %about.run, %error, "a metering sample is lost");
        }
    }
}

#[async_trait]
impl TodoHandler for Metering {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        let sample: UsageSample = serde_json::from_value(item.payload)?;
        self.bus.sample_stream(USAGE).await?;
        gantry_bus::publish(&self.bus, USAGE, &sample.org.to_string(), sample.id, serde_json::to_vec(&sample)?).await?;
        Ok(())
    }
}
