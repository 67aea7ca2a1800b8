//! Read models of the registry's own events.

mod catalogue;
mod images;
mod lineage;
mod outgoing;
mod scan_queue;
mod settings;
mod usage;

pub use catalogue::Catalogue;
pub use images::Images;
pub use lineage::Lineage;
pub use outgoing::Outgoing;
pub use scan_queue::{ScanQueue, TODO as SCAN_TODO};
pub use settings::Settings;
pub use usage::Usage;
