//! For Rust programs that use a platform: gRPC clients of the public APIs. The calls, and who may make them, are those of the REST API;
//! `docs/identity/grpc.md` says how to connect and sign in. Programs in other languages generate theirs from `schemas/proto`.

#[allow(clippy::all, clippy::pedantic, dead_code, missing_docs, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

pub use generated::gantry::billing::v1 as billing;
pub use generated::gantry::catalog::v1 as catalog;
pub use generated::gantry::cicd::v1 as cicd;
pub use generated::gantry::identity::v1 as identity;
pub use generated::gantry::monitoring::v1 as monitoring;
pub use generated::gantry::registry::v1 as registry;
pub use generated::gantry::scheduler::v1 as scheduler;
pub use generated::google::api::HttpBody;
