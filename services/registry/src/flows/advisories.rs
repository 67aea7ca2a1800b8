//! Keeps the advisories the same as the configured folder and mirrors (OSV, Debian's tracker, Alpine's secdb), and asks for new matches when they changed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use gantry_es_pg::Todo;

use super::rounds::alone;
use super::scan::Job;
use crate::app::App;
use crate::app::scan::RESCAN;
use crate::domain::digest::{Algorithm, Digest, Hasher};
use crate::domain::scan::advisory::{self, Advisory};
use crate::domain::scan::feeds::{self, Fault, Feed};
use crate::domain::scan::pkg::zip;
use crate::store::{advisories, images};

/// Raised when more is read of the same files than before, so that they are taken in once more.
const READING: u32 = 3;
/// No honest record is larger.
const LARGEST_FILE: u64 = 512 << 20;
const LARGEST_RECORD: u64 = 16 << 20;
/// Files in an archive: there are some 250,000 about npm.
const MOST_RECORDS: usize = 5_000_000;
/// Faults of one file that are told one by one.
const TOLD: usize = 20;

/// Looks at the folder now and then until shutdown. Without a folder there is nothing to do.
pub async fn run(app: App) {
    let mut folder = app.config.advisories.clone();
    if folder.as_os_str().is_empty() {
        if app.config.advisory_mirrors.is_empty() {
            return;
        }
        folder = app.config.storage(&app.host.platform.home).join("advisories");
    }
    loop {
        if let Err(error) = round(&app, &folder).await {
            tracing::warn!(folder = %folder.display(), error = format!("{error:#}"), "the advisories could not be taken in");
        }
        tokio::select! {
            () = app.host.cancel.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(app.config.advisories_interval_seconds)) => {}
        }
    }
}

async fn round(app: &App, folder: &Path) -> anyhow::Result<()> {
    let taken = async {
        if !app.config.advisory_mirrors.is_empty() {
            tokio::fs::create_dir_all(folder).await?;
            mirror(app, folder).await;
        }
        take_in(app, folder).await
    };
    alone(app, "registry-advisories", taken).await
}

async fn take_in(app: &App, folder: &Path) -> anyhow::Result<()> {
    let db = app.host.db();
    let (path, known) = (folder.to_owned(), advisories::fingerprint(&db.orm).await?);
    let Some((all, now)) = tokio::task::spawn_blocking(move || look(&path, &known)).await?? else { return Ok(()) };
    let records = all.len();
    advisories::replace(&db.orm, all, &now, app.host.env.now()).await?;
    // Kept inventories are matched again; no layer is read a second time.
    let images = images::all_images(&db.orm).await?;
    let asked = images.len();
    for (repository, digest, org, project) in images {
        let job = Job { org: org.into(), project: project.into(), repository, digest };
        Todo::enqueue(&db.orm, RESCAN, &job.key(), &serde_json::to_value(&job)?).await?;
    }
    tracing::info!(advisories = records, database = now, images = asked, "advisories taken in");
    Ok(())
}

/// What the files say, and which state of them that is; none if it is known.
fn look(folder: &Path, known: &str) -> anyhow::Result<Option<(Vec<Advisory>, String)>> {
    let (files, listed) = list(folder)?;
    // The same files: those that could not be read the last time may be readable now.
    if let Some(unread) = unread_in(known, &listed)
        && !unread.into_iter().any(|at| files.get(at).is_some_and(|path| content(path).is_ok()))
    {
        return Ok(None);
    }
    let (all, unread) = read_all(&files);
    Ok(Some((all, state(&listed, &unread))))
}

/// The fingerprint, and behind a `!` the places of files that could not be read, so that a passing fault of the disk does not last until the
/// file changes.
fn state(listed: &str, unread: &[usize]) -> String {
    if unread.is_empty() {
        return listed.to_owned();
    }
    let places: Vec<String> = unread.iter().map(usize::to_string).collect();
    format!("{listed}!{}", places.join(","))
}

/// The places of the files that could not be read; none if `known` is the state of other files.
fn unread_in(known: &str, listed: &str) -> Option<Vec<usize>> {
    let places = known.strip_prefix(listed)?;
    Some(places.trim_start_matches('!').split(',').filter_map(|at| at.parse().ok()).collect())
}

/// The files, and a fingerprint of names, sizes and times.
fn list(folder: &Path) -> anyhow::Result<(Vec<PathBuf>, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            // A link that leads nowhere, or a file that is being replaced.
            Err(error) => {
                tracing::warn!(file = %path.display(), error = %error, "an advisory file is left out");
                continue;
            }
        };
        if metadata.is_file() && path.extension().is_some_and(|e| e == "json" || e == "jsonl" || e == "zip" || e == "gz") {
            let touched = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            files.push((path, metadata.len(), touched.as_nanos()));
        }
    }
    files.sort();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(format!("{READING}\n").as_bytes());
    for (path, size, touched) in &files {
        hasher.update(format!("{} {size} {touched}\n", path.display()).as_bytes());
    }
    let fingerprint = hasher.finish().hex()[..16].to_owned();
    Ok((files.into_iter().map(|(path, ..)| path).collect(), fingerprint))
}

/// A file that cannot be read is named in the log and left out; the rest still protects. Beside what they say: the places of those that the
/// system would not read.
fn read_all(files: &[PathBuf]) -> (Vec<Advisory>, Vec<usize>) {
    let (mut all, mut unread) = (Feed::default(), Vec::new());
    for (at, path) in files.iter().enumerate() {
        let read = match content(path) {
            Ok(Some(bytes)) => parse(&bytes),
            Ok(None) => Err(anyhow::anyhow!("more than {LARGEST_FILE} bytes")),
            Err(error) => {
                tracing::warn!(file = %path.display(), error = %error, "an advisory file cannot be read now and is tried again");
                unread.push(at);
                continue;
            }
        };
        match read {
            Ok(mut records) => {
                for Fault { at, why } in records.faults.iter().take(TOLD) {
                    tracing::warn!(file = %path.display(), at, error = why, "a part of an advisory file is left out");
                }
                if records.faults.len() > TOLD {
                    tracing::warn!(file = %path.display(), parts = records.faults.len(), "so many parts of an advisory file are left out");
                }
                records.faults.clear();
                all.add(records);
            }
            Err(error) => tracing::warn!(file = %path.display(), error = format!("{error:#}"), "an advisory file is left out"),
        }
    }
    advisory::complete(&mut all.advisories, &all.judgements);
    (all.advisories, unread)
}

/// None if it is too large.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if path.metadata()?.len() > LARGEST_FILE { Ok(None) } else { std::fs::read(path).map(Some) }
}

/// JSON, lines of JSON, either compressed with gzip, or a ZIP of JSON files (as osv.dev publishes an ecosystem).
fn parse(bytes: &[u8]) -> anyhow::Result<Feed> {
    if bytes.starts_with(b"PK\x03\x04") {
        let mut all = Feed::default();
        let directory = zip::directory(bytes, MOST_RECORDS).context("a ZIP archive without its end")?;
        if !directory.whole {
            all.cut = true;
            all.fault("the directory", "it is damaged, or names more files than are read");
        }
        for entry in directory.entries.iter().filter(|e| e.name.ends_with(".json")) {
            match entry.content(LARGEST_RECORD).ok_or_else(|| anyhow::anyhow!("damaged or too large")).and_then(|c| Ok(feeds::read(&c)?)) {
                Ok(mut records) => {
                    for fault in &mut records.faults {
                        fault.at = format!("{}, {}", entry.name, fault.at);
                    }
                    // That one record is not whole says nothing about the archive.
                    records.cut = false;
                    all.add(records);
                }
                Err(error) => all.fault(entry.name.as_str(), format!("{error:#}")),
            }
        }
        return Ok(all);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(bytes).take(LARGEST_FILE + 1).read_to_end(&mut plain);
        anyhow::ensure!(plain.len() as u64 <= LARGEST_FILE, "unpacks to more than {LARGEST_FILE} bytes");
        let Err(error) = unpacked else { return Ok(feeds::read(&plain)?) };
        // What comes before the damage counts, where there are records one by one.
        let mut feed = feeds::read(&plain).map_err(|_| anyhow::Error::new(error).context("it cannot be unpacked"))?;
        feed.cut = true;
        feed.fault("the end", "it cannot be unpacked to its end");
        return Ok(feed);
    }
    Ok(feeds::read(bytes)?)
}

/// Fetches each configured mirror into the folder, if it changed. A mirror that is away leaves the last state in place.
async fn mirror(app: &App, folder: &Path) {
    for url in &app.config.advisory_mirrors {
        if let Err(error) = fetch(folder, url).await {
            tracing::warn!(url, error = format!("{error:#}"), "an advisory mirror could not be read; what was fetched before stays");
        }
    }
}

async fn fetch(folder: &Path, url: &str) -> anyhow::Result<()> {
    use futures::StreamExt;
    let name = Digest::of(Algorithm::Sha256, url.as_bytes()).hex()[..16].to_owned();
    let (target, tag) = (folder.join(format!("mirror-{name}.json")), folder.join(format!("mirror-{name}.etag")));
    let known = tokio::fs::read_to_string(&tag).await.ok().filter(|_| target.exists());
    let mut request = reqwest::Client::new().get(url).timeout(Duration::from_secs(600));
    if let Some(known) = &known {
        request = request.header(http::header::IF_NONE_MATCH, known);
    }
    let answer = request.send().await?.error_for_status()?;
    if answer.status() == http::StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let etag = answer.headers().get(http::header::ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
        anyhow::ensure!(bytes.len() as u64 <= LARGEST_FILE, "more than {LARGEST_FILE} bytes");
    }
    // A login page instead of data must not take the place of data.
    let (records, bytes) = tokio::task::spawn_blocking(move || parse(&bytes).map(|records| (records, bytes))).await??;
    anyhow::ensure!(!records.is_empty(), "it has no records");
    // What was fetched before is whole.
    anyhow::ensure!(!records.cut, "it is cut off or damaged: {}", records.faults.last().map(|f| f.why.as_str()).unwrap_or_default());
    drop(records);
    if tokio::fs::read(&target).await.ok().as_deref() != Some(bytes.as_slice()) {
        let staged = folder.join(format!("mirror-{name}.part"));
        tokio::fs::write(&staged, bytes).await?;
        tokio::fs::rename(&staged, &target).await?;
    }
    if let Some(etag) = etag {
        tokio::fs::write(&tag, etag).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_and_a_damaged_file_does_not_stop_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let record = |id: &str| serde_json::json!({"id": id, "affected": [{"package": {"ecosystem": "Debian:12", "name": "bash"}}]});
        std::fs::write(folder.path().join("a.json"), record("A").to_string()).unwrap();
        std::fs::write(folder.path().join("b.json"), serde_json::json!([record("B"), record("C")]).to_string()).unwrap();
        std::fs::write(folder.path().join("broken.json"), "{").unwrap();
        std::fs::write(folder.path().join("README"), "no record").unwrap();
        std::os::unix::fs::symlink(folder.path().join("gone"), folder.path().join("link.json")).unwrap();
        let (files, first) = list(folder.path()).unwrap();
        assert_eq!(files.len(), 3);
        let ids: Vec<_> = read_all(&files).0.into_iter().map(|a| a.id).collect();
        assert_eq!(ids, ["A", "B", "C"]);
        std::fs::write(folder.path().join("d.json"), record("D").to_string()).unwrap();
        assert_ne!(list(folder.path()).unwrap().1, first);
    }

    #[test]
    fn a_file_that_cannot_be_read_for_a_moment_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("a.json");
        std::fs::write(&good, serde_json::json!({"id": "A", "affected": [{"package": {"ecosystem": "Debian:12", "name": "bash"}}]}).to_string()).unwrap();
        // No program reads a folder as a file.
        let (all, unread) = read_all(&[folder.path().to_owned(), good]);
        assert_eq!((all.len(), unread), (1, vec![0]));
        let (_, listed) = list(folder.path()).unwrap();
        assert_eq!((state(&listed, &[]), state(&listed, &[0, 7])), (listed.clone(), format!("{listed}!0,7")));
        assert_eq!((unread_in(&format!("{listed}!0,7"), &listed), unread_in(&listed, &listed)), (Some(vec![0, 7]), Some(vec![])));
        assert_eq!(unread_in("none", &listed), None);
        let taken = |known: &str| look(folder.path(), known).unwrap().map(|(all, now)| (all.len(), now));
        assert_eq!(taken("none"), Some((1, listed.clone())));
        assert_eq!(taken(&listed), None);
        assert_eq!(taken(&state(&listed, &[0])), Some((1, listed.clone())), "it can be read now");
        assert_eq!(taken(&state(&listed, &[7])), None, "there is no such file");
    }

    #[test]
    fn damage_in_archives_is_told_with_its_place_and_the_rest_counts() {
        use std::io::Write;
        let record = |id: &str| serde_json::json!({"id": id, "affected": [{"package": {"ecosystem": "Debian:12", "name": "bash"}}]}).to_string();
        let ids = |feed: &Feed| feed.advisories.iter().map(|a| a.id.clone()).collect::<Vec<_>>();
        let (one, two) = (record("A"), record("B"));
        let packed = zip::tests::archive(&[("A.json", one.as_bytes()), ("bad.json", b"[{\"id\": 7}]"), ("worse.json", b"{"), ("B.json", two.as_bytes())]);
        let feed = parse(&packed).unwrap();
        assert_eq!((ids(&feed), feed.cut), (vec!["A".to_owned(), "B".to_owned()], false));
        let at: Vec<_> = feed.faults.iter().map(|f| f.at.as_str()).collect();
        assert_eq!(at, ["bad.json, line 1", "worse.json"]);
        assert!(parse(&packed[..packed.len() - 30]).unwrap_err().to_string().contains("without its end"));

        let long = record("B").replace("bash", &"x".repeat(40_000));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(format!("[{one},\n{long}]").as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let feed = parse(&packed[..packed.len() / 2]).unwrap();
        assert_eq!((ids(&feed), feed.cut), (vec!["A".to_owned()], true));
    }

    #[test]
    fn what_one_file_says_of_a_vulnerability_completes_what_another_says_of_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let secdb = serde_json::json!({ "distroversion": "v3.18", "packages": [{ "pkg": { "name": "openssl", "secfixes": { "3.1.4-r1": ["CVE-2026-1"] } } }] });
        let number = serde_json::json!({ "id": "CVE-2026-1", "severity": [{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }] });
        std::fs::write(folder.path().join("a.json"), secdb.to_string()).unwrap();
        std::fs::write(folder.path().join("b.json"), number.to_string()).unwrap();
        let found = read_all(&list(folder.path()).unwrap().0).0;
        assert_eq!((found.len(), found[0].severity, found[0].score), (1, crate::domain::scan::cvss::Severity::Critical, Some(9.8)));
    }
}
