//! What the host and the containers use, and what the application printed.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::demo::api::{items, text};
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let limit = Duration::from_secs(90);
    let node = story.running().await?.first().map(|i| text(i, "node").to_owned()).context("no instance runs")?;
    // Hosts are the operator's business.
    let host = format!("/api/v1/nodes/{node}/metrics");
    let (status, _) = story.api()?.call(reqwest::Method::GET, &host, None).await?;
    anyhow::ensure!(status == 403, "a user of one organisation gets {status} for the metrics of a host");
    let operator = story.operator.as_ref().context("the operator could not sign in; has the first password been changed?")?;
    operator.until("metrics of the host", limit, &host, |m| Ok(has_numbers(m).then_some(()))).await?;
    let app = format!("{}/metrics", story.app_path());
    story.api()?.until("metrics of the containers", limit, &app, |m| Ok(has_numbers(m).then_some(()))).await?;
    let logs = format!("{}/logs?limit=500", story.app_path());
    let lines = |list: &Value| {
        let found: Vec<String> = items(list).iter().filter(|l| l.to_string().contains("answered by")).map(|l| text(l, "text").to_owned()).collect();
        Ok((found.len() >= 3).then_some(found))
    };
    let lines = story.api()?.until("the application's lines in the log store", limit, &logs, lines).await?;
    let place = format!("{}/{}/{}", story.org, story.project, story.space);
    let printed = story.cli(&["--at", &place, "app", "logs", story.app]).await?;
    anyhow::ensure!(printed.contains("answered by"), "`gantry app logs` prints: {}", printed.chars().take(300).collect::<String>());
    Ok(format!("series of node {node} and of {}; {} log lines, such as: {}", story.app, lines.len(), lines[0]))
}

/// Whether an answer holds at least one series with a point.
fn has_numbers(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_numbers) || (list.len() == 2 && list[0].is_number()),
        Value::Object(map) => map.iter().any(|(_, v)| has_numbers(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
