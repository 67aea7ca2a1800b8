//! `xtask new-service <name>`: the skeleton of a service. It is a copy of xtask/sample, which is a member of the workspace like any
//! other crate and so compiled and tested with everything else, under the new name.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gantry_kernel::Name;

use crate::work::say;

const SAMPLE: &str = "xtask/sample";
/// The line of the root Cargo.toml after which the new crate is named.
const AFTER: &str = "gantry-gateway = { path = \"services/gateway\" }\n";

/// Writes `services/<name>` and names the crate in the workspace; says what is left to do by hand.
///
/// # Errors
/// When the name is no word, or such a service is there.
pub fn write(repository: &Path, name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    ensure!(
        Name::parse(name).is_ok() && plain && !name.as_bytes()[0].is_ascii_digit(),
        "`{name}`: a service's name is one word of a-z and 0-9 and begins with a letter"
    );
    let folder = repository.join("services").join(name);
    if folder.exists() || ["sample", "all", "cli"].contains(&name) || repository.join("libs").join(name).exists() {
        bail!("there is something of the name `{name}` already");
    }
    let manifest = repository.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    ensure!(text.contains(AFTER), "Cargo.toml does not have the line {AFTER:?}");
    let sample = repository.join(SAMPLE);
    for file in files(&sample)? {
        let to = folder.join(file.strip_prefix(&sample)?);
        fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        fs::write(&to, renamed(&fs::read_to_string(&file)?, name)).with_context(|| format!("cannot write {}", to.display()))?;
    }
    fs::write(&manifest, text.replace(AFTER, &format!("{AFTER}gantry-{name} = {{ path = \"services/{name}\" }}\n")))?;
    say(&format!("services/{name} is there; `cargo test -p gantry-{name}` tests it. What is left:"));
    println!("  services/all            the dependency gantry-{name}, and the entry in src/targets.rs");
    println!("  libs/host/src/config.rs its port: add it at the end of PORTS");
    println!("  services/gateway        its paths in src/domain/routes.rs");
    println!("  k8s/base, compose       a Deployment, and the target");
    println!("  make golden             its API, events and configuration as golden files");
    Ok(())
}

/// `sample` and `Sample` as words of the code become the new name.
fn renamed(text: &str, name: &str) -> String {
    let (first, rest) = name.split_at(1);
    text.replace("sample", name).replace("Sample", &(first.to_ascii_uppercase() + rest))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)?),
            path => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_service_is_the_sample_by_another_name_and_is_written_once() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let copy = tempfile::tempdir().expect("a folder");
        fs::copy(repository.join("Cargo.toml"), copy.path().join("Cargo.toml")).expect("copied");
        for file in files(&repository.join(SAMPLE)).expect("listed") {
            let to = copy.path().join(file.strip_prefix(repository).expect("below"));
            fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            fs::copy(file, to).expect("copied");
        }
        for bad in ["", "Orders", "9lives", "two-words", "../x", "sample", "all"] {
            assert!(write(copy.path(), bad).is_err(), "{bad}");
        }
        write(copy.path(), "orders").expect("written");
        let made = files(&copy.path().join("services/orders")).expect("listed");
        assert_eq!(made.len(), files(&repository.join(SAMPLE)).expect("listed").len());
        for file in &made {
            let text = fs::read_to_string(file).expect("read");
            assert!(!text.to_ascii_lowercase().contains("sample"), "{}", file.display());
        }
        let service = fs::read_to_string(copy.path().join("services/orders/src/lib.rs")).expect("read");
        assert!(service.contains("pub struct Orders;") && service.contains("const NAME: &'static str = \"orders\""), "{service}");
        let manifest = fs::read_to_string(copy.path().join("Cargo.toml")).expect("read");
        let manifest: toml::Table = manifest.parse().expect("TOML");
        assert_eq!(manifest["workspace"]["dependencies"]["gantry-orders"]["path"].as_str(), Some("services/orders"));
        assert!(write(copy.path(), "orders").is_err(), "it is there already");
    }
}
