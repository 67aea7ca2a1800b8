//! What can be typed about services.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Service {
    /// What can be called by a name in the space in use (--at): the services of its applications, and what runs elsewhere.
    List {
        /// Only those that are called so: db, or with its application db.shop.
        #[arg(long)]
        name: Option<String>,
    },
    /// One by its name, with the instances that answer now.
    Show {
        /// db, or with its application db.shop.
        name: String,
    },
    /// The same as a stream: a line for each service, then one for each that has changed. Until Ctrl-C.
    Watch {
        /// Only those that are called so.
        #[arg(long)]
        name: Option<String>,
        /// End after so many lines.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Give a service that runs elsewhere a name in the space, or say anew where it is. Instances call it by that name.
    Register {
        name: String,
        /// A host name, which the nodes look up, or an address.
        #[arg(long)]
        address: String,
        /// For those who look for it; may be repeated.
        #[arg(long = "port", value_name = "PORT")]
        ports: Vec<u16>,
        /// Goes into the audit trail.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take such a registration back.
    Deregister {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}
