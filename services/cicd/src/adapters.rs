//! The outside world of CI/CD: git, containers, image builds.

pub mod git;
pub mod git_backend;
