//! What can be typed about pools of public addresses.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Pool {
    /// Those that you may use; operators see all, and who has which address.
    List,
    /// Make a pool, or set it as a whole (platform operators). Addresses that services have must stay in it.
    Set {
        name: String,
        /// A network (203.0.113.0/28), a range (203.0.113.10-203.0.113.20) or an address; may be repeated.
        #[arg(long = "address", value_name = "NETWORK", required = true)]
        addresses: Vec<String>,
        /// An organisation that may use it; may be repeated. Without any, all may. One that is deleted is named by the id that `list` shows.
        #[arg(long = "org")]
        orgs: Vec<String>,
    },
    /// Remove a pool of which no address is in use (platform operators).
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
