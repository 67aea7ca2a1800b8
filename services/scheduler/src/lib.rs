//! The scheduler: applications, their revisions and releases, and where their instances run.

mod adapters;
mod api;
mod app;
mod config;
pub mod domain;
mod error;
mod flows;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use gantry_contract::proto::scheduler::agents_server::AgentsServer;
use gantry_contract::proto::scheduler::applications_server::ApplicationsServer;
use gantry_contract::proto::scheduler::sessions_server::SessionsServer;
use gantry_host::{Host, Parts, Service};

pub use api::grpc::{BY_HAND, OF_REST};
pub use config::Config;

pub struct Scheduler;

#[async_trait]
impl Service for Scheduler {
    const NAME: &'static str = "scheduler";
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::MIGRATIONS
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        api::rest::openapi()
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        host.project(Arc::new(store::SchedulerProjection)).await?;
        let backups = adapters::backups::Backups::open(&config.backups, &std::path::absolute(&host.platform.home)?)?;
        let prometheus = adapters::prometheus::Prometheus::new(&host.platform.prometheus_url)?;
        host.project(Arc::new(store::ClusterProjection)).await?;
        host.project(Arc::new(store::KeptProjection)).await?;
        host.project(Arc::new(store::PoolProjection)).await?;
        host.project(Arc::new(store::AcknowledgedProjection)).await?;
        let scheduler = app::Scheduler::new(host.clone(), config, backups, prometheus);
        host.keep_running("reconciler", flows::reconcile::Reconciler::run(scheduler.clone()));
        host.keep_running("measures", flows::measure::run(scheduler.clone()));
        host.keep_running("logs of clusters", flows::cluster_logs::run(scheduler.clone()));
        host.keep_running("usage of clusters", flows::cluster_usage::run(scheduler.clone()));
        let usage = scheduler.usage.clone();
        host.keep_running("metering", flows::metering::run(scheduler.clone()));
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(ApplicationsServer::new(api::grpc::ApplicationsApi(scheduler.clone())))
            .add_service(SessionsServer::new(api::grpc::SessionsApi).max_decoding_message_size(api::MOST_SAID))
            .add_service(AgentsServer::new(api::grpc::AgentsApi(scheduler.clone())).max_decoding_message_size(16 << 20));
        // A config of 1 MiB, as JSON writes it.
        let max_body_bytes = Some(host.platform.max_body_bytes.max(3 << 20));
        Ok(Parts {
            max_body_bytes,
            router: api::rest::router(scheduler),
            grpc: Some(grpc.routes()),
            grpc_names: vec!["gantry.scheduler.v1.Applications", "gantry.scheduler.v1.Agents", "gantry.scheduler.v1.Sessions"],
            transcoded: OF_REST,
            metrics: Some(Arc::new(move || {
                let usage = usage.clone();
                async move { usage.render() }.boxed()
            })),
            ..Parts::default()
        })
    }
}
