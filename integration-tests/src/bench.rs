//! What `make bench` measures: ours and the anchor in turns, several rounds, the median of the rounds' ratios. A figure that
//! misses its goal is shown as missed and is no failure of the command.
//!
//! A new group is one file below `bench/` and one line in [`GROUPS`].

mod cloud;
pub mod clusters;
mod containers;
mod delivery;
mod event_log;
mod figure;
mod ground;
pub mod http;
mod identity;
mod kube_scheduler;
mod ledger;
mod node;
mod pgbench;
mod placements;
mod planner;
mod proxy;
mod reading;
pub mod registry;
mod rollouts;
mod rounds;
mod stage;
mod suite;
mod usage;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::figure::Figure;

/// What the command line asks for.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench", about = "Gantry's figures beside their anchors, one JSON object each in target/bench/")]
pub struct Options {
    /// Groups or figures by name (`event-log`, `idle-memory`); none: all.
    pub names: Vec<String>,
    /// Only say what there is.
    #[arg(long)]
    pub list: bool,
    /// Be the service that `http` asks; started by it.
    #[arg(long, hide = true)]
    pub desk: bool,
    /// Be the registry that `registry` asks; started by it.
    #[arg(long, hide = true)]
    pub registry: bool,
    /// Be the scheduler that `clusters` asks; started by it.
    #[arg(long, hide = true)]
    pub clusters: bool,
    /// Rounds of each figure; the median of fewer than five says little.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Length of one measurement.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Events in the log of `long-log`.
    #[arg(long, default_value_t = 10_000_000)]
    pub events: i64,
    /// People of `long-log`.
    #[arg(long, default_value_t = 100_000)]
    pub people: usize,
    /// Organisations of `organisations`.
    #[arg(long, default_value_t = 10_000)]
    pub organisations: usize,
    /// Entries of `directory`.
    #[arg(long, default_value_t = 20_000)]
    pub entries: usize,
    /// Nodes of `placements`.
    #[arg(long, default_value_t = 5_000)]
    pub nodes: usize,
    /// Instances of `placements`.
    #[arg(long, default_value_t = 50_000)]
    pub instances: usize,
    /// Releases of each kind of `rollouts`.
    #[arg(long, default_value_t = 20)]
    pub repetitions: usize,
    /// Applications of `clusters`.
    #[arg(long, default_value_t = 1_000)]
    pub applications: usize,
    /// Pods of `clusters`, divided over its applications.
    #[arg(long, default_value_t = 10_000)]
    pub pods: usize,
}

impl Options {
    pub fn round(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Whether this figure of a chosen group is wanted: no name narrows it down, or one names it or its group.
    pub fn wants(&self, group: &str, figure: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| n == group || n == figure)
    }
}

/// Figures that are measured together.
struct Group {
    name: &'static str,
    figures: &'static [&'static str],
    measure: fn(&Options) -> Result<Vec<Figure>>,
}

const GROUPS: &[Group] = &[
    Group { name: "event-log", figures: event_log::FIGURES, measure: event_log::measure },
    Group { name: "delivery", figures: delivery::FIGURES, measure: delivery::measure },
    Group { name: "reading", figures: reading::FIGURES, measure: reading::measure },
    Group { name: "http", figures: http::FIGURES, measure: http::measure },
    Group { name: "registry", figures: registry::FIGURES, measure: registry::measure },
    Group { name: "tokens", figures: identity::tokens::FIGURES, measure: identity::tokens::measure },
    Group { name: "sign-in", figures: identity::sign_in::FIGURES, measure: identity::sign_in::measure },
    Group { name: "checks", figures: identity::checks::FIGURES, measure: identity::checks::measure },
    Group { name: "long-log", figures: identity::scale::FIGURES, measure: identity::scale::measure },
    Group { name: "organisations", figures: identity::scale::ORGANISATIONS, measure: identity::scale::organisations },
    Group { name: "directory", figures: identity::directory::FIGURES, measure: identity::directory::measure },
    Group { name: "planner", figures: planner::FIGURES, measure: planner::measure },
    Group { name: "placements", figures: placements::FIGURES, measure: placements::measure },
    Group { name: "containers", figures: containers::FIGURES, measure: containers::measure },
    Group { name: "proxy", figures: proxy::FIGURES, measure: proxy::measure },
    Group { name: "rollouts", figures: rollouts::FIGURES, measure: rollouts::measure },
    Group { name: "clusters", figures: clusters::FIGURES, measure: clusters::measure },
    Group { name: "kube-scheduler", figures: kube_scheduler::FIGURES, measure: kube_scheduler::measure },
    Group { name: "suite", figures: suite::FIGURES, measure: suite::measure },
];

/// Measures what is asked for, prints ours and the anchor side by side, and writes each figure down.
///
/// # Errors
/// When a name is unknown, or something cannot be measured; the others are measured all the same.
pub fn run(options: &Options) -> Result<()> {
    if options.list {
        for group in GROUPS {
            println!("{}: {}", group.name, group.figures.join(", "));
        }
        return Ok(());
    }
    let known = |name: &String| GROUPS.iter().any(|g| g.name == name || g.figures.contains(&name.as_str()));
    if let Some(unknown) = options.names.iter().find(|n| !known(n)) {
        bail!("there is no figure `{unknown}`; `make bench ARGS=--list` says what there is");
    }
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for group in GROUPS.iter().filter(|g| g.figures.iter().any(|f| options.wants(g.name, f))) {
        eprintln!("bench: {} ({} rounds of {} s) ...", group.name, options.rounds, options.seconds);
        match (group.measure)(options) {
            Ok(measured) => {
                for figure in measured {
                    figure.write()?;
                    eprintln!("{figure}");
                    figures.push(figure);
                }
            }
            Err(error) => failed.push(format!("{}: {error:#}", group.name)),
        }
    }
    println!("{}", Figure::HEAD);
    for figure in &figures {
        println!("{figure}");
    }
    let goals: Vec<bool> = figures.iter().filter_map(|f| f.met).collect();
    println!("{} of {} goals met", goals.iter().filter(|met| **met).count(), goals.len());
    if failed.is_empty() { Ok(()) } else { bail!("could not be measured:\n  {}", failed.join("\n  ")) }
}
