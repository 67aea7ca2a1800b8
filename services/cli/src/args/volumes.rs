//! What can be typed about volumes. A volume is named as `list` shows it.

use clap::Subcommand;

use super::DryRun;

#[derive(Subcommand)]
pub enum Volume {
    /// Volumes of the space on all nodes, also those of deleted applications.
    List,
    /// One volume, with its snapshots.
    Show {
        name: String,
        /// The node that it is on; needed where volumes of several nodes have one name.
        #[arg(long)]
        node: Option<String>,
    },
    /// With its snapshots. No instance may have it; backups stay.
    Delete {
        name: String,
        /// The node that it is on; needed where volumes of several nodes have one name.
        #[arg(long)]
        node: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Keep what is in it now, on its node.
    Snapshot {
        name: String,
        snapshot: String,
        /// Delete the snapshot instead.
        #[arg(long)]
        delete: bool,
        /// The node that it is on; needed where volumes of several nodes have one name.
        #[arg(long)]
        node: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Bring a snapshot's content back. No instance may have the volume.
    Rollback {
        name: String,
        snapshot: String,
        /// The node that it is on; needed where volumes of several nodes have one name.
        #[arg(long)]
        node: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Copy it into the volume VOLUME of another application, also on another node.
    Copy {
        name: String,
        app: String,
        volume: String,
        /// Of a stateful workload: which instance's.
        #[arg(long)]
        number: Option<u32>,
        /// The node that NAME is on; needed where volumes of several nodes have one name.
        #[arg(long, value_name = "NODE")]
        from_node: Option<String>,
        /// Where to; beside it if not given.
        #[arg(long)]
        node: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Copy it into object storage.
    Backup {
        name: String,
        /// The node that it is on; needed where volumes of several nodes have one name.
        #[arg(long)]
        node: Option<String>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Its backups, also of a volume that is gone.
    Backups { name: String },
    /// Make a backup its whole content. No instance may have it; --node says where to make one that is gone.
    Restore {
        name: String,
        backup: String,
        /// The node that it is on; needed where volumes of several nodes have one name.
        #[arg(long)]
        node: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Delete a backup, for ever.
    DeleteBackup {
        name: String,
        backup: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        dry: DryRun,
    },
}
