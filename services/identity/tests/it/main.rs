//! identity as its callers see it: on real Postgres, NATS and Redis, over its own port.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]

mod abuse;
mod active_directory;
mod answers;
mod backup;
mod bad_input;
mod bound;
mod branding;
mod certificates;
mod clients;
mod cluster_tokens;
mod code_flow;
mod device_flow;
mod directory;
mod erasure;
mod factors;
mod federation;
mod grpc;
mod history;
mod keys;
mod letter;
mod machines;
mod mails;
mod nodes;
mod offline;
mod openid;
mod party;
mod passkeys;
mod people;
mod record;
mod refresh;
mod registry;
mod relying_parties;
mod renewal;
mod rest;
mod revocation;
mod rights;
mod scim;
mod service_accounts;
mod smtp;
mod standing;
mod support;
mod two_services;
mod versions;
