//! gRPC: applications on behalf of pipelines and the catalogue, and the agents' streams.

mod agents;
mod applications;

pub use agents::AgentsApi;
pub use applications::ApplicationsApi;
