//! identity as its callers see it: on real Postgres, NATS and Redis, over its own port.

mod code_flow;
mod device_flow;
mod directory;
mod factors;
mod history;
mod machines;
mod refresh;
mod registry;
mod rest;
mod rights;
mod service_accounts;
mod support;
mod two_services;
