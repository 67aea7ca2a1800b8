//! What can be typed about directories and foreign providers.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Upstream {
    /// Those you may see.
    List {
        /// Only those of this organisation.
        #[arg(long)]
        org: Option<String>,
    },
    /// One of them, without its secret.
    Show { name: String },
    /// From a file with its settings (YAML or JSON; docs/identity/upstreams.md).
    Create {
        name: String,
        /// The file with the settings.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// File with the password of the searching account, or the client's secret.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// The organisation it is for; the platform's if not given.
        #[arg(long)]
        org: Option<String>,
    },
    /// Replace the settings.
    Change {
        name: String,
        /// The file with the settings.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// A new secret; the old one stays if not given.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Nobody signs in by it any more.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Try the connection out, step by step: of one that is kept, or of settings in a file.
    Test {
        #[arg(required_unless_present = "file")]
        name: Option<String>,
        /// Somebody to look up.
        #[arg(long)]
        user: Option<String>,
        /// Settings to try without keeping them.
        #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
        file: Option<PathBuf>,
        /// File with the secret that goes with them.
        #[arg(long, value_name = "FILE", requires = "file")]
        secret_file: Option<PathBuf>,
        /// The organisation they would be for; the platform if not given.
        #[arg(long, requires = "file")]
        org: Option<String>,
    },
    /// Bring accounts in step with a directory now.
    Sync {
        name: String,
        /// Read everybody, not only what has changed.
        #[arg(long)]
        full: bool,
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
    },
    /// What the last synchronisations did.
    Report { name: String },
}
