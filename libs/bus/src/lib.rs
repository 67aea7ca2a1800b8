//! Events between services on NATS JetStream: a copy of each service's log, published in order by the relay and taken
//! in exactly once by the subscribers' projections. Never the only copy: a lost store is filled again from the log.

mod connect;
mod feed;
mod message;
mod publish;
mod relay;
mod stored;
pub mod streams;

pub use connect::{Bus, BusError};
pub use feed::subscribe;
pub use message::{from_message, headers_of, subject_of};
pub use publish::publish;
pub use relay::start_relay;
