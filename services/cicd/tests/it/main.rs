//! CI/CD as a service, with the real `git`, Postgres and NATS. Steps that need containers, a registry and a scheduler of their own are
//! shown end to end by `make demo`; here a stand-in of the scheduler answers where a run needs one.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod grpc;
mod metering;
mod place;
mod pushes;
mod refusals;
mod restart;
mod runs;
