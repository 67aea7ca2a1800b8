//! Seconds of building, on their way to the bill.

use gantry_bus::Bus;
use gantry_contract::usage::UsageSample;
use gantry_kernel::OffsetDateTime;
use sha2::{Digest, Sha256};

use crate::domain::NewRun;

#[derive(Clone)]
pub struct Metering {
    pub bus: Bus,
}

impl Metering {
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
        let Ok(payload) = serde_json::to_vec(&sample) else { return };
        let published = async {
            self.bus.sample_stream(gantry_bus::streams::USAGE).await?;
            gantry_bus::publish(&self.bus, gantry_bus::streams::USAGE, &about.org.to_string(), id, payload).await
        };
        if let Err(error) = published.await {
            tracing::warn!(run.id = %about.run, %error, "a metering sample is lost");
        }
    }
}
