//! What can be typed about what is kept of the past: lines that applications printed, and figures.

use clap::Args;

#[derive(Args)]
pub struct Logs {
    pub name: String,
    /// Go on as lines come.
    #[arg(short, long)]
    pub follow: bool,
    /// RFC 3339, or how far back: 90s, 10m, 2h.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what was printed before then: the same.
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    pub until: Option<String>,
    /// Of this instance alone: its id or name, as `instances` shows them.
    #[arg(long)]
    pub instance: Option<String>,
    /// Of this workload alone.
    #[arg(long, conflicts_with = "container")]
    pub workload: Option<String>,
    /// Of the start before the present one: why it crashed.
    #[arg(long, conflicts_with_all = ["follow", "container", "workload"])]
    pub previous: bool,
    /// Of one container: `main`, or a further one by its name. Of all if not given.
    #[arg(short = 'c', long)]
    pub container: Option<String>,
    /// Only lines that contain this.
    #[arg(long)]
    pub text: Option<String>,
    /// Only what was printed there.
    #[arg(long, value_parser = ["stdout", "stderr"])]
    pub stream: Option<String>,
    /// The newest so many lines.
    #[arg(long, default_value_t = 200)]
    pub limit: u32,
}

/// From when, until when, how fine.
#[derive(Args)]
pub struct Charts {
    /// RFC 3339, or how far back: 90s, 10m, 2h.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub from: String,
    /// The same; now if not given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// How far apart the figures are, such as 15s or 1m; about 240 of them if not given.
    #[arg(long)]
    pub step: Option<String>,
}
