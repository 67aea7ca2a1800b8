//! The outside world: the file system that keeps content, the archives that layers are, and other registries.

pub mod blob_fs;
pub mod layer;
pub mod receiver;
pub mod remote;
pub mod scanner;
pub mod spool;
mod upload_fs;
pub mod verified;
