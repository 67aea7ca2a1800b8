//! What can be typed about applications.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum App {
    /// Run an application described by a Compose file, Kubernetes manifests or a gantry document.
    Deploy {
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// The application's name; the file's own, or its folder's, if not given.
        #[arg(long)]
        name: Option<String>,
        /// Told from the file if not given.
        #[arg(long, value_parser = ["compose", "kubernetes", "gantry"])]
        format: Option<String>,
        /// A value the document asks for: KEY=VALUE, may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        values: Vec<String>,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
        /// Check and show the plan; change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Do not wait until it runs.
        #[arg(long)]
        no_wait: bool,
    },
    List,
    Show {
        name: String,
    },
    /// Its containers: where, since when, in which state.
    Instances {
        name: String,
    },
    Logs {
        name: String,
        /// Go on as lines come.
        #[arg(short, long)]
        follow: bool,
        /// RFC 3339, or how far back: 90s, 10m, 2h.
        #[arg(long)]
        since: Option<String>,
        #[arg(long)]
        instance: Option<String>,
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
    Scale {
        name: String,
        /// WORKLOAD=COUNT, or COUNT when the application has one workload.
        replicas: String,
    },
    Restart {
        name: String,
    },
    Stop {
        name: String,
    },
    Start {
        name: String,
    },
    /// Go back to an earlier revision; without one, list them.
    Rollback {
        name: String,
        revision: Option<u64>,
    },
    /// Why it is as it is: placement, waiting, failures.
    Why {
        name: String,
    },
    Delete {
        name: String,
        #[arg(long)]
        yes: bool,
    },
}
