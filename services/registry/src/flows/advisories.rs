//! Keeps the advisories the same as the configured folder of OSV files, and asks for new matches when they changed.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use gantry_es_pg::{Lease, Todo};

use super::projections::SCAN_TODO;
use super::scan::Job;
use crate::app::App;
use crate::domain::digest::{Algorithm, Hasher};
use crate::domain::scan::advisory::{Advisory, Record};
use crate::store::{advisories, images};

/// No honest record is larger.
const LARGEST_FILE: u64 = 64 << 20;

/// Looks at the folder now and then until shutdown. Without a folder there is nothing to do.
pub async fn run(app: App) {
    let folder = app.config.advisories.clone();
    if folder.as_os_str().is_empty() {
        return;
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
    let db = app.host.db();
    let Some(lease) = Lease::try_acquire(&db.pool, "registry-advisories").await? else { return Ok(()) };
    let done = take_in(app, folder).await;
    lease.release().await;
    done
}

async fn take_in(app: &App, folder: &Path) -> anyhow::Result<()> {
    let db = app.host.db();
    let path = folder.to_owned();
    let (files, now) = tokio::task::spawn_blocking(move || list(&path)).await??;
    if advisories::fingerprint(&db.orm).await? == now {
        return Ok(());
    }
    let all = tokio::task::spawn_blocking(move || read_all(&files)).await?;
    let records = all.len();
    advisories::replace(&db.orm, all, &now, app.host.env.now()).await?;
    // Kept inventories are matched again; no layer is read a second time.
    let images = images::all_images(&db.orm).await?;
    let asked = images.len();
    for (repository, digest, org, project) in images {
        let job = Job { org: org.into(), project: project.into(), repository, digest };
        Todo::enqueue(&db.orm, SCAN_TODO, &job.key(), &serde_json::to_value(&job)?).await?;
    }
    tracing::info!(advisories = records, database = now, images = asked, "advisories taken in");
    Ok(())
}

/// The files, and a fingerprint of names, sizes and times.
fn list(folder: &Path) -> anyhow::Result<(Vec<PathBuf>, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let metadata = path.metadata()?;
        if metadata.is_file() && path.extension().is_some_and(|e| e == "json") {
            let touched = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            files.push((path, metadata.len(), touched.as_nanos()));
        }
    }
    files.sort();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for (path, size, touched) in &files {
        hasher.update(format!("{} {size} {touched}\n", path.display()).as_bytes());
    }
    let fingerprint = hasher.finish().hex()[..16].to_owned();
    Ok((files.into_iter().map(|(path, ..)| path).collect(), fingerprint))
}

/// A file that cannot be read is named in the log and left out; the rest still protects.
fn read_all(files: &[PathBuf]) -> Vec<Advisory> {
    let mut all = Vec::new();
    for path in files {
        match read(path) {
            Ok(records) => all.extend(records.into_iter().flat_map(Record::advisories)),
            Err(error) => tracing::warn!(file = %path.display(), error = format!("{error:#}"), "an advisory file is left out"),
        }
    }
    all
}

fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<Record>),
        One(Box<Record>),
    }
    anyhow::ensure!(path.metadata()?.len() <= LARGEST_FILE, "more than {LARGEST_FILE} bytes");
    Ok(match serde_json::from_slice(&std::fs::read(path)?)? {
        OneOrMany::Many(records) => records,
        OneOrMany::One(record) => vec![*record],
    })
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
        let (files, first) = list(folder.path()).unwrap();
        assert_eq!(files.len(), 3);
        let ids: Vec<_> = read_all(&files).into_iter().map(|a| a.id).collect();
        assert_eq!(ids, ["A", "B", "C"]);
        std::fs::write(folder.path().join("d.json"), record("D").to_string()).unwrap();
        assert_ne!(list(folder.path()).unwrap().1, first);
    }
}
