//! Events from one log to another service's tables over a real NATS that is killed, restarted and emptied.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod chaos;
mod damaged;
mod restored;
