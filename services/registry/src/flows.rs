//! Everything started by an event or a timer.

pub mod advisories;
pub mod cache;
pub mod gc;
pub mod metering;
pub mod projections;
pub mod reindex;
pub mod replication;
pub mod retention;
pub mod rounds;
pub mod scan;
pub mod scanners;
pub mod scrub;
pub mod strays;
pub mod webhooks;
