//! monitoring: the log store, the audit trail, live events, metrics and alerts.

mod adapters;
mod api;
mod app;
mod config;
pub mod domain;
mod error;
mod flows;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gantry_es_pg::Store;
use gantry_host::{Host, Parts, Service};
use gantry_kernel::{Kind, Problem, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use adapters::prometheus::Prometheus;
pub use config::Config;
use domain::alert_rule::Rule;
use flows::events::{ORIGINS, Trail};
use flows::wake::{self, Bell};

/// What all doors share.
pub(crate) struct App {
    host: Host,
    prometheus: Prometheus,
    alert_rules: Store<Rule>,
    /// Rung when the trail has grown.
    audit_bell: Bell,
    /// Rung when there are new lines.
    logs_bell: Bell,
    live: Arc<Semaphore>,
}

impl App {
    /// A place among the live streams, given back when it is dropped.
    fn live_place(&self) -> Result<OwnedSemaphorePermit> {
        let full = || {
            Problem::new(Kind::TooMany, "monitoring.too_many_streams", "as many live streams are open as this service takes; try again")
                .retry_after(Duration::from_secs(10))
        };
        self.live.clone().try_acquire_owned().map_err(|_| full())
    }
}

/// Their RPCs say which REST call they are (`schemas/proto/monitoring/v1`).
pub const OF_REST: &[&str] =
    &["gantry.monitoring.v1.Alerts", "gantry.monitoring.v1.Audit", "gantry.monitoring.v1.Events", "gantry.monitoring.v1.Logs", "gantry.monitoring.v1.Metrics"];

pub struct Monitoring;

#[async_trait]
impl Service for Monitoring {
    const NAME: &'static str = "monitoring";
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::migrations::ALL
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        api::routes().split_for_parts().1
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        host.project(Arc::new(flows::alert_rules::AlertRules)).await?;
        let (audit_bell, logs_bell) = (Bell::new(), Bell::new());
        for (origin, checkpoint) in ORIGINS {
            let moved = host.subscribe(origin, Arc::new(Trail(checkpoint))).await?;
            host.keep_running("news", wake::ring_on(moved, audit_bell.clone(), host.cancel.clone()));
        }
        let (db, bus, cancel) = (host.db().clone(), host.bus.clone(), host.cancel.clone());
        host.keep_running("audit", flows::consumer::run(bus.clone(), flows::facts::Facts(db.clone()), cancel.clone()));
        host.keep_running("logs", flows::consumer::run(bus, flows::logs::Logs { db, bell: logs_bell.clone() }, cancel.clone()));
        host.keep_running("wake-ups", wake::ring_for_others([audit_bell.clone(), logs_bell.clone()], cancel));
        host.keep_running("retention", flows::retention::run(host.clone(), time::Duration::days(config.log_retention_days.into())));
        let app = Arc::new(App {
            prometheus: Prometheus::new(&host.platform.prometheus_url)?,
            alert_rules: Store::new(host.log().clone()),
            audit_bell,
            logs_bell,
            live: Arc::new(Semaphore::new(config.live_streams)),
            host: host.clone(),
        });
        let (every, keep) = (Duration::from_secs(config.alert_seconds.into()), time::Duration::days(config.alert_history_days.into()));
        host.keep_running("alerts", flows::alerts::run(app.clone(), every, keep));
        let router = api::routes().with_state(app).split_for_parts().0;
        Ok(Parts { router, transcoded: OF_REST, ..Parts::default() })
    }
}
