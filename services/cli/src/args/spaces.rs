//! What can be typed about spaces beyond what all places have.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Places;

#[derive(Subcommand)]
pub enum Space {
    #[command(flatten)]
    Place(Places),
    /// The Kubernetes clusters that the workloads of the space in use (--at) run on.
    #[command(subcommand)]
    Clusters(SpaceClusters),
    /// Signs of an intrusion in the instances of all applications of the space in use (--at), the newest first.
    Signs {
        /// Only of this application.
        #[arg(long)]
        app: Option<String>,
        /// Only of this kind.
        #[arg(long, value_parser = ["program", "privilege", "connection"])]
        kind: Option<String>,
        /// Only from this node.
        #[arg(long)]
        node: Option<String>,
        /// Only those that nobody has acknowledged.
        #[arg(long)]
        open: bool,
    },
}

#[derive(Subcommand)]
pub enum SpaceClusters {
    /// Which there are, and how they are.
    Show,
    /// Set them as a whole; what runs moves by the policy.
    Set {
        /// A cluster, with its weight if it is not 1: `east=3`. In the order in which they are preferred; may be repeated.
        #[arg(long = "on", value_name = "CLUSTER[=WEIGHT]", required_unless_present = "file")]
        on: Vec<String>,
        /// What the order and the weights mean.
        #[arg(long, value_enum, default_value_t = FleetPolicy::Spread, conflicts_with = "file")]
        policy: FleetPolicy,
        /// From a YAML or JSON file, which also has what is other on each cluster (docs/kubernetes.md).
        #[arg(long, value_name = "FILE", conflicts_with = "on")]
        file: Option<PathBuf>,
    },
    /// Run on nodes with agents again.
    Clear {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FleetPolicy {
    /// Replicas over all, by weight.
    Spread,
    /// All on the first that is not lost.
    Failover,
    /// All of them on each.
    Duplicate,
}

impl FleetPolicy {
    pub fn word(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Failover => "failover",
            Self::Duplicate => "duplicate",
        }
    }
}
