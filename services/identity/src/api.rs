//! The doors: REST for programs, OAuth and OpenID Connect endpoints, pages for people, gRPC for services.

pub mod clean;
pub mod grpc;
pub mod oauth;
pub mod origin;
pub mod pages;
pub mod rest;
pub mod scim;
