//! The doors: REST for people and programs, gRPC for the platform's own services and agents.

pub mod grpc;
pub mod rest;
