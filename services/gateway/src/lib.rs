//! The one public door: TLS, the console, sign-in sessions, rate limits, and a streaming proxy to the services.

pub mod adapters;
pub mod api;
pub mod app;
pub mod domain;
