//! The outside world of CI/CD: git, containers, image builds, files, and the services it calls.

pub mod buildah;
pub mod containers;
pub mod files;
pub mod git;
pub mod git_backend;
pub mod peers;
pub mod step_log;
