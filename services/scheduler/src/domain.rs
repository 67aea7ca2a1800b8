//! What the scheduler decides, as pure functions: the application model and its readers, the application's life,
//! placement, and releases. No I/O, no clock, no async.

pub mod app;
pub mod compose;
pub mod document;
pub mod engine;
pub mod model;
pub mod observe;
pub mod placement;
pub mod release;
pub mod status;
pub mod stored;
pub mod wanted;
pub mod yaml;
