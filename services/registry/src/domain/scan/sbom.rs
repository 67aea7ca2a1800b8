//! The bill of materials of an image: CycloneDX 1.5 and 1.6, SPDX 2.3, all as JSON.

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
                "bom-ref": purl,
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
        let licence = if installed.package.licence.is_empty() { String::new() } else { format!("declared licence: {}", installed.package.licence) };
        json!({
            "SPDXID": id(i),
            "name": installed.package.name,
            "versionInfo": installed.package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            // Packages write licences freely; only SPDX expressions may stand here.
            "licenseDeclared": "NOASSERTION",
            "licenseComments": licence,
            "copyrightText": "NOASSERTION",
            "sourceInfo": format!("layer {}{}", installed.layer, if installed.path.is_empty() { String::new() } else { format!(", file {}", installed.path) }),
            "externalRefs": [{ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(inventory, installed) }],
        })
    }));
    let mut relationships = vec![json!({ "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": image })];
    relationships.extend((0..inventory.packages.len()).map(|i| json!({ "spdxElementId": image, "relationshipType": "CONTAINS", "relatedSpdxElement": id(i) })));
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject,
        "documentNamespace": format!("https://gantry.invalid/spdx/{subject}"),
        "creationInfo": { "created": at.split('.').next().map_or_else(|| at.to_owned(), |t| format!("{}Z", t.trim_end_matches('Z'))), "creators": [format!("Tool: gantry-registry-{}", env!("CARGO_PKG_VERSION"))] },
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
            let system = if inventory.os_id.is_empty() { String::new() } else { format!("{}/", escape(&inventory.os_id)) };
            let distro =
                if inventory.os_id.is_empty() { String::new() } else { format!("&distro={}-{}", escape(&inventory.os_id), escape(&inventory.os_version)) };
            // The epoch of an rpm is a qualifier.
            let (epoch, version) = match package.version.split_once(':').filter(|_| installed.kind == "rpm") {
                Some((epoch, rest)) => (format!("&epoch={}", escape(epoch)), escape(rest)),
                None => (String::new(), version),
            };
            format!("pkg:{}/{system}{}@{version}?arch={}{distro}{epoch}", installed.kind, escape(&package.name), escape(&package.architecture))
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
    }
}
