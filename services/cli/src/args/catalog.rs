//! What can be typed about ready-made services.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Catalog {
    /// What is on offer.
    List,
    /// What this space has.
    Instances,
    /// Have an instance of an offering made for the space.
    Create {
        offering: String,
        name: String,
        /// One of the plans that `list` shows; needed where there are several.
        #[arg(long)]
        plan: Option<String>,
        /// KEY=VALUE, may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        parameters: Vec<String>,
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
    },
    /// One instance of the space.
    Show { name: String },
    /// Delete an instance with its data, for ever.
    Delete {
        name: String,
        /// Do not ask.
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
    /// Take credentials back: they count no longer.
    Unbind { instance: String, name: String },
}
