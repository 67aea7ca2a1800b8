//! Which packages an image holds, from the package managers' own files, layer by layer.
//!
//! Each layer gives a [`LayerInventory`] that depends on the layer's bytes only, so it is kept per digest and shared by all
//! images with that layer. [`merge`] stacks layers as overlayfs does: a later file replaces, a whiteout removes.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::pkg::{elf, java, language, rpm};

pub const DPKG_STATUS: &str = "var/lib/dpkg/status";
const DPKG_STATUS_DIR: &str = "var/lib/dpkg/status.d/";
const APK_INSTALLED: &str = "lib/apk/db/installed";
const APK_INSTALLED_USR: &str = "usr/lib/apk/db/installed";
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
const RPM_FOLDERS: [&str; 2] = ["var/lib/rpm/", "usr/lib/sysimage/rpm/"];
const RPM_FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];

/// Raised when the readers below change, so that kept inventories are made anew.
pub const VERSION: i32 = 6;

/// One installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// What it was built from; advisories name this.
    pub source: String,
    pub source_version: String,
    /// As the package says; empty if it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Of an rpm that belongs to a module: `name:stream:version:context`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub module: String,
}

/// What one file tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Found {
    Dpkg {
        packages: Vec<Package>,
    },
    Apk {
        packages: Vec<Package>,
    },
    Rpm {
        packages: Vec<Package>,
    },
    /// Packages of languages, each with its kind as package URLs name it.
    Language {
        packages: Vec<(String, Package)>,
    },
    OsRelease {
        id: String,
        version_id: String,
        name: String,
    },
}

/// The interesting files of one layer, and which paths it removes from those below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInventory {
    pub files: BTreeMap<String, Found>,
    /// Files or folders removed (`.wh.<name>`), without a slash at the end.
    pub removed: Vec<String>,
    /// Folders whose lower content is hidden (`.wh..wh..opq`).
    pub opaque: Vec<String>,
    /// Architectures of the programs in it (as images name them), and how many of each.
    #[serde(default)]
    pub machines: BTreeMap<String, u32>,
    /// Paths of the programs, by architecture; of very many, the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, Vec<String>>,
    /// Where links among folders and programs lead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Interpreters of the scripts that may be executed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scripts: BTreeMap<String, String>,
    /// Set when a limit cut the reading short; the report says so.
    pub truncated: Option<String>,
    /// Files that were not looked at, or not at all of them, and why; everything else was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
    /// SHA-256 of the whole archive unpacked (image-spec, config.md, "DiffID"), as it was read here; none of what could not be read whole.
    /// Kept beside the inventory.
    #[serde(skip)]
    pub content: Option<String>,
}

/// How much of a file the reader should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    None,
    /// The whole file, by its name.
    Whole,
    /// The whole file, if it turns out to be a program.
    Program,
}

/// Judges by path and whether the file may be executed.
pub fn interest(path: &str, executable: bool) -> Interest {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(f, n)| (f, n));
    let by_name = path == DPKG_STATUS
        || path == APK_INSTALLED
        || path == APK_INSTALLED_USR
        || OS_RELEASE.contains(&path)
        || path.strip_prefix(DPKG_STATUS_DIR).is_some_and(|f| !f.is_empty() && !f.contains('/') && !f.ends_with(".md5sums"))
        || RPM_FOLDERS.iter().any(|f| path.strip_prefix(f).is_some_and(|n| RPM_FILES.contains(&n)))
        || (name == "package.json" && is_npm_package(folder))
        || (name == "package-lock.json" && !path.contains("node_modules/"))
        || (name == "METADATA" && folder.ends_with(".dist-info"))
        || (name == "PKG-INFO" && (folder.ends_with(".egg-info") || folder.rsplit('/').next() == Some("EGG-INFO")))
        || name.ends_with(".egg-info")
        || name == "Cargo.lock"
        || java::is_archive(path);
    if by_name {
        Interest::Whole
    } else if executable || name.ends_with(".exe") {
        Interest::Program
    } else {
        Interest::None
    }
}

/// Whether something that is no folder keeps files from being seen that tell of packages, where it stands at this path: at one of them, or where the
/// way to some would lead.
pub fn may_hide(path: &str) -> bool {
    let mut system = [DPKG_STATUS, DPKG_STATUS_DIR, APK_INSTALLED, APK_INSTALLED_USR].into_iter().chain(OS_RELEASE).chain(RPM_FOLDERS);
    let leads = |file: &str| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    let name = path.rsplit('/').next().unwrap_or(path);
    interest(path, false) != Interest::None
        || name == "node_modules"
        || path.contains("node_modules/")
        || [".dist-info", ".egg-info", ".egg"].iter().any(|end| name.ends_with(end))
        || system.any(leads)
}

/// `node_modules/<name>` or `node_modules/@<scope>/<name>`, itself somewhere.
fn is_npm_package(folder: &str) -> bool {
    let mut parts = folder.rsplit('/');
    let (last, before, above) = (parts.next(), parts.next(), parts.next());
    last.is_some() && (before == Some("node_modules") || (before.is_some_and(|b| b.starts_with('@')) && above == Some("node_modules")))
}

/// Reads an interesting file; none if it tells nothing.
pub fn read(path: &str, bytes: &[u8]) -> Option<Found> {
    look(path, bytes).0
}

/// The same, and what of the file could not be looked at.
pub fn look(path: &str, bytes: &[u8]) -> (Option<Found>, Option<String>) {
    if is_of_system(path) || !java::is_archive(path) {
        return (told(path, bytes), None);
    }
    let (packages, unread) = java::packages(path, bytes);
    let packages: Vec<_> = packages.into_iter().map(|p| ("maven".to_owned(), p)).collect();
    ((!packages.is_empty()).then_some(Found::Language { packages }), unread)
}

/// Whether it is read for its place, whatever its name.
fn is_of_system(path: &str) -> bool {
    path.starts_with(DPKG_STATUS_DIR)
}

fn told(path: &str, bytes: &[u8]) -> Option<Found> {
    // Databases keep no zero bytes in texts: one in a package's name would keep the whole image from being matched.
    let text = || String::from_utf8_lossy(bytes).replace('\0', "");
    let name = path.rsplit('/').next().unwrap_or(path);
    let of = |kind: &str, packages: Vec<Package>| Some(Found::Language { packages: packages.into_iter().map(|p| (kind.to_owned(), p)).collect() });
    if path == DPKG_STATUS || path.starts_with(DPKG_STATUS_DIR) {
        return Some(Found::Dpkg { packages: dpkg(&text()) });
    }
    if path == APK_INSTALLED || path == APK_INSTALLED_USR {
        return Some(Found::Apk { packages: apk(&text()) });
    }
    if RPM_FOLDERS.iter().any(|f| path.starts_with(f)) && RPM_FILES.contains(&name) {
        return Some(Found::Rpm { packages: rpm::packages(bytes) });
    }
    if OS_RELEASE.contains(&path) {
        let text = text();
        let field = |name: &str| {
            text.lines().find_map(|l| l.trim().strip_prefix(name)?.strip_prefix('=')).map(|v| v.trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
        };
        return Some(Found::OsRelease { id: field("ID"), version_id: field("VERSION_ID"), name: field("PRETTY_NAME") });
    }
    let found = match name {
        "package.json" => of("npm", language::npm(bytes)),
        "package-lock.json" => of("npm", language::npm_lock(bytes)),
        "METADATA" | "PKG-INFO" => of("pypi", language::python(&text())),
        "Cargo.lock" => of("cargo", language::cargo_lock(&text())),
        _ if name.ends_with(".egg-info") => of("pypi", language::python(&text())),
        _ => Some(Found::Language { packages: elf::packages(bytes).into_iter().map(|(kind, p)| (kind.to_owned(), p)).collect() }),
    };
    found.filter(|f| !matches!(f, Found::Language { packages } if packages.is_empty()))
}

impl Found {
    /// Kind and package of each.
    fn each(&self) -> Vec<(&str, &Package)> {
        match self {
            Self::Dpkg { packages } => packages.iter().map(|p| ("deb", p)).collect(),
            Self::Apk { packages } => packages.iter().map(|p| ("apk", p)).collect(),
            Self::Rpm { packages } => packages.iter().map(|p| ("rpm", p)).collect(),
            Self::Language { packages } => packages.iter().map(|(k, p)| (k.as_str(), p)).collect(),
            Self::OsRelease { .. } => Vec::new(),
        }
    }
}

/// Paragraphs of `Field: value` (deb-control); packages removed but not purged do not count. Those whose set-up has not ended (dpkg(1), "Package
/// states": `unpacked`, `half-configured`, triggers that wait) have their files all the same.
fn dpkg(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for paragraph in paragraphs(text) {
        let field = |name: &str| paragraph.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        if field("Status").is_some_and(|s| matches!(s.rsplit(' ').next(), Some("not-installed" | "config-files"))) {
            continue;
        }
        // `Source: name (version)`: the version is there only when it differs.
        let (source, source_version) = match field("Source") {
            Some(source) => match source.split_once('(') {
                Some((source, version)) => (source.trim(), version.trim_end_matches(')').trim()),
                None => (source, version),
            },
            None => (name, version),
        };
        packages.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: field("Architecture").unwrap_or_default().to_owned(),
            source: source.to_owned(),
            source_version: source_version.to_owned(),
            licence: String::new(),
            module: String::new(),
        });
    }
    packages
}

/// Paragraphs of one-letter fields (apk-installed(5)).
fn apk(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for paragraph in paragraphs(text) {
        let field = |name: &str| paragraph.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let (Some(name), Some(version)) = (field("P"), field("V")) else { continue };
        packages.push(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: field("A").unwrap_or_default().to_owned(),
            source: field("o").unwrap_or(name).to_owned(),
            source_version: version.to_owned(),
            licence: field("L").unwrap_or_default().to_owned(),
            module: String::new(),
        });
    }
    packages
}

fn paragraphs(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut paragraph = Vec::new();
        for line in lines.by_ref() {
            if !line.trim().is_empty() {
                paragraph.push(line);
            } else if !paragraph.is_empty() {
                break;
            }
        }
        (!paragraph.is_empty()).then_some(paragraph)
    })
}

/// A package together with the layer that brought it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    #[serde(flatten)]
    pub package: Package,
    /// `deb`, `apk`, `rpm`, `npm`, `pypi`, `cargo`, `golang`, `maven`: as in package URLs.
    pub kind: String,
    /// Digest of the lowest layer that has exactly this package.
    pub layer: String,
    /// File that tells of it; empty for the system's package manager.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// A whole image's inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub os_id: String,
    pub os_version: String,
    pub os_name: String,
    pub packages: Vec<Installed>,
    /// Architectures of the programs, and how many of each.
    #[serde(default)]
    pub machines: BTreeMap<String, u32>,
    pub notes: Vec<String>,
}

/// Stacks layers, lowest first.
pub fn merge(layers: &[(String, LayerInventory)]) -> Inventory {
    let mut files: BTreeMap<&str, &Found> = BTreeMap::new();
    let mut first_seen: BTreeMap<(&str, &Package), &str> = BTreeMap::new();
    let mut unread: BTreeMap<&str, String> = BTreeMap::new();
    let mut notes = Vec::new();
    let mut machines = BTreeMap::new();
    for (digest, layer) in layers {
        // A layer removes many paths from few files: look each file up instead of comparing all with all.
        let removed: HashSet<&str> = layer.removed.iter().map(String::as_str).collect();
        let opaque: HashSet<&str> = layer.opaque.iter().map(String::as_str).collect();
        let stays = |path: &str| !removed.contains(path) && !folders(path).any(|f| removed.contains(f) || opaque.contains(f));
        files.retain(|path, _| stays(path));
        unread.retain(|path, _| stays(path) && !layer.files.contains_key(*path));
        unread.extend(layer.unread.iter().map(|(path, why)| (path.as_str(), format!("{digest}: {path}: {why}"))));
        for (path, found) in &layer.files {
            for key in found.each() {
                first_seen.entry(key).or_insert(digest);
            }
            files.insert(path, found);
        }
        for (machine, count) in &layer.machines {
            *machines.entry(machine.clone()).or_insert(0) += count;
        }
        notes.extend(layer.truncated.iter().map(|why| format!("{digest}: {why}")));
    }
    notes.extend(unread.into_values());
    let mut inventory = Inventory { notes, machines, ..Inventory::default() };
    for path in OS_RELEASE.iter().rev() {
        if let Some(Found::OsRelease { id, version_id, name }) = files.get(path) {
            (inventory.os_id, inventory.os_version, inventory.os_name) = (id.clone(), version_id.clone(), name.clone());
        }
    }
    for (path, found) in files {
        let system = !matches!(found, Found::Language { .. });
        inventory.packages.extend(found.each().into_iter().map(|(kind, package)| Installed {
            kind: kind.to_owned(),
            layer: first_seen.get(&(kind, package)).copied().unwrap_or_default().to_owned(),
            package: package.clone(),
            path: if system { String::new() } else { path.to_owned() },
        }));
    }
    inventory.packages.sort_by(|a, b| a.package.cmp(&b.package).then_with(|| a.kind.cmp(&b.kind)));
    inventory.packages.dedup_by(|a, b| a.package == b.package && a.kind == b.kind);
    inventory
}

/// The folders a path is in, and "" for the top.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().filter(|(_, c)| *c == '/').map(|(i, _)| &path[..i]).chain(std::iter::once(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUS: &str = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\nVersion: 2.36-9+b1\nDescription: x\n more\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\nPackage: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n";

    fn layer(path: &str, text: &str) -> LayerInventory {
        LayerInventory { files: [(path.to_owned(), read(path, text.as_bytes()).unwrap())].into(), ..LayerInventory::default() }
    }

    #[test]
    fn dpkg_packages_carry_their_source_and_removed_ones_do_not_count() {
        let packages = dpkg(STATUS);
        assert_eq!(packages.len(), 2);
        assert_eq!((packages[0].source.as_str(), packages[0].source_version.as_str()), ("glibc", "2.36-9"));
        assert_eq!((packages[1].source.as_str(), packages[1].source_version.as_str()), ("bash", "5.2.15-2"));
    }

    #[test]
    fn a_package_whose_set_up_has_not_ended_is_there() {
        let states = ["installed", "unpacked", "half-configured", "triggers-pending", "half-installed", "config-files", "not-installed"];
        let text: String = states.iter().map(|state| format!("Package: p-{state}\nStatus: install ok {state}\nVersion: 1\n\n")).collect();
        let found: Vec<_> = dpkg(&text).into_iter().map(|p| p.name).collect();
        assert_eq!(found, ["p-installed", "p-unpacked", "p-half-configured", "p-triggers-pending", "p-half-installed"]);
    }

    #[test]
    fn apk_packages_carry_their_origin() {
        let packages = apk("C:Q1abc\nP:libssl3\nV:3.1.4-r1\nA:x86_64\no:openssl\n\nP:musl\nV:1.2.4-r2\nA:x86_64\n");
        assert_eq!((packages[0].name.as_str(), packages[0].source.as_str()), ("libssl3", "openssl"));
        assert_eq!(packages[1].source, "musl");
    }

    #[test]
    fn a_later_layer_replaces_and_the_first_bringer_is_named() {
        let lower = layer(DPKG_STATUS, "Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n");
        let upper = layer(DPKG_STATUS, "Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n");
        let merged = merge(&[("low".into(), lower), ("up".into(), upper)]);
        let seen: Vec<_> = merged.packages.iter().map(|p| (p.package.name.as_str(), p.package.version.as_str(), p.layer.as_str())).collect();
        assert_eq!(seen, [("a", "1", "low"), ("b", "2", "up")]);
    }

    #[test]
    fn zero_bytes_hide_neither_a_package_nor_the_system() {
        let lower = layer(DPKG_STATUS, "Package: open\0ssl\nVersion: 3.0\0.1\n\nPackage: bash\nVersion: 5\n");
        let upper = layer("etc/os-release", "ID=deb\0ian\nVERSION_ID=\"12\0\"\n");
        let merged = merge(&[("l".into(), lower), ("u".into(), upper)]);
        assert_eq!((merged.os_id.as_str(), merged.os_version.as_str()), ("debian", "12"));
        assert_eq!((merged.packages[1].package.source.as_str(), merged.packages[1].package.version.as_str()), ("openssl", "3.0.1"));
    }

    #[test]
    fn whiteouts_remove_what_lies_below() {
        let lower = layer("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 1\n");
        let gone = LayerInventory { removed: vec!["var/lib/dpkg".into()], ..LayerInventory::default() };
        let other = LayerInventory { removed: vec!["var/lib/dpk".into()], ..LayerInventory::default() };
        let hidden = LayerInventory { opaque: vec!["var/lib/dpkg/status.d".into()], ..LayerInventory::default() };
        assert_eq!(merge(&[("l".into(), lower.clone()), ("u".into(), gone)]).packages.len(), 0);
        assert_eq!(merge(&[("l".into(), lower.clone()), ("u".into(), hidden)]).packages.len(), 0);
        assert_eq!(merge(&[("l".into(), lower), ("u".into(), other)]).packages.len(), 1);
    }

    #[test]
    fn what_was_not_looked_at_is_noted_until_something_takes_its_place() {
        let lower = LayerInventory { unread: [("srv/app.jar".into(), "it is too large".into())].into(), ..LayerInventory::default() };
        let notes = |upper: LayerInventory| merge(&[("l".into(), lower.clone()), ("u".into(), upper)]).notes;
        assert_eq!(notes(LayerInventory::default()), ["l: srv/app.jar: it is too large"]);
        assert!(notes(LayerInventory { removed: vec!["srv".into()], ..LayerInventory::default() }).is_empty());
        let file = Found::Language { packages: vec![] };
        assert!(notes(LayerInventory { files: [("srv/app.jar".into(), file)].into(), ..LayerInventory::default() }).is_empty());
    }

    #[test]
    fn the_system_is_read_from_etc_first() {
        let usr = layer("usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
        let etc = layer("etc/os-release", "ID=alpine\nVERSION_ID=3.18.4\n");
        assert_eq!(merge(&[("1".into(), usr.clone())]).os_id, "debian");
        assert_eq!(merge(&[("1".into(), etc), ("2".into(), usr)]).os_version, "3.18.4");
    }

    #[test]
    fn only_files_that_tell_of_packages_are_read() {
        for yes in [
            "var/lib/dpkg/status.d/libc6",
            "usr/lib/sysimage/rpm/rpmdb.sqlite",
            "app/node_modules/left-pad/package.json",
            "app/node_modules/@babel/core/package.json",
            "usr/lib/python3/dist-packages/x-1.dist-info/METADATA",
            "usr/lib/python3/x.egg-info",
            "usr/lib/python3/x-1-py3.egg/EGG-INFO/PKG-INFO",
            "srv/Cargo.lock",
            "srv/app.jar",
            "srv/package-lock.json",
        ] {
            assert_eq!(interest(yes, false), Interest::Whole, "{yes}");
        }
        for no in [
            "var/lib/dpkg/status.d/",
            "var/lib/dpkg/status.d/a/b",
            "var/lib/dpkg/status-old",
            "var/lib/dpkg/status.d/x.md5sums",
            "etc/passwd",
            "srv/package.json",
            "node_modules/a/lib/package.json",
        ] {
            assert_eq!(interest(no, false), Interest::None, "{no}");
        }
        assert_eq!(interest("usr/bin/app", true), Interest::Program);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,20}|(([A-Z]{1}[a-z]{0,7}:.{0,12}\n){0,8}\n?){0,4}") {
            for path in [DPKG_STATUS, APK_INSTALLED, OS_RELEASE[0]] {
                let _ = read(path, text.as_bytes());
            }
        }
    }
}
