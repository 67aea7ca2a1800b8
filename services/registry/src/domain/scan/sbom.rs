//! The bill of materials of an image in CycloneDX 1.5 JSON.

use serde_json::{Value, json};

use super::inventory::{Installed, Inventory};

/// `subject` is `<repository>@<digest>`; `at` is when the scan was made, RFC 3339.
pub fn cyclonedx(subject: &str, digest: &str, inventory: &Inventory, at: &str) -> Value {
    let components: Vec<Value> = inventory
        .packages
        .iter()
        .map(|installed| {
            let purl = purl(inventory, installed);
            json!({
                "type": "library",
                "bom-ref": purl,
                "name": installed.package.name,
                "version": installed.package.version,
                "purl": purl,
                "properties": [
                    { "name": "gantry:layer", "value": installed.layer },
                    { "name": "gantry:source", "value": installed.package.source },
                ],
            })
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
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

/// A package URL (purl-spec, types `deb` and `apk`).
fn purl(inventory: &Inventory, installed: &Installed) -> String {
    let package = &installed.package;
    let system = if inventory.os_id.is_empty() { String::new() } else { format!("{}/", escape(&inventory.os_id)) };
    let distro = if inventory.os_id.is_empty() { String::new() } else { format!("&distro={}-{}", escape(&inventory.os_id), escape(&inventory.os_version)) };
    format!("pkg:{}/{system}{}@{}?arch={}{distro}", installed.kind, escape(&package.name), escape(&package.version), escape(&package.architecture))
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

    #[test]
    fn packages_become_components_with_package_urls() {
        let inventory = Inventory {
            os_id: "debian".into(),
            os_version: "12".into(),
            packages: vec![Installed {
                package: Package {
                    name: "libstdc++6".into(),
                    version: "12.2.0-14+b1".into(),
                    architecture: "amd64".into(),
                    source: "gcc-12".into(),
                    source_version: "12.2.0-14".into(),
                    licence: String::new(),
                },
                kind: "deb".into(),
                layer: "sha256:l".into(),
            }],
            ..Inventory::default()
        };
        let bom = cyclonedx("acme/shop/web@sha256:x", "sha256:x", &inventory, "2026-01-01T00:00:00Z");
        assert_eq!(bom["bomFormat"], "CycloneDX");
        assert_eq!(bom["components"][0]["purl"], "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bb1?arch=amd64&distro=debian-12");
        assert_eq!(bom["metadata"]["component"]["name"], "acme/shop/web");
    }
}
