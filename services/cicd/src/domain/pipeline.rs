//! A pipeline after every check: what the run keeps in its first event. The file's own shape is in `pipeline_file`.

use std::collections::BTreeMap;

use gantry_kernel::Name;
use serde::{Deserialize, Serialize};

/// Steps in the order of the file; all steps of a stage come together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    pub env: BTreeMap<String, String>,
    pub steps: Vec<Step>,
}

/// One thing to do. `name` is unique in the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub stage: Name,
    /// Place of the stage: a step waits for every step of the stages before.
    pub stage_index: u32,
    pub name: Name,
    /// Steps of the same or an earlier stage that must have ended well.
    pub needs: Vec<Name>,
    /// Branch patterns (`*` stands for any text); empty = every branch.
    pub branches: Vec<String>,
    pub timeout_seconds: u64,
    /// Glob-free relative paths or `dir/*.ext` patterns kept after the step.
    pub artifacts: Vec<String>,
    /// JUnit XML files whose totals are shown with the run.
    pub reports: Vec<String>,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Work {
    Run(Container),
    Build(Build),
    Deploy(Deploy),
    Approval { prompt: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub image: String,
    /// Lines of one `sh -e` script.
    pub lines: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cpu_millis: u32,
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    pub context: String,
    pub dockerfile: String,
    /// Repository name inside the project.
    pub image: Name,
    pub tags: Vec<String>,
    pub args: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    pub file: String,
    /// compose | kubernetes | gantry
    pub format: String,
    pub space: Name,
    pub app: Name,
    pub values: BTreeMap<String, String>,
}

impl Pipeline {
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.name.as_str() == name)
    }

    /// Steps whose `when` does not match `reference` are left out of the run.
    pub fn skips(&self, step: &Step, reference: &str) -> bool {
        !step.branches.is_empty() && !branch_of(reference).is_some_and(|b| step.branches.iter().any(|p| matches(p, b)))
    }

    /// Whether the step must wait for `other` before it starts.
    pub fn waits_for(step: &Step, other: &Step) -> bool {
        other.stage_index < step.stage_index || step.needs.contains(&other.name)
    }
}

impl Work {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Build(_) => "build",
            Self::Deploy(_) => "deploy",
            Self::Approval { .. } => "approval",
        }
    }
}

/// `refs/heads/x` → `x`.
pub fn branch_of(reference: &str) -> Option<&str> {
    reference.strip_prefix("refs/heads/")
}

/// Whether `text` fits `pattern`, where `*` stands for any text, also none.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("main", "main", true),
            ("main", "mainx", false),
            ("release/*", "release/1.2", true),
            ("release/*", "rel", false),
            ("*", "", true),
            ("*-fix", "a-fix", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
