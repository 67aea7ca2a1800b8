//! What runs by itself: the directory read model, key rotation, the way of security facts to the audit stream, and the removal of what has expired.

pub mod branding;
pub mod clients;
pub mod directory;
pub mod factors;
pub mod facts;
pub mod groups;
pub mod outbox;
pub mod person_certificates;
pub mod policies;
pub mod removed_nodes;
pub mod revocation;
pub mod rotation;
pub mod session_ends;
pub mod sweep;
pub mod sync;
pub mod upstreams;
