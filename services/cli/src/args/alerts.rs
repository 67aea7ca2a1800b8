//! What can be typed about alerts of a space.

use clap::{Args, Subcommand};

#[derive(Subcommand)]
pub enum Alert {
    /// What is pending or firing in the space in use (--at).
    List {
        /// Changes of state instead, the newest first.
        #[arg(long)]
        history: bool,
        /// Entries of the history at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// The rules by which there are alerts.
    #[command(subcommand)]
    Rule(AlertRule),
}

#[derive(Subcommand)]
pub enum AlertRule {
    /// The rules of the space, and where each stands.
    List,
    /// One rule.
    Show { name: String },
    /// Make a rule, or set it as a whole.
    Set(NewRule),
    /// Delete a rule; what it told stays in the history.
    Delete {
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct NewRule {
    pub name: String,
    /// The application that is watched.
    #[arg(long)]
    pub app: String,
    /// Only this workload of it.
    #[arg(long)]
    pub workload: Option<String>,
    /// What is watched: processors, bytes of memory or storage, bytes per second of network, restarts in ten minutes.
    #[arg(long, value_parser = ["cpu", "memory", "storage", "network", "restarts"])]
    pub figure: String,
    /// It is too much above this: a number, or one with KiB, MiB or GiB.
    #[arg(long, value_name = "THRESHOLD", required_unless_present = "below", conflicts_with = "below")]
    pub above: Option<String>,
    /// It is too little below this.
    #[arg(long, value_name = "THRESHOLD")]
    pub below: Option<String>,
    /// How long it must hold before the alarm.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 0)]
    pub for_seconds: u32,
    /// How bad it is.
    #[arg(long, value_parser = ["info", "warning", "critical"], default_value = "warning")]
    pub severity: String,
}
