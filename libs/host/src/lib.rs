//! What runs a service: configuration, certificates, telemetry, one port for REST and gRPC, health, shutdown.
//! A service implements [`Service`]; several can live in one process, so there are no process globals but telemetry.

mod channel;
pub mod config;
mod connect;
mod context;
mod entry;
mod etag;
mod extract;
mod freshness;
mod grpc;
mod health;
mod idempotency;
mod kept;
mod layers;
mod lines;
mod neighbour;
mod node_pki;
mod page;
mod pki;
mod problem_from;
pub mod reach;
mod serve;
mod service;
mod shown;
pub mod sign_in;
mod sites;
mod sse;
pub mod telemetry;
mod tls;
mod transcode;
mod trusted;

pub use channel::Channel;
pub use config::{ConfigFaults, Platform, Section, load};
pub use context::{Host, HostInner};
pub use entry::{Entry, Running, entry, start};
pub use etag::{IfMatch, created, etag, with_etag};
pub use extract::{Json, Path, Query};
pub use gantry_es_pg::endless;
pub use health::{Part, PartState};
pub use neighbour::Neighbour;
pub use node_pki::{NodeCertificate, Revoked};
pub use page::{Cursor, Page, PageQuery};
pub use pki::{Leaf, Pki, SERVER_SUFFIX};
pub use problem_from::{AsProblem, from_decode, from_execute};
pub use serve::{Doors, Entrance, Listening, serve};
pub use service::{MoreMetrics, Parts, Service};
pub use shown::{Shown, follow_files};
pub use sign_in::SignIn;
pub use sse::{WatchQuery, watch_list};
pub use tls::{client_config, door_config, server_config, shown_client_config};
pub use transcode::Rest;
pub use trusted::{Trusted, joined};

/// What handlers return.
pub type ApiResult<T> = Result<T, gantry_kernel::Problem>;
