//! Which clauses of docs/clauses.tsv a step shows: one line each in the file that GANTRY_CLAUSES names, once the step has passed.
//! `make conformance` makes its table of them.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use serde_json::json;

/// Outside of `make test` (GANTRY_CLAUSES not set) it does nothing.
///
/// # Errors
/// When the file cannot be written: a mark must not get lost silently.
#[allow(clippy::disallowed_methods, reason = "what runs the story says by the environment where to write")]
pub fn shown(step: &str, clauses: &[&str]) -> Result<()> {
    let Ok(file) = std::env::var("GANTRY_CLAUSES") else { return Ok(()) };
    let line = |clause: &&str| format!("{}\n", json!({ "clause": clause, "test": format!("demo {step}"), "passed": true }));
    let lines: String = clauses.iter().map(line).collect();
    let mut out = OpenOptions::new().create(true).append(true).open(&file).with_context(|| format!("{file} cannot be opened"))?;
    out.write_all(lines.as_bytes()).with_context(|| format!("{file} cannot be written"))
}
