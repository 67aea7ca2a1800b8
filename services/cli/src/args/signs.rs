//! What can be typed about signs of an intrusion beyond listing them.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Sign {
    /// Say what signs in the space in use (--at) were, so that they do not count as open any more. They stay in the list.
    Acknowledge {
        /// Their numbers, as `gantry space signs` shows them.
        #[arg(required = true, value_name = "NUMBER")]
        numbers: Vec<u64>,
        /// What it was: it is kept with your name and the time.
        #[arg(long)]
        reason: String,
    },
}
