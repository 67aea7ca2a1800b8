//! What can be typed about ready-made services.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Catalog {
    /// What is on offer.
    List,
    /// What this space has.
    Instances,
    Create {
        offering: String,
        name: String,
        #[arg(long)]
        plan: Option<String>,
        /// KEY=VALUE, may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        parameters: Vec<String>,
        #[arg(long)]
        no_wait: bool,
    },
    Show {
        name: String,
    },
    Delete {
        name: String,
        #[arg(long)]
        yes: bool,
    },
    /// Credentials to use it with.
    Bind {
        instance: String,
        name: String,
        /// Keep them as this secret of the space, for its applications, instead of showing them.
        #[arg(long, value_name = "SECRET")]
        secret: Option<String>,
    },
    Unbind {
        instance: String,
        name: String,
    },
}
