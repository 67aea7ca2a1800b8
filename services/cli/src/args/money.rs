//! What can be typed about limits and prices.

use clap::Subcommand;

/// Of the organisation or project of --at, or with --user of a person over all organisations.
#[derive(Subcommand)]
pub enum Quota {
    /// Limits, and what is used of them.
    Get {
        /// Of this person, over all organisations.
        #[arg(long)]
        user: Option<String>,
    },
    /// Set limits: cpu_millis=4000 memory_bytes=8GiB containers=none
    Set {
        #[arg(required = true, value_name = "LIMIT=VALUE")]
        limits: Vec<String>,
        /// Of this person, over all organisations (platform operators).
        #[arg(long)]
        user: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum PricePlan {
    /// Those there are, with their prices.
    List,
    /// The one that the bills of the organisation of --at are made with.
    Show,
    /// Publish a plan, or change prices of one; they hold for the open month and later ones (platform operators).
    Set {
        /// `default` is for everybody who has no other.
        name: String,
        /// ISO 4217, such as EUR; a plan keeps its own.
        #[arg(long)]
        currency: Option<String>,
        /// What one unit of a meter costs, such as cpu_core_hours=0.03, or METER=none: it is free. May be repeated; others stay as they are.
        #[arg(long = "price", value_name = "METER=PRICE", required = true)]
        prices: Vec<String>,
    },
    /// Make the bills of the organisation of --at with this plan, from the open month on (platform operators).
    Assign { plan: String },
}
