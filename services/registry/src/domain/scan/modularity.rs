//! Modules of the RHEL family (docs.fedoraproject.org, "Modularity"): several streams of one package side by side, each with its own versions.

use super::advisory::Range;
use super::inventory::Installed;

/// Whether all that a range says is about other builds of an rpm: those of a module beside those of the system itself, or those of another
/// stream of the module. Their versions cannot be compared: `nodejs:16` and `nodejs:18` are both cared for.
pub fn is_of_other_builds(range: &Range, installed: &Installed) -> bool {
    let package = &installed.package;
    let is_of_module = |version: &str| version.contains(".module");
    let ours = is_of_module(&package.source_version);
    let stream = package.module.split(':').nth(1).filter(|s| s.starts_with(|c: char| c.is_ascii_digit()));
    // Only packages that have the stream's number tell it: `npm` in `nodejs:16` is version 8.
    let stream = stream.filter(|stream| is_of_stream(&package.source_version, stream));
    let is_other = |bound: &str| {
        // Without a release nothing is said about the build.
        bound.contains('-') && (is_of_module(bound) != ours || (ours && stream.is_some_and(|stream| !is_of_stream(bound, stream))))
    };
    let mut bounds = range.events.iter().filter_map(|e| e.fixed.as_deref().or(e.last_affected.as_deref())).peekable();
    installed.kind == "rpm" && bounds.peek().is_some() && bounds.all(is_other)
}

/// `1:16.20.2-3.module+el8` is of stream `16`, and not of `1`.
fn is_of_stream(version: &str, stream: &str) -> bool {
    let bare = version.split_once(':').map_or(version, |(_, bare)| bare);
    bare.strip_prefix(stream).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::advisory::RangeEvent;
    use super::super::inventory::Package;
    use super::*;

    fn is_other(kind: &str, (version, module): (&str, &str), fixed: &[&str]) -> bool {
        let package = Package {
            name: "nodejs".into(),
            version: version.into(),
            architecture: "x86_64".into(),
            source: "nodejs".into(),
            source_version: version.into(),
            licence: String::new(),
            module: module.into(),
        };
        let installed = Installed { package, kind: kind.into(), layer: "sha256:l".into(), path: String::new() };
        let mut events = vec![RangeEvent { introduced: Some("0".into()), ..RangeEvent::default() }];
        events.extend(fixed.iter().map(|f| RangeEvent { fixed: Some((*f).into()), ..RangeEvent::default() }));
        is_of_other_builds(&Range { kind: "ECOSYSTEM".into(), events }, &installed)
    }

    #[test]
    fn builds_of_other_streams_of_a_module_say_nothing() {
        let node = ("1:16.20.1-1.module+el8.8.0+1", "nodejs:16:8:a");
        for same in ["1:16.20.2-3.module+el8.9.0+2", "1:16.20.2", "1:18.0"] {
            assert!(!is_other("rpm", node, &[same]), "{same}");
        }
        let next = "1:18.17.1-1.module+el8.8.0+9";
        assert!(is_other("rpm", node, &[next]) && is_other("rpm", node, &["1:160.0-1.module+el8.8.0+9"]));
        assert!(!is_other("rpm", node, &[next, "1:16.20.2-3.module+el8.9.0+2"]), "the range is about both");
        assert!(!is_other("rpm", node, &[]) && !is_other("deb", node, &[next]));
        // What does not have the stream's number in its version is compared: nobody can say more.
        assert!(!is_other("rpm", ("1:8.19.4-1.module+el8.8.0+1", "nodejs:16:8:a"), &["1:9.5.0-1.module+el8.8.0+9"]));
        assert!(!is_other("rpm", ("4:4.0-1.module+el8.6.0+1", "container-tools:rhel8:8:a"), &["4:4.2-1.module+el8.7.0+1"]));
    }

    #[test]
    fn the_systems_own_package_and_a_modules_are_two() {
        assert!(is_other("rpm", ("1:10.0-1.el8", ""), &["1:18.17.1-1.module+el8.8.0+9"]));
        assert!(is_other("rpm", ("1:16.0-1.module_el8.6.0+1", "nodejs:16:8:a"), &["1:18.0.0-1.el8"]));
        assert!(!is_other("rpm", ("1:10.0-1.el8", ""), &["1:10.2-1.el8"]));
    }
}
