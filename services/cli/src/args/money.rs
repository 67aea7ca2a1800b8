//! What can be typed about limits.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Quota {
    /// Limits, and what is used of them.
    Get,
    /// Set limits: cpu_millis=4000 memory_bytes=8GiB containers=none
    Set {
        #[arg(required = true, value_name = "LIMIT=VALUE")]
        limits: Vec<String>,
    },
}
