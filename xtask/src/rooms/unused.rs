//! Dependencies that a crate names and does not use: each is fetched, audited and compiled for nothing. Found by their names in the
//! sources, so that one that is named in a comment alone is overlooked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Package, rust_files};

/// Used by code that a build script generates.
const GENERATED: [&str; 4] = ["prost", "prost-types", "tonic", "tonic-prost"];

/// A sentence for each; what only tests use has to be named as theirs.
pub fn faults(packages: &[Package]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in packages {
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        let product = words(&folder.join("src"))?;
        let tests = words(&folder.join("tests"))?;
        let build = fs::read_to_string(folder.join("build.rs")).map(|text| words_of(&text)).unwrap_or_default();
        for dependency in &package.dependencies {
            let name = dependency.name.replace('-', "_");
            let (used, place) = match dependency.kind.as_deref() {
                None => (product.contains(&name) || (!build.is_empty() && GENERATED.contains(&dependency.name.as_str())), "product"),
                Some("build") => (build.contains(&name), "build script"),
                Some(_) => (product.contains(&name) || tests.contains(&name), "tests"),
            };
            if !used {
                faults.push(format!("{} names {} and does not use it: its {place} does not", package.name, dependency.name));
            }
        }
    }
    Ok(faults)
}

fn words(folder: &Path) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for file in rust_files(folder)? {
        all.append(&mut words_of(&fs::read_to_string(&file)?));
    }
    Ok(all)
}

fn words_of(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Dependency;
    use super::*;

    #[test]
    fn a_dependency_that_is_named_and_not_used_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        write("src/lib.rs", "use serde_json::Value;\n");
        write("tests/it.rs", "fn home() { tempfile::tempdir(); }\n");
        let package = |dependencies: &[(&str, Option<&str>)]| Package {
            name: "gantry-shop".into(),
            manifest_path: folder.path().join("Cargo.toml"),
            dependencies: dependencies.iter().map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(str::to_owned) }).collect(),
        };
        let found = |dependencies: &[(&str, Option<&str>)]| faults(&[package(dependencies)]).expect("read");
        assert_eq!(found(&[("serde-json", None), ("tempfile", Some("dev"))]), Vec::<String>::new());
        assert_eq!(
            found(&[("tempfile", None), ("prost", None), ("protox", Some("build"))]),
            [
                "gantry-shop names tempfile and does not use it: its product does not",
                "gantry-shop names prost and does not use it: its product does not",
                "gantry-shop names protox and does not use it: its build script does not",
            ]
        );
        write("build.rs", "fn main() { protox::compile(); }\n");
        assert_eq!(found(&[("prost", None), ("protox", Some("build"))]), Vec::<String>::new(), "what is generated may need it");
    }
}
