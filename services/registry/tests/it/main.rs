//! The registry as clients meet it: real Postgres, NATS and disk, TLS, tokens, and skopeo.

#![allow(clippy::disallowed_methods, reason = "tests draw their own ids and read the clock")]
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod access;
mod bad_input;
mod batches;
mod blobs;
mod cached;
mod care;
mod clients;
mod conformance;
mod conformance_data;
mod content;
mod docker;
mod events;
mod faults;
mod ground;
mod grpc;
mod image;
mod layers;
mod lists;
mod manifests;
mod origin;
mod peer;
mod platforms;
mod policy;
mod power;
mod public_suite;
mod replication;
mod retention;
mod scan;
mod scanners;
mod search;
mod settings;
mod signing;
mod skopeo;
mod stage;
mod storage;
mod webhooks;
