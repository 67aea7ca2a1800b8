//! What the door does: forward, count, keep sessions, answer for itself.

pub mod documents;
pub mod door;
pub mod kept;
pub mod limiter;
pub mod listen;
pub mod proxy;
pub mod sessions;
