//! One measured figure beside what it is measured against.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::bench::rounds::{Round, median};

/// What the ratio `ours / anchor` should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// More is better: a rate.
    AtLeast(f64),
    /// Less is better: a time, an amount of memory.
    AtMost(f64),
}

impl Goal {
    fn met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(goal) => ratio >= goal,
            Self::AtMost(goal) => ratio <= goal,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(goal) => write!(f, ">= {goal}"),
            Self::AtMost(goal) => write!(f, "<= {goal}"),
        }
    }
}

#[derive(Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    /// Median of the rounds.
    pub ours: f64,
    pub anchor: f64,
    pub anchor_name: &'static str,
    /// Median of the rounds' ratios `ours / anchor`.
    pub ratio: f64,
    /// What the ratio should be.
    pub goal: String,
    pub met: bool,
    pub rounds: Vec<Round>,
}

impl Figure {
    pub const HEAD: &'static str = "figure                                    ours         anchor    ratio  goal       unit (anchor)";

    /// Ours against something measured in the same run.
    pub fn compared(name: &'static str, unit: &'static str, anchor_name: &'static str, rounds: Vec<Round>, goal: Goal) -> Self {
        let ratio = median(rounds.iter().map(|r| r.ours / r.anchor).collect());
        let ours = median(rounds.iter().map(|r| r.ours).collect());
        let anchor = median(rounds.iter().map(|r| r.anchor).collect());
        Self { name, unit, ours, anchor, anchor_name, ratio, goal: goal.to_string(), met: goal.met(ratio), rounds }
    }

    /// Ours against a fixed limit, at or below which it must stay.
    pub fn at_most(name: &'static str, unit: &'static str, rounds: Vec<f64>, limit: f64) -> Self {
        let rounds = rounds.into_iter().map(|ours| Round { ours, anchor: limit }).collect();
        Self::compared(name, unit, "limit", rounds, Goal::AtMost(1.0))
    }

    /// Ours against a fixed rate that must be reached.
    pub fn at_least(name: &'static str, unit: &'static str, rounds: Vec<f64>, limit: f64) -> Self {
        let rounds = rounds.into_iter().map(|ours| Round { ours, anchor: limit }).collect();
        Self::compared(name, unit, "limit", rounds, Goal::AtLeast(1.0))
    }

    /// Something that must not happen at all, counted in every repetition. `ours` is the sum, and there is no ratio to nothing: it is
    /// the sum, too.
    pub fn none(name: &'static str, unit: &'static str, counts: Vec<f64>) -> Self {
        let ours: f64 = counts.iter().sum();
        let rounds = counts.into_iter().map(|ours| Round { ours, anchor: 0.0 }).collect();
        let goal = Goal::AtMost(0.0);
        Self { name, unit, ours, anchor: 0.0, anchor_name: "limit", ratio: ours, goal: goal.to_string(), met: goal.met(ours), rounds }
    }

    pub fn write(&self) -> Result<()> {
        let folder = Path::new("target/bench");
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{}.json", self.name)), serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.met { "met" } else { "MISSED" };
        write!(
            f,
            "{:<32} {:>13.3} {:>14.3} {:>8.3}  {:<7} {:<7} {} ({})",
            self.name, self.ours, self.anchor, self.ratio, self.goal, verdict, self.unit, self.anchor_name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_decides() {
        let figure = Figure::at_most("x", "s", vec![9.0, 1.0, 2.0], 2.0);
        assert_eq!((figure.ours, figure.met), (2.0, true));
        assert!(!Figure::at_most("x", "s", vec![3.0], 2.0).met);
    }

    #[test]
    fn what_must_not_happen_at_all_happens_in_no_repetition() {
        assert!(Figure::none("x", "failures", vec![0.0, 0.0, 0.0]).met);
        let once = Figure::none("x", "failures", vec![0.0, 1.0, 0.0]);
        assert_eq!((once.ours, once.met, once.goal.as_str()), (1.0, false, "<= 0"));
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        // The machine became slower from round to round, for both: the ratio does not show it.
        let rounds = [(20.0, 10.0), (8.0, 4.0), (2.0, 1.0)].map(|(ours, anchor)| Round { ours, anchor });
        let figure = Figure::compared("x", "1/s", "y", rounds.to_vec(), Goal::AtLeast(1.5));
        assert_eq!((figure.ratio, figure.met, figure.goal.as_str()), (2.0, true, ">= 1.5"));
    }
}
