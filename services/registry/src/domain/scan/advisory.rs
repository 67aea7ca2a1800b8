//! Advisories in the OSV format (ossf.github.io/osv-schema) and whether one concerns an installed package.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::cvss::{Severity, base_score};
use super::inventory::{Installed, Inventory};
use super::modularity::is_of_other_builds;
use super::pkg::language::python_name;
use super::version;

/// Events of one range that are looked at: real ones have a few dozen.
const MOST_EVENTS: usize = 2_000;

/// One record as published. Fields that are not needed are ignored: the schema grows.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    pub id: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub upstream: Vec<String>,
    #[serde(default)]
    pub withdrawn: Option<String>,
    #[serde(default)]
    pub severity: Vec<Score>,
    #[serde(default)]
    pub affected: Vec<Affected>,
    #[serde(default)]
    pub database_specific: serde_json::Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Score {
    #[serde(rename = "type")]
    pub kind: String,
    pub score: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Affected {
    #[serde(default)]
    pub package: Option<AffectedPackage>,
    #[serde(default)]
    pub ranges: Vec<Range>,
    #[serde(default)]
    pub versions: Vec<String>,
    #[serde(default)]
    pub severity: Vec<Score>,
    #[serde(default)]
    pub ecosystem_specific: serde_json::Value,
    #[serde(default)]
    pub database_specific: serde_json::Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct AffectedPackage {
    pub ecosystem: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub events: Vec<RangeEvent>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeEvent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_affected: Option<String>,
}

/// One record's word about one package: the row that scans look up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    pub id: String,
    pub ecosystem: String,
    pub package: String,
    pub summary: String,
    pub aliases: Vec<String>,
    pub severity: Severity,
    pub score: Option<f64>,
    pub ranges: Vec<Range>,
    pub versions: Vec<String>,
}

impl Record {
    /// How bad it is as a whole; none if it does not say. Many records of CVE numbers name no package, but this.
    pub fn judgement(&self) -> Option<Judgement> {
        let (severity, score) = judged(&self.severity, &[&self.database_specific["severity"]]);
        let says = self.withdrawn.is_none() && severity != Severity::Unknown;
        says.then(|| Judgement { id: self.id.clone(), severity, score })
    }

    /// The advisories in it; none if it was withdrawn.
    pub fn advisories(self) -> Vec<Advisory> {
        if self.withdrawn.is_some() {
            return Vec::new();
        }
        let mut aliases = self.aliases;
        for upstream in self.upstream.into_iter().filter(|u| u.starts_with("CVE-")) {
            if !aliases.contains(&upstream) {
                aliases.push(upstream);
            }
        }
        let mut advisories = Vec::new();
        for affected in self.affected {
            let Some(package) = affected.package else { continue };
            let scores = if affected.severity.is_empty() { &self.severity } else { &affected.severity };
            let words = [
                &affected.ecosystem_specific["severity"],
                &affected.ecosystem_specific["urgency"],
                &affected.database_specific["severity"],
                &self.database_specific["severity"],
            ];
            let (severity, score) = judged(scores, &words);
            advisories.push(Advisory {
                id: self.id.clone(),
                package: if package.ecosystem == "PyPI" { python_name(&package.name) } else { package.name },
                ecosystem: ecosystem(package.ecosystem),
                summary: self.summary.chars().take(300).collect(),
                aliases: aliases.clone(),
                severity,
                score,
                // Commit ranges say nothing about packaged versions.
                ranges: affected.ranges.into_iter().filter(|r| matches!(r.kind.as_str(), "ECOSYSTEM" | "SEMVER")).collect(),
                versions: affected.versions,
            });
        }
        advisories
    }
}

/// By the newest version of CVSS that is given, else by a word.
fn judged(scores: &[Score], words: &[&serde_json::Value]) -> (Severity, Option<f64>) {
    let score = ["CVSS_V4", "CVSS_V3", "CVSS_V2"].iter().find_map(|kind| scores.iter().filter(|s| s.kind == *kind).find_map(|s| base_score(&s.score)));
    if let Some(score) = score {
        return (Severity::from_score(score), Some(score));
    }
    let other = scores.iter().filter(|s| !s.kind.starts_with("CVSS_")).map(|s| s.score.as_str());
    let mut said = words.iter().filter_map(|v| v.as_str()).chain(other).map(Severity::from_word);
    (said.find(|s| *s != Severity::Unknown).unwrap_or(Severity::Unknown), None)
}

/// How bad a vulnerability is, by one of its names.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub id: String,
    pub severity: Severity,
    pub score: Option<f64>,
}

/// Gives severity and score to the advisories that come without: Alpine's secdb has neither, Debian's tracker a word at most. A word of their
/// own stands: whoever publishes for a system knows how the package is used there.
pub fn complete(advisories: &mut [Advisory], judgements: &[Judgement]) {
    let mut known: HashMap<String, (Severity, Option<f64>)> = HashMap::new();
    let mut learn = |id: &str, severity: Severity, score: Option<f64>| {
        let there = known.entry(id.to_owned()).or_insert((Severity::Unknown, None));
        // The worst that anybody says, whatever the order of the files.
        there.0 = there.0.max(severity);
        there.1 = [there.1, score].into_iter().flatten().reduce(f64::max);
    };
    for judgement in judgements {
        learn(&judgement.id, judgement.severity, judgement.score);
    }
    for advisory in advisories.iter().filter(|a| a.score.is_some()) {
        learn(&advisory.id, advisory.severity, advisory.score);
        // A score of several vulnerabilities together says nothing about each.
        let mut numbers = advisory.aliases.iter().filter(|a| a.starts_with("CVE-"));
        if let (Some(alias), None) = (numbers.next(), numbers.next()) {
            learn(alias, advisory.severity, advisory.score);
        }
    }
    for advisory in advisories.iter_mut().filter(|a| a.score.is_none()) {
        let names = std::iter::once(&advisory.id).chain(&advisory.aliases);
        let said: Vec<_> = names.filter_map(|name| known.get(name)).collect();
        advisory.score = said.iter().filter_map(|s| s.1).reduce(f64::max);
        if advisory.severity == Severity::Unknown {
            advisory.severity = said.iter().map(|s| s.0).max().unwrap_or(Severity::Unknown);
        }
    }
}

/// The ecosystems whose advisories concern this system, as OSV names them.
pub fn ecosystems(inventory: &Inventory) -> Vec<String> {
    let mut all = system(inventory);
    for (kind, ecosystem) in LANGUAGES {
        if inventory.packages.iter().any(|p| p.kind == kind) {
            all.push(ecosystem.into());
        }
    }
    all
}

/// Kinds of packages and where advisories about them are.
const LANGUAGES: [(&str, &str); 5] = [("npm", "npm"), ("pypi", "PyPI"), ("cargo", "crates.io"), ("golang", "Go"), ("maven", "Maven")];

/// Red Hat and SUSE name one place per product; those of one release share their packages' versions.
fn ecosystem(name: String) -> String {
    if let Some(rest) = name.strip_prefix("Red Hat:enterprise_linux:") {
        return format!("Red Hat:{}", rest.split([':', '.']).next().unwrap_or(rest));
    }
    name.strip_prefix("SUSE:Linux Enterprise ").and_then(suse).map_or(name, |release| format!("SUSE:{release}"))
}

/// `Module for Python 3 15 SP6` and `Server 15 SP6-LTSS` → `15.6`, as os-release has it; none for those with versions of their own.
fn suse(product: &str) -> Option<String> {
    if product.starts_with("Micro") {
        return None;
    }
    let plain = |word: &str| word.split('-').next().unwrap_or_default().to_owned();
    let words: Vec<&str> = product.split(' ').collect();
    let at = words.iter().rposition(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let release = plain(words[at]);
    match words.get(at + 1).and_then(|word| word.strip_prefix("SP")) {
        Some(pack) => Some(format!("{release}.{}", plain(pack))),
        None => Some(release),
    }
}

/// Whether an ecosystem's advisories are about packages of a kind: names alone are shared by many.
fn speaks_of(ecosystem: &str, kind: &str) -> bool {
    let base = ecosystem.split(':').next().unwrap_or(ecosystem);
    match kind {
        "deb" => matches!(base, "Debian" | "Ubuntu"),
        "apk" => matches!(base, "Alpine" | "Wolfi" | "Chainguard"),
        "rpm" => matches!(base, "Red Hat" | "Rocky Linux" | "AlmaLinux" | "openSUSE" | "SUSE" | "Fedora" | "Oracle Linux" | "openEuler" | "Amazon Linux"),
        kind => LANGUAGES.iter().any(|(k, e)| *k == kind && *e == base),
    }
}

fn system(inventory: &Inventory) -> Vec<String> {
    let major = |v: &str| v.split('.').next().unwrap_or_default().to_owned();
    match inventory.os_id.as_str() {
        "debian" => vec![format!("Debian:{}", major(&inventory.os_version)), "Debian".into()],
        "ubuntu" => vec![format!("Ubuntu:{}", inventory.os_version), format!("Ubuntu:{}:LTS", inventory.os_version), "Ubuntu".into()],
        "alpine" => {
            let mut parts = inventory.os_version.split('.');
            let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            vec![format!("Alpine:v{major}.{minor}"), "Alpine".into()]
        }
        "rhel" | "centos" => vec![format!("Red Hat:{}", major(&inventory.os_version))],
        "rocky" => vec![format!("Rocky Linux:{}", major(&inventory.os_version))],
        "almalinux" => vec![format!("AlmaLinux:{}", major(&inventory.os_version))],
        "openEuler" => vec![format!("openEuler:{}", inventory.os_version), format!("openEuler:{}-LTS", inventory.os_version)],
        "opensuse-leap" => vec![format!("openSUSE:Leap {}", inventory.os_version)],
        "opensuse-tumbleweed" => vec!["openSUSE:Tumbleweed".into()],
        "sles" | "sled" | "sles_sap" | "sle_hpc" | "sle-hpc" => vec![format!("SUSE:{}", inventory.os_version)],
        "sle-micro" => vec![format!("SUSE:Linux Enterprise Micro {}", inventory.os_version)],
        "sl-micro" => vec![format!("SUSE:Linux Micro {}", inventory.os_version)],
        "wolfi" => vec!["Wolfi".into()],
        "chainguard" => vec!["Chainguard".into()],
        _ => Vec::new(),
    }
}

/// The result of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    No,
    /// Vulnerable; the first version that is not, if there is one.
    Yes {
        fixed: Option<String>,
    },
}

/// Whether `advisory` concerns `installed`.
pub fn concerns(advisory: &Advisory, installed: &Installed) -> Concern {
    if !speaks_of(&advisory.ecosystem, &installed.kind) {
        return Concern::No;
    }
    let compare = version::order(&installed.kind);
    let version = &installed.package.source_version;
    for range in advisory.ranges.iter().filter(|range| !is_of_other_builds(range, installed)) {
        if let Some(fixed) = in_range(&range.events, version, compare) {
            return Concern::Yes { fixed };
        }
    }
    // The list of versions counts as well as the ranges (schema, "affected[].versions field"). Languages write one version in several ways: `1.0` and
    // `1.0.0`, `v1.0` and `1.0`, `1.0-rc1` and `1.0rc1`. Systems have one way, and an rpm without a release would be all of its releases.
    let is_language = LANGUAGES.iter().any(|(kind, _)| *kind == installed.kind);
    let is_listed = advisory.versions.iter().any(|v| v == version || (is_language && compare(v, version).is_eq()));
    if is_listed { Concern::Yes { fixed: None } } else { Concern::No }
}

/// The evaluation algorithm of the schema: walk the events in version order. `Some` when affected, with the fix.
fn in_range(events: &[RangeEvent], version: &str, compare: fn(&str, &str) -> Ordering) -> Option<Option<String>> {
    // "0" means before every version, whatever the ecosystem's order says about the text.
    let not_before = |bound: &str| bound == "0" || compare(version, bound).is_ge();
    let before = |a: &RangeEvent, b: &RangeEvent| match (point(a), point(b)) {
        (_, "0") => false,
        ("0", _) => true,
        (a, b) => compare(a, b).is_lt(),
    };
    // By insertion: versions are not always in a total order (an rpm bound without a release is equal to each of its releases), and other ways of
    // sorting may refuse that.
    let mut order: Vec<&RangeEvent> = Vec::new();
    for event in events.iter().take(MOST_EVENTS) {
        let at = order.iter().rposition(|&known| !before(event, known)).map_or(0, |last| last + 1);
        order.insert(at, event);
    }
    let mut vulnerable = false;
    for event in &order {
        if let Some(introduced) = &event.introduced {
            vulnerable |= not_before(introduced);
        } else if let Some(fixed) = &event.fixed {
            vulnerable &= !not_before(fixed);
        } else if let Some(last) = &event.last_affected {
            vulnerable &= compare(version, last).is_le();
        }
    }
    let fix = || order.iter().filter_map(|e| e.fixed.as_ref()).find(|f| compare(version, f).is_lt()).cloned();
    vulnerable.then(fix)
}

fn point(event: &RangeEvent) -> &str {
    event.introduced.as_deref().or(event.fixed.as_deref()).or(event.last_affected.as_deref()).unwrap_or("0")
}

#[cfg(test)]
mod tests;
