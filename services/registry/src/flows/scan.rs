//! Works on the list of images to scan.

use async_trait::async_trait;
use gantry_es_pg::{TodoHandler, TodoItem};

use super::projections::SCAN_TODO;
use crate::app::App;
pub use crate::app::scan::Job;

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
        let job: Job = serde_json::from_value(item.payload)?;
        self.0.scan(&job).await
    }
}
