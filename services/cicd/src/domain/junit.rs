//! Totals of a JUnit XML report, read without building a tree and without entities, so that a hostile file costs little.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    pub tests: u32,
    pub failed: u32,
    pub skipped: u32,
}

/// Counts the test cases of one report.
///
/// # Errors
/// What is wrong with the XML, for the person who reads the log.
pub fn read_junit(xml: &str) -> Result<Report, String> {
    let mut reader = Reader::from_str(xml);
    let mut report = Report::default();
    let (mut bad, mut skipped) = (false, false);
    loop {
        let event = reader.read_event().map_err(|e| format!("not a JUnit report: {e}"))?;
        match event {
            Event::Eof => return Ok(report),
            Event::Start(tag) => match tag.local_name().as_ref() {
                b"testcase" => (bad, skipped) = (false, false),
                b"failure" | b"error" => bad = true,
                b"skipped" => skipped = true,
                _ => {}
            },
            Event::Empty(tag) => match tag.local_name().as_ref() {
                b"testcase" => report.tests += 1,
                b"failure" | b"error" => bad = true,
                b"skipped" => skipped = true,
                _ => {}
            },
            Event::End(tag) if tag.local_name().as_ref() == b"testcase" => {
                report.tests += 1;
                report.failed += u32::from(bad);
                report.skipped += u32::from(skipped && !bad);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_counted_by_how_they_ended() {
        let xml = r#"<testsuites><testsuite tests="9"><testcase name="a"/><testcase name="b"><failure/></testcase>
            <testcase name="c"><skipped/></testcase><testcase name="d"><error>x</error></testcase></testsuite></testsuites>"#;
        assert_eq!(read_junit(xml).unwrap(), Report { tests: 4, failed: 2, skipped: 1 });
        assert!(read_junit("<testsuite><testcase></oops>").is_err());
    }
}
