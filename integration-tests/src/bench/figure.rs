//! One measured figure beside what it is measured against.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

#[derive(Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    /// Median of the rounds.
    pub ours: f64,
    pub anchor: f64,
    pub anchor_name: &'static str,
    /// `ours / anchor`.
    pub ratio: f64,
    /// What the ratio should be.
    pub goal: &'static str,
    pub met: bool,
}

impl Figure {
    /// A figure that must stay at or below a fixed limit.
    pub fn at_most(name: &'static str, unit: &'static str, rounds: Vec<f64>, limit: f64) -> Self {
        let ours = median(rounds);
        Self { name, unit, ours, anchor: limit, anchor_name: "limit", ratio: ours / limit, goal: "<= 1", met: ours <= limit }
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
            "{:<28} {:>12.3} {:>12.3} {:>8.3}  {} ({} {}: {verdict})",
            self.name, self.ours, self.anchor, self.ratio, self.unit, self.anchor_name, self.goal
        )
    }
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
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
}
