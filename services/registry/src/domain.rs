//! The registry's pure core: names, digests, manifests, ranges, rights, the repository aggregate, and what a scan makes of
//! the files it finds. No I/O, no async.

pub mod access;
pub mod challenge;
pub mod config;
pub mod cron;
pub mod digest;
pub mod idle;
pub mod keys;
pub mod layers;
pub mod littering;
pub mod manifest;
pub mod name;
pub mod origin;
pub mod pattern;
pub mod platform;
pub mod policy;
pub mod range;
pub mod replication;
pub mod repository;
pub mod retention;
pub mod scan;
pub mod search;
pub mod settings;
pub mod signature;
pub mod sums;
pub mod webhook;
