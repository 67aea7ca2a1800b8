//! billing: quotas and what is reserved against them, usage, price plans and invoices.

mod api;
pub mod app;
mod config;
pub mod domain;
mod error;
pub mod flows;
pub mod store;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_contract::proto::billing::quotas_server::QuotasServer;
use gantry_es_pg::Store;
use gantry_host::{Host, Parts, Service};
use gantry_kernel::ProjectId;
use time::Duration;

pub use config::Config;
use flows::ingest::Ingest;
use flows::projections::{Invoices, PricePlans, Quotas};
use store::reservations::Defaults;

/// What all doors and flows share.
pub struct App {
    pub host: Host,
    quotas: Store<domain::quota::Quota>,
    plans: Store<domain::plan::PricePlan>,
    invoice_store: Store<domain::invoice::Invoice>,
    defaults: Defaults,
    currency: String,
}

impl App {
    pub fn of(host: &Host, config: Config) -> Self {
        let log = host.log();
        Self {
            host: host.clone(),
            quotas: Store::new(log.clone()),
            plans: Store::new(log.clone()),
            invoice_store: Store::new(log.clone()),
            defaults: Defaults { org: config.org_limits, project: config.project_limits, user: config.user_limits },
            currency: config.currency,
        }
    }

    /// For people; empty when the project is gone.
    fn project_name(&self, project: ProjectId) -> String {
        self.host.auth.read(|rights| rights.project_ref(project).map(|p| p.name.to_string())).unwrap_or_default()
    }
}

/// Their RPCs say which REST call they are (`schemas/proto/billing/v1`).
pub const OF_REST: &[&str] =
    &["gantry.billing.v1.Invoices", "gantry.billing.v1.PricePlans", "gantry.billing.v1.QuotaSettings", "gantry.billing.v1.UsageReports"];

pub struct Billing;

#[async_trait]
impl Service for Billing {
    const NAME: &'static str = "billing";
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::migrations::ALL
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        api::routes().split_for_parts().1
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        host.project(Arc::new(Quotas)).await?;
        host.project(Arc::new(PricePlans)).await?;
        host.project(Arc::new(Invoices)).await?;
        let (grace, keep) = (Duration::hours(config.invoice_grace_hours.into()), Duration::days(config.sample_retention_days.into()));
        let app = Arc::new(App::of(&host, config));
        app.publish_built_in().await?;
        let ingest = Ingest { db: host.db().clone(), env: host.env.clone(), bus: host.bus.clone() };
        host.keep_running("usage", ingest.run(host.cancel.clone()));
        host.keep_running("invoices", flows::issue::run(app.clone(), grace, keep));
        let quotas = QuotasServer::new(api::grpc::QuotasApi(app.clone()));
        Ok(Parts {
            router: api::routes().with_state(app).split_for_parts().0,
            grpc: Some(tonic::service::Routes::new(quotas)),
            grpc_names: vec!["gantry.billing.v1.Quotas"],
            transcoded: OF_REST,
            ..Parts::default()
        })
    }
}
