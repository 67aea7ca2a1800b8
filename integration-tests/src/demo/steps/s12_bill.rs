//! Seconds of containers and of building are metered and priced.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let limit = Duration::from_secs(120);
    let usage = format!("/api/v1/orgs/{}/usage", story.org);
    let metered = |usage: &Value| {
        let text = usage.to_string();
        Ok(["cpu_core_hours", "memory_gib_hours", "build_minutes"].iter().all(|meter| text.contains(meter)).then_some(()))
    };
    story.api()?.until("cpu, memory and build seconds are metered", limit, &usage, metered).await?;
    let invoice = format!("/api/v1/orgs/{}/invoices/current", story.org);
    let total = |invoice: &Value| {
        let total = invoice["total"].as_str().and_then(|t| t.parse::<f64>().ok()).or_else(|| invoice["total"].as_f64());
        Ok(total.filter(|t| *t > 0.0).map(|t| (t, invoice.clone())))
    };
    let (total, invoice) = story.api()?.until("the open bill is above zero", limit, &invoice, total).await?;
    let lines = invoice["lines"].as_array().map_or(0, Vec::len);
    let printed = story.cli(&["--at", &story.org, "usage"]).await?;
    anyhow::ensure!(printed.contains("cpu_core_hours"), "`gantry usage` prints: {printed}");
    Ok(format!("{lines} lines on the open bill, total {total} {}", invoice["currency"].as_str().unwrap_or_default()))
}
