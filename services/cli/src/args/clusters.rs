//! What can be typed about Kubernetes clusters.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum Cluster {
    /// Import a cluster; the connection and the rights are tested first.
    Add {
        name: String,
        /// The organisation whose it is; without one it is the platform's (platform operators).
        #[arg(long)]
        org: Option<String>,
        #[command(flatten)]
        access: ClusterAccess,
        /// Take it in even if it cannot be reached now.
        #[arg(long)]
        unchecked: bool,
        /// Take over what an earlier import of this very cluster, removed by now, has made there.
        #[arg(long, value_name = "NAME")]
        adopt: Option<String>,
        /// Settings from a YAML or JSON file.
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
    },
    /// Those you may see, and how they are.
    List,
    /// One of them: version, what it can do, what was found.
    Show { name: String },
    /// Connect, and say what was found or what is in the way.
    Test { name: String },
    /// Another credential or address.
    Access {
        name: String,
        #[command(flatten)]
        access: ClusterAccess,
    },
    /// Show the settings; with --set, replace them from a YAML or JSON file.
    Settings {
        name: String,
        /// The file to set them from; without it they are shown.
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
    },
    /// Forget it and its credential. Nothing on the cluster is touched.
    Remove {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Print a service account with the least rights that are needed: gantry cluster manifest | kubectl apply -f -
    Manifest {
        /// With the rights of the custom scheduler.
        #[arg(long)]
        scheduler: bool,
        /// With the right to bind people's roles in the namespaces of spaces (the setting `roles`).
        #[arg(long)]
        roles: bool,
    },
    /// A credential plugin for kubeconfigs of clusters that trust this platform: prints an ExecCredential.
    Credential {
        /// The OpenID client that the cluster was told (`--oidc-client-id`, or `audiences`).
        #[arg(long, default_value = "kubernetes")]
        client: String,
    },
}

#[derive(Args)]
pub struct ClusterAccess {
    /// A kubeconfig; the files that it names are read here and sent along.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "in_cluster"])]
    pub kubeconfig: Option<PathBuf>,
    /// Of the kubeconfig; its current one otherwise.
    #[arg(long, requires = "kubeconfig")]
    pub context: Option<String>,
    /// The API server's address, with --token-file.
    #[arg(long, value_name = "URL", requires = "token_file", conflicts_with = "in_cluster")]
    pub server: Option<String>,
    /// The authority that signed the API server's certificate (PEM); `--ca` is the platform's own.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub server_ca: Option<PathBuf>,
    /// File with the token to sign in with.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
    /// The cluster that the platform itself runs on.
    #[arg(long)]
    pub in_cluster: bool,
}
