//! Events from one log to another service's tables over a real NATS that is killed, restarted and emptied.

mod chaos;
