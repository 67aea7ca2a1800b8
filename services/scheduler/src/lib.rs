//! The scheduler: applications, their revisions and releases, and where their instances run.

pub mod domain;
