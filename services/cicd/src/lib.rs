//! CI/CD: hosted git repositories, pipelines, and the runner that carries them out.

mod adapters;
mod api;
mod app;
mod config;
pub mod domain;
mod error;
mod flows;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gantry_es_pg::Store;
use gantry_host::{Host, Parts, Service};

use crate::adapters::buildah::Buildah;
use crate::adapters::containers::Containers;
use crate::adapters::git::Git;
use crate::adapters::peers::Peers;
use crate::app::{Cicd as App, Looking};
use crate::flows::{CicdTables, Metering, PushedTodo, Runner, Tools};

pub use crate::config::CicdConfig;

/// Their RPCs say which REST call they are (`schemas/proto/cicd/v1`).
pub const OF_REST: &[&str] = &["gantry.cicd.v1.Repositories", "gantry.cicd.v1.Runs"];

/// The service.
pub struct Cicd;

#[async_trait]
impl Service for Cicd {
    const NAME: &'static str = "cicd";
    type Config = CicdConfig;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::MIGRATIONS
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        api::openapi()
    }

    async fn start(config: CicdConfig, host: Host) -> anyhow::Result<Parts> {
        let home = absolute(&config.work_dir, &host, "cicd")?;
        let git = Git::new(absolute(&config.git_dir, &host, "git")?);
        let registry = if config.registry.is_empty() { host.platform.public_host().to_owned() } else { config.registry.clone() };
        host.project(Arc::new(CicdTables)).await?;
        let tables = host.progress.watch("cicd_tables").ok_or_else(|| anyhow::anyhow!("the projection was just started"))?;
        let cicd = Arc::new(App {
            sources: Store::new(host.log().clone()),
            runs: Store::new(host.log().clone()),
            git,
            registry: registry.clone(),
            home,
            looking: Looking::default(),
            host: host.clone(),
        });
        host.work(Arc::new(PushedTodo { cicd: cicd.clone() }));
        let usage = Metering { db: host.db().clone(), bus: host.bus.clone() };
        host.work(Arc::new(usage.clone()));

        let build_dir = absolute(&config.build_dir, &host, "buildah")?;
        let ca = absolute(&host.platform.ca_dir, &host, "")?.join("ca.pem");
        let buildah = Buildah::prepare(build_dir, config.storage_driver.clone(), &registry, ca.exists().then_some(ca.as_path())).await?;
        let containers = Containers::new(&host.platform.containerd);
        let tools = Arc::new(Tools { cicd: cicd.clone(), containers, buildah, peers: Peers::new(host.clone()) });
        let limits = domain::Limits { runs: config.max_runs, runs_per_project: config.max_runs_per_project };
        let runner = Runner { tools, limits, tables: tables.clone(), usage };
        host.keep_running("runs", runner.run(host.cancel.clone()));

        // A crash may have come between a push and its event.
        let looker = cicd.clone();
        host.tracker.spawn(async move { looker.record_all_refs().await });

        let router = api::router(cicd, tables, &config);
        // Packs are large; REST has its own limit in the router.
        Ok(Parts { router, transcoded: OF_REST, max_body_bytes: Some(0), ..Parts::default() })
    }
}

/// A configured folder, or one below the platform's home; absolute, because git and buildah run elsewhere.
fn absolute(configured: &Path, host: &Host, default: &str) -> anyhow::Result<PathBuf> {
    let path = if configured.as_os_str().is_empty() { host.platform.home.join(default) } else { configured.to_owned() };
    Ok(std::path::absolute(path)?)
}
