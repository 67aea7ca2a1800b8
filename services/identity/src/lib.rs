//! identity: who people are and what they may do. An OpenID Connect provider, and organisations with projects, spaces
//! and role bindings, kept as events.

pub mod adapters;
pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod flows;
pub mod store;
