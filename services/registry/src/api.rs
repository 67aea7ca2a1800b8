//! The doors: OCI distribution for image clients, REST for people and programs, gRPC for the platform's services.

pub mod grpc;
pub mod oci;
pub mod rest;
