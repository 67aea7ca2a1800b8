//! docs/conformance.md: which clause of docs/clauses.tsv is shown by which test, and how that test ended in the last run.
//!
//! A test marks a clause by `gantry_testkit::clause("6.3.1.f")`, which appends a line to the file named by GANTRY_CLAUSES;
//! results come from nextest's JUnit file. A marked test that failed, or one without a result, shows nothing. The demo and the
//! browser's tests append their lines when they have passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use serde::Deserialize;

use crate::work::{Work, say};

const LIST: &str = "docs/clauses.tsv";
const TABLE: &str = "docs/conformance.md";

struct Clause {
    id: String,
    level: String,
    text: String,
    home: String,
}

/// What a test wrote while it ran.
#[derive(Deserialize)]
struct Mark {
    clause: String,
    test: String,
    /// Set by what is no test of the runner (the demo, the browser's tests): they mark a clause once it is shown.
    #[serde(default)]
    passed: bool,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// It failed, was run once more, and passed then (`flakyFailure` in nextest's JUnit).
    PassedLater,
    Failed,
}

impl Outcome {
    fn passed(self) -> bool {
        match self {
            Self::Passed | Self::PassedLater => true,
            Self::Failed => false,
        }
    }
}

/// By the test's full name.
type Outcomes = BTreeMap<String, Outcome>;

/// What a JUnit file says.
#[derive(Debug, PartialEq, Eq)]
pub struct Totals {
    /// `812 run, 812 passed, 0 failed`, and the names of those that failed.
    pub text: String,
    /// Names of the tests that failed first and passed when they were run once more.
    pub passed_later: Vec<String>,
}

/// # Errors
/// When there was no test run, or a test marks a clause that does not exist.
pub fn write(work: &Work) -> Result<()> {
    let clauses = read_list(&work.repository)?;
    let junit = work.results().join("junit.xml");
    let outcomes = outcomes(&fs::read_to_string(&junit).with_context(|| format!("{} is not there; run `make test` first", junit.display()))?)?;
    let marks = fs::read_to_string(work.results().join("clauses.jsonl")).unwrap_or_default();
    let table = table(&clauses, &read_marks(&marks)?, &outcomes)?;
    fs::write(work.repository.join(TABLE), &table)?;
    say(&format!("{TABLE}: {}", table.lines().find(|l| l.contains(" of ")).unwrap_or_default()));
    Ok(())
}

/// Nothing to write: the list is kept by hand, as the standard changes by hand. Checks that it is whole.
///
/// # Errors
/// When it is not.
pub fn write_list(work: &Work) -> Result<()> {
    read_list(&work.repository).map(drop)
}

/// The totals of a JUnit file.
///
/// # Errors
/// When it is not readable.
pub fn totals(junit: &Path) -> Result<Totals> {
    Ok(totals_of(&outcomes(&fs::read_to_string(junit)?)?))
}

/// The names of the tests of a JUnit file that failed, without what they are in.
///
/// # Errors
/// When it is not readable.
pub fn failed(junit: &Path) -> Result<Vec<String>> {
    let outcomes = outcomes(&fs::read_to_string(junit)?)?;
    let failed = outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::Failed);
    failed.map(|(name, _)| Ok(unescape(name.split_once(' ').map_or(name.as_str(), |(_, name)| name))?.into_owned())).collect()
}

/// The totals of tests of which some were run again.
///
/// # Errors
/// When one of the files is not readable.
pub fn totals_of_two(first: &Path, second: &Path) -> Result<Totals> {
    let (first, second) = (fs::read_to_string(first)?, fs::read_to_string(second)?);
    Ok(totals_of(&later(outcomes(&first)?, &outcomes(&second)?)))
}

/// What failed and then passed has passed later.
fn later(mut first: Outcomes, second: &Outcomes) -> Outcomes {
    for (name, outcome) in &mut first {
        if *outcome == Outcome::Failed && second.get(name) == Some(&Outcome::Passed) {
            *outcome = Outcome::PassedLater;
        }
    }
    first
}

fn totals_of(outcomes: &Outcomes) -> Totals {
    let names = |wanted: Outcome| outcomes.iter().filter(|(_, o)| **o == wanted).map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let (failed, passed_later) = (names(Outcome::Failed), names(Outcome::PassedLater));
    let mut text = format!("{} run, {} passed, {} failed", outcomes.len(), outcomes.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        text += &format!(": {}", failed.join(", "));
    }
    if !passed_later.is_empty() {
        text += &format!("; {} passed at the second try", passed_later.len());
    }
    Totals { text, passed_later }
}

fn read_list(repository: &Path) -> Result<Vec<Clause>> {
    let text = fs::read_to_string(repository.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let rows = text.lines().skip(1).map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [id, level, text, home] => Ok(Clause { id: id.into(), level: level.into(), text: text.into(), home: home.into() }),
        _ => bail!("{LIST}: not four columns: {line}"),
    });
    rows.collect()
}

fn read_marks(text: &str) -> Result<Vec<Mark>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not a mark: {line}"))).collect()
}

fn outcomes(junit: &str) -> Result<Outcomes> {
    let mut reader = Reader::from_str(junit);
    let (mut outcomes, mut open) = (Outcomes::new(), None);
    loop {
        match reader.read_event()? {
            Event::Start(tag) if tag.name().as_ref() == b"testcase" => open = Some((name_of(&tag)?, Outcome::Passed)),
            Event::Empty(tag) if tag.name().as_ref() == b"testcase" => {
                outcomes.insert(name_of(&tag)?, Outcome::Passed);
            }
            Event::Start(tag) | Event::Empty(tag) if matches!(tag.name().as_ref(), b"failure" | b"error") => {
                open = open.map(|(name, _)| (name, Outcome::Failed));
            }
            Event::Start(tag) | Event::Empty(tag) if matches!(tag.name().as_ref(), b"flakyFailure" | b"flakyError") => {
                open = open.map(|(name, _)| (name, Outcome::PassedLater));
            }
            // It did not run.
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == b"skipped" => open = None,
            Event::End(tag) if tag.name().as_ref() == b"testcase" => outcomes.extend(open.take()),
            Event::Eof => return Ok(outcomes),
            _ => {}
        }
    }
}

/// nextest's `classname` is the binary, `name` the test inside it: `gantry-scheduler::it a_drained_node...`.
fn name_of(tag: &BytesStart) -> Result<String> {
    let value = |key: &str| -> Result<String> {
        let found = tag.try_get_attribute(key)?.with_context(|| format!("a test case without {key}"))?;
        Ok(String::from_utf8_lossy(&found.value).into_owned())
    };
    Ok(format!("{} {}", value("classname")?, value("name")?))
}

fn table(clauses: &[Clause], marks: &[Mark], outcomes: &Outcomes) -> Result<String> {
    let known: BTreeSet<&str> = clauses.iter().map(|c| c.id.as_str()).collect();
    let mut shown: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for mark in marks {
        if !known.contains(mark.clause.as_str()) {
            bail!("{} marks clause {}, which is not in {LIST}", mark.test, mark.clause);
        }
        let passed = mark.passed || outcomes.get(&mark.test).is_some_and(|o| o.passed());
        // A test that ran twice (a retry) shows the clause when its last run passed, which is what JUnit says.
        shown.entry(&mark.clause).or_default().insert(&mark.test, passed);
    }
    let mut text = String::from("# Conformance\n\nGenerated by `make conformance` from the last `make test`; never edited by hand.\n\n");
    let ok = |id: &str| shown.get(id).is_some_and(|tests| tests.values().all(|p| *p));
    for (level, name) in [("M", "must"), ("S", "should"), ("O", "may")] {
        let of_level: Vec<_> = clauses.iter().filter(|c| c.level == level).collect();
        let done = of_level.iter().filter(|c| ok(&c.id)).count();
        text += &format!("- {name}: {done} of {} clauses shown by a test that passed\n", of_level.len());
    }
    text += "\n| clause | level | requirement | home | shown by | result |\n|---|---|---|---|---|---|\n";
    for clause in clauses {
        let (by, result) = match shown.get(clause.id.as_str()) {
            None => (String::new(), "not yet"),
            Some(tests) => (tests.keys().map(|t| format!("`{t}`")).collect::<Vec<_>>().join("<br>"), if ok(&clause.id) { "ok" } else { "failed" }),
        };
        text += &format!("| {} | {} | {} | {} | {by} | {result} |\n", clause.id, clause.level, clause.text, clause.home);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<?xml version="1.0"?><testsuites><testsuite name="gantry-scheduler::it">
        <testcase name="good" classname="gantry-scheduler::it" time="0.1"/>
        <testcase name="bad" classname="gantry-scheduler::it" time="0.1"><failure type="test failure">no</failure></testcase>
        <testcase name="left-out" classname="gantry-scheduler::it" time="0.1"><skipped type="skipped" message="true"/></testcase>
        <testcase name="loud" classname="gantry-scheduler::it" time="0.1"><system-out>hello</system-out></testcase>
        </testsuite></testsuites>"#;

    /// As nextest writes a test that passed at its second run, and one that failed in both.
    const AGAIN: &str = r#"<?xml version="1.0"?><testsuites name="nextest-run" tests="3" failures="1"><testsuite name="gantry-registry::it">
        <testcase name="steady" classname="gantry-registry::it" time="0.1"></testcase>
        <testcase name="shaky" classname="gantry-registry::it" time="0.2">
            <flakyFailure timestamp="2026-12-01T06:00:00Z" time="30.1" message="not within 30s" type="test failure with exit code 101">
                panicked<system-out>a line</system-out><system-err>&lt;failure/&gt;</system-err></flakyFailure>
        </testcase>
        <testcase name="broken" classname="gantry-registry::it" time="0.3">
            <failure message="no" type="test failure with exit code 101">panicked</failure>
            <rerunFailure timestamp="2026-12-01T06:00:00Z" time="0.3" message="no" type="test failure with exit code 101">panicked</rerunFailure>
        </testcase>
        </testsuite></testsuites>"#;

    #[test]
    fn a_test_that_passed_only_when_it_was_run_once_more_is_named() {
        let totals = totals_of(&outcomes(AGAIN).expect("read"));
        assert_eq!(totals.text, "3 run, 2 passed, 1 failed: gantry-registry::it broken; 1 passed at the second try");
        assert_eq!(totals.passed_later, ["gantry-registry::it shaky"]);
        let steady = totals_of(&outcomes(JUNIT).expect("read"));
        assert_eq!((steady.text.as_str(), steady.passed_later.len()), ("3 run, 2 passed, 1 failed: gantry-scheduler::it bad", 0));
    }

    #[test]
    fn what_failed_and_passed_when_its_file_was_run_again_passed_later() {
        let one = |name: &str, failed: bool| (name.to_owned(), if failed { Outcome::Failed } else { Outcome::Passed });
        let first = Outcomes::from([one("test a", true), one("test b", false), one("test c", true)]);
        let again = Outcomes::from([one("test a", false), one("test c", true)]);
        let totals = totals_of(&later(first, &again));
        assert_eq!(totals.text, "3 run, 2 passed, 1 failed: test c; 1 passed at the second try");
        assert_eq!(totals.passed_later, ["test a"]);
        let file = tempfile::NamedTempFile::new().expect("made");
        fs::write(file.path(), r#"<t><testcase name="says &quot;no&quot;" classname="test"><failure/></testcase><testcase name="b" classname="test"/></t>"#)
            .expect("written");
        assert_eq!(failed(file.path()).expect("read"), [r#"says "no""#]);
    }

    #[test]
    fn a_clause_is_shown_by_a_test_that_passed_at_its_second_run() {
        let mark = Mark { clause: "1.a".into(), test: "gantry-registry::it shaky".into(), passed: false };
        assert!(table(&[clause("1.a")], &[mark], &outcomes(AGAIN).expect("read")).expect("made").contains("must: 1 of 1"));
    }

    fn clause(id: &str) -> Clause {
        Clause { id: id.into(), level: "M".into(), text: "x".into(), home: "scheduler".into() }
    }

    fn mark(clause: &str, test: &str) -> Mark {
        Mark { clause: clause.into(), test: format!("gantry-scheduler::it {test}"), passed: false }
    }

    #[test]
    fn only_a_test_that_passed_shows_a_clause() {
        let outcomes = outcomes(JUNIT).expect("read");
        assert_eq!(outcomes.len(), 3);
        let clauses = ["1.a", "1.b", "1.c", "1.d"].map(clause);
        let marks = [mark("1.a", "good"), mark("1.a", "loud"), mark("1.b", "bad"), mark("1.c", "never_ran")];
        let table = table(&clauses, &marks, &outcomes).expect("made");
        let result = |id: &str| table.lines().find(|l| l.starts_with(&format!("| {id} "))).and_then(|l| l.rsplit('|').nth(1)).map(str::trim);
        assert_eq!([result("1.a"), result("1.b"), result("1.c"), result("1.d")], [Some("ok"), Some("failed"), Some("failed"), Some("not yet")]);
        assert!(table.contains("must: 1 of 4"));
    }

    #[test]
    fn a_mark_of_an_unknown_clause_is_refused() {
        assert!(table(&[clause("1.a")], &[mark("9.z", "good")], &outcomes(JUNIT).expect("read")).is_err());
    }

    #[test]
    fn the_list_has_every_clause_once() {
        let list = read_list(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")).expect("read");
        let ids: BTreeSet<_> = list.iter().map(|c| &c.id).collect();
        assert_eq!((list.len(), ids.len()), (210, 210));
        assert!(list.iter().all(|c| ["M", "S", "O"].contains(&c.level.as_str()) && !c.text.is_empty() && !c.home.is_empty()));
    }
}
