//! The outside world: the services behind the door, identity's OAuth endpoints, the session store in Redis.

pub mod certificates;
pub mod identity;
pub mod store;
pub mod upstreams;
