//! What stays after a step (artifacts, test results), and what must not (workspaces, containers).

use std::path::Path;
use std::sync::Arc;

use gantry_kernel::RunId;

use super::steps::Tools;
use crate::adapters::files;
use crate::adapters::step_log::{self, StepLog};
use crate::domain::{NewRun, Report, RunCommand, Step, read_junit};

const MAX_ARTIFACT_BYTES: u64 = 512 << 20;
const MAX_ARTIFACTS: usize = 200;
const MAX_REPORT_BYTES: u64 = 16 << 20;

/// Keeps the step's artifacts and counts its test reports; gives what is to be recorded. A file that cannot be kept is told in
/// the step's log and fails nothing.
pub async fn keep(tools: &Arc<Tools>, about: &NewRun, step: &str) -> Vec<RunCommand> {
    let Some(step) = about.pipeline.step(step).filter(|s| !s.artifacts.is_empty() || !s.reports.is_empty()).cloned() else { return Vec::new() };
    let (tree, home) = (tools.workspace(about).join("tree"), tools.cicd.home.clone());
    let log = step_log::path(&home, about.run, step.name.as_str());
    // Hashing and copying block; a thread of their own keeps the others going.
    let work = tokio::task::spawn_blocking(move || {
        let Ok(log) = StepLog::open(&log) else { return Vec::new() };
        [artifacts(&tree, &home.join("artifacts"), &step, &log), reports(&tree, &step, &log)].concat()
    });
    work.await.unwrap_or_default()
}

fn artifacts(tree: &Path, folder: &Path, step: &Step, log: &StepLog) -> Vec<RunCommand> {
    let mut commands = Vec::new();
    for path in step.artifacts.iter().flat_map(|pattern| files::matching(tree, pattern)).take(MAX_ARTIFACTS) {
        match files::open_inside(tree, &path).and_then(|file| files::keep(file, folder, MAX_ARTIFACT_BYTES)) {
            Ok(kept) => {
                log.line(&format!("[gantry] kept {path}: {} bytes, {}", kept.size_bytes, kept.digest));
                let media_type = media_type(&path).to_owned();
                // One name per run and step: steps may make files of the same name.
                commands.push(RunCommand::KeepArtifact { name: format!("{}/{path}", step.name), size_bytes: kept.size_bytes, digest: kept.digest, media_type });
            }
            Err(error) => log.line(&format!("[gantry] artifact {path} is not kept: {error}")),
        }
    }
    commands
}

fn reports(tree: &Path, step: &Step, log: &StepLog) -> Vec<RunCommand> {
    let mut total: Option<Report> = None;
    for path in step.reports.iter().flat_map(|pattern| files::matching(tree, pattern)).take(MAX_ARTIFACTS) {
        match files::text_inside(tree, &path, MAX_REPORT_BYTES).map_err(|e| e.to_string()).and_then(|xml| read_junit(&xml)) {
            Ok(report) => {
                let sum = total.get_or_insert_with(Report::default);
                sum.tests = sum.tests.saturating_add(report.tests);
                sum.failed = sum.failed.saturating_add(report.failed);
                sum.skipped = sum.skipped.saturating_add(report.skipped);
            }
            Err(error) => log.line(&format!("[gantry] report {path} is not read: {error}")),
        }
    }
    let Some(report) = total else { return Vec::new() };
    log.line(&format!("[gantry] tests: {} run, {} failed, {} skipped", report.tests, report.failed, report.skipped));
    vec![RunCommand::TestsReported { step: step.name.to_string(), report }]
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "xml" => "application/xml",
        "json" => "application/json",
        "html" => "text/html",
        "txt" | "log" => "text/plain",
        "gz" | "tgz" => "application/gzip",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

/// Removes workspaces and containers of runs that are over. `false`: something could not be removed and must be tried again.
pub async fn sweep(tools: &Tools, alive: &[RunId]) -> bool {
    let mut clean = true;
    if let Ok(mut entries) = tokio::fs::read_dir(tools.cicd.home.join("workspaces")).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name();
            if alive.iter().any(|run| run.to_string().as_str() == name) {
                continue;
            }
            if let Err(error) = tokio::fs::remove_dir_all(entry.path()).await {
                tracing::warn!(path = %entry.path().display(), %error, "a workspace cannot be removed yet");
                clean = false;
            }
        }
    }
    match tools.containers.sweep(alive).await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "pods of runs that are over are removed"),
        // Without a runtime (no root, a registry-only node) there is nothing to sweep either.
        Err(error) => tracing::debug!(%error, "pods cannot be listed"),
    }
    clean
}
