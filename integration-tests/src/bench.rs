//! What `make bench` measures: ours and the anchor in turns, several rounds, the median of the rounds' ratios. A figure that
//! misses its goal is shown as missed and is no failure of the command. docs/benchmarks.md says which figure shows what.
//!
//! A new group is one file below `bench/`, one entry of `groups::GROUPS`, and a line in docs/benchmarks.md.

mod cloud;
pub mod clusters;
mod containers;
mod delivery;
mod event_log;
mod figure;
mod former;
mod ground;
mod groups;
pub mod http;
mod identity;
mod kube_scheduler;
mod ledger;
mod node;
mod pgbench;
mod placements;
mod planner;
mod programs;
mod proxy;
mod reading;
pub mod registry;
mod results;
mod rollouts;
mod rounds;
mod run;
mod stage;
mod suite;
mod usage;

use std::time::Duration;

pub use run::run;

/// What the command line asks for.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bench", about = "Gantry's figures beside their anchors, one JSON object each in target/bench/")]
pub struct Options {
    /// Groups or figures by name (`event-log`, `idle-memory`); none: all. `list` is `--list`, `show` is `--show`.
    pub names: Vec<String>,
    /// Only say what there is, and what it takes.
    #[arg(long)]
    pub list: bool,
    /// Only show what was measured last.
    #[arg(long)]
    pub show: bool,
    /// One short round with small sizes: whether everything runs, no figures to believe. They go to target/bench/quick/.
    #[arg(long)]
    pub quick: bool,
    /// Measure the programs as they are, though sources have been changed since.
    #[arg(long)]
    pub as_built: bool,
    /// Measure this group in this process; started by the run, one for each group.
    #[arg(long, hide = true)]
    pub group: Option<String>,
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

    /// With the words among the names taken as what they ask for, and a quick look made quick.
    #[must_use]
    fn meant(mut self) -> Self {
        self.list |= self.names.iter().any(|n| n == "list");
        self.show |= self.names.iter().any(|n| n == "show");
        self.names.retain(|n| n != "list" && n != "show");
        if self.quick {
            self.rounds = self.rounds.min(1);
            self.seconds = self.seconds.min(1.0);
            self.events = self.events.min(200_000);
            self.people = self.people.min(2_000);
            self.organisations = self.organisations.min(200);
            self.entries = self.entries.min(500);
            self.nodes = self.nodes.min(200);
            self.instances = self.instances.min(2_000);
            self.repetitions = self.repetitions.min(1);
            self.applications = self.applications.min(20);
            self.pods = self.pods.min(100);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn meant(args: &[&str]) -> Options {
        Options::parse_from([&["bench"][..], args].concat()).meant()
    }

    #[test]
    fn words_are_taken_for_what_they_ask() {
        let list = meant(&["list"]);
        assert!(list.list && !list.show && list.names.is_empty());
        let show = meant(&["show", "suite"]);
        assert!(show.show && show.wants("suite", "ready") && !show.wants("http", "http-row"));
        assert!(meant(&[]).wants("http", "http-row"));
    }

    #[test]
    fn a_quick_look_is_small_and_everything_else_as_large_as_the_goals_ask() {
        let quick = meant(&["--quick", "--nodes", "50"]);
        assert_eq!((quick.rounds, quick.nodes, quick.instances, quick.repetitions), (1, 50, 2_000, 1));
        let whole = meant(&[]);
        assert_eq!((whole.rounds, whole.events, whole.people, whole.organisations, whole.entries), (5, 10_000_000, 100_000, 10_000, 20_000));
        assert_eq!((whole.nodes, whole.instances, whole.repetitions, whole.applications, whole.pods), (5_000, 50_000, 20, 1_000, 10_000));
    }
}
