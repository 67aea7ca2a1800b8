//! What strangers' bytes meet first, as one function each: for the fuzz targets in `fuzz/` and for the tests that replay
//! their corpus. Each states what must hold whatever comes, and panics if it does not.

use std::collections::BTreeMap;

use gantry_kernel::OffsetDateTime;
use time::Duration;

use crate::domain::cron::Cron;
use crate::domain::document::Document;
use crate::domain::export::{Format, export};
use crate::domain::interpolate::interpolate;
use crate::domain::patch;
use crate::domain::placement::{ExpressionWanted, compile_expression};

/// More than the API takes would only slow the search down.
const LONGEST: usize = 64 << 10;

/// A Compose file.
///
/// # Panics
/// As [`accepted_survives`] says.
pub fn compose(data: &[u8]) {
    accepted_survives(Format::Compose, data);
}

/// Kubernetes YAML, of one or several documents.
///
/// # Panics
/// As [`accepted_survives`] says.
pub fn kubernetes(data: &[u8]) {
    accepted_survives(Format::Kubernetes, data);
}

/// Our own typed form.
///
/// # Panics
/// As [`accepted_survives`] says.
pub fn own(data: &[u8]) {
    accepted_survives(Format::Gantry, data);
}

/// A schedule of five fields.
///
/// # Panics
/// When a time lies on the wrong side of now, or the first time after another is not the last before the next.
pub fn schedule(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(cron) = Cron::parse(text) else { return };
    let now = OffsetDateTime::from_unix_timestamp(1_900_000_000).expect("a time");
    if let Some(last) = cron.last(now) {
        assert!(last <= now, "{text}: {last} was to be at or before {now}");
        assert_eq!(cron.last(last), Some(last), "{text}: a time of the schedule is its own last one");
    }
    if let Some(next) = cron.next(now) {
        assert!(next > now, "{text}: {next} was to be after {now}");
        assert_eq!(cron.last(next), Some(next), "{text}: what comes next is a time of the schedule");
        let before = cron.last(next - Duration::minutes(1));
        assert!(before.is_none_or(|b| b <= now), "{text}: {before:?} lies between {now} and {next}");
    }
}

/// A text with `${...}`: the values are known, so nothing may be missing, and none is read twice.
///
/// # Panics
/// When a value that contains `${...}` is itself interpolated.
pub fn interpolation(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let values = BTreeMap::from([("A".to_owned(), "${B}".to_owned()), ("EMPTY".to_owned(), String::new())]);
    let mut missing = Vec::new();
    let Ok(made) = interpolate(text, &values, &mut missing) else { return };
    if text == "${A}" || text == "$A" {
        assert_eq!(made, "${B}", "a value is not read again");
    }
    if !text.contains('$') {
        assert_eq!(made, text, "a text without values stays as it is");
    }
}

/// A kubeconfig that somebody uploads.
///
/// # Panics
/// When what was read would speak in clear to another machine.
pub fn kubeconfig(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(access) = gantry_kubernetes::parse(text, None) else { return };
    let local = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
    let safe = access.server.to_ascii_lowercase().starts_with("https:") || local.iter().any(|l| access.server.to_ascii_lowercase().starts_with(l));
    assert!(safe, "{} was accepted", access.server);
}

/// An expression about nodes, as a space's rules have it.
///
/// # Panics
/// When one is refused without a word or a place, or what it was read as is larger than it may be, or another one when it is read again.
pub fn expression(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for wanted in [ExpressionWanted::Truth, ExpressionWanted::Number] {
        match compile_expression(text, wanted) {
            Ok(formula) => {
                assert!(formula.root.size() <= 100, "{text}: it may not have so many parts");
                assert_eq!(compile_expression(&formula.text, wanted).as_ref(), Ok(&formula), "{text}: read again it is another one");
            }
            Err(fault) => assert!(fault.line > 0 && fault.column > 0 && !fault.detail.is_empty(), "{text}: {fault}"),
        }
    }
}

/// A document is refused with remarks, or it becomes a model that our own form gives back as it was.
///
/// # Panics
/// When a document is refused without a word, or what our form says of a model is read as another one.
fn accepted_survives(format: Format, data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if text.len() > LONGEST {
        return;
    }
    match format.read(&Document::alone(text)).finish(true) {
        Err(remarks) => assert!(!remarks.is_empty(), "refused without a word"),
        Ok(parsed) => {
            let said = export(Format::Gantry, "app", &parsed.model);
            let again = Format::Gantry.read(&Document::alone(&said)).finish(true).unwrap_or_else(|r| panic!("its own form is refused: {r:#?}\n{said}"));
            assert!(again.model == parsed.model, "its own form differs by {:#?}\n{said}", patch::between(&again.model, &parsed.model));
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_testkit::replay;

    #[test]
    fn the_corpus_of_compose_files_is_refused_or_kept_whole() {
        replay("scheduler_compose", super::compose);
    }

    #[test]
    fn the_corpus_of_kubernetes_files_is_refused_or_kept_whole() {
        replay("scheduler_kubernetes", super::kubernetes);
    }

    #[test]
    fn the_corpus_of_our_own_form_is_refused_or_kept_whole() {
        replay("scheduler_own", super::own);
    }

    #[test]
    fn the_corpus_of_schedules_has_an_order() {
        replay("scheduler_schedule", super::schedule);
    }

    #[test]
    fn the_corpus_of_interpolations_reads_a_value_once() {
        replay("scheduler_interpolation", super::interpolation);
    }

    #[test]
    fn the_corpus_of_expressions_is_refused_with_a_place_or_bounded() {
        replay("scheduler_expression", super::expression);
    }

    #[test]
    fn the_corpus_of_kubeconfigs_speaks_to_nobody_in_clear() {
        replay("scheduler_kubeconfig", super::kubeconfig);
    }
}
