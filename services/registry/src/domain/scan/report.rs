//! The report of one image: what was found, where it came from, what fixes it.

use serde::{Deserialize, Serialize};

use super::advisory::{Advisory, Concern, concerns};
use super::cvss::Severity;
use super::inventory::Inventory;
use crate::domain::platform;
use crate::domain::repository::Findings;

/// Counts of findings by severity.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScanSummary {
    pub packages: u32,
    pub critical: u32,
    pub high: u32,
    pub medium: u32,
    pub low: u32,
    pub unknown: u32,
    /// Which state of the advisories it was matched with; `none` if no advisories are loaded.
    pub database: String,
    /// When it was scanned.
    #[schema(format = DateTime)]
    pub at: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// The advisory's id, such as `DSA-5532-1`.
    pub id: String,
    /// Other names, such as CVE numbers.
    pub aliases: Vec<String>,
    pub severity: Severity,
    /// CVSS base score, of the newest version the advisory gives.
    pub score: Option<f64>,
    pub package: String,
    pub installed_version: String,
    pub fixed_version: Option<String>,
    pub summary: String,
    /// Digest of the layer that brought the package.
    pub layer: String,
    /// `deb`, `apk`, `rpm`, `npm`, `pypi`, `cargo`, `golang`, `maven`.
    #[serde(default)]
    pub kind: String,
    /// File that tells of the package, for those that no system package manager brought.
    #[serde(default)]
    pub path: String,
    /// Who found it; empty: the own scanner alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scanners: Vec<String>,
    /// Why the project accepts it; null: it counts.
    #[serde(default, deserialize_with = "not_kept")]
    pub accepted: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// `Debian GNU/Linux 12 (bookworm)`; empty if the image does not say.
    pub system: String,
    pub packages: usize,
    pub findings: Vec<Finding>,
    /// What could not be read and why; empty for a complete scan.
    pub notes: Vec<String>,
    /// What it says it is for, and what is in it; null in reports from before this was looked at.
    #[serde(default)]
    pub platform: Option<platform::Check>,
}

/// Whether a finding is accepted is said when the report is read, by the rules of that moment.
fn not_kept<'de, D: serde::Deserializer<'de>>(kept: D) -> Result<Option<String>, D::Error> {
    serde::de::IgnoredAny::deserialize(kept)?;
    Ok(None)
}

/// Id of the finding that an image is not for the platform it claims.
pub const PLATFORM_FINDING: &str = "GANTRY-PLATFORM";

/// Matches an inventory with the advisories of its ecosystems. Worst first.
pub fn report(inventory: &Inventory, advisories: &[Advisory]) -> Report {
    let mut by_package: std::collections::HashMap<&str, Vec<&Advisory>> = std::collections::HashMap::new();
    for advisory in advisories {
        by_package.entry(&advisory.package).or_default().push(advisory);
    }
    let mut findings = Vec::new();
    for installed in &inventory.packages {
        let (source, name) = (installed.package.source.as_str(), installed.package.name.as_str());
        // Some publish by source package, some by what is installed.
        let by_name = (name != source && installed.kind == "rpm").then(|| by_package.get(name)).flatten();
        for advisory in by_package.get(source).into_iter().chain(by_name).flatten() {
            if let Concern::Yes { fixed } = concerns(advisory, installed) {
                findings.push(Finding {
                    id: advisory.id.clone(),
                    aliases: advisory.aliases.clone(),
                    severity: advisory.severity,
                    score: advisory.score,
                    package: installed.package.name.clone(),
                    installed_version: installed.package.version.clone(),
                    fixed_version: fixed,
                    summary: advisory.summary.clone(),
                    layer: installed.layer.clone(),
                    kind: installed.kind.clone(),
                    path: installed.path.clone(),
                    scanners: Vec::new(),
                    accepted: None,
                });
            }
        }
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.package.cmp(&b.package)).then_with(|| a.id.cmp(&b.id)));
    findings.dedup_by(|a, b| a.id == b.id && a.package == b.package && a.installed_version == b.installed_version);
    Report { system: inventory.os_name.clone(), packages: inventory.packages.len(), findings, notes: inventory.notes.clone(), platform: None }
}

impl Report {
    /// With what was found about its platform: one that does not fit is a finding, because the image does not do what it says.
    pub fn checked(mut self, check: platform::Check, layer: &str) -> Self {
        if let Some(fault) = &check.fault {
            let machine = check.entry.as_ref().map(|e| e.machine.clone()).unwrap_or_default();
            let finding = Finding {
                id: PLATFORM_FINDING.into(),
                aliases: Vec::new(),
                severity: Severity::High,
                score: None,
                package: check.claimed.clone(),
                installed_version: machine,
                fixed_version: None,
                summary: fault.clone(),
                layer: layer.to_owned(),
                kind: "platform".into(),
                path: check.entry.as_ref().map(|e| e.path.clone()).unwrap_or_default(),
                scanners: Vec::new(),
                accepted: None,
            };
            let at = self.findings.iter().position(|f| f.severity < Severity::High).unwrap_or(self.findings.len());
            self.findings.insert(at, finding);
        }
        self.platform = Some(check);
        self
    }

    pub fn summary(&self) -> Findings {
        let count = |s: Severity| u32::try_from(self.findings.iter().filter(|f| f.severity == s && f.accepted.is_none()).count()).unwrap_or(u32::MAX);
        Findings {
            packages: u32::try_from(self.packages).unwrap_or(u32::MAX),
            critical: count(Severity::Critical),
            high: count(Severity::High),
            medium: count(Severity::Medium),
            low: count(Severity::Low),
            unknown: count(Severity::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::advisory::{Range, RangeEvent};
    use super::super::inventory::{Installed, Package};
    use super::*;

    #[test]
    fn findings_name_binary_package_layer_and_fix_and_come_worst_first() {
        let package = |name: &str| Installed {
            package: Package {
                name: name.into(),
                version: "1.0-1".into(),
                architecture: "amd64".into(),
                source: "openssl".into(),
                source_version: "1.0-1".into(),
                licence: String::new(),
                module: String::new(),
            },
            kind: "deb".into(),
            layer: "sha256:l".into(),
            path: String::new(),
        };
        let advisory = |id: &str, severity| Advisory {
            id: id.into(),
            ecosystem: "Debian:12".into(),
            package: "openssl".into(),
            summary: String::new(),
            aliases: vec![],
            severity,
            score: None,
            ranges: vec![Range {
                kind: "ECOSYSTEM".into(),
                events: vec![
                    RangeEvent { introduced: Some("0".into()), ..RangeEvent::default() },
                    RangeEvent { fixed: Some("1.0-2".into()), ..RangeEvent::default() },
                ],
            }],
            versions: vec![],
        };
        let inventory = Inventory { os_id: "debian".into(), packages: vec![package("libssl3"), package("openssl")], ..Inventory::default() };
        let report = report(&inventory, &[advisory("A", Severity::Low), advisory("B", Severity::High)]);
        let order: Vec<_> = report.findings.iter().map(|f| (f.id.as_str(), f.package.as_str())).collect();
        assert_eq!(order, [("B", "libssl3"), ("B", "openssl"), ("A", "libssl3"), ("A", "openssl")]);
        assert_eq!(report.findings[0].fixed_version.as_deref(), Some("1.0-2"));
        assert_eq!(report.summary(), Findings { packages: 2, high: 2, low: 2, ..Findings::default() });
    }
}
