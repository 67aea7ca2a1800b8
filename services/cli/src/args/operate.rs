//! What can be typed by operators of the platform.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum Events {
    /// Print events until interrupted.
    Tail {
        /// Stop after this many.
        #[arg(short = 'n', long)]
        count: Option<usize>,
    },
}

#[derive(Args)]
pub struct Audit {
    /// Who: the name of a person, user:ID, robot:ID, service:NAME or system.
    #[arg(long)]
    pub actor: Option<String>,
    /// What: a kind such as app.revised, or the beginning of several with a star: app.*
    #[arg(long)]
    pub kind: Option<String>,
    /// On what: app:ID and the like, as -o json shows it.
    #[arg(long)]
    pub object: Option<String>,
    /// ok, denied or failed.
    #[arg(long)]
    pub result: Option<String>,
    /// RFC 3339.
    #[arg(long)]
    pub from: Option<String>,
    /// RFC 3339.
    #[arg(long)]
    pub to: Option<String>,
    /// Only of this organisation.
    #[arg(long)]
    pub org: Option<String>,
    /// Words to look for.
    #[arg(short)]
    pub q: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
    /// Write everything that fits, without --limit, to a file: CSV, or JSON lines if its name ends with .jsonl.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

#[derive(Subcommand)]
pub enum AuditCommand {
    /// Recompute the hash chains of the audit trail and of identity's record of security facts; fails if one is not whole.
    Verify,
}

#[derive(Args)]
pub struct AdminCommand {
    #[command(subcommand)]
    pub command: Admin,
    /// The services' configuration.
    #[arg(long, default_value = ".gantry/gantry.toml", value_name = "FILE", global = true)]
    pub config: PathBuf,
}

#[derive(Subcommand)]
pub enum Admin {
    /// Check the hash chain of the event logs; runs on the platform's machine.
    VerifyLog {
        /// One service; all if not given.
        #[arg(long)]
        service: Option<String>,
    },
    /// How far each projection of a service is, and why it stands still if it does; runs on the platform's machine.
    Projections { service: String },
    /// Have a projection built anew beside the live one and swapped in; runs on the platform's machine.
    Rebuild {
        service: String,
        projection: String,
        /// Do not wait until it is done.
        #[arg(long)]
        no_wait: bool,
    },
    /// Pass over the event that a projection cannot take in; runs on the platform's machine.
    SkipEvent { service: String, projection: String, position: i64 },
}
