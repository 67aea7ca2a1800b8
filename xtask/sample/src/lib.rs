//! sample: what it owns, in one sentence.

mod api;
mod app;
mod config;
pub mod domain;
mod error;
mod flows;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_es_pg::Store;
use gantry_host::{Host, Parts, Service};

pub use config::Config;
use domain::item::Item;
use flows::projections::Items;

/// What all doors and flows share.
pub(crate) struct App {
    host: Host,
    items: Store<Item>,
    longest_text: usize,
}

pub struct Sample;

#[async_trait]
impl Service for Sample {
    const NAME: &'static str = "sample";
    type Config = Config;

    fn openapi() -> utoipa::openapi::OpenApi {
        api::routes().split_for_parts().1
    }

    async fn start(config: Config, host: Host) -> anyhow::Result<Parts> {
        host.project(Arc::new(Items)).await?;
        let app = Arc::new(App { items: Store::new(host.log().clone()), longest_text: config.longest_text, host });
        Ok(Parts { router: api::routes().with_state(app).split_for_parts().0, ..Parts::default() })
    }
}
