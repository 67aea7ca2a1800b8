//! Scanners outside, by Harbor's pluggable scanner API (version 1.x): what they say they can, what they are asked, and what
//! their reports say, merged with the own one.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cvss::Severity;
use super::report::{Finding, Report};

/// What a scan request is sent as.
pub const REQUEST: &str = "application/vnd.scanner.adapter.scan.request+json; version=1.0";
/// What its answer is.
pub const RESPONSE: &str = "application/vnd.scanner.adapter.scan.response+json; version=1.0";
pub const METADATA: &str = "application/vnd.scanner.adapter.metadata+json; version=1.0";
/// Reports of vulnerabilities, the best first.
pub const REPORTS: [&str; 2] =
    ["application/vnd.security.vulnerability.report; version=1.1", "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"];
pub const SBOM_REPORT: &str = "application/vnd.security.sbom.report+json; version=1.0";
const SPDX: &str = "application/spdx+json";
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
/// Name of the own scanner, where findings say who found them.
pub const OWN: &str = "gantry";
/// Findings of one report.
const MOST: usize = 50_000;
const LONGEST: usize = 2_000;

/// What a scanner says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ScannerIdentity)]
pub struct Identity {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub vendor: String,
    #[serde(default)]
    pub version: String,
}

/// What of it is used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    pub scanner: Identity,
    /// Media type of the best report of vulnerabilities that it makes.
    pub report: &'static str,
    /// Media type of the bills of materials it makes; none: it makes none.
    pub sbom: Option<&'static str>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    scanner: Identity,
    #[serde(default)]
    capabilities: Vec<Capability>,
}

#[derive(Deserialize)]
struct Capability {
    /// Missing in version 1.0 of the API, which knows only vulnerabilities.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    consumes_mime_types: Vec<String>,
    #[serde(default)]
    produces_mime_types: Vec<String>,
    #[serde(default)]
    additional_attributes: Value,
}

/// Media types are compared without white space and case.
fn same(a: &str, b: &str) -> bool {
    let plain = |t: &str| t.to_ascii_lowercase().replace(' ', "");
    plain(a) == plain(b)
}

/// # Errors
/// Why this scanner is of no use here, for people.
pub fn abilities(metadata: &[u8]) -> Result<Abilities, String> {
    let read: Metadata = serde_json::from_slice(metadata).map_err(|e| format!("its metadata is not as specified: {e}"))?;
    let images = |c: &&Capability| {
        c.consumes_mime_types.iter().any(|t| same(t, crate::domain::manifest::OCI_MANIFEST) || same(t, crate::domain::manifest::DOCKER_MANIFEST))
    };
    let is = |c: &&Capability, kind: &str| c.kind.as_deref().unwrap_or("vulnerability") == kind;
    let capabilities: Vec<&Capability> = read.capabilities.iter().filter(images).collect();
    let report = REPORTS
        .into_iter()
        .find(|wanted| capabilities.iter().filter(|c| is(c, "vulnerability")).any(|c| c.produces_mime_types.iter().any(|made| same(made, wanted))));
    let report = report.ok_or("it does not make a report of vulnerabilities of images in a form that is known here")?;
    let sbom = capabilities.iter().find(|c| is(c, "sbom")).map(|c| {
        let kinds = c.additional_attributes["sbom_media_types"].as_array().cloned().unwrap_or_default();
        if !kinds.is_empty() && !kinds.iter().any(|k| k.as_str() == Some(SPDX)) { CYCLONEDX } else { SPDX }
    });
    let cut = |text: String| text.replace('\0', "").chars().take(200).collect();
    let scanner = Identity { name: cut(read.scanner.name), vendor: cut(read.scanner.vendor), version: cut(read.scanner.version) };
    Ok(Abilities { scanner, report, sbom })
}

/// Which image, and how the scanner gets at it.
pub struct Subject<'a> {
    pub registry: &'a str,
    /// Value of the `Authorization` header.
    pub authorization: &'a str,
    pub repository: &'a str,
    pub digest: &'a str,
    pub media_type: &'a str,
}

/// What is asked of it: a report of vulnerabilities, or a bill of materials.
pub fn request(subject: &Subject<'_>, abilities: &Abilities, sbom: bool) -> Value {
    let capability = match abilities.sbom.filter(|_| sbom) {
        Some(kind) => json!({ "type": "sbom", "produces_mime_types": [SBOM_REPORT], "parameters": { "sbom_media_types": [kind] } }),
        None => json!({ "type": "vulnerability", "produces_mime_types": [abilities.report] }),
    };
    json!({
        "registry": { "url": subject.registry, "authorization": subject.authorization },
        "artifact": { "repository": subject.repository, "digest": subject.digest, "mime_type": subject.media_type },
        "enabled_capabilities": [capability],
    })
}

#[derive(Deserialize)]
struct Vulnerabilities {
    #[serde(default)]
    vulnerabilities: Option<Vec<Vulnerability>>,
}

#[derive(Deserialize)]
struct Vulnerability {
    id: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    fix_version: Option<String>,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    preferred_cvss: Option<Cvss>,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(default)]
    score_v3: Option<f64>,
    #[serde(default)]
    score_v2: Option<f64>,
}

/// The findings of a report, with the scanner's name.
///
/// # Errors
/// Why it cannot be read, for people.
pub fn findings(report: &[u8], scanner: &str) -> Result<Vec<Finding>, String> {
    let read: Vulnerabilities = serde_json::from_slice(report).map_err(|e| format!("its report is not as specified: {e}"))?;
    let cut = |text: String| -> String { text.replace('\0', "").chars().take(LONGEST).collect() };
    let score = |cvss: Option<Cvss>| cvss.and_then(|c| c.score_v3.or(c.score_v2)).filter(|s| (0.0..=10.0).contains(s));
    let found = read.vulnerabilities.unwrap_or_default().into_iter().filter(|v| !v.id.is_empty() && v.id.len() <= LONGEST).take(MOST);
    Ok(found
        .map(|v| Finding {
            id: cut(v.id),
            aliases: Vec::new(),
            severity: Severity::from_word(&v.severity),
            score: score(v.preferred_cvss),
            package: cut(v.package),
            installed_version: cut(v.version),
            fixed_version: v.fix_version.map(cut).filter(|f| !f.is_empty()),
            summary: cut(v.description.unwrap_or_default()),
            layer: String::new(),
            kind: String::new(),
            path: String::new(),
            scanners: vec![scanner.to_owned()],
            accepted: None,
        })
        .collect())
}

/// The bill of materials in a report of one.
///
/// # Errors
/// Why it cannot be read, for people.
pub fn sbom(report: &[u8]) -> Result<Value, String> {
    let read: Value = serde_json::from_slice(report).map_err(|e| format!("its report is not as specified: {e}"))?;
    match &read["sbom"] {
        Value::Object(_) => Ok(read["sbom"].clone()),
        _ => Err("its report has no bill of materials".into()),
    }
}

/// Adds what another scanner found. What both found is one finding with both names: the own one, completed where it says nothing.
pub fn merge(report: &mut Report, found: Vec<Finding>) {
    use std::collections::HashMap;
    // The version, too: an image may have a package in several.
    let key = |id: &str, finding: &Finding| (id.to_uppercase(), finding.package.clone(), finding.installed_version.clone());
    let mut known = HashMap::new();
    for (n, finding) in report.findings.iter().enumerate() {
        for id in std::iter::once(&finding.id).chain(&finding.aliases) {
            known.entry(key(id, finding)).or_insert(n);
        }
    }
    for finding in found {
        let key = key(&finding.id, &finding);
        let Some(own) = known.get(&key).and_then(|n| report.findings.get_mut(*n)) else {
            known.entry(key).or_insert(report.findings.len());
            report.findings.push(finding);
            continue;
        };
        if own.scanners.is_empty() {
            own.scanners.push(OWN.to_owned());
        }
        let new = finding.scanners.into_iter().filter(|s| !own.scanners.contains(s)).collect::<Vec<_>>();
        own.scanners.extend(new);
        own.fixed_version = own.fixed_version.take().or(finding.fixed_version);
        own.score = own.score.or(finding.score);
        if own.severity == Severity::Unknown {
            own.severity = finding.severity;
        }
        if own.summary.is_empty() {
            own.summary = finding.summary;
        }
    }
    report.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.package.cmp(&b.package)).then_with(|| a.id.cmp(&b.id)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metadata(kind: Option<&str>, makes: &str) -> Vec<u8> {
        let mut capability = json!({ "consumes_mime_types": ["application/vnd.oci.image.manifest.v1+json"], "produces_mime_types": [makes] });
        if let Some(kind) = kind {
            capability["type"] = kind.into();
        }
        json!({ "scanner": { "name": "Trivy", "vendor": "Aqua", "version": "0.50" }, "capabilities": [capability] }).to_string().into_bytes()
    }

    #[test]
    fn a_scanner_is_taken_for_what_it_makes() {
        let old = abilities(&metadata(None, "application/vnd.scanner.adapter.vuln.report.harbor+json;version=1.0")).unwrap();
        assert_eq!((old.report, old.sbom, old.scanner.name.as_str()), (REPORTS[1], None, "Trivy"));
        assert_eq!(abilities(&metadata(Some("vulnerability"), REPORTS[0])).unwrap().report, REPORTS[0]);
        assert!(abilities(&metadata(Some("sbom"), SBOM_REPORT)).is_err(), "no report of vulnerabilities");
        assert!(abilities(&metadata(None, "application/other")).is_err());
        assert!(abilities(b"<html>").is_err());
    }

    #[test]
    fn what_both_found_is_one_finding() {
        let own = |id: &str, alias: &str| Finding {
            aliases: vec![alias.into()],
            layer: "sha256:l".into(),
            scanners: Vec::new(),
            ..findings(json!({ "vulnerabilities": [{ "id": id, "package": "openssl", "version": "1" }] }).to_string().as_bytes(), "x").unwrap().remove(0)
        };
        let mut report = Report { findings: vec![own("DSA-1", "CVE-1")], ..Report::default() };
        let theirs = json!({ "vulnerabilities": [
            { "id": "CVE-1", "package": "openssl", "version": "1", "severity": "High", "fix_version": "2", "preferred_cvss": { "score_v3": 8.1 }, "description": "a hole" },
            { "id": "CVE-2", "package": "openssl", "version": "1", "severity": "Negligible" },
            { "id": "CVE-1", "package": "openssl", "version": "0", "severity": "Critical" },
        ] });
        merge(&mut report, findings(theirs.to_string().as_bytes(), "trivy").unwrap());
        let all: Vec<_> = report.findings.iter().map(|f| (f.id.as_str(), f.severity, f.scanners.join(","))).collect();
        assert_eq!(
            all,
            [("CVE-1", Severity::Critical, "trivy".into()), ("DSA-1", Severity::High, "gantry,trivy".into()), ("CVE-2", Severity::Low, "trivy".into())]
        );
        let both = &report.findings[1];
        assert_eq!((both.fixed_version.as_deref(), both.score, both.layer.as_str(), both.summary.as_str()), (Some("2"), Some(8.1), "sha256:l", "a hole"));
        assert!(findings(b"{}", "x").unwrap().is_empty() && findings(b"[", "x").is_err());
    }

    #[test]
    fn a_package_in_two_versions_has_two_findings_however_many_scanners_find_them() {
        let of = |versions: &[&str]| {
            let all: Vec<Value> = versions.iter().map(|v| json!({ "id": "CVE-1", "package": "left-pad", "version": v })).collect();
            findings(json!({ "vulnerabilities": all }).to_string().as_bytes(), "trivy").unwrap()
        };
        let mut report = Report { findings: of(&["1", "2"]), ..Report::default() };
        merge(&mut report, of(&["2", "1", "3", "3"]));
        let mut versions: Vec<_> = report.findings.iter().map(|f| f.installed_version.as_str()).collect();
        versions.sort_unstable();
        assert_eq!(versions, ["1", "2", "3"]);
    }

    #[test]
    fn a_bill_of_materials_is_taken_out_of_its_report() {
        assert_eq!(sbom(br#"{"media_type":"application/spdx+json","sbom":{"spdxVersion":"SPDX-2.3"}}"#).unwrap()["spdxVersion"], "SPDX-2.3");
        assert!(sbom(b"{}").is_err());
        let able = Abilities { scanner: Identity::default(), report: REPORTS[0], sbom: Some(SPDX) };
        let subject = Subject { registry: "https://r", authorization: "Bearer x", repository: "a/b/c", digest: "sha256:1", media_type: "m" };
        assert_eq!(request(&subject, &able, true)["enabled_capabilities"][0]["type"], "sbom");
        assert_eq!(request(&subject, &able, false)["enabled_capabilities"][0]["produces_mime_types"][0], REPORTS[0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (abilities(&bytes), findings(&bytes, "x"), sbom(&bytes));
        }
    }
}
