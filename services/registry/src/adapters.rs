//! The outside world: the file system that keeps content, and the archives that layers are.

pub mod blob_fs;
pub mod layer;
mod upload_fs;
pub mod verified;
