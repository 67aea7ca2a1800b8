//! What can be typed about nodes.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Node {
    /// Make a token that lets one node in, once; it is shown this once.
    JoinToken {
        /// Good for this node only.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        #[arg(long, value_name = "MINUTES")]
        expires_in_minutes: Option<u32>,
    },
    /// Join tokens that were not used yet.
    JoinTokens,
    DeleteJoinToken {
        id: String,
    },
    /// The certificates that do not count any more, as a revocation list (PEM).
    RevocationList,
    /// Certificates that nodes were given.
    Certificates {
        name: Option<String>,
    },
    /// Revoke all certificates of a node: it has to join anew.
    RevokeCertificates {
        name: String,
        #[arg(long)]
        reason: Option<String>,
    },
    List,
    /// No new instances.
    Cordon {
        name: String,
    },
    Uncordon {
        name: String,
    },
    /// No new instances, and those that are there move away.
    Drain {
        name: String,
    },
}
