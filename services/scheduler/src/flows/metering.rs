//! What running instances have reserved, as usage samples: one per application, meter and interval, whose id follows from
//! these three, so that a repeated one counts once. Intervals missed while away are made up for; which ones a sample covers is put down before it is
//! published, so that what breaks off in the middle is repeated, not published in other pieces.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_bus::streams::USAGE;
use gantry_contract::usage::UsageSample;
use gantry_es_pg::Lease;
use gantry_kernel::{AppId, OffsetDateTime, OrgId, ProjectId, Uuid};
use sha2::{Digest, Sha256};

use crate::app::Scheduler;
use crate::store;

/// Longer absences are metered in one piece per this many intervals, so that catching up is quick.
const INTERVALS_AT_ONCE: i64 = 360;
/// But no piece is longer than billing takes.
const LONGEST_SECONDS: i64 = 86_400;
const GIB: f64 = (1_u64 << 30) as f64;

/// Runs until shutdown; one process at a time.
pub async fn run(s: Scheduler) {
    let Some(mut lease) = Lease::acquire(&s.host.db().pool, "metering", &s.host.cancel).await else { return };
    let interval = i64::from(s.config.usage_interval_seconds);
    loop {
        let now = s.host.env.now().unix_timestamp();
        let wait = u64::try_from(interval - now.rem_euclid(interval)).unwrap_or(1);
        tokio::select! {
            () = s.host.cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(wait)) => {}
        }
        if !lease.check().await {
            match Lease::acquire(&s.host.db().pool, "metering", &s.host.cancel).await {
                Some(again) => lease = again,
                None => return,
            }
        }
        if let Err(error) = meter(&s, interval).await {
            tracing::warn!(error = format!("{error:#}"), "usage could not be published and will be with the next interval");
        }
    }
}

async fn meter(s: &Scheduler, interval: i64) -> anyhow::Result<()> {
    let now = s.host.env.now().unix_timestamp();
    let end = now - now.rem_euclid(interval);
    let mut from = match store::metered_upto(s.orm()).await? {
        Some(upto) => upto.unix_timestamp(),
        None => end - interval,
    };
    s.host.bus.sample_stream(USAGE).await?;
    while from < end {
        let piece = (interval * INTERVALS_AT_ONCE).min(LONGEST_SECONDS);
        let (start, stop) = (OffsetDateTime::from_unix_timestamp(from)?, OffsetDateTime::from_unix_timestamp(end.min(from + piece))?);
        let Some(stop) = store::meter_next(s.orm(), start, stop).await? else { return Ok(()) };
        let instances = store::alive_between(s.orm(), start, stop).await?;
        for sample in samples(s, &instances, start, stop).await? {
            let payload = serde_json::to_vec(&sample)?;
            gantry_bus::publish(&s.host.bus, USAGE, &sample.org.to_string(), sample.id, payload).await?;
        }
        store::metered_next(s.orm(), start, stop).await?;
        from = stop.unix_timestamp();
    }
    Ok(())
}

async fn samples(s: &Scheduler, instances: &[store::instance::Model], from: OffsetDateTime, to: OffsetDateTime) -> anyhow::Result<Vec<UsageSample>> {
    let mut by_app: BTreeMap<Uuid, Vec<&store::instance::Model>> = BTreeMap::new();
    for instance in instances {
        by_app.entry(instance.app).or_default().push(instance);
    }
    let mut out = Vec::new();
    for (app, instances) in by_app {
        let name = store::app_by_id(s.orm(), AppId(app)).await?.map(|r| r.name).unwrap_or_default();
        for (meter, amount) in amounts(&instances, from, to) {
            out.push(UsageSample {
                id: sample_id(app, meter, from, to),
                org: OrgId(instances[0].org),
                project: ProjectId(instances[0].project),
                holder: format!("app:{app}"),
                holder_name: name.clone(),
                meter: meter.to_owned(),
                amount,
                from,
                to,
            });
        }
    }
    Ok(out)
}

/// By meter: each instance counts for the part of the interval in which it had its place.
fn amounts(instances: &[&store::instance::Model], from: OffsetDateTime, to: OffsetDateTime) -> Vec<(&'static str, f64)> {
    let (mut cpu, mut memory, mut storage, mut count) = (0.0, 0.0, 0.0, 0.0);
    for instance in instances {
        let end = instance.ended_at.unwrap_or(to).min(to);
        let seconds = (end - instance.placed_at.max(from)).as_seconds_f64().max(0.0);
        #[allow(clippy::cast_precision_loss, reason = "amounts of a bill need no 53 bits")]
        {
            cpu += instance.cpu_millis as f64 / 1000.0 * seconds;
            memory += instance.memory_bytes as f64 / GIB * seconds;
            storage += instance.storage_bytes as f64 / GIB * seconds;
        }
        count += seconds;
    }
    let all = [("cpu_core_seconds", cpu), ("memory_gib_seconds", memory), ("storage_gib_seconds", storage), ("container_seconds", count)];
    all.into_iter().filter(|(_, amount)| *amount > 0.0).collect()
}

fn sample_id(app: Uuid, meter: &str, from: OffsetDateTime, to: OffsetDateTime) -> Uuid {
    let digest = Sha256::digest(format!("{app} {meter} {} {}", from.unix_timestamp(), to.unix_timestamp()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(placed: i64, ended: Option<i64>) -> store::instance::Model {
        let at = |s: i64| OffsetDateTime::from_unix_timestamp(s).unwrap();
        let running = store::instance::Model::running(at(placed));
        store::instance::Model { cpu_millis: 500, memory_bytes: 1 << 29, ended_at: ended.map(at), ..running }
    }

    #[test]
    fn an_instance_counts_for_the_part_of_the_interval_in_which_it_was_there() {
        let at = |s: i64| OffsetDateTime::from_unix_timestamp(s).unwrap();
        let (whole, part) = (instance(0, None), instance(105, Some(109)));
        let amounts = amounts(&[&whole, &part], at(100), at(110));
        assert_eq!(amounts, [("cpu_core_seconds", 7.0), ("memory_gib_seconds", 7.0), ("container_seconds", 14.0)]);
    }

    #[test]
    fn a_sample_has_the_same_id_however_often_it_is_made() {
        let at = |s: i64| OffsetDateTime::from_unix_timestamp(s).unwrap();
        assert_eq!(sample_id(Uuid::nil(), "m", at(0), at(10)), sample_id(Uuid::nil(), "m", at(0), at(10)));
        assert_ne!(sample_id(Uuid::nil(), "m", at(0), at(10)), sample_id(Uuid::nil(), "m", at(10), at(20)));
    }
}
