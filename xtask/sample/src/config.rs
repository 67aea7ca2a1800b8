//! `[sample]`.

use gantry_host::Section;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Characters of an item's text at most. 1 to 10000.
    pub longest_text: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { longest_text: 500 }
    }
}

impl Section for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if !(1..=10_000).contains(&self.longest_text) {
            faults.push(format!("longest_text = {}: must be 1 to 10000", self.longest_text));
        }
    }
}
