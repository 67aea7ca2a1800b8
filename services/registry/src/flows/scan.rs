//! Works on the lists of images to scan: those that were pushed, and those that are scanned again.

use async_trait::async_trait;
use gantry_es_pg::{TodoHandler, TodoItem};

use super::projections::SCAN_TODO;
use crate::app::App;
pub use crate::app::scan::Job;
use crate::app::scan::RESCAN;

pub struct Scanner(pub App);

#[async_trait]
impl TodoHandler for Scanner {
    fn name(&self) -> &'static str {
        SCAN_TODO
    }

    /// Reading layers costs processor time; pushes and pulls come first.
    fn concurrency(&self) -> usize {
        2
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        scan(&self.0, item).await
    }
}

/// New advisories, or a newer program.
pub struct Again(pub App);

#[async_trait]
impl TodoHandler for Again {
    fn name(&self) -> &'static str {
        RESCAN
    }

    fn concurrency(&self) -> usize {
        1
    }

    async fn handle(&self, item: TodoItem) -> anyhow::Result<()> {
        scan(&self.0, item).await
    }
}

async fn scan(app: &App, item: TodoItem) -> anyhow::Result<()> {
    let job: Job = serde_json::from_value(item.payload)?;
    // Whoever pushes many images at once waits for answers; the findings may come some seconds later.
    app.rush.over().await;
    app.scan(&job).await
}
