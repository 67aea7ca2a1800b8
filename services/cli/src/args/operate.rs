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
