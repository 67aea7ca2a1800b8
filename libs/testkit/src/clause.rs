//! How a test says which clause of docs/clauses.tsv it shows. `make conformance` joins these marks with the runner's results.

use std::fs::OpenOptions;
use std::io::Write;

/// Marks clause `id` (for example `6.3.1.f`) as shown by the test that is running, if that test passes.
///
/// Outside `make test` (GANTRY_CLAUSES not set) it does nothing.
///
/// # Panics
/// When the file cannot be written: a mark must not get lost silently.
#[allow(clippy::disallowed_methods, reason = "the runner tells tests where to write by the environment")]
pub fn clause(id: &str) {
    let Ok(file) = std::env::var("GANTRY_CLAUSES") else { return };
    let line = mark(id, &test_name());
    let mut out = OpenOptions::new().create(true).append(true).open(&file).expect("GANTRY_CLAUSES names a file that can be written");
    // One write: tests of several processes append to the same file.
    out.write_all(line.as_bytes()).expect("the mark is written");
}

fn mark(id: &str, test: &str) -> String {
    format!("{}\n", serde_json::json!({ "clause": id, "test": test }))
}

/// `<binary> <test>` as nextest's JUnit file has them. The test runner names a test's thread after it.
#[allow(clippy::disallowed_methods, reason = "nextest passes the binary's id by the environment")]
fn test_name() -> String {
    let binary = std::env::var("NEXTEST_BINARY_ID").unwrap_or_default();
    let thread = std::thread::current();
    // With `cargo nextest` each test is a process whose main thread runs it when it is the only one.
    let name = std::env::var("NEXTEST_TEST_NAME").ok().or_else(|| thread.name().map(str::to_owned)).unwrap_or_default();
    format!("{binary} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_the_clause_and_this_test() {
        let line = mark("6.3.1.f", &test_name());
        let read: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(read["clause"], "6.3.1.f");
        let test = read["test"].as_str().expect("text");
        assert!(test.ends_with("clause::tests::a_mark_names_the_clause_and_this_test"), "{test}");
    }
}
