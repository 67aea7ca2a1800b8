//! Read models of the registry's own events.

mod images;
mod scan_queue;

pub use images::Images;
pub use scan_queue::{ScanQueue, TODO as SCAN_TODO};
