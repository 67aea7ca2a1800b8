//! What is measured together, what that takes, and how long it may take at most.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;

use crate::bench::figure::Figure;
use crate::bench::{
    Options, clusters, containers, delivery, event_log, http, identity, kube_scheduler, placements, planner, proxy, reading, registry, rollouts, suite,
};

/// Figures that are measured together.
pub struct Group {
    pub name: &'static str,
    pub figures: &'static [&'static str],
    /// Of a run with all sizes, on two cores.
    pub minutes: u32,
    /// What this machine must have for it, in words; what every group needs (Postgres, NATS, Redis) apart.
    pub takes: &'static str,
    pub measure: fn(&Options) -> Result<Vec<Figure>>,
}

pub const GROUPS: &[Group] = &[
    Group { name: "event-log", figures: event_log::FIGURES, minutes: 3, takes: "", measure: event_log::measure },
    Group { name: "delivery", figures: delivery::FIGURES, minutes: 2, takes: "", measure: delivery::measure },
    Group { name: "reading", figures: reading::FIGURES, minutes: 2, takes: "", measure: reading::measure },
    Group { name: "http", figures: http::FIGURES, minutes: 4, takes: "nginx", measure: http::measure },
    Group { name: "registry", figures: registry::FIGURES, minutes: 30, takes: "docker-registry, 30 GB of disk", measure: registry::measure },
    Group {
        name: "tokens",
        figures: identity::tokens::FIGURES,
        minutes: 3,
        takes: "Node and npm; the network, the first time",
        measure: identity::tokens::measure,
    },
    Group { name: "sign-in", figures: identity::sign_in::FIGURES, minutes: 4, takes: "", measure: identity::sign_in::measure },
    Group { name: "checks", figures: identity::checks::FIGURES, minutes: 1, takes: "openssl; no servers", measure: identity::checks::measure },
    Group { name: "long-log", figures: identity::scale::FIGURES, minutes: 40, takes: "10 GB of disk", measure: identity::scale::measure },
    Group { name: "organisations", figures: identity::scale::ORGANISATIONS, minutes: 8, takes: "", measure: identity::scale::organisations },
    Group { name: "directory", figures: identity::directory::FIGURES, minutes: 15, takes: "slapd", measure: identity::directory::measure },
    Group { name: "planner", figures: planner::FIGURES, minutes: 2, takes: "no servers", measure: planner::measure },
    Group { name: "placements", figures: placements::FIGURES, minutes: 15, takes: "", measure: placements::measure },
    Group {
        name: "containers",
        figures: containers::FIGURES,
        minutes: 20,
        takes: "root; containerd, runc, CNI plug-ins, HAProxy, node_exporter",
        measure: containers::measure,
    },
    Group { name: "proxy", figures: proxy::FIGURES, minutes: 1, takes: "HAProxy; no other servers", measure: proxy::measure },
    Group { name: "rollouts", figures: rollouts::FIGURES, minutes: 25, takes: "root; containerd, runc, CNI plug-ins, HAProxy", measure: rollouts::measure },
    Group {
        name: "clusters",
        figures: clusters::FIGURES,
        minutes: 15,
        takes: "GANTRY_TEST_KUBECONFIG and GANTRY_TEST_IMAGE, else a pretended API server",
        measure: clusters::measure,
    },
    Group {
        name: "kube-scheduler",
        figures: kube_scheduler::FIGURES,
        minutes: 15,
        takes: "GANTRY_TEST_KUBECONFIG and GANTRY_BENCH_KUBE_SCHEDULER, else a pretended API server and no anchor",
        measure: kube_scheduler::measure,
    },
    Group {
        name: "suite",
        figures: suite::FIGURES,
        minutes: 10,
        takes: "all that `make up` needs, as root with containerd; ports from 27400",
        measure: suite::measure,
    },
];

impl Group {
    /// How long it may take: several times what it takes, so that a slow machine is no failure and one that hangs is.
    pub fn limit(&self, options: &Options) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let more =
            [options.rounds as f64 / 5.0, options.seconds / 4.0, options.repetitions as f64 / 20.0, options.events as f64 / 1e7, options.people as f64 / 1e5];
        let more: f64 = more.into_iter().map(|factor| factor.max(1.0)).product();
        Duration::from_secs(60 * u64::from(10 + 4 * self.minutes)).mul_f64(more.min(100.0))
    }
}

/// Every group with what it takes, and its figures.
pub fn listing() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let takes = if group.takes.is_empty() { String::new() } else { format!("; {}", group.takes) };
        let _ = writeln!(text, "{} (about {} min{takes})\n    {}", group.name, group.minutes, group.figures.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[test]
    fn every_figure_and_group_has_a_name_of_its_own() {
        let all: Vec<&str> = GROUPS.iter().flat_map(|g| g.figures).copied().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        // Some are both: what the group is about.
        let both: Vec<&str> = GROUPS.iter().map(|g| g.name).filter(|name| all.contains(name)).collect();
        assert!(both.iter().all(|name| GROUPS.iter().any(|g| g.name == *name && g.figures.contains(name))), "{both:?}");
        let shown = listing();
        assert!(all.iter().all(|figure| shown.contains(figure)));
    }

    #[test]
    fn longer_rounds_have_more_time_and_shorter_ones_no_less() {
        let limit = |args: &[&str]| GROUPS[0].limit(&Options::parse_from([&["bench"][..], args].concat()));
        assert_eq!(limit(&[]), Duration::from_secs(22 * 60));
        assert_eq!(limit(&["--rounds", "10"]), Duration::from_secs(44 * 60));
        assert_eq!(limit(&["--rounds", "1", "--seconds", "0.5"]), limit(&[]));
    }

    /// docs/benchmarks.md says which figure shows what.
    #[test]
    fn every_figure_is_explained() {
        let text = include_str!("../../../docs/benchmarks.md");
        let missing: Vec<&&str> = GROUPS.iter().flat_map(|g| g.figures).filter(|figure| !text.contains(&format!("`{figure}`"))).collect();
        assert!(missing.is_empty(), "not in docs/benchmarks.md: {missing:?}");
    }
}
