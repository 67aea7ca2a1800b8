//! A service as small as can be on the real host: accounts as aggregates, appended to and loaded over gRPC, and a second
//! service that keeps a statement of every entry. It does nothing of its own, so what is measured is the foundation.

mod account;
mod calls;
mod service;
mod statement;

/// Generated from `proto/ledger.proto`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod proto {
    tonic::include_proto!("gantry.bench.v1");
}

pub use account::{Account, AccountEvent, entered};
pub use calls::{Callers, NOTE};
pub use service::{Ledger, Reader};
pub use statement::Statement;
