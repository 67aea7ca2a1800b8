//! What can be typed about nodes.

use std::path::PathBuf;

use clap::Subcommand;

use super::Charts;

#[derive(Subcommand)]
pub enum Node {
    /// Make a token that lets one node in, once; it is shown this once.
    JoinToken {
        /// Good for this node only.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// How long it lets a node in.
        #[arg(long, value_name = "MINUTES")]
        expires_in_minutes: Option<u32>,
        /// The node has it from its first moment; may be repeated.
        #[arg(long, value_name = "KEY=VALUE", requires = "node")]
        label: Vec<String>,
        /// KEY[=VALUE]:EFFECT; the node has it from its first moment; may be repeated.
        #[arg(long, value_name = "TAINT", requires = "node")]
        taint: Vec<String>,
    },
    /// Join tokens that were not used yet.
    JoinTokens,
    /// No node is let in with it any more.
    DeleteJoinToken { id: String },
    /// The certificates that do not count any more, as a revocation list (PEM).
    RevocationList,
    /// Certificates that nodes were given.
    Certificates { name: Option<String> },
    /// Revoke all certificates of a node: it has to join anew.
    RevokeCertificates {
        name: String,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Those there are, and how they are.
    List,
    /// One node: what it is and has, what is set, how its images stand.
    Show { name: String },
    /// How busy it is: processor, memory, disk, network.
    Metrics {
        name: String,
        #[command(flatten)]
        charts: Charts,
    },
    /// No new instances.
    Cordon {
        name: String,
        /// Show what it would mean; nothing changes.
        #[arg(long)]
        dry_run: bool,
    },
    /// New instances may come again.
    Uncordon {
        name: String,
        /// Show what it would mean; nothing changes.
        #[arg(long)]
        dry_run: bool,
    },
    /// No new instances, and those that are there move away.
    Drain {
        name: String,
        /// Show what would become of the instances, and what keeps them; nothing changes.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take it out of the platform: drained first, its certificates revoked; its agent stops everything and is refused when it comes back.
    Remove {
        name: String,
        /// Without waiting until it is empty: its instances are started elsewhere at once.
        #[arg(long)]
        force: bool,
        /// Wait for so long at most until it is empty.
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u64,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Show what would become of the instances, and what keeps them; nothing changes.
        #[arg(long)]
        dry_run: bool,
    },
    /// Let a removed node attach again.
    Admit { name: String },
    /// Images that are always to be on a node, fetched before an instance needs them; without images: which these are, and how they stand.
    Prepull {
        name: String,
        images: Vec<String>,
        /// These need not be there any more.
        #[arg(long, requires = "images")]
        remove: bool,
    },
    /// Labels, taints, overcommitment and reservations of a node; without options only shown.
    Settings {
        name: String,
        /// All of it, from a YAML or JSON file.
        #[arg(long, short, value_name = "FILE", conflicts_with_all = ["label", "remove_label", "taint", "untaint", "overcommit_cpu", "overcommit_memory"])]
        file: Option<PathBuf>,
        /// A label to set; may be repeated.
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
        /// A label to take away; may be repeated.
        #[arg(long, value_name = "KEY")]
        remove_label: Vec<String>,
        /// KEY[=VALUE]:EFFECT with NoSchedule, PreferNoSchedule or NoExecute.
        #[arg(long, value_name = "TAINT")]
        taint: Vec<String>,
        /// A taint to take away; may be repeated.
        #[arg(long, value_name = "KEY")]
        untaint: Vec<String>,
        /// Processor time that may be given away, in per cent of what there is.
        #[arg(long, value_name = "PERCENT")]
        overcommit_cpu: Option<u32>,
        /// The same of the memory.
        #[arg(long, value_name = "PERCENT")]
        overcommit_memory: Option<u32>,
    },
}
