//! The registry: images of every OCI client, kept by content, scanned, and traceable. This file is the only wiring.

pub mod adapters;
pub mod api;
pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod flows;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod store;

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use gantry_host::{Host, Parts, Service};

use crate::adapters::blob_fs::BlobFs;
use crate::adapters::blob_s3::BlobS3;
use crate::app::App;
use crate::app::cache::ManifestCache;
pub use crate::config::Config;

/// Settings are small.
const MAX_REST_BODY: usize = 1 << 20;

pub struct Registry;

#[async_trait]
impl Service for Registry {
    const NAME: &'static str = "registry";
    type Config = Config;

    fn migrations() -> &'static [(&'static str, &'static str)] {
        store::migrations::MIGRATIONS
    }

    fn openapi() -> utoipa::openapi::OpenApi {
        let mut document = api::rest::router().into_openapi();
        document.info.title = "Gantry registry".into();
        document.info.description = Some("Images of a project: tags, platforms, findings. Image clients use the OCI distribution API under /v2/.".into());
        document
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        let app = wire(config, host).await?;
        app.host.work(Arc::new(flows::scan::Scanner(app.clone())));
        app.host.work(Arc::new(flows::scan::Again(app.clone())));
        app.host.work(Arc::new(flows::scanners::Outside(app.clone())));
        app.host.work(Arc::new(flows::cache::Filler(app.clone())));
        app.host.work(Arc::new(flows::replication::Replicator(app.clone())));
        app.host.work(Arc::new(flows::webhooks::Teller(app.clone())));
        app.host.work(Arc::new(flows::retention::Leftovers(app.clone())));
        app.host.keep_running("cache", flows::cache::run(app.clone()));
        app.host.keep_running("replication", flows::replication::run(app.clone()));
        app.host.keep_running("webhooks", flows::webhooks::run(app.clone()));
        app.host.keep_running("gc", flows::gc::run(app.clone()));
        app.host.keep_running("strays", flows::strays::run(app.clone()));
        app.host.keep_running("scrub", flows::scrub::run(app.clone()));
        app.host.keep_running("advisories", flows::advisories::run(app.clone()));
        app.host.keep_running("metering", flows::metering::run(app.clone()));
        app.host.keep_running("reindex", flows::reindex::run(app.clone()));
        app.host.keep_running("scanners", flows::scanners::run(app.clone()));
        app.host.keep_running("pulls", flows::retention::write_pulls(app.clone()));
        app.host.keep_running("retention", flows::retention::run(app.clone()));
        let (rest, _) = api::rest::router().with_state(app.clone()).split_for_parts();
        Ok(Parts {
            router: rest.layer(axum::extract::DefaultBodyLimit::max(MAX_REST_BODY)).merge(api::oci::router(app.clone())),
            grpc: Some(api::grpc::routes(app)),
            grpc_names: api::grpc::NAMES.to_vec(),
            transcoded: api::grpc::OF_REST,
            // Blobs are streams with their own bound; manifests and REST bodies have theirs.
            max_body_bytes: Some(0),
            ..Parts::default()
        })
    }
}

async fn wire(config: Config, host: Host) -> anyhow::Result<App> {
    let manifests = ManifestCache::default();
    let outgoing = flows::projections::Outgoing { public_url: host.platform.public_url.clone(), env: host.env.clone() };
    // Every push waits for all of them: together they are one transaction.
    host.project_together(vec![
        Arc::new(flows::projections::Images(manifests.clone())),
        Arc::new(flows::projections::ScanQueue),
        Arc::new(flows::projections::Settings),
        Arc::new(flows::projections::Lineage),
        Arc::new(flows::projections::Catalogue),
        Arc::new(flows::projections::Usage),
        Arc::new(outgoing),
    ])
    .await?;
    let storage = config.storage(&host.platform.home);
    let app = if config.s3.is_on() {
        let store = BlobS3::open(&config.s3, &storage, &host).await.with_context(|| format!("cannot use the bucket {}", config.s3.bucket))?;
        App::new(host, Arc::new(config), store)
    } else {
        let store = BlobFs::open(&storage).with_context(|| format!("cannot use the blob folder {}", storage.display()))?;
        App::new(host, Arc::new(config), store)
    };
    Ok(App { manifests, ..app })
}
