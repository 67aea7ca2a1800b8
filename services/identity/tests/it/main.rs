//! identity as its callers see it: on real Postgres, NATS and Redis, over its own port.

mod abuse;
mod bound;
mod clients;
mod code_flow;
mod device_flow;
mod directory;
mod factors;
mod federation;
mod history;
mod keys;
mod machines;
mod mails;
mod nodes;
mod openid;
mod party;
mod people;
mod refresh;
mod registry;
mod relying_parties;
mod rest;
mod rights;
mod scim;
mod service_accounts;
mod smtp;
mod support;
mod two_services;
