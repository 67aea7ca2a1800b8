//! CI/CD: hosted git repositories, pipelines, and the runner that carries them out.

pub mod domain;

mod adapters;
