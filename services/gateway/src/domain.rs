//! The pure parts of the door: which service answers a path, what a header may carry, how documents are merged.

pub mod forwarding;
pub mod gcra;
pub mod openapi;
pub mod path;
pub mod routes;
pub mod rpc;
