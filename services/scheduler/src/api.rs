//! The doors: REST for people and programs, gRPC for the platform's own services and agents.

pub mod grpc;
mod line;
pub mod rest;

/// Largest message of a caller of sessions over gRPC: a piece, and what is around it.
pub const MOST_SAID: usize = line::PIECE + 1024;
