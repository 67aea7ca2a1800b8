use serde_json::json;

use super::super::inventory::Package;
use super::*;

fn installed(kind: &str, version: &str) -> Installed {
    Installed {
        package: Package {
            name: "libssl3".into(),
            version: version.into(),
            architecture: "amd64".into(),
            source: "openssl".into(),
            source_version: version.into(),
            licence: String::new(),
            module: String::new(),
        },
        kind: kind.into(),
        layer: "sha256:x".into(),
        path: String::new(),
    }
}

fn advisory(events: serde_json::Value) -> Advisory {
    let record = json!({
        "id": "DSA-1", "aliases": ["CVE-2024-1"], "modified": "2024-01-01T00:00:00Z",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl", "purl": "x"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
    });
    serde_json::from_value::<Record>(record).unwrap().advisories().remove(0)
}

#[test]
fn a_version_before_the_fix_is_concerned_and_the_fix_named() {
    let advisory = advisory(json!([{"introduced": "0"}, {"fixed": "3.0.11-1~deb12u2"}]));
    assert_eq!(advisory.severity, Severity::Critical);
    assert_eq!(concerns(&advisory, &installed("deb", "3.0.11-1~deb12u1")), Concern::Yes { fixed: Some("3.0.11-1~deb12u2".into()) });
    assert_eq!(concerns(&advisory, &installed("deb", "3.0.11-1~deb12u2")), Concern::No);
    assert_eq!(concerns(&advisory, &installed("deb", "3.0.11-1")), Concern::No);
}

#[test]
fn several_branches_each_have_their_fix() {
    let mut advisory = advisory(json!([{"introduced": "3.1"}, {"fixed": "3.1.4"}, {"introduced": "3.2"}, {"fixed": "3.2.1"}]));
    assert_eq!(concerns(&advisory, &installed("apk", "3.1.3-r0")), Concern::No, "another system's package of the same name");
    advisory.ecosystem = "Alpine:v3.18".into();
    assert_eq!(concerns(&advisory, &installed("apk", "3.1.3-r0")), Concern::Yes { fixed: Some("3.1.4".into()) });
    assert_eq!(concerns(&advisory, &installed("apk", "3.1.5-r0")), Concern::No);
    assert_eq!(concerns(&advisory, &installed("apk", "3.2.0-r0")), Concern::Yes { fixed: Some("3.2.1".into()) });
    assert_eq!(concerns(&advisory, &installed("apk", "3.0.0-r0")), Concern::No);
}

#[test]
fn events_are_walked_in_the_order_of_their_versions_however_they_are_written() {
    let order = version::order("rpm");
    let event = |text: &str, fixed: bool| {
        let version = Some(text.to_owned());
        if fixed { RangeEvent { fixed: version, ..RangeEvent::default() } } else { RangeEvent { introduced: version, ..RangeEvent::default() } }
    };
    // Forty branches, each broken in its first release and mended in its third; the later ones first.
    let branches = (1..=40).rev().flat_map(|n| [event(&format!("{n}.0-3.el8"), true), event(&format!("{n}.0-1.el8"), false)]);
    let events: Vec<RangeEvent> = branches.collect();
    assert_eq!(in_range(&events, "7.0-2.el8", order), Some(Some("7.0-3.el8".into())));
    assert_eq!(in_range(&events, "7.0-4.el8", order), None);
    assert_eq!(in_range(&events, "0.9-1.el8", order), None);
    // Bounds without a release are equal to each release, which are not equal to one another.
    let odd: Vec<RangeEvent> = (0..60).map(|n| event(&if n % 2 == 0 { "1.0".to_owned() } else { format!("1.0-{}", 60 - n) }, n % 3 == 0)).collect();
    let _ = in_range(&odd, "1.0-7", order);
    assert!(in_range(&[event("2.0", true), event("0", false)], "1.0-1", order).is_some(), "\"0\" is before all");
}

#[test]
fn last_affected_includes_its_version_and_no_fix_is_no_fix() {
    let advisory = advisory(json!([{"introduced": "0"}, {"last_affected": "2.0"}]));
    assert_eq!(concerns(&advisory, &installed("deb", "2.0")), Concern::Yes { fixed: None });
    assert_eq!(concerns(&advisory, &installed("deb", "2.0-1")), Concern::No);
}

#[test]
fn a_listed_version_of_a_language_counts_however_it_is_written() {
    let is_concerned = |ecosystem: &str, kind: &str, listed: &str, there: &str| {
        let advisory = Advisory { ecosystem: ecosystem.into(), ranges: vec![], versions: vec![listed.into()], ..advisory(json!([])) };
        concerns(&advisory, &installed(kind, there)) != Concern::No
    };
    assert!(is_concerned("PyPI", "pypi", "1.0rc1", "1.0.0-rc1") && is_concerned("Go", "golang", "1.2.3", "v1.2.3"));
    assert!(is_concerned("Maven", "maven", "2.0", "2.0.0") && is_concerned("Red Hat:9", "rpm", "1.0-1.el9", "1.0-1.el9"));
    assert!(!is_concerned("PyPI", "pypi", "1.0", "1.0+cu118") && !is_concerned("Red Hat:9", "rpm", "1.0", "1.0-1.el9"));
}

#[test]
fn withdrawn_records_say_nothing() {
    let record = json!({"id": "X", "withdrawn": "2024-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "Debian:12", "name": "x"}}]});
    assert!(serde_json::from_value::<Record>(record).unwrap().advisories().is_empty());
}

#[test]
fn severity_falls_back_to_words() {
    let record = json!({"id": "X", "affected": [{"package": {"ecosystem": "Debian:12", "name": "x"}, "ecosystem_specific": {"urgency": "medium"}}]});
    assert_eq!(serde_json::from_value::<Record>(record).unwrap().advisories()[0].severity, Severity::Medium);
}

#[test]
fn advisories_without_a_severity_get_it_from_what_else_is_known_of_the_vulnerability() {
    let of = |id: &str, aliases: &[&str], severity, score| Advisory {
        id: id.into(),
        ecosystem: "Alpine:v3.18".into(),
        package: "openssl".into(),
        summary: String::new(),
        aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
        severity,
        score,
        ranges: vec![],
        versions: vec![],
    };
    let unknown = Severity::Unknown;
    let mut all = [
        of("CVE-1", &[], unknown, None),
        of("ALPINE-2", &["CVE-2"], unknown, None),
        of("CVE-3", &[], Severity::Low, None),
        of("CVE-4", &[], unknown, None),
        of("GHSA-1", &["CVE-2"], Severity::High, Some(8.1)),
        of("DSA-1", &["CVE-4", "CVE-5"], Severity::Critical, Some(9.9)),
    ];
    let said = |id: &str, severity, score| Judgement { id: id.into(), severity, score };
    complete(&mut all, &[said("CVE-1", Severity::Critical, Some(9.8)), said("CVE-1", Severity::Medium, Some(5.0)), said("CVE-3", Severity::High, Some(7.5))]);
    let found: Vec<_> = all.iter().map(|a| (a.severity, a.score)).collect();
    assert_eq!(found[..4], [(Severity::Critical, Some(9.8)), (Severity::High, Some(8.1)), (Severity::Low, Some(7.5)), (unknown, None)]);
    assert_eq!(found[4..], [(Severity::High, Some(8.1)), (Severity::Critical, Some(9.9))]);
}

#[test]
fn a_record_without_a_package_says_how_bad_it_is() {
    let record = |more: serde_json::Value| {
        let mut record = json!({"id": "CVE-1", "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<Record>(record).unwrap().judgement()
    };
    assert_eq!(record(json!({})), Some(Judgement { id: "CVE-1".into(), severity: Severity::Critical, score: Some(9.8) }));
    assert_eq!(record(json!({"withdrawn": "2026-01-01T00:00:00Z"})), None);
    assert_eq!(record(json!({"severity": []})), None);
}

#[test]
fn products_of_a_release_are_one_ecosystem() {
    for (name, expected) in [
        ("SUSE:Linux Enterprise Server 15 SP5", "SUSE:15.5"),
        ("SUSE:Linux Enterprise Module for Python 3 15 SP6", "SUSE:15.6"),
        ("SUSE:Linux Enterprise Server 12 SP5-LTSS", "SUSE:12.5"),
        ("SUSE:Linux Enterprise Server 15-LTSS", "SUSE:15"),
        ("SUSE:Linux Enterprise Server 16.0", "SUSE:16.0"),
        ("SUSE:Linux Enterprise Micro 5.2", "SUSE:Linux Enterprise Micro 5.2"),
        ("SUSE:Manager Server 4.3", "SUSE:Manager Server 4.3"),
        ("openSUSE:Leap 15.5", "openSUSE:Leap 15.5"),
        ("Red Hat:enterprise_linux:9::appstream", "Red Hat:9"),
        ("Debian:12", "Debian:12"),
    ] {
        assert_eq!(ecosystem(name.into()), expected);
    }
    let system = |id: &str, version: &str| ecosystems(&Inventory { os_id: id.into(), os_version: version.into(), ..Inventory::default() });
    assert_eq!(system("sles", "15.5"), ["SUSE:15.5"]);
    assert_eq!(system("sle-micro", "5.2"), ["SUSE:Linux Enterprise Micro 5.2"]);
    assert_eq!(system("opensuse-tumbleweed", "20261130"), ["openSUSE:Tumbleweed"]);
    assert_eq!((system("wolfi", "20230201"), system("chainguard", "20230214")), (vec!["Wolfi".to_owned()], vec!["Chainguard".to_owned()]));
}

#[test]
fn systems_map_to_ecosystems() {
    let system = |id: &str, version: &str| Inventory { os_id: id.into(), os_version: version.into(), ..Inventory::default() };
    assert_eq!(ecosystems(&system("debian", "12"))[0], "Debian:12");
    assert_eq!(ecosystems(&system("alpine", "3.18.4"))[0], "Alpine:v3.18");
    assert_eq!(ecosystems(&system("ubuntu", "22.04"))[1], "Ubuntu:22.04:LTS");
    assert!(ecosystems(&system("", "")).is_empty());
}
