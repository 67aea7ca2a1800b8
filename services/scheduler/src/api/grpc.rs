//! gRPC: applications on behalf of pipelines and the catalogue, and the agents' streams; and which gRPC services are the REST API itself.

mod agents;
mod applications;
mod sessions;

pub use agents::AgentsApi;
pub use applications::ApplicationsApi;
pub use sessions::SessionsApi;

/// Their RPCs say which REST call they are (`schemas/proto/scheduler/v1`).
pub const OF_REST: &[&str] = &[
    "gantry.scheduler.v1.AddressPools",
    "gantry.scheduler.v1.Apps",
    "gantry.scheduler.v1.Clusters",
    "gantry.scheduler.v1.Configs",
    "gantry.scheduler.v1.Instances",
    "gantry.scheduler.v1.Nodes",
    "gantry.scheduler.v1.Placement",
    "gantry.scheduler.v1.Releases",
    "gantry.scheduler.v1.Scaling",
    "gantry.scheduler.v1.Services",
    "gantry.scheduler.v1.Volumes",
];

/// Its RPCs name REST calls, too, but messages go both ways.
pub const BY_HAND: &[&str] = &["gantry.scheduler.v1.Sessions"];
