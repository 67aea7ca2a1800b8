//! The command line of `gantryd`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Runs the Gantry platform's services.
#[derive(Debug, Parser)]
#[command(name = "gantryd", version)]
pub struct Args {
    /// `all`, or services parted by commas: identity, registry, scheduler, cicd, catalog, billing, monitoring, agent, gateway; or `kube-scheduler`, alone: it binds
    /// the pods of a Kubernetes cluster that name it.
    #[arg(long, default_value = "all", global = true)]
    pub target: String,
    /// The configuration file (TOML); the environment (GANTRYD__SECTION__KEY) goes on top of it.
    #[arg(long, global = true)]
    pub config: Option<PathBuf>,
    /// Prints the configuration as it would be used, secrets masked, and ends.
    #[arg(long)]
    pub print_config: bool,
    /// Of `kube-scheduler`: the cluster; the one that it runs in otherwise.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Of `kube-scheduler`: the `schedulerName` of the pods that are its own, and the name of its Lease.
    #[arg(long, default_value = "gantry")]
    pub scheduler_name: String,
    /// Of `kube-scheduler`: where its Lease is.
    #[arg(long, default_value = "gantry-system")]
    pub lease_namespace: String,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the certificate authority and the certificates that other programs need, and ends.
    Init,
    /// Makes this machine a node of a platform elsewhere: gets a certificate for a join token (`gantry node join-token`), and ends. Then
    /// start `gantryd --target agent`.
    Join(Join),
    /// What an operator does with logs and projections, beside the running services or without them.
    #[command(subcommand)]
    Admin(Admin),
    /// Prints a service's OpenAPI document.
    Openapi { service: String },
}

#[derive(clap::Args)]
pub struct Join {
    /// The platform's public address.
    #[arg(long)]
    pub url: String,
    /// The node's name, a DNS label.
    #[arg(long)]
    pub node: String,
    /// Good once. Other programs of this machine can see what is typed: prefer the environment.
    #[arg(long, env = "GANTRY_JOIN_TOKEN", hide_env_values = true)]
    pub token: String,
    /// File with the authority that signed the platform's public certificate, if the system does not trust it.
    #[arg(long)]
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Join({} as {})", self.url, self.node)
    }
}

#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Walks the hash chain of a service's event log (or of all) and names every fault.
    VerifyLog {
        #[arg(long)]
        service: Option<String>,
    },
    /// Shows how far each projection of a service is, and why it stands still if it does.
    Projections { service: String },
    /// Has a projection built anew from the log beside the live one, which serves until the two are swapped. The running service
    /// does it; recorded in the log.
    Rebuild {
        service: String,
        projection: String,
        /// Do not wait until it is done.
        #[arg(long)]
        no_wait: bool,
    },
    /// Passes over the event that a projection stands still before; the decision is itself recorded in the log.
    SkipEvent { service: String, projection: String, position: i64 },
}
