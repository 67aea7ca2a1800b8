//! Files of npm, PyPI and Cargo.

use serde::Deserialize;
use serde_json::Value;

use super::super::inventory::Package;
use super::{MOST, plain};

/// npm: `package.json` of an installed package.
pub fn npm(bytes: &[u8]) -> Vec<Package> {
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
    let text = |key: &str| json[key].as_str().unwrap_or_default();
    let licence = json["license"].as_str().or_else(|| json["license"]["type"].as_str()).or_else(|| json["licenses"][0]["type"].as_str());
    plain(text("name"), text("version"), licence.unwrap_or_default()).into_iter().collect()
}

/// npm: `package-lock.json` of any version.
pub fn npm_lock(bytes: &[u8]) -> Vec<Package> {
    let Ok(json) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(packages) = json["packages"].as_object() {
        // What is not below `node_modules` is the project itself and its workspaces: no registry has them.
        let installed = |path: &str| path.starts_with("node_modules/") || path.contains("/node_modules/");
        for (path, package) in packages.iter().take(MOST).filter(|(p, v)| installed(p) && v["dev"] != true && v["link"] != true) {
            let name = package["name"].as_str().unwrap_or_else(|| path.rsplit("node_modules/").next().unwrap_or(path));
            found.extend(plain(name, package["version"].as_str().unwrap_or_default(), package["license"].as_str().unwrap_or_default()));
        }
    } else {
        dependencies(&json["dependencies"], 0, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn dependencies(map: &Value, depth: usize, found: &mut Vec<Package>) {
    for (name, package) in map.as_object().into_iter().flatten() {
        if found.len() >= MOST || depth > 50 {
            return;
        }
        let version = package["version"].as_str().unwrap_or_default();
        // Another package under this name: `npm:<name>@<version>`.
        let (name, version) = version.strip_prefix("npm:").and_then(|real| real.rsplit_once('@')).unwrap_or((name, version));
        // From elsewhere than a registry (a folder, an archive, git) there is an address instead of a version.
        if package["dev"] != true && !version.contains(':') {
            found.extend(plain(name, version, ""));
        }
        dependencies(&package["dependencies"], depth + 1, found);
    }
}

/// PyPI: `METADATA` or `PKG-INFO` (core metadata specifications). Names are compared in their normal form (PEP 503).
pub fn python(text: &str) -> Vec<Package> {
    // The head ends at the first empty line; a description follows.
    let field = |name: &str| text.lines().take_while(|l| !l.trim().is_empty()).find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let (Some(name), Some(version)) = (field("Name"), field("Version")) else { return Vec::new() };
    let licence = field("License-Expression").or_else(|| field("License").filter(|l| l.len() < 80)).unwrap_or_default();
    plain(&python_name(name), version, licence).into_iter().collect()
}

/// Lower case, and one `-` for each run of `-`, `_`, `.`.
pub fn python_name(name: &str) -> String {
    name.to_ascii_lowercase().split(['-', '_', '.']).filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-")
}

/// Cargo: `Cargo.lock`. Only crates from a registry: the rest has no advisories.
pub fn cargo_lock(text: &str) -> Vec<Package> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Crate>,
    }
    #[derive(Deserialize)]
    struct Crate {
        name: String,
        version: String,
        source: Option<String>,
    }
    let Ok(lock) = toml::from_str::<Lock>(text) else { return Vec::new() };
    let from_registry = |c: &Crate| c.source.as_deref().is_some_and(|s| s.starts_with("registry+") || s.starts_with("sparse+"));
    lock.package.into_iter().take(MOST).filter(from_registry).filter_map(|c| plain(&c.name, &c.version, "")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(packages: Vec<Package>) -> Vec<String> {
        packages.into_iter().map(|p| format!("{}@{}", p.name, p.version)).collect()
    }

    #[test]
    fn each_format_gives_its_packages() {
        let found = npm(br#"{"name":"@babel/core","version":"7.0.0","license":"MIT"}"#);
        assert_eq!((found[0].name.as_str(), found[0].licence.as_str()), ("@babel/core", "MIT"));
        let lock = br#"{"lockfileVersion":3,"packages":{"":{"name":"app"},"node_modules/a":{"version":"1.0.0"},"node_modules/a/node_modules/@s/b":{"version":"2.0.0"},"node_modules/t":{"version":"3.0.0","dev":true}}}"#;
        assert_eq!(names(npm_lock(lock)), ["@s/b@2.0.0", "a@1.0.0"]);
        let old = br#"{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}}}}"#;
        assert_eq!(names(npm_lock(old)), ["a@1.0.0", "b@2.0.0"]);
        let others = br#"{"lockfileVersion":1,"dependencies":{"x":{"version":"npm:@s/real@1.2.3"},"g":{"version":"git+ssh://git@example.com/g.git#abc"},"f":{"version":"file:../f"}}}"#;
        assert_eq!(names(npm_lock(others)), ["@s/real@1.2.3"]);
        let spaces = br#"{"lockfileVersion":3,"packages":{"":{},"packages/own":{"version":"1.0.0"},"packages/own/node_modules/a":{"version":"2.0.0"},"node_modules/own":{"resolved":"packages/own","link":true}}}"#;
        assert_eq!(names(npm_lock(spaces)), ["a@2.0.0"]);
        assert_eq!(names(python("Metadata-Version: 2.1\nName: Ruamel.YAML\nVersion: 0.17\n\nName: other\n")), ["ruamel-yaml@0.17"]);
        let lock = "version = 3\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n[[package]]\nname = \"time\"\nversion = \"0.1.40\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(names(cargo_lock(lock)), ["time@0.1.40"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
            let _ = (npm(&bytes), npm_lock(&bytes), python(&text), cargo_lock(&text), python_name(&text));
        }
    }
}
