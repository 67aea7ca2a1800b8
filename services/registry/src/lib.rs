//! The registry: images of every OCI client, kept by content, scanned, and traceable.

pub mod adapters;
pub mod domain;
