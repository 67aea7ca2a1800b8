//! The outside world: the file system or object store that keeps content, the archives that layers are, and other registries.

pub mod blob_fs;
pub mod blob_s3;
pub mod blob_store;
pub mod blobs;
mod buffers;
mod disk;
mod feed;
pub mod layer;
pub mod receiver;
pub mod remote;
pub mod scanner;
pub mod spool;
mod upload_fs;
pub mod verified;
