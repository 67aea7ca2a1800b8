//! One measured figure beside what it is measured against.

use std::borrow::Cow;
use std::fmt;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::bench::results;
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
    /// What could not be divided was not measured, and is no success: an anchor of nothing makes every rate endless.
    fn met(self, ratio: f64) -> bool {
        ratio.is_finite()
            && match self {
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

#[derive(Serialize, Deserialize)]
pub struct Figure {
    pub name: Cow<'static, str>,
    pub unit: Cow<'static, str>,
    /// Median of the rounds.
    pub ours: f64,
    /// Nothing, as are the four below, where there is nothing to compare with.
    pub anchor: Option<f64>,
    pub anchor_name: Option<Cow<'static, str>>,
    /// Median of the rounds' ratios `ours / anchor`.
    pub ratio: Option<f64>,
    /// What the ratio should be.
    pub goal: Option<String>,
    pub met: Option<bool>,
    /// Each measurement by itself; only written, for whoever wants to know how much they differ.
    #[serde(default, skip_deserializing)]
    pub rounds: Vec<Round>,
}

impl Figure {
    /// Over a table of figures.
    pub fn head() -> String {
        format!("{:<32} {:>13} {:>14} {:>8}  {:<7} {:<7} unit (anchor)", "figure", "ours", "anchor", "ratio", "goal", "met")
    }

    /// Ours against something measured in the same run.
    pub fn compared(name: &'static str, unit: &'static str, anchor_name: &'static str, rounds: Vec<Round>, goal: Goal) -> Self {
        let ratio = median(rounds.iter().map(|r| r.ours / r.anchor).collect());
        let ours = median(rounds.iter().map(|r| r.ours).collect());
        let anchor = median(rounds.iter().map(|r| r.anchor).collect());
        Self::judged(name, unit, ours, (anchor, anchor_name), ratio, goal, rounds)
    }

    fn judged(name: &'static str, unit: &'static str, ours: f64, anchor: (f64, &'static str), ratio: f64, goal: Goal, rounds: Vec<Round>) -> Self {
        let (goal, met) = (Some(goal.to_string()), Some(goal.met(ratio)));
        let anchor_name = Some(anchor.1.into());
        Self { name: name.into(), unit: unit.into(), ours, anchor: Some(anchor.0), anchor_name, ratio: Some(ratio), goal, met, rounds }
    }

    /// Ours where what its goal is about is not on this machine: shown, and neither met nor missed.
    pub fn alone(name: &'static str, unit: &'static str, rounds: Vec<f64>) -> Self {
        // JSON has no NaN: it is written as null.
        let rounds: Vec<_> = rounds.into_iter().map(|ours| Round { ours, anchor: f64::NAN }).collect();
        let ours = median(rounds.iter().map(|r| r.ours).collect());
        Self { name: name.into(), unit: unit.into(), ours, anchor: None, anchor_name: None, ratio: None, goal: None, met: None, rounds }
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
        Self::judged(name, unit, ours, (0.0, "limit"), ours, Goal::AtMost(0.0), rounds)
    }

    /// # Errors
    /// When the disk refuses.
    pub fn write(&self) -> Result<()> {
        results::keep(self)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        let verdict = match self.met {
            Some(true) => "yes",
            Some(false) => "MISSED",
            None => "-",
        };
        let (anchor, ratio, goal) = (number(self.anchor), number(self.ratio), self.goal.as_deref().unwrap_or("-"));
        let anchor_name = self.anchor_name.as_deref().unwrap_or("alone");
        write!(f, "{:<32} {:>13.3} {anchor:>14} {ratio:>8}  {goal:<7} {verdict:<7} {} ({anchor_name})", self.name, self.ours, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_decides() {
        let figure = Figure::at_most("x", "s", vec![9.0, 1.0, 2.0], 2.0);
        assert_eq!((figure.ours, figure.met), (2.0, Some(true)));
        assert_eq!(Figure::at_most("x", "s", vec![3.0], 2.0).met, Some(false));
    }

    #[test]
    fn a_ratio_to_nothing_meets_no_goal() {
        let rounds = vec![Round { ours: 10.0, anchor: 0.0 }; 3];
        assert_eq!(Figure::compared("x", "1/s", "y", rounds, Goal::AtLeast(1.5)).met, Some(false));
    }

    #[test]
    fn a_figure_is_an_object_with_these_members_and_reads_back() {
        let figure = Figure::at_most("idle-memory", "MiB", vec![200.0; 5], 250.0);
        let shown = serde_json::to_value(&figure).unwrap();
        let members: std::collections::BTreeSet<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
        let asked = std::collections::BTreeSet::from(["name", "unit", "ours", "anchor", "anchor_name", "ratio", "goal", "met", "rounds"]);
        assert_eq!(members, asked);
        let back: Figure = serde_json::from_value(shown).unwrap();
        assert_eq!(back.to_string(), figure.to_string());
        assert!(Figure::head().find("unit") == back.to_string().find("MiB"));
        let alone = serde_json::to_value(Figure::alone("x", "1/s", vec![1.0])).unwrap();
        assert_eq!(serde_json::from_value::<Figure>(alone).unwrap().met, None);
    }

    #[test]
    fn what_must_not_happen_at_all_happens_in_no_repetition() {
        assert_eq!(Figure::none("x", "failures", vec![0.0, 0.0, 0.0]).met, Some(true));
        let once = Figure::none("x", "failures", vec![0.0, 1.0, 0.0]);
        assert_eq!((once.ours, once.met, once.goal.as_deref()), (1.0, Some(false), Some("<= 0")));
    }

    #[test]
    fn the_ratio_is_taken_round_by_round() {
        // The machine became slower from round to round, for both: the ratio does not show it.
        let rounds = [(20.0, 10.0), (8.0, 4.0), (2.0, 1.0)].map(|(ours, anchor)| Round { ours, anchor });
        let figure = Figure::compared("x", "1/s", "y", rounds.to_vec(), Goal::AtLeast(1.5));
        assert_eq!((figure.ratio, figure.met, figure.goal.as_deref()), (Some(2.0), Some(true), Some(">= 1.5")));
    }

    #[test]
    fn what_stands_alone_is_neither_met_nor_missed() {
        let figure = Figure::alone("x", "1/s", vec![9.0, 1.0, 2.0]);
        let shown = serde_json::to_value(&figure).unwrap();
        let null = serde_json::Value::Null;
        assert_eq!((&shown["ours"], &shown["met"], &shown["ratio"], &shown["goal"]), (&serde_json::json!(2.0), &null, &null, &null));
        assert_eq!((&shown["rounds"][0]["ours"], &shown["rounds"][0]["anchor"]), (&serde_json::json!(9.0), &null));
        assert!(!figure.to_string().contains("MISSED") && figure.to_string().ends_with("1/s (alone)"));
    }
}
