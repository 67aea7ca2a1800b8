//! Severity from a CVSS vector: base scores by FIRST's specifications of versions 2 and 3.x; version 4 by its published table.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Unknown,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// The words that advisories use.
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" | "minor" | "negligible" | "unimportant" => Self::Low,
            _ => Self::Unknown,
        }
    }

    pub fn from_score(score: f64) -> Self {
        match score {
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Medium,
            s if s > 0.0 => Self::Low,
            _ => Self::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The base score of a vector of any version; none when a base metric is missing or unknown.
pub fn base_score(vector: &str) -> Option<f64> {
    if vector.starts_with("CVSS:4.0/") {
        return vector.parse::<cvss::v4::Vector>().ok().map(|v| cvss::v4::Score::from(&v).value());
    }
    version_3(vector).or_else(|| version_2(vector))
}

/// Version 2 (complete guide, section 3.2.1): `AV:N/AC:L/Au:N/C:P/I:P/A:P`.
fn version_2(vector: &str) -> Option<f64> {
    let metric = |name: &str| vector.trim_matches(['(', ')']).split('/').find_map(|m| m.strip_prefix(name)?.strip_prefix(':'));
    let attack = pick(metric("AV")?, &[("L", 0.395), ("A", 0.646), ("N", 1.0)])?;
    let complexity = pick(metric("AC")?, &[("H", 0.35), ("M", 0.61), ("L", 0.71)])?;
    let authentication = pick(metric("Au")?, &[("M", 0.45), ("S", 0.56), ("N", 0.704)])?;
    let loss = |name: &str| pick(metric(name)?, &[("N", 0.0), ("P", 0.275), ("C", 0.660)]);
    let impact = 10.41 * (1.0 - (1.0 - loss("C")?) * (1.0 - loss("I")?) * (1.0 - loss("A")?));
    let exploitability = 20.0 * attack * complexity * authentication;
    let weight = if impact == 0.0 { 0.0 } else { 1.176 };
    Some(((0.6 * impact + 0.4 * exploitability - 1.5) * weight * 10.0).round() / 10.0)
}

/// Versions 3.0 and 3.1 (section 7.1).
fn version_3(vector: &str) -> Option<f64> {
    let metrics = vector.strip_prefix("CVSS:3.0/").or_else(|| vector.strip_prefix("CVSS:3.1/"))?;
    let metric = |name: &str| metrics.split('/').find_map(|m| m.strip_prefix(name)?.strip_prefix(':'));
    let changed = match metric("S")? {
        "C" => true,
        "U" => false,
        _ => return None,
    };
    let attack = pick(metric("AV")?, &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
    let complexity = pick(metric("AC")?, &[("L", 0.77), ("H", 0.44)])?;
    let privileges = match (metric("PR")?, changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        ("H", false) => 0.27,
        ("H", true) => 0.5,
        _ => return None,
    };
    let interaction = pick(metric("UI")?, &[("N", 0.85), ("R", 0.62)])?;
    let impact = |name: &str| pick(metric(name)?, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    let loss: f64 = 1.0 - (1.0 - impact("C")?) * (1.0 - impact("I")?) * (1.0 - impact("A")?);
    let impact = if changed { 7.52 * (loss - 0.029) - 3.25 * (loss - 0.02).powi(15) } else { 6.42 * loss };
    if impact <= 0.0 {
        return Some(0.0);
    }
    let exploitability = 8.22 * attack * complexity * privileges * interaction;
    let sum = if changed { 1.08 * (impact + exploitability) } else { impact + exploitability };
    Some(round_up(sum.min(10.0)))
}

fn pick(value: &str, table: &[(&str, f64)]) -> Option<f64> {
    table.iter().find(|(name, _)| *name == value).map(|(_, weight)| *weight)
}

/// The specification's Roundup (appendix A): up to one decimal, without floating-point noise.
fn round_up(score: f64) -> f64 {
    let scaled = (score * 100_000.0).round();
    if scaled % 10_000.0 == 0.0 { scaled / 100_000.0 } else { ((scaled / 10_000.0).floor() + 1.0) / 10.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_published_examples() {
        // FIRST, CVSS v3.1 examples.
        for (vector, score, severity) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, Severity::Critical),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5, Severity::High),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4, Severity::Medium),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1, Severity::Low),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, Severity::Medium),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0, Severity::Critical),
        ] {
            let found = base_score(vector).unwrap();
            assert!((found - score).abs() < 1e-9, "{vector}: {found}");
            assert_eq!(Severity::from_score(found), severity, "{vector}");
        }
    }

    #[test]
    fn versions_2_and_4_score_as_published() {
        // CVSS v2 complete guide, section 3.3; FIRST, CVSS v4.0 examples.
        for (vector, score) in [
            ("AV:N/AC:L/Au:N/C:N/I:N/A:C", 7.8),
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
            ("AV:L/AC:H/Au:N/C:C/I:C/A:C", 6.2),
            ("AV:N/AC:L/Au:N/C:N/I:N/A:N", 0.0),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3),
            ("CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 7.3),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0),
        ] {
            let found = base_score(vector).unwrap();
            assert!((found - score).abs() < 1e-9, "{vector}: {found}");
        }
    }

    #[test]
    fn other_vectors_have_no_score() {
        for bad in ["", "CVSS:2.0/AV:N", "CVSS:4.0/AV:N", "CVSS:3.1/AV:N", "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"] {
            assert_eq!(base_score(bad), None, "{bad}");
        }
    }
}
