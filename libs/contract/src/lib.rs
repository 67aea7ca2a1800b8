//! What crosses a border between services: gRPC types, event enums, and the bodies several of them share.
//! One module per service; the service that owns a module is the only one that writes those events.

pub mod audit;
pub mod billing;
pub mod branding;
pub mod catalog;
pub mod certificate;
pub mod cicd;
pub mod cluster;
pub mod factor;
pub mod identity;
pub mod kept;
pub mod logs;
pub mod monitoring;
pub mod policy;
pub mod registry;
pub mod scheduler;
pub mod upstream;
pub mod usage;

/// Every service has these in its log.
pub use gantry_es::ProjectionEvent;

/// Generated from `schemas/proto`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod proto {
    pub mod identity {
        tonic::include_proto!("gantry.identity.v1");
    }
    pub mod registry {
        tonic::include_proto!("gantry.registry.v1");
    }
    pub mod scheduler {
        tonic::include_proto!("gantry.scheduler.v1");
    }
    pub mod billing {
        tonic::include_proto!("gantry.billing.v1");
    }
    /// For gRPC server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gantry.bin"));
}
