//! A report for other programs and for people: SARIF 2.1.0, and one HTML page that needs nothing else.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::cvss::Severity;
use super::report::{Finding, Report};

/// SARIF: one rule for each advisory, one result for each package it is in.
pub fn sarif(subject: &str, report: &Report) -> Value {
    let mut seen = HashSet::new();
    let rules: Vec<&Finding> = report.findings.iter().filter(|finding| seen.insert(finding.id.as_str())).collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|f| {
            let fix = f.fixed_version.as_deref().map_or_else(|| "there is no fix yet".to_owned(), |v| format!("fixed in {v}"));
            let place = if f.path.is_empty() { f.package.as_str() } else { f.path.as_str() };
            let mut result = json!({
                "ruleId": f.id,
                "level": level(f.severity),
                "message": { "text": format!("{} {} ({}): {}", f.package, f.installed_version, f.layer, fix) },
                "locations": [{
                    "physicalLocation": { "artifactLocation": { "uri": uri(place), "uriBaseId": "IMAGE" }, "region": { "startLine": 1 } },
                    "message": { "text": format!("{subject}: layer {}", f.layer) },
                }],
                "partialFingerprints": { "finding/v1": format!("{}:{}:{}", f.id, f.package, f.installed_version) },
            });
            if let Some(reason) = &f.accepted {
                result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": reason }]);
            }
            result
        })
        .collect();
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|f| {
            // SARIF 2.1.0, 3.8.2: each tag once.
            let mut tags: Vec<&str> = Vec::new();
            for alias in &f.aliases {
                if !tags.contains(&alias.as_str()) {
                    tags.push(alias);
                }
            }
            let mut rule = json!({
                "id": f.id,
                "shortDescription": { "text": if f.summary.is_empty() { f.id.as_str() } else { f.summary.as_str() } },
                "properties": { "tags": tags, "severity": f.severity.as_str() },
            });
            // Readers want a text there, or nothing.
            if let Some(score) = f.score {
                rule["properties"]["security-severity"] = format!("{score:.1}").into();
            }
            rule
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "gantry-registry", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "originalUriBaseIds": { "IMAGE": { "uri": "file:///" } },
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Unknown => "note",
    }
}

fn uri(path: &str) -> String {
    path.chars()
        .flat_map(|c| {
            if c.is_ascii_alphanumeric() || "-._~/@+".contains(c) { c.to_string() } else { c.to_string().bytes().map(|b| format!("%{b:02X}")).collect() }
                .chars()
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A page. Everything that comes from images or advisories is escaped, and the page allows no scripts.
pub fn html(subject: &str, report: &Report, at: &str, database: &str) -> String {
    let counts = report.summary();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{0}</title><style>body{{font:14px sans-serif;margin:2rem}}table{{border-collapse:collapse;width:100%}}td,th{{border:1px solid #ccc;padding:.3rem .5rem;text-align:left;\
         vertical-align:top}}.critical,.high{{color:#b00}}.accepted{{color:#777;text-decoration:line-through}}code{{word-break:break-all}}</style></head><body>\
         <h1>{0}</h1><p>{1}. {2} packages; critical {3}, high {4}, medium {5}, low {6}, unknown {7}. Scanned {8} with advisories {9}.</p>",
        escape(subject),
        escape(&report.system),
        counts.packages,
        counts.critical,
        counts.high,
        counts.medium,
        counts.low,
        counts.unknown,
        escape(at),
        escape(database),
    );
    for note in &report.notes {
        page.push_str(&format!("<p><strong>Not read:</strong> {}</p>", escape(note)));
    }
    page.push_str("<table><thead><tr><th>Severity</th><th>CVSS</th><th>Advisory</th><th>Package</th><th>Installed</th><th>Fixed in</th><th>Layer</th></tr></thead><tbody>");
    for f in &report.findings {
        let class = if f.accepted.is_some() { "accepted" } else { f.severity.as_str() };
        let accepted = f.accepted.as_ref().map(|r| format!("<br>accepted: {}", escape(r))).unwrap_or_default();
        page.push_str(&format!(
            "<tr><td class=\"{class}\">{}</td><td>{}</td><td>{} {}<br>{}{accepted}</td><td>{} {}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>",
            f.severity.as_str(),
            f.score.map(|s| format!("{s:.1}")).unwrap_or_default(),
            escape(&f.id),
            escape(&f.aliases.join(" ")),
            escape(&f.summary),
            escape(&f.package),
            escape(&f.path),
            escape(&f.installed_version),
            escape(f.fixed_version.as_deref().unwrap_or("no fix yet")),
            escape(&f.layer),
        ));
    }
    page.push_str("</tbody></table></body></html>\n");
    page
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let finding = |package: &str, accepted: Option<&str>| Finding {
            id: "CVE-1".into(),
            aliases: vec![],
            severity: Severity::High,
            score: Some(7.5),
            package: package.into(),
            installed_version: "1".into(),
            fixed_version: Some("2".into()),
            summary: "<script>alert(1)</script>".into(),
            layer: "sha256:l".into(),
            kind: "npm".into(),
            path: "app/a b.js".into(),
            scanners: Vec::new(),
            accepted: accepted.map(str::to_owned),
        };
        Report { system: "x".into(), packages: 2, findings: vec![finding("a", None), finding("b", Some("not reachable"))], notes: vec![], platform: None }
    }

    #[test]
    fn sarif_has_a_rule_for_each_advisory_and_a_result_for_each_package() {
        let sarif = sarif("acme/shop/web@sha256:x", &report());
        let run = &sarif["runs"][0];
        assert_eq!((run["tool"]["driver"]["rules"].as_array().unwrap().len(), run["results"].as_array().unwrap().len()), (1, 2));
        assert_eq!(run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "app/a%20b.js");
        assert_eq!(run["results"][1]["suppressions"][0]["justification"], "not reachable");
        assert_eq!(run["tool"]["driver"]["rules"][0]["properties"]["security-severity"], "7.5");
        let mut unscored = report();
        unscored.findings[0].aliases = ["CVE-2", "GHSA-1", "CVE-2"].map(String::from).to_vec();
        unscored.findings[0].score = None;
        let sarif = super::sarif("acme/shop/web@sha256:x", &unscored);
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["properties"].get("security-severity"), None);
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["properties"]["tags"], json!(["CVE-2", "GHSA-1"]));
    }

    #[test]
    fn the_page_escapes_what_others_wrote() {
        let page = html("a<b", &report(), "now", "none");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;") && page.contains("a&lt;b"));
    }
}
