//! The run that the push started, to its end.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::demo::api::{items, text};
use crate::demo::story::Story;

const LIMIT: Duration = Duration::from_secs(240);

pub async fn run(story: &mut Story) -> Result<String> {
    let run = ended(story, 1).await?;
    let unit = step(&run, "unit")?;
    anyhow::ensure!(unit["tests"]["tests"] == 2 && unit["tests"]["failed"] == 0, "the unit tests were not counted: {unit}");
    let image = text(step(&run, "image")?, "image").to_owned();
    anyhow::ensure!(image.contains("@sha256:"), "no digest was recorded: {image}");
    let place = format!("{}/{}", story.org, story.project);
    let log = story.cli(&["--at", &place, "pipeline", "logs", text(&run, "id"), "unit"]).await?;
    anyhow::ensure!(log.contains("2 tests, version 1"), "the step's log does not show what it printed: {log}");
    let log = story.cli(&["--at", &place, "pipeline", "logs", text(&run, "id"), "release"]).await?;
    anyhow::ensure!(log.contains("is accepted"), "the release's log does not show what happened: {log}");
    let artifacts = format!("{}/runs/{}/artifacts", story.project_path(), text(&run, "id"));
    let kept = story.api()?.get(&artifacts).await?;
    anyhow::ensure!(items(&kept).iter().any(|a| text(a, "name") == "unit/out/junit.xml"), "the report was not kept: {kept}");
    let report = story.api()?.get(&format!("{artifacts}/unit/out/junit.xml")).await?;
    anyhow::ensure!(report.as_str().is_some_and(|r| r.contains("there is a version")), "the report is not what the test wrote: {report}");
    Ok(format!("{}\n2 unit tests in a container; built {image}", told(&run)))
}

/// Waits for the end of run `number`; an error tells the failed step's last lines.
pub async fn ended(story: &Story, number: i64) -> Result<Value> {
    let path = format!("{}/runs", story.project_path());
    let over = |list: &Value| {
        let run = items(list).iter().find(|r| r["number"] == number).cloned();
        Ok(run.filter(|r| matches!(text(r, "state"), "succeeded" | "failed" | "cancelled")))
    };
    let run = story.api()?.until(&format!("the end of run {number}"), LIMIT, &path, over).await?;
    if text(&run, "state") != "succeeded" {
        let mut words = format!("run {number} {}: {}", text(&run, "state"), text(&run, "reason"));
        if let Some(failed) = run["steps"].as_array().into_iter().flatten().find(|s| text(s, "state") == "failed") {
            let (_, log) = story.api()?.call(reqwest::Method::GET, &format!("{path}/{}/steps/{}/log", text(&run, "id"), text(failed, "name")), None).await?;
            let lines: Vec<&str> = log.as_str().unwrap_or_default().lines().collect();
            words = format!("{words}; its log ends:\n       {}", lines[lines.len().saturating_sub(8)..].join("\n       "));
        }
        bail!(words);
    }
    Ok(run)
}

pub fn told(run: &Value) -> String {
    let steps = run["steps"].as_array().into_iter().flatten().map(|s| format!("{} {} ({} ms)", text(s, "name"), text(s, "state"), s["duration_ms"]));
    format!("run {}: {}", run["number"], steps.collect::<Vec<_>>().join(", "))
}

fn step<'a>(run: &'a Value, name: &str) -> Result<&'a Value> {
    run["steps"].as_array().into_iter().flatten().find(|s| text(s, "name") == name).ok_or_else(|| anyhow::anyhow!("the run has no step {name}"))
}
