//! Who may use whom (DESIGN.md section 2), and does, read from `cargo metadata` and from the sources, and the golden list of which
//! service calls which over gRPC.

mod unused;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::work::{Work, say};

const CALLS: &str = "schemas/calls.txt";
const CALLS_HEAD: &str = "# Which service calls which over gRPC. `make golden` rewrites it; a test fails on a difference or a cycle.\n";

/// Crate → crates of this workspace it may use. Services and programs follow rules of their own, below.
const LIBRARIES: [(&str, &[&str]); 14] = [
    ("kernel", &[]),
    ("es", &["kernel"]),
    ("es-pg", &["es", "kernel"]),
    ("contract", &["es", "kernel"]),
    ("bus", &["es-pg", "es", "contract", "kernel"]),
    ("auth", &["bus", "es-pg", "es", "contract", "kernel"]),
    ("host", &["auth", "bus", "es-pg", "es", "contract", "kernel"]),
    // For programs outside: it knows the published API only.
    ("client", &[]),
    ("cri", &["kernel"]),
    // An engine's protocol, as cri is: it knows objects, not applications.
    ("kubernetes", &["kernel"]),
    ("kube-scheduler", &["kernel", "kubernetes", "planner"]),
    // Pure, and of use to any engine: it knows nothing else.
    ("planner", &[]),
    ("servers", &["kernel"]),
    ("testkit", &["host", "auth", "bus", "es-pg", "es", "contract", "kernel", "servers", "cri"]),
];

/// Programs that are no services. The stories of integration-tests are black-box (see [`STORIES`]); its `bench` is not: to measure
/// the event log, the bus and the host without a service's own work, it puts a small service of its own on them; it starts the
/// registry with a door that the peer has, too, the gateway in the process of that small service, and the scheduler beside nodes that
/// only pretend or with a cluster to watch; and it loads a layout of its own into the agent's balancer.
const PROGRAMS: [(&str, &[&str]); 4] = [
    // Of the clusters it reads no more than a person's own kubeconfig.
    ("cli", &["kernel", "kubernetes"]),
    (
        "integration-tests",
        &[
            "kernel",
            "contract",
            "servers",
            "cri",
            "host",
            "auth",
            "bus",
            "es-pg",
            "es",
            "testkit",
            "registry",
            "scheduler",
            "agent",
            "gateway",
            "planner",
            "kubernetes",
        ],
    ),
    ("xtask", &["kernel", "servers", "cri"]),
    // What `new-service` copies: as any service.
    ("sample", &["kernel", "es", "es-pg", "host", "auth"]),
];

/// What only the bench may name of all that integration-tests depends on, and where stories lie.
const STORIES: (&str, &[&str], &str) = (
    "integration-tests/src",
    &[
        "gantry_host",
        "gantry_auth",
        "gantry_bus",
        "gantry_es",
        "gantry_testkit",
        "gantry_registry",
        "gantry_scheduler",
        "gantry_agent",
        "gantry_gateway",
        "gantry_planner",
        "gantry_kubernetes",
    ],
    "stories know the suite from outside only; what measures its inside lies below bench/",
);

/// Folder inside a service → words its code may not contain, and why.
const FOLDERS: [(&str, &[&str], &str); 5] = [
    (
        "domain",
        &[
            "async fn",
            ".await",
            "axum::",
            "sea_orm",
            "sqlx::",
            "tokio::",
            "reqwest::",
            "tonic::",
            "crate::app",
            "crate::api",
            "crate::store",
            "crate::adapters",
            "crate::flows",
        ],
        "the domain is pure: no I/O, no async, nothing of the rooms around it",
    ),
    ("store", &["axum::", "crate::app", "crate::api", "crate::adapters", "crate::flows"], "the store knows the domain only"),
    ("adapters", &["crate::app", "crate::api", "crate::flows"], "adapters know the domain and the store only"),
    ("app", &["crate::api", "crate::flows"], "app is called by api and flows, never the other way"),
    ("flows", &["crate::api"], "flows and api do not know each other"),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` is an ordinary one.
    kind: Option<String>,
}

/// # Errors
/// Every fault found, at once.
pub fn run(work: &Work, write: bool) -> Result<()> {
    let calls = calls(&work.repository)?;
    if write {
        fs::write(work.repository.join(CALLS), CALLS_HEAD.to_owned() + &render(&calls))?;
    }
    let faults = faults(work, &calls)?;
    if !faults.is_empty() {
        bail!("{} faults:\n  {}", faults.len(), faults.join("\n  "));
    }
    say(&format!("rooms are kept; {} calls between services", calls.len()));
    Ok(())
}

fn faults(work: &Work, calls: &BTreeSet<(String, String)>) -> Result<Vec<String>> {
    let metadata = work.cargo(["metadata", "--no-deps", "--format-version", "1", "--locked"]).output()?;
    let metadata: Metadata = serde_json::from_slice(&metadata.stdout).context("cargo metadata")?;
    let mut faults = dependency_faults(&metadata.packages);
    faults.extend(unused::faults(&metadata.packages)?);
    for service in services(&work.repository)? {
        for (folder, words, why) in FOLDERS {
            for file in sources(&work.repository.join(&service.1).join("src"), folder)? {
                let text = fs::read_to_string(&file)?;
                let shown = file.strip_prefix(&work.repository).unwrap_or(&file).display().to_string();
                faults.extend(word_faults(&text, words).into_iter().map(|(line, word)| format!("{shown}:{line}: `{word}`: {why}")));
            }
        }
    }
    let (folder, words, why) = STORIES;
    let bench = work.repository.join(folder).join("bench");
    for file in rust_files(&work.repository.join(folder))?.into_iter().filter(|f| !f.starts_with(&bench)) {
        let shown = file.strip_prefix(&work.repository).unwrap_or(&file).display().to_string();
        faults.extend(word_faults(&fs::read_to_string(&file)?, words).into_iter().map(|(line, word)| format!("{shown}:{line}: `{word}`: {why}")));
    }
    let golden = fs::read_to_string(work.repository.join(CALLS)).unwrap_or_default();
    if golden != CALLS_HEAD.to_owned() + &render(calls) {
        faults.push(format!("{CALLS} differs from the code, which has:\n{}", render(calls)));
    }
    if let Some(cycle) = cycle(calls) {
        faults.push(format!("services call each other in a circle: {cycle}"));
    }
    Ok(faults)
}

fn dependency_faults(packages: &[Package]) -> Vec<String> {
    let short = |name: &str| name.strip_prefix("gantry-").unwrap_or(name).to_owned();
    let own: BTreeSet<String> = packages.iter().map(|p| p.name.clone()).collect();
    let is_service = |p: &Package| p.manifest_path.components().any(|c| c.as_os_str() == "services") && !["all", "cli"].contains(&short(&p.name).as_str());
    let services: BTreeSet<String> = packages.iter().filter(|p| is_service(p)).map(|p| short(&p.name)).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = short(&package.name);
        let uses = package.dependencies.iter().filter(|d| own.contains(&d.name) && d.kind.is_none()).map(|d| short(&d.name));
        let listed = LIBRARIES.iter().chain(&PROGRAMS).find(|(n, _)| *n == name).map(|(_, may)| *may);
        for used in uses {
            let allowed = match listed {
                Some(may) => may.contains(&used.as_str()),
                None if name == "all" => true,
                // A service: any library that runs in production, no other service.
                None => services.contains(&name) && !services.contains(&used) && !["testkit", "servers", "xtask", "cli", "all"].contains(&used.as_str()),
            };
            if !allowed {
                faults.push(format!("{name} may not use {used}"));
            }
        }
    }
    faults
}

/// Line number and word of every forbidden word outside comments.
fn word_faults<'a>(text: &str, words: &[&'a str]) -> Vec<(usize, &'a str)> {
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(at, line)| words.iter().filter(|w| line.contains(**w)).map(move |w| (at + 1, *w))).collect()
}

fn services(repository: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository.join("services"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !["all", "cli"].contains(&name.as_str()) && entry.path().join("Cargo.toml").is_file() {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The Rust files of one room: `src/domain.rs` and everything below `src/domain/`.
fn sources(src: &Path, room: &str) -> Result<Vec<PathBuf>> {
    let mut files = rust_files(&src.join(room))?;
    files.extend(Some(src.join(format!("{room}.rs"))).filter(|f| f.is_file()));
    files.sort();
    Ok(files)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                files.extend(rust_files(&path)?);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Caller and called, from every `channel("<service>")` in a service's sources.
fn calls(repository: &Path) -> Result<BTreeSet<(String, String)>> {
    let mut calls = BTreeSet::new();
    for (service, folder) in services(repository)? {
        for file in rust_files(&folder.join("src"))? {
            let text = fs::read_to_string(&file)?;
            let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            for after in code.split(".channel(\"").skip(1) {
                let called = after.split('"').next().unwrap_or_default();
                calls.insert((service.clone(), called.to_owned()));
            }
        }
    }
    Ok(calls)
}

fn render(calls: &BTreeSet<(String, String)>) -> String {
    calls.iter().map(|(from, to)| format!("{from} -> {to}\n")).collect()
}

/// A circle of calls, if there is one.
fn cycle(calls: &BTreeSet<(String, String)>) -> Option<String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in calls {
        next.entry(from).or_default().push(to);
    }
    next.keys().find_map(|start| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
        while let Some(at) = open.pop() {
            for to in next.get(at).into_iter().flatten() {
                if to == start {
                    return Some(format!("{start} -> ... -> {at} -> {start}"));
                }
                if seen.insert(*to) {
                    open.push(to);
                }
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_and_every_use_line_keeps_its_room() {
        let work = Work::find().expect("the repository");
        let calls = calls(&work.repository).expect("read");
        let faults = faults(&work, &calls).expect("read");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn a_service_that_uses_another_is_found() {
        let package = |name: &str, folder: &str, uses: &[&str]| Package {
            name: format!("gantry-{name}"),
            manifest_path: format!("/r/{folder}/{name}/Cargo.toml").into(),
            dependencies: uses.iter().map(|u| Dependency { name: format!("gantry-{u}"), kind: None }).collect(),
        };
        let packages = [
            package("identity", "services", &["kernel", "host"]),
            package("billing", "services", &["identity"]),
            package("kernel", "libs", &["host"]),
            package("host", "libs", &["kernel"]),
        ];
        assert_eq!(dependency_faults(&packages), ["billing may not use identity", "kernel may not use host"]);
    }

    #[test]
    fn comments_do_not_count_and_code_does() {
        assert_eq!(word_faults("// tokio:: is banned\nuse tokio::time;\n", &["tokio::"]), [(2, "tokio::")]);
    }

    #[test]
    fn a_circle_of_calls_is_found() {
        let calls = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeSet<_>>();
        assert_eq!(cycle(&calls(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
        assert!(cycle(&calls(&[("a", "b"), ("b", "c"), ("c", "a")])).is_some());
    }
}
