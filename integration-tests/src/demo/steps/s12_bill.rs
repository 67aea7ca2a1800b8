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
    let priced = |invoice: &Value| {
        let lines = invoice["lines"].as_array().cloned().unwrap_or_default();
        let used = lines.iter().any(|line| decimal(&line["quantity"]) > 0.0 && decimal(&line["unit_price"]) > 0.0);
        Ok(used.then(|| (lines, invoice.clone())))
    };
    let (lines, invoice) = story.api()?.until("the open bill has lines", limit, &invoice, priced).await?;
    // A demo costs less than a cent for a long time, so what is checked is the arithmetic, not the sum.
    for line in &lines {
        let exact = decimal(&line["quantity"]) * decimal(&line["unit_price"]);
        anyhow::ensure!((decimal(&line["amount"]) - exact).abs() <= 0.005, "quantity times price is not the amount: {line}");
    }
    let (sum, total) = (lines.iter().map(|line| decimal(&line["amount"])).sum::<f64>(), decimal(&invoice["total"]));
    anyhow::ensure!((sum - total).abs() < 0.001, "the lines add up to {sum}, the bill says {total}");
    let printed = story.cli(&["--at", &story.org, "usage"]).await?;
    anyhow::ensure!(printed.contains("cpu_core_hours"), "`gantry usage` prints: {printed}");
    Ok(format!("{} lines on the open bill, total {total} {}", lines.len(), invoice["currency"].as_str().unwrap_or_default()))
}

/// Amounts travel as decimal texts.
fn decimal(value: &Value) -> f64 {
    value.as_str().and_then(|t| t.parse().ok()).or_else(|| value.as_f64()).unwrap_or_default()
}
