//! The one engine that says whether an image may be handed out: what policies ask, what is known of the image, why not.

use gantry_contract::registry::settings::{Moment, Policy};

use super::pattern;
use super::scan::cvss::Severity;

/// What a project accepts that lets images pass of which a part could not be read.
pub const UNREAD: &str = "GANTRY-UNREAD";

/// A finding as policies see it; those the project accepts are left out before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    pub id: String,
    pub package: String,
    pub severity: Severity,
    pub fixable: bool,
}

/// A provenance statement about the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who built it, as the statement says.
    pub builder: String,
    /// The trusted key that signed the statement.
    pub key: Option<String>,
}

/// What is known of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub scanned: bool,
    /// It lists more images than were looked at.
    pub more: bool,
    /// What of it the scan could not read, where the project does not accept that: anything may be in there.
    pub unread: Option<String>,
    pub weaknesses: Vec<Weakness>,
    /// Package and licence expression.
    pub licences: Vec<(String, String)>,
    /// Names of the trusted keys whose signatures verify.
    pub signers: Vec<String>,
    pub provenance: Vec<Provenance>,
}

/// The policies that speak about this repository (name after the project) at this moment.
pub fn applicable<'a>(policies: impl Iterator<Item = &'a Policy> + 'a, repository: &'a str, moment: Moment) -> Vec<&'a Policy> {
    policies.filter(|p| p.at.contains(&moment) && pattern::matches(&p.repositories, repository)).collect()
}

/// Every reason to refuse the image, in plain words; none: it may be handed out.
pub fn judge(policies: &[&Policy], facts: &Facts) -> Vec<String> {
    policies.iter().flat_map(|p| objections(p, facts).into_iter().map(|why| format!("policy `{}`: {why}", p.name))).collect()
}

/// SLSA build level of what is known, as far as this policy trusts it.
pub fn level(facts: &Facts, builders: &[String]) -> u8 {
    let of = |p: &Provenance| match &p.key {
        Some(_) if builders.iter().any(|b| pattern::matches(b, &p.builder)) => 3,
        Some(_) => 2,
        None => 1,
    };
    facts.provenance.iter().map(of).max().unwrap_or(0)
}

fn objections(policy: &Policy, facts: &Facts) -> Vec<String> {
    let mut why = Vec::new();
    if policy.must_be_scanned && !facts.scanned {
        why.push("the image has not been scanned yet; try again in a moment".to_owned());
    }
    if let (true, Some(note)) = (policy.must_be_scanned, &facts.unread) {
        why.push(format!("a part of it could not be scanned ({note}); repair the image, or accept {UNREAD} in the project's allow list"));
    }
    if facts.more && (policy.must_be_scanned || policy.block_severity.is_some() || !policy.denied_licences.is_empty()) {
        why.push("it lists more images than are looked at; ask for one of them by its digest".to_owned());
    }
    if let Some(limit) = policy.block_severity.as_deref().map(Severity::from_word) {
        let counted: Vec<&Weakness> = facts.weaknesses.iter().filter(|w| w.severity >= limit && (w.fixable || !policy.only_fixable)).collect();
        if let Some(worst) = counted.iter().max_by_key(|w| w.severity) {
            why.push(format!(
                "{} finding{} of severity {} or worse, such as {} in {} ({}); repair the image, or accept the finding in the project's allow list",
                counted.len(),
                if counted.len() == 1 { "" } else { "s" },
                limit.as_str(),
                worst.id,
                worst.package,
                worst.severity.as_str(),
            ));
        }
    }
    if !policy.signed_by.is_empty() {
        let accepted = |signer: &String| policy.signed_by.iter().any(|k| k == "*" || k == signer);
        if !facts.signers.iter().any(accepted) {
            let wanted = if policy.signed_by.iter().any(|k| k == "*") { "a trusted key of the project".to_owned() } else { policy.signed_by.join(" or ") };
            why.push(format!("no valid signature by {wanted}; sign the image's digest first"));
        }
    }
    let found = level(facts, &policy.builders);
    if found < policy.provenance_level {
        let builders: Vec<&str> = facts.provenance.iter().map(|p| p.builder.as_str()).collect();
        let seen = if builders.is_empty() {
            "no provenance is attached".to_owned()
        } else {
            format!("its provenance (built by {}) is worth level {found}", builders.join(", "))
        };
        why.push(format!("SLSA build level {} is required; {seen}", policy.provenance_level));
    }
    for (package, licence) in &facts.licences {
        // `A OR B` leaves the choice; every other word of an expression binds.
        let bad = |part: &str| policy.denied_licences.iter().any(|d| pattern::matches(&d.to_ascii_lowercase(), &part.to_ascii_lowercase()));
        let options: Vec<&str> = licence.split(" OR ").collect();
        let denied = options.iter().all(|option| option.split(" AND ").flat_map(|o| o.split(" WITH ")).any(|p| bad(p.trim_matches(['(', ')', ' ']))));
        if !licence.is_empty() && !policy.denied_licences.is_empty() && denied {
            why.push(format!("package {package} has the licence {licence}, which is denied"));
            break;
        }
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            name: "p".into(),
            repositories: "*".into(),
            at: vec![Moment::Pull],
            block_severity: None,
            only_fixable: false,
            must_be_scanned: false,
            signed_by: vec![],
            provenance_level: 0,
            builders: vec![],
            denied_licences: vec![],
        }
    }

    fn weakness(severity: Severity, fixable: bool) -> Weakness {
        Weakness { id: "CVE-1".into(), package: "bash".into(), severity, fixable }
    }

    #[test]
    fn severity_counts_from_the_threshold_on() {
        let facts = |s, f| Facts { scanned: true, weaknesses: vec![weakness(s, f)], ..Facts::default() };
        let high = Policy { block_severity: Some("high".into()), ..policy() };
        assert!(judge(&[&high], &facts(Severity::Medium, true)).is_empty());
        assert!(judge(&[&high], &facts(Severity::High, false))[0].contains("CVE-1 in bash"));
        let fixable = Policy { only_fixable: true, ..high };
        assert!(judge(&[&fixable], &facts(Severity::Critical, false)).is_empty());
        let scanned = Policy { must_be_scanned: true, ..policy() };
        assert_eq!(judge(&[&scanned], &Facts::default()).len(), 1);
    }

    #[test]
    fn an_image_of_which_a_part_was_not_read_is_not_scanned() {
        let facts = Facts { scanned: true, unread: Some("sha256:x: more than 1000000 entries".into()), ..Facts::default() };
        let scanned = Policy { must_be_scanned: true, ..policy() };
        let why = judge(&[&scanned], &facts);
        assert!(why.len() == 1 && why[0].contains("more than 1000000 entries") && why[0].contains(UNREAD), "{why:?}");
        assert!(judge(&[&scanned], &Facts { unread: None, ..facts.clone() }).is_empty());
        assert!(judge(&[&Policy { block_severity: Some("low".into()), ..policy() }], &facts).is_empty(), "only where it is asked for");
    }

    #[test]
    fn an_index_of_which_not_all_was_looked_at_passes_only_where_nothing_is_asked_of_its_content() {
        let many = Facts { scanned: true, more: true, signers: vec!["dev".into()], ..Facts::default() };
        let asks = [
            Policy { block_severity: Some("high".into()), ..policy() },
            Policy { must_be_scanned: true, ..policy() },
            Policy { denied_licences: vec!["AGPL-*".into()], ..policy() },
        ];
        for one in &asks {
            assert!(judge(&[one], &many)[0].contains("more images than are looked at"));
        }
        assert!(judge(&[&Policy { signed_by: vec!["*".into()], ..policy() }], &many).is_empty());
    }

    #[test]
    fn signers_are_named_or_any() {
        let by = |keys: &[&str]| Policy { signed_by: keys.iter().map(|k| (*k).to_owned()).collect(), ..policy() };
        let signed = Facts { signers: vec!["dev".into()], ..Facts::default() };
        assert!(judge(&[&by(&["*"])], &signed).is_empty());
        assert!(judge(&[&by(&["release", "dev"])], &signed).is_empty());
        assert!(judge(&[&by(&["release"])], &signed)[0].contains("release"));
        assert_eq!(judge(&[&by(&["*"])], &Facts::default()).len(), 1);
    }

    #[test]
    fn provenance_levels_grow_with_trust() {
        let facts =
            |key: Option<&str>| Facts { provenance: vec![Provenance { builder: "https://ci/acme".into(), key: key.map(str::to_owned) }], ..Facts::default() };
        let builders = vec!["https://ci/*".to_owned()];
        assert_eq!(level(&Facts::default(), &builders), 0);
        assert_eq!(level(&facts(None), &builders), 1);
        assert_eq!(level(&facts(Some("k")), &[]), 2);
        assert_eq!(level(&facts(Some("k")), &builders), 3);
        let asks = Policy { provenance_level: 2, ..policy() };
        assert!(judge(&[&asks], &facts(None))[0].contains("level 1"));
    }

    #[test]
    fn licences_are_judged_by_expression() {
        let denies = Policy { denied_licences: vec!["AGPL-*".into()], ..policy() };
        let with = |l: &str| Facts { licences: vec![("x".into(), l.into())], ..Facts::default() };
        assert_eq!(judge(&[&denies], &with("AGPL-3.0-only")).len(), 1);
        assert_eq!(judge(&[&denies], &with("MIT AND agpl-3.0")).len(), 1);
        assert!(judge(&[&denies], &with("AGPL-3.0 OR MIT")).is_empty());
        assert!(judge(&[&denies], &with("")).is_empty());
    }

    #[test]
    fn only_policies_for_this_place_and_moment_count() {
        let policies = [Policy { repositories: "web*".into(), ..policy() }];
        assert_eq!(applicable(policies.iter(), "web/api", Moment::Pull).len(), 1);
        assert!(applicable(policies.iter(), "db", Moment::Pull).is_empty());
        assert!(applicable(policies.iter(), "web", Moment::Deploy).is_empty());
    }
}
