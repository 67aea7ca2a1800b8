//! Vulnerability data in the forms in which it is published: OSV records, Debian's security tracker, Alpine's secdb. Each file
//! is told by what is in it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::advisory::{Advisory, Judgement, Range, RangeEvent, Record};
use super::cvss::Severity;
use super::records::{Elements, Piece, of_lines};

/// Bytes of a name.
const LONGEST: usize = 1_000;
/// How JSON writes U+0000.
const ZERO: &[u8] = b"\\u0000";

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
    /// What is left out, because it cannot be read.
    pub faults: Vec<Fault>,
    /// The file ends before its end: it may have been cut off on its way.
    pub cut: bool,
}

/// Something that cannot be read, and where it stands: `line 7`, `package openssl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: String,
    pub why: String,
}

impl Feed {
    pub fn add(&mut self, more: Self) {
        self.advisories.extend(more.advisories);
        self.judgements.extend(more.judgements);
        self.faults.extend(more.faults);
        self.cut |= more.cut;
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.advisories.is_empty() && self.judgements.is_empty()
    }

    pub fn fault(&mut self, at: impl Into<String>, why: impl Into<String>) {
        self.faults.push(Fault { at: at.into(), why: why.into() });
    }

    fn take(&mut self, line: usize, record: Record) {
        self.judgements.extend(record.judgement());
        for advisory in record.advisories() {
            // Longer ones find no room in the index of the database, and are none.
            if advisory.package.len() > LONGEST || advisory.ecosystem.len() > LONGEST {
                self.fault(format!("line {line}"), format!("the name of a package or its ecosystem in `{}` is longer than {LONGEST} bytes", advisory.id));
            } else {
                self.advisories.push(advisory);
            }
        }
    }

    /// Whether the record could be read.
    fn take_in(&mut self, piece: Piece<'_>) -> bool {
        match parse::<Record>(piece.text) {
            Ok(record) => {
                self.take(piece.line, record);
                true
            }
            Err(error) => {
                let text = error.to_string();
                // The place in the record, which is told as one in the file.
                let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
                self.fault(format!("line {}", piece.line + error.line().saturating_sub(1)), why);
                false
            }
        }
    }
}

/// Everything a file says. Of a list of records those that cannot be read are left out.
///
/// # Errors
/// Not JSON, or of no known form.
pub fn read(bytes: &[u8]) -> Result<Feed, FeedError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut feed = Feed::default();
    if let Some(mut elements) = Elements::of(bytes) {
        while let Some(piece) = elements.next() {
            if !feed.take_in(piece) {
                elements.return_into(piece);
            }
        }
        if !elements.whole {
            feed.cut = true;
            feed.fault("the end", "the list does not end: the file is cut off or damaged");
        } else if !elements.rest().trim_ascii().is_empty() {
            feed.fault("the end", "something follows the list");
        }
        return Ok(feed);
    }
    if let Some(lines) = of_lines(bytes) {
        for piece in &lines {
            let whole = feed.take_in(*piece);
            // Who writes lines ends them.
            feed.cut |= !whole && lines.last() == Some(piece) && !bytes.ends_with(b"\n");
        }
        return Ok(feed);
    }
    let value: Value = parse(bytes)?;
    if value["distroversion"].is_string() && value["packages"].is_array() {
        secdb(&value, &mut feed);
    } else if value["id"].is_string() {
        feed.take(1, serde_json::from_value(value)?);
    } else {
        let is_tracked = |package: &Value| package.as_object().is_some_and(|cves| cves.values().any(|c| c["releases"].is_object()));
        match value.as_object() {
            Some(packages) if packages.is_empty() || packages.values().any(is_tracked) => tracker(packages, &mut feed),
            _ => return Err(FeedError::Unknown),
        }
    }
    Ok(feed)
}

/// Without zero characters in its texts: no database keeps them, and one would stop all others from being taken in.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    if !bytes.windows(ZERO.len()).any(|w| w == ZERO) {
        return serde_json::from_slice(bytes);
    }
    let mut value: Value = serde_json::from_slice(bytes)?;
    without_zeros(&mut value);
    serde_json::from_value(value)
}

fn without_zeros(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(all) => all.iter_mut().for_each(without_zeros),
        Value::Object(all) => {
            let clean = std::mem::take(all).into_iter().map(|(mut key, mut value)| {
                key.retain(|c| c != '\0');
                without_zeros(&mut value);
                (key, value)
            });
            *all = clean.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Code names of Debian's releases (debian.org/releases).
const RELEASES: [(&str, &str); 8] =
    [("forky", "14"), ("trixie", "13"), ("bookworm", "12"), ("bullseye", "11"), ("buster", "10"), ("stretch", "9"), ("jessie", "8"), ("wheezy", "7")];

/// security-tracker.debian.org/tracker/data/json: package → CVE → release → status and fixed version.
fn tracker(packages: &Map<String, Value>, feed: &mut Feed) {
    for (package, cves) in packages {
        let Some(cves) = cves.as_object().filter(|_| package.len() <= LONGEST) else {
            feed.fault(format!("package {package:.100}"), "it has no list of vulnerabilities, or a name that is too long");
            continue;
        };
        for (id, cve) in cves {
            let Some(releases) = cve["releases"].as_object() else {
                feed.fault(format!("package {package}, {id:.100}"), "it has no releases");
                continue;
            };
            for (release, state) in releases {
                let Some((_, number)) = RELEASES.iter().find(|(name, _)| name == release) else { continue };
                let fixed = match (state["status"].as_str(), state["fixed_version"].as_str()) {
                    // "0": the release never had it.
                    (Some("resolved"), Some("0")) => continue,
                    (Some("resolved"), Some(fixed)) => Some(fixed.to_owned()),
                    (Some("open" | "undetermined"), _) => None,
                    _ => {
                        feed.fault(format!("package {package}, {id:.100}, {release}"), "neither resolved in a version, nor open, nor undetermined");
                        continue;
                    }
                };
                // Tracked, but no danger as Debian sees it.
                let severity = Severity::from_word(state["urgency"].as_str().unwrap_or_default());
                feed.advisories.push(one(id, &format!("Debian:{number}"), package, fixed, severity, cve["description"].as_str().unwrap_or_default()));
            }
        }
    }
}

/// secdb.alpinelinux.org: package → fixed version → CVEs (several names of one are in one text).
fn secdb(value: &Value, feed: &mut Feed) {
    let version = value["distroversion"].as_str().unwrap_or_default();
    let ecosystem = format!("Alpine:{version:.100}");
    for (number, package) in (1..).zip(value["packages"].as_array().into_iter().flatten().map(|p| &p["pkg"])) {
        let (name, fixes) = (package["name"].as_str(), package["secfixes"].as_object());
        let (Some(name), Some(fixes)) = (name.filter(|n| n.len() <= LONGEST), fixes) else {
            feed.fault(format!("package number {number}"), "it has no name, one that is too long, or no `secfixes`");
            continue;
        };
        for (fixed, ids) in fixes {
            // "0": the package never had it.
            if fixed == "0" {
                continue;
            }
            let Some(ids) = ids.as_array() else {
                feed.fault(format!("package {name}, {fixed:.100}"), "it has no list of vulnerabilities");
                continue;
            };
            for text in ids {
                let mut names = text.as_str().unwrap_or_default().split_whitespace();
                let Some(id) = names.next() else {
                    feed.fault(format!("package {name}, {fixed:.100}"), "a vulnerability without a name");
                    continue;
                };
                let mut advisory = one(id, &ecosystem, name, Some(fixed.clone()), Severity::Unknown, "");
                advisory.aliases = names.map(str::to_owned).collect();
                feed.advisories.push(advisory);
            }
        }
    }
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

    fn ids(feed: &Feed) -> Vec<&str> {
        feed.advisories.iter().map(|a| a.id.as_str()).collect()
    }

    fn faults(feed: &Feed) -> Vec<String> {
        feed.faults.iter().map(|f| format!("{}: {}", f.at, f.why)).collect()
    }

    fn record(id: &str) -> String {
        json!({ "id": id, "affected": [{ "package": { "ecosystem": "Debian:12", "name": "bash" } }] }).to_string()
    }

    #[test]
    fn a_damaged_record_is_named_with_its_line_and_the_others_count() {
        let list = format!("[\n{},\n{{\"id\": 7}},\n{{\"id\":,\n{}\n]\n", record("A"), record("B"));
        let found = read(list.as_bytes()).unwrap();
        assert_eq!(ids(&found), ["A", "B"]);
        let told = faults(&found);
        assert!(told[0].starts_with("line 3: invalid type: integer `7`") && told[1].starts_with("line 4: expected value"), "{told:?}");
        assert!(!found.cut && told.len() == 2, "{told:?}");

        let lines = format!("{}\n{{\"id\":\n{}\n", record("A"), record("B"));
        let found = read(lines.as_bytes()).unwrap();
        assert_eq!((ids(&found), found.cut), (vec!["A", "B"], false));
        assert!(faults(&found)[0].starts_with("line 2: "), "{:?}", found.faults);

        let cut = format!("[{},\n{{\"id\": \"B", record("A"));
        let found = read(cut.as_bytes()).unwrap();
        assert_eq!((ids(&found), found.cut), (vec!["A"], true));
        assert!(read(&list.as_bytes()[..list.len() - 3]).unwrap().cut && read(&lines.as_bytes()[..lines.len() - 3]).unwrap().cut);
        assert_eq!(ids(&read(format!("\u{feff}{}", record("A")).as_bytes()).unwrap()), ["A"], "as editors of Windows write it");
    }

    #[test]
    fn what_no_database_keeps_stops_nothing() {
        let zero = r#"[{"id":"A","summary":"a\u0000b","affected":[{"package":{"ecosystem":"Debian:12","name":"ba\u0000sh"},"versions":["1\u0000"]}]}]"#;
        let found = read(zero.as_bytes()).unwrap().advisories;
        assert_eq!((found[0].package.as_str(), found[0].summary.as_str(), found[0].versions[0].as_str()), ("bash", "ab", "1"));
        let long = record("A").replace("bash", &"x".repeat(LONGEST + 1));
        let found = read(format!("[{long},{}]", record("B")).as_bytes()).unwrap();
        assert_eq!((ids(&found), found.faults.len()), (vec!["B"], 1));
    }

    #[test]
    fn what_is_odd_in_one_package_is_said_and_the_others_count() {
        let open = json!({ "releases": { "bookworm": { "status": "open" } } });
        let odd = json!({ "releases": { "bookworm": { "status": "resolved" } } });
        let found = read(json!({ "good": { "CVE-1": open }, "list": [], "bare": { "CVE-2": {} }, "odd": { "CVE-3": odd } }).to_string().as_bytes()).unwrap();
        assert_eq!(ids(&found), ["CVE-1"]);
        assert_eq!(found.faults.iter().map(|f| f.at.as_str()).collect::<Vec<_>>(), ["package list", "package bare, CVE-2", "package odd, CVE-3, bookworm"]);
        let good = json!({ "pkg": { "name": "openssl", "secfixes": { "3.1.4-r1": ["CVE-1"] } } });
        let packages = json!([{ "pkg": { "name": "nothing" } }, { "pkg": { "name": "text", "secfixes": { "1": "CVE-2" } } }, good]);
        let found = read(json!({ "distroversion": "v3.18", "packages": packages }).to_string().as_bytes()).unwrap();
        assert_eq!(ids(&found), ["CVE-1"]);
        assert_eq!(found.faults.iter().map(|f| f.at.as_str()).collect::<Vec<_>>(), ["package number 1", "package text, 1"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
            let _ = read(text.as_bytes());
            let _ = read(format!("{{\"distroversion\":\"v\",\"packages\":[{text}]}}").as_bytes());
        }
    }
}
