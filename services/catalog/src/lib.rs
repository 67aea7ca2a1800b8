//! catalog: ready-made services, provisioned as applications, used through bindings.

mod adapters;
mod api;
mod app;
mod config;
pub mod domain;
mod error;
mod flows;
pub mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use gantry_es_pg::Store;
use gantry_host::{Host, Parts, Service};
use gantry_kernel::Secret;

use adapters::scheduler::Scheduler;
pub use config::Config;
use domain::instance::ServiceInstance;
use domain::offering::{self, Offering, OfferingError};
use flows::projection::Instances;
use flows::provision::{Deprovision, Provision};

/// What all doors and flows share.
pub(crate) struct App {
    host: Host,
    instances: Store<ServiceInstance>,
    offerings: Vec<Offering>,
    scheduler: Scheduler,
    images: BTreeMap<String, String>,
    image_prefix: String,
    provision_timeout: Duration,
    /// `user:password` of the broker's door; `None`: closed.
    osb_credentials: Option<Secret>,
}

/// Their RPCs say which REST call they are (`schemas/proto/catalog/v1`).
pub const OF_REST: &[&str] = &["gantry.catalog.v1.Offerings", "gantry.catalog.v1.ServiceInstances"];

pub struct Catalog;

#[async_trait]
impl Service for Catalog {
    const NAME: &'static str = "catalog";
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::migrations::ALL
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        api::routes().split_for_parts().1
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        host.project(Arc::new(Instances)).await?;
        let prefix = if config.image_prefix.is_empty() { format!("{}/library/public", host.platform.public_host()) } else { config.image_prefix };
        let app = Arc::new(App {
            instances: Store::new(host.log().clone()),
            offerings: offerings(&config.offerings_dir)?,
            scheduler: Scheduler(host.clone()),
            images: config.images,
            image_prefix: prefix,
            provision_timeout: Duration::from_secs(config.provision_timeout_seconds.into()),
            osb_credentials: (!config.osb_password.is_empty()).then(|| Secret::new(format!("{}:{}", config.osb_username, config.osb_password.expose()))),
            host: host.clone(),
        });
        host.work(Arc::new(Provision(app.clone())));
        host.work(Arc::new(Deprovision(app.clone())));
        let router = api::routes().split_for_parts().0.merge(api::osb::routes(app.clone())).with_state(app);
        Ok(Parts { router, transcoded: OF_REST, ..Parts::default() })
    }
}

/// The built-in offerings and those of the operator's folder; one of the same name there takes the place of the built-in one.
fn offerings(dir: &Path) -> anyhow::Result<Vec<Offering>> {
    let mut all = offering::built_in()?;
    if dir.as_os_str().is_empty() {
        return Ok(all);
    }
    let mut own: Vec<Offering> = Vec::new();
    let entries = std::fs::read_dir(dir).with_context(|| format!("catalog.offerings_dir = {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let read = Offering::read(&path.display().to_string(), &text)?;
            if own.iter().any(|o| o.name == read.name) {
                return Err(OfferingError::SameName(read.name).into());
            }
            own.push(read);
        }
    }
    all.retain(|o| own.iter().all(|p| p.name != o.name));
    all.extend(own);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}
