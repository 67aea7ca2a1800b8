//! The bill of materials of an image: CycloneDX 1.5 and 1.6, SPDX 2.3, all as JSON.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::inventory::{Installed, Inventory};

/// Which form, and how its media type reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    CycloneDx(&'static str),
    Spdx,
}

impl Format {
    /// By the word a request or a setting uses.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "cyclonedx" | "cyclonedx-1.6" => Self::CycloneDx("1.6"),
            "cyclonedx-1.5" => Self::CycloneDx("1.5"),
            "spdx" | "spdx-2.3" => Self::Spdx,
            _ => return None,
        })
    }

    /// Without parameters, as artifact types and layers have it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx(_) => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
        }
    }

    pub fn content_type(self) -> String {
        match self {
            Self::CycloneDx(version) => format!("application/vnd.cyclonedx+json; version={version}"),
            Self::Spdx => self.media_type().to_owned(),
        }
    }

    pub fn write(self, subject: &str, digest: &str, inventory: &Inventory, at: &str) -> Value {
        match self {
            Self::CycloneDx(version) => cyclonedx(version, subject, digest, inventory, at),
            Self::Spdx => spdx(subject, digest, inventory, at),
        }
    }
}

/// `subject` is `<repository>@<digest>`; `at` is when the scan was made, RFC 3339.
fn cyclonedx(version: &str, subject: &str, digest: &str, inventory: &Inventory, at: &str) -> Value {
    // References are unique in a document (CycloneDX, "bom-ref"); a package may be in several places.
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut reference = |purl: &str| {
        let count = seen.entry(purl.to_owned()).and_modify(|count| *count += 1).or_insert(1);
        if *count == 1 { purl.to_owned() } else { format!("{purl}#{count}") }
    };
    let components: Vec<Value> = inventory
        .packages
        .iter()
        .map(|installed| {
            let purl = purl(inventory, installed);
            let mut properties =
                vec![json!({ "name": "gantry:layer", "value": installed.layer }), json!({ "name": "gantry:source", "value": installed.package.source })];
            if !installed.path.is_empty() {
                properties.push(json!({ "name": "gantry:path", "value": installed.path }));
            }
            let mut component = json!({
                "type": "library",
                "bom-ref": reference(&purl),
                "name": installed.package.name,
                "version": installed.package.version,
                "purl": purl,
                "properties": properties,
            });
            if !installed.package.licence.is_empty() {
                component["licenses"] = json!([{ "license": { "name": installed.package.licence } }]);
            }
            component
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "version": 1,
        "metadata": {
            "timestamp": at,
            "tools": { "components": [{ "type": "application", "name": "gantry-registry", "version": env!("CARGO_PKG_VERSION") }] },
            "component": {
                "type": "container",
                "bom-ref": subject,
                "name": subject.split('@').next().unwrap_or(subject),
                "version": digest,
                "properties": [{ "name": "gantry:system", "value": inventory.os_name }],
            },
        },
        "components": components,
    })
}

/// SPDX 2.3 (spdx.github.io/spdx-spec/v2.3).
fn spdx(subject: &str, digest: &str, inventory: &Inventory, at: &str) -> Value {
    let image = "SPDXRef-Image";
    let created = at.split('.').next().map_or_else(|| at.to_owned(), |t| format!("{}Z", t.trim_end_matches('Z')));
    let id = |i: usize| format!("SPDXRef-Package-{i}");
    let mut packages = vec![json!({
        "SPDXID": image,
        "name": subject.split('@').next().unwrap_or(subject),
        "versionInfo": digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    })];
    packages.extend(inventory.packages.iter().enumerate().map(|(i, installed)| {
        let mut package = json!({
            "SPDXID": id(i),
            "name": installed.package.name,
            "versionInfo": installed.package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            // Packages write licences freely; only SPDX expressions may stand here.
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "sourceInfo": format!("layer {}{}", installed.layer, if installed.path.is_empty() { String::new() } else { format!(", file {}", installed.path) }),
            "externalRefs": [{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(inventory, installed) }],
        });
        if !installed.package.licence.is_empty() {
            package["licenseComments"] = format!("declared licence: {}", installed.package.licence).into();
        }
        package
    }));
    let mut relationships = vec![json!({ "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": image })];
    relationships.extend((0..inventory.packages.len()).map(|i| json!({ "spdxElementId": image, "relationshipType": "CONTAINS", "relatedSpdxElement": id(i) })));
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject,
        // One for each version of a document (SPDX 2.3, section 6.5): the image is scanned again and again.
        "documentNamespace": format!("https://gantry.invalid/spdx/{subject}/{created}"),
        "creationInfo": { "created": created, "creators": [format!("Tool: gantry-registry-{}", env!("CARGO_PKG_VERSION"))] },
        "packages": packages,
        "relationships": relationships,
    })
}

/// A package URL (purl-spec).
pub fn purl(inventory: &Inventory, installed: &Installed) -> String {
    let package = &installed.package;
    let version = escape(&package.version);
    match installed.kind.as_str() {
        "deb" | "apk" | "rpm" => {
            // A namespace is in lower case; qualifiers are sorted, and none is empty.
            let system = if inventory.os_id.is_empty() { String::new() } else { format!("{}/", escape(&inventory.os_id.to_lowercase())) };
            // The epoch of an rpm is a qualifier.
            let (epoch, version) = match package.version.split_once(':').filter(|_| installed.kind == "rpm") {
                Some((epoch, rest)) => (escape(epoch), escape(rest)),
                None => (String::new(), version),
            };
            let distro = [inventory.os_id.as_str(), inventory.os_version.as_str()].map(escape).into_iter().filter(|part| !part.is_empty());
            let distro = if inventory.os_id.is_empty() { String::new() } else { distro.collect::<Vec<_>>().join("-") };
            let qualifiers = [("arch", escape(&package.architecture)), ("distro", distro), ("epoch", epoch)];
            let qualifiers: Vec<String> = qualifiers.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}")).collect();
            let mark = if qualifiers.is_empty() { "" } else { "?" };
            format!("pkg:{}/{system}{}@{version}{mark}{}", installed.kind, escape(&package.name), qualifiers.join("&"))
        }
        // Namespace and name of these are parts of a path.
        "maven" => format!("pkg:maven/{}@{version}", package.name.split(':').map(escape).collect::<Vec<_>>().join("/")),
        kind => format!("pkg:{kind}/{}@{version}", package.name.split('/').map(escape).collect::<Vec<_>>().join("/")),
    }
}

/// Percent-encodes everything but unreserved characters and `:`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::inventory::Package;
    use super::*;

    fn installed(kind: &str, name: &str, version: &str) -> Installed {
        Installed {
            package: Package {
                name: name.into(),
                version: version.into(),
                architecture: "amd64".into(),
                source: name.into(),
                source_version: version.into(),
                licence: "MIT".into(),
                module: String::new(),
            },
            kind: kind.into(),
            layer: "sha256:l".into(),
            path: String::new(),
        }
    }

    #[test]
    fn packages_become_components_with_package_urls() {
        let packages = vec![installed("deb", "libstdc++6", "12.2.0-14+b1"), installed("npm", "@babel/core", "7.0.0")];
        let inventory = Inventory { os_id: "debian".into(), os_version: "12".into(), packages, ..Inventory::default() };
        let write = |format: &str| Format::parse(format).unwrap().write("acme/shop/web@sha256:x", "sha256:x", &inventory, "2026-01-01T00:00:00.5Z");
        for (format, version) in [("cyclonedx", "1.6"), ("cyclonedx-1.5", "1.5")] {
            let bom = write(format);
            assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&json!("CycloneDX"), &json!(version)));
            assert_eq!(bom["components"][0]["purl"], "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bb1?arch=amd64&distro=debian-12");
            assert_eq!(bom["components"][1]["purl"], "pkg:npm/%40babel/core@7.0.0");
            assert_eq!(bom["metadata"]["component"]["name"], "acme/shop/web");
        }
        let spdx = write("spdx");
        assert_eq!((spdx["packages"].as_array().unwrap().len(), &spdx["creationInfo"]["created"]), (3, &json!("2026-01-01T00:00:00Z")));
        assert_eq!(spdx["relationships"][1]["relationshipType"], "CONTAINS");
        assert_eq!(spdx["documentNamespace"], "https://gantry.invalid/spdx/acme/shop/web@sha256:x/2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_package_in_two_places_has_two_references() {
        let there = Installed { path: "srv/b".into(), ..installed("npm", "left-pad", "1.0.0") };
        let inventory = Inventory { packages: vec![installed("npm", "left-pad", "1.0.0"), there], ..Inventory::default() };
        let bom = Format::CycloneDx("1.6").write("acme/shop/web@sha256:x", "sha256:x", &inventory, "2026-01-01T00:00:00Z");
        let of = |field: &str| [0, 1].map(|i| bom["components"][i][field].as_str().unwrap().to_owned());
        assert_eq!(of("bom-ref"), ["pkg:npm/left-pad@1.0.0", "pkg:npm/left-pad@1.0.0#2"]);
        assert_eq!(of("purl"), ["pkg:npm/left-pad@1.0.0", "pkg:npm/left-pad@1.0.0"]);
    }

    #[test]
    fn package_urls_follow_each_kinds_rules() {
        let inventory = Inventory { os_id: "rocky".into(), os_version: "9".into(), ..Inventory::default() };
        for (kind, name, version, url) in [
            ("rpm", "openssl-libs", "1:3.0.7-1.el9", "pkg:rpm/rocky/openssl-libs@3.0.7-1.el9?arch=amd64&distro=rocky-9&epoch=1"),
            ("maven", "org.x:y", "1.0", "pkg:maven/org.x/y@1.0"),
            ("golang", "golang.org/x/net", "v0.1.0", "pkg:golang/golang.org/x/net@v0.1.0"),
            ("pypi", "ruamel-yaml", "0.17", "pkg:pypi/ruamel-yaml@0.17"),
        ] {
            assert_eq!(purl(&inventory, &installed(kind, name, version)), url);
        }
        let bare = |id: &str, architecture: &str| {
            let mut one = installed("deb", "bash", "5");
            one.package.architecture = architecture.into();
            purl(&Inventory { os_id: id.into(), ..Inventory::default() }, &one)
        };
        assert_eq!((bare("debian", "").as_str(), bare("", "").as_str()), ("pkg:deb/debian/bash@5?distro=debian", "pkg:deb/bash@5"));
        assert_eq!(bare("openEuler", "amd64"), "pkg:deb/openeuler/bash@5?arch=amd64&distro=openEuler");
    }
}
