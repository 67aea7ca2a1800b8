//! Vulnerability data in the forms in which it is published: OSV records, Debian's security tracker, Alpine's secdb. Each file
//! is told by what is in it.

use serde_json::Value;

use super::advisory::{Advisory, Judgement, Range, RangeEvent, Record};
use super::cvss::Severity;

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("neither OSV records, nor Debian's tracker, nor Alpine's secdb")]
    Unknown,
}

/// What files say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feed {
    pub advisories: Vec<Advisory>,
    /// How bad the vulnerabilities are, also those of which no package is named.
    pub judgements: Vec<Judgement>,
}

impl Feed {
    pub fn add(&mut self, more: Self) {
        self.advisories.extend(more.advisories);
        self.judgements.extend(more.judgements);
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.advisories.is_empty() && self.judgements.is_empty()
    }
}

/// Everything a file says.
///
/// # Errors
/// Not JSON, or of no known form.
pub fn read(bytes: &[u8]) -> Result<Feed, FeedError> {
    let only = |advisories| Feed { advisories, judgements: Vec::new() };
    let value: Value = serde_json::from_slice(bytes)?;
    if value["distroversion"].is_string() && value["packages"].is_array() {
        return Ok(only(secdb(&value)));
    }
    if value["id"].is_string() || value.is_array() {
        let records: Vec<Record> = match value {
            Value::Array(_) => serde_json::from_value(value)?,
            one => vec![serde_json::from_value(one)?],
        };
        let judgements = records.iter().filter_map(Record::judgement).collect();
        return Ok(Feed { advisories: records.into_iter().flat_map(Record::advisories).collect(), judgements });
    }
    match value.as_object() {
        Some(packages) if packages.values().all(|p| p.as_object().is_some_and(|cves| cves.values().all(|c| c["releases"].is_object()))) => {
            Ok(only(tracker(&value)))
        }
        _ => Err(FeedError::Unknown),
    }
}

/// Code names of Debian's releases (debian.org/releases).
const RELEASES: [(&str, &str); 8] =
    [("forky", "14"), ("trixie", "13"), ("bookworm", "12"), ("bullseye", "11"), ("buster", "10"), ("stretch", "9"), ("jessie", "8"), ("wheezy", "7")];

/// security-tracker.debian.org/tracker/data/json: package → CVE → release → status and fixed version.
fn tracker(value: &Value) -> Vec<Advisory> {
    let mut found = Vec::new();
    for (package, cves) in value.as_object().into_iter().flatten() {
        for (id, cve) in cves.as_object().into_iter().flatten() {
            for (release, state) in cve["releases"].as_object().into_iter().flatten() {
                let Some((_, number)) = RELEASES.iter().find(|(name, _)| name == release) else { continue };
                let fixed = match (state["status"].as_str(), state["fixed_version"].as_str()) {
                    // "0": the release never had it.
                    (Some("resolved"), Some("0")) => continue,
                    (Some("resolved"), Some(fixed)) => Some(fixed.to_owned()),
                    (Some("open" | "undetermined"), _) => None,
                    _ => continue,
                };
                // Tracked, but no danger as Debian sees it.
                let severity = Severity::from_word(state["urgency"].as_str().unwrap_or_default());
                found.push(one(id, &format!("Debian:{number}"), package, fixed, severity, cve["description"].as_str().unwrap_or_default()));
            }
        }
    }
    found
}

/// secdb.alpinelinux.org: package → fixed version → CVEs (several names of one are in one text).
fn secdb(value: &Value) -> Vec<Advisory> {
    let version = value["distroversion"].as_str().unwrap_or_default();
    let ecosystem = format!("Alpine:{version}");
    let mut found = Vec::new();
    for package in value["packages"].as_array().into_iter().flatten().map(|p| &p["pkg"]) {
        let name = package["name"].as_str().unwrap_or_default();
        for (fixed, ids) in package["secfixes"].as_object().into_iter().flatten() {
            // "0": the package never had it.
            if fixed == "0" {
                continue;
            }
            for text in ids.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let mut names = text.split_whitespace();
                let Some(id) = names.next() else { continue };
                let mut advisory = one(id, &ecosystem, name, Some(fixed.clone()), Severity::Unknown, "");
                advisory.aliases = names.map(str::to_owned).collect();
                found.push(advisory);
            }
        }
    }
    found
}

fn one(id: &str, ecosystem: &str, package: &str, fixed: Option<String>, severity: Severity, summary: &str) -> Advisory {
    let mut events = vec![RangeEvent { introduced: Some("0".into()), ..RangeEvent::default() }];
    events.extend(fixed.map(|fixed| RangeEvent { fixed: Some(fixed), ..RangeEvent::default() }));
    Advisory {
        id: id.into(),
        ecosystem: ecosystem.into(),
        package: package.into(),
        summary: summary.chars().take(300).collect(),
        aliases: Vec::new(),
        severity,
        score: None,
        ranges: vec![Range { kind: "ECOSYSTEM".into(), events }],
        versions: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn debians_tracker_is_read_by_release() {
        let feed = json!({ "openssl": {
            "CVE-2026-1": { "description": "a hole", "scope": "remote", "releases": {
                "bookworm": { "status": "resolved", "repositories": {}, "fixed_version": "3.0.11-1~deb12u2", "urgency": "high" },
                "bullseye": { "status": "open", "repositories": {}, "urgency": "not yet assigned" },
                "sid": { "status": "resolved", "fixed_version": "3.1-1", "urgency": "low" } } },
            "CVE-2026-2": { "releases": { "bookworm": { "status": "resolved", "fixed_version": "0", "urgency": "unimportant" } } },
        } });
        let mut found = read(feed.to_string().as_bytes()).unwrap().advisories;
        found.sort_by(|a, b| a.ecosystem.cmp(&b.ecosystem));
        assert_eq!(found.iter().map(|a| a.ecosystem.as_str()).collect::<Vec<_>>(), ["Debian:11", "Debian:12"]);
        assert_eq!((found[1].severity, found[1].ranges[0].events[1].fixed.as_deref()), (Severity::High, Some("3.0.11-1~deb12u2")));
        assert_eq!(found[0].ranges[0].events.len(), 1, "open: no fix");
    }

    #[test]
    fn alpines_secdb_is_read_with_aliases() {
        let feed = json!({ "distroversion": "v3.18", "reponame": "main", "packages": [
            { "pkg": { "name": "openssl", "secfixes": { "3.1.4-r1": ["CVE-2026-1 GHSA-x", "CVE-2026-2"], "0": ["CVE-2026-3"] } } }] });
        let found = read(feed.to_string().as_bytes()).unwrap().advisories;
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].id.as_str(), found[0].aliases[0].as_str(), found[0].ecosystem.as_str()), ("CVE-2026-1", "GHSA-x", "Alpine:v3.18"));
    }

    #[test]
    fn records_of_numbers_without_packages_are_kept_for_their_severity() {
        let feed = json!([{ "id": "CVE-2026-1", "database_specific": { "severity": "HIGH" }, "affected": [{ "ranges": [{ "type": "GIT", "events": [] }] }] }]);
        let found = read(feed.to_string().as_bytes()).unwrap();
        assert!(found.advisories.is_empty() && !found.is_empty());
        assert_eq!(found.judgements, [Judgement { id: "CVE-2026-1".into(), severity: Severity::High, score: None }]);
    }

    #[test]
    fn other_files_are_said_to_be_unknown() {
        assert!(matches!(read(b"{\"a\": 1}"), Err(FeedError::Unknown)));
        assert!(matches!(read(b"\"text\""), Err(FeedError::Unknown)));
        assert!(matches!(read(b"nonsense"), Err(FeedError::Json(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
            let _ = read(text.as_bytes());
            let _ = read(format!("{{\"distroversion\":\"v\",\"packages\":[{text}]}}").as_bytes());
        }
    }
}
