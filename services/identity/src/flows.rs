//! What runs by itself: the directory read model, key rotation, and the removal of what has expired.

pub mod clients;
pub mod directory;
pub mod factors;
pub mod groups;
pub mod outbox;
pub mod policies;
pub mod rotation;
pub mod sweep;
pub mod sync;
pub mod upstreams;
