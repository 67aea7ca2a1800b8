//! What has no peer: memory, collection, scans, long lists.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::ours::{Ours, PROJECT};
use super::side::{Side, Small, digest, unique};
use super::wire::Line;
use super::{Wanted, quantile_ms};
use crate::bench::figure::Figure;
use crate::bench::former;
use crate::bench::results::Figures;

pub const REPOSITORIES: &[&str] = &["from", "into", "many", "gone", "kept", "scan"];
const TAGS: u64 = 100_000;
const ASKED: usize = 200;
const API: &str = "/api/v1/orgs/acme/projects/bench/images";

pub fn measure(wanted: &Wanted<'_>, ours: &Ours, side: &Side, figures: &mut Figures) -> Result<()> {
    if wanted.any(&["registry-collect", "registry-collect-cost"]) {
        former::doing("collection");
        figures.extend(collection(wanted, ours, side)?);
    }
    if wanted.any(&["registry-scan-cold", "registry-scan-known"]) {
        former::doing("scans");
        figures.extend(scans(wanted, ours, side)?);
    }
    if wanted.any(&["registry-tags-list", "registry-tags-search", "registry-projects-list"]) {
        former::doing("a hundred thousand tags");
        figures.extend(lists(wanted, ours, side)?);
    }
    Ok(())
}

/// Lists of a repository with a hundred thousand tags: pages in the middle, a search, and the project's own list.
fn lists(wanted: &Wanted<'_>, ours: &Ours, side: &Side) -> Result<Vec<Figure>> {
    let (repository, image) = (format!("{PROJECT}many"), Small::new(1_000));
    let mut line = side.connect()?;
    side.push_small(&mut line, &repository, "first", &image)?;
    ours.tags(&repository, &digest(&[&image.manifest]), TAGS)?;
    let user = format!("authorization: Bearer {}\r\n", ours.user_token()?);
    let mut times = |path: &dyn Fn(u64) -> String, rest: bool| -> Result<f64> {
        let mut times = Vec::new();
        for n in 0..ASKED as u64 {
            let path = path((n * 7_919) % TAGS);
            let since = Instant::now();
            let got = if rest { line.ask("GET", &path, &user, &[])? } else { side.ask(&mut line, "GET", &repository, &path, "", &[])? };
            got.expect(200)?;
            times.push(since.elapsed());
        }
        Ok(quantile_ms(times, 0.99))
    };
    let asked: [(&str, bool, &dyn Fn(u64) -> String); 3] = [
        ("registry-tags-list", false, &|n| format!("tags/list?n=1000&last=build-{n:07}")),
        ("registry-tags-search", true, &|n| format!("{API}/many/tags?q={n:05}-lin&limit=50")),
        ("registry-projects-list", true, &|_| API.to_owned()),
    ];
    let mut figures = Vec::new();
    for (name, rest, path) in asked {
        let Some(name) = wanted.named(name, "") else { continue };
        let rounds = (0..wanted.rounds()).map(|_| times(path, rest)).collect::<Result<_>>()?;
        figures.push(Figure::at_most(name, "ms p99", rounds, 50.0));
    }
    Ok(figures)
}

/// The most that is resident while 32 clients push 64 MB each.
pub fn memory(wanted: &Wanted<'_>, side: &Side) -> Result<Figure> {
    let rest = vec![7u8; 64_000_000];
    let mut rounds = Vec::new();
    for _ in 0..wanted.rounds() {
        let firsts: Vec<[u8; 8]> = (0..32).map(|_| unique().to_le_bytes()).collect();
        let digests: Vec<String> = firsts.iter().map(|f| digest(&[f, &rest])).collect();
        std::fs::write(format!("/proc/{}/clear_refs", side.pid), "5").context("the highest mark is set back")?;
        super::side::together(side, 32, 1, |client, line, _| {
            side.push_blob(line, &super::repository(client % super::CLIENTS), &[&firsts[client], &rest], &digests[client])
        })?;
        rounds.push(high_water_mib(side.pid)?);
    }
    Ok(Figure::at_most("registry-memory", "MiB resident", rounds, 150.0))
}

fn high_water_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next()).context("no VmHWM")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// Blobs that nobody needs go, a thousand at a time: first with few others there, then with many.
fn collection(wanted: &Wanted<'_>, ours: &Ours, side: &Side) -> Result<Vec<Figure>> {
    const GONE: usize = 2_000;
    const KEPT: usize = 8_000;
    let orphans = |count: usize, repository: &str| -> Result<()> {
        super::side::together(side, 16, count / 16, |_, line, _| {
            let content = unique().to_le_bytes();
            let path = format!("blobs/uploads/?digest={}", digest(&[&content]));
            side.ask(line, "POST", &format!("{PROJECT}{repository}"), &path, "", &[&content])?.expect(201)?;
            Ok(())
        })?;
        Ok(())
    };
    let kept = |count: usize| -> Result<()> {
        // Manifests stay: each is a blob that is needed.
        super::side::together(side, 8, count / 24, |_, line, turn| {
            side.push_small(line, &format!("{PROJECT}kept"), &format!("k{}-{turn}", unique()), &Small::new(100))
        })?;
        Ok(())
    };
    ours.collect()?;
    let one = || -> Result<f64> {
        orphans(GONE, "gone")?;
        // What is collected is older than the clock's last step.
        std::thread::sleep(Duration::from_millis(20));
        let (blobs, seconds) = ours.collect()?;
        ensure!(blobs >= GONE as u64, "only {blobs} went");
        Ok(blobs as f64 / seconds)
    };
    let few: Vec<f64> = (0..wanted.rounds()).map(|_| one()).collect::<Result<_>>()?;
    kept(KEPT)?;
    let many: Vec<f64> = (0..wanted.rounds()).map(|_| one()).collect::<Result<_>>()?;
    let cost = few.iter().zip(&many).map(|(few, many)| few / many).collect();
    let mut figures = Vec::new();
    figures.extend(wanted.named("registry-collect", "").map(|name| Figure::at_least(name, "deletes/s", few.clone(), 1_000.0)));
    // As much to delete, thousands more to keep: it must not take noticeably longer.
    figures.extend(wanted.named("registry-collect-cost", "").map(|name| Figure::at_most(name, "times, with 8,000 more kept", cost, 1.5)));
    Ok(figures)
}

/// An image with this machine's own packages and programs: 120 MB of layers never seen, then the same layers in another image.
fn scans(wanted: &Wanted<'_>, ours: &Ours, side: &Side) -> Result<Vec<Figure>> {
    let user = format!("authorization: Bearer {}\r\n", ours.user_token()?);
    let repository = format!("{PROJECT}scan");
    let (mut cold, mut known) = (Vec::new(), Vec::new());
    for _ in 0..wanted.rounds() {
        let mut line = side.connect()?;
        let layer = debian_layer()?;
        let name = digest(&[&layer]);
        side.push_blob(&mut line, &repository, &[&layer], &name)?;
        for times in [&mut cold, &mut known] {
            let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "config": { "Labels": { "unique": unique() } },
                "rootfs": { "type": "layers", "diff_ids": [] } });
            let image = Small::of_layer(&name, layer.len(), config.to_string().into_bytes());
            side.push_blob(&mut line, &repository, &[&image.config], &digest(&[&image.config]))?;
            let since = Instant::now();
            side.push_manifest(&mut line, &repository, "latest", &image.manifest)?;
            times.push(scanned(&mut line, &user, &digest(&[&image.manifest]), since)?);
        }
    }
    let mut figures = Vec::new();
    figures.extend(wanted.named("registry-scan-cold", "").map(|name| Figure::at_most(name, "s", cold, 10.0)));
    figures.extend(wanted.named("registry-scan-known", "").map(|name| Figure::at_most(name, "s", known, 0.2)));
    Ok(figures)
}

/// Seconds from the push to the report.
fn scanned(line: &mut Line, user: &str, image: &str, since: Instant) -> Result<f64> {
    loop {
        let answer = line.ask("GET", &format!("{API}/scan/{image}/scan"), user, &[])?;
        if answer.status == 200 {
            let report: Value = serde_json::from_slice(&answer.body)?;
            ensure!(report["summary"]["packages"].as_u64() > Some(50), "few packages: {}", report["summary"]);
            return Ok(since.elapsed().as_secs_f64());
        }
        ensure!(since.elapsed() < Duration::from_secs(120), "no report: {answer:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a Debian image of this size has: the packages' list, and programs and libraries of this very system up to 120 MB.
fn debian_layer() -> Result<Vec<u8>> {
    const UNPACKED: u64 = 120_000_000;
    let list = std::fs::read("/var/lib/dpkg/status").context("this figure needs Debian or Ubuntu")?;
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut add = |path: &str, mode: u32, content: &[u8]| -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        Ok(archive.append_data(&mut header, path, content)?)
    };
    add("etc/hostname", 0o644, unique().to_string().as_bytes())?;
    add("etc/os-release", 0o644, &std::fs::read("/etc/os-release")?)?;
    add("var/lib/dpkg/status", 0o644, &list)?;
    let mut total = list.len() as u64;
    for folder in ["/usr/bin", "/usr/sbin", "/usr/share/doc", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"] {
        for file in files(Path::new(folder), 2) {
            let Ok(content) = std::fs::read(&file) else { continue };
            // Few images hold one giant.
            if content.len() > 8_000_000 || total >= UNPACKED {
                continue;
            }
            total += content.len() as u64;
            add(file.to_string_lossy().trim_start_matches('/'), 0o755, &content)?;
        }
    }
    ensure!(total >= UNPACKED * 9 / 10, "this system has only {total} bytes to put into an image");
    Ok(archive.into_inner()?.finish()?)
}

fn files(folder: &Path, depth: usize) -> Vec<std::path::PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            Ok(kind) if kind.is_dir() && depth > 0 => found.extend(files(&entry.path(), depth - 1)),
            _ => {}
        }
    }
    found
}
