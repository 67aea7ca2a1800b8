//! What repositories keep, as usage samples: one per repository and interval, whose id follows from these two, so that a
//! repeated one counts once. A layer counts once per repository, however many images have it. Time while no registry ran
//! is not billed.

use std::time::Duration;

use gantry_bus::streams::USAGE;
use gantry_contract::usage::UsageSample;
use gantry_kernel::{OffsetDateTime, Uuid};

use super::rounds::alone;
use crate::app::App;
use crate::domain::digest::{Algorithm, Digest};
use crate::store::usage::{self, Stored};

const GIB: f64 = (1u64 << 30) as f64;
const METER: &str = "storage_gib_seconds";

/// Meters at every whole interval until shutdown.
pub async fn run(app: App) {
    let interval = i64::try_from(app.config.usage_interval_seconds).unwrap_or(60);
    loop {
        let now = app.host.env.now().unix_timestamp();
        let wait = u64::try_from(interval - now.rem_euclid(interval)).unwrap_or(1);
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(wait)) => {}
        }
        if let Err(error) = round(&app, interval).await {
            tracing::warn!(error = format!("{error:#}"), "storage could not be metered");
        }
    }
}

async fn round(app: &App, interval: i64) -> anyhow::Result<()> {
    alone(app, "registry-metering", meter(app, interval)).await
}

async fn meter(app: &App, interval: i64) -> anyhow::Result<()> {
    let now = app.host.env.now().unix_timestamp();
    let to = OffsetDateTime::from_unix_timestamp(now - now.rem_euclid(interval))?;
    let from = to - Duration::from_secs(interval.unsigned_abs());
    let stored = usage::stored(&app.host.db().orm).await?;
    if stored.is_empty() {
        return Ok(());
    }
    app.host.bus.sample_stream(USAGE).await?;
    for repository in stored {
        let sample = sample(repository, from, to);
        let payload = serde_json::to_vec(&sample)?;
        gantry_bus::publish(&app.host.bus, USAGE, &sample.org.to_string(), sample.id, payload).await?;
    }
    Ok(())
}

fn sample(stored: Stored, from: OffsetDateTime, to: OffsetDateTime) -> UsageSample {
    #[allow(clippy::cast_precision_loss, reason = "amounts of a bill need no 53 bits")]
    let gib = stored.bytes as f64 / GIB;
    UsageSample {
        id: sample_id(&stored.repository, from, to),
        org: stored.org.into(),
        project: stored.project.into(),
        holder: format!("repository:{}", stored.repository),
        holder_name: stored.repository,
        meter: METER.into(),
        amount: gib * (to - from).as_seconds_f64(),
        from,
        to,
    }
}

fn sample_id(repository: &str, from: OffsetDateTime, to: OffsetDateTime) -> Uuid {
    let text = format!("{repository} {METER} {} {}", from.unix_timestamp(), to.unix_timestamp());
    let digest = hex::decode(Digest::of(Algorithm::Sha256, text.as_bytes()).hex()).unwrap_or_default();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gibibyte_for_a_minute_is_sixty_gib_seconds_and_a_repetition_has_the_same_id() {
        let at = |s| OffsetDateTime::from_unix_timestamp(s).unwrap();
        let stored = || Stored { repository: "acme/shop/web".into(), bytes: 1 << 30, ..Stored::default() };
        let first = sample(stored(), at(60), at(120));
        assert!((first.amount - 60.0).abs() < 1e-9);
        assert_eq!(first.holder, "repository:acme/shop/web");
        assert_eq!(first.id, sample(stored(), at(60), at(120)).id);
        assert_ne!(first.id, sample(stored(), at(120), at(180)).id);
    }
}
