//! Each thing the story did is on record: who, what, when, result.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::demo::api::{items, text};
use crate::demo::story::Story;

/// What must be there; for each the words one record must hold.
const EXPECTED: &[&str] = &["org.created", "org.project-created", "org.space-created", "source.created", "source.pushed", "run.created", "run.finished", "quota.set"];

pub async fn run(story: &mut Story) -> Result<String> {
    let me = story.api()?.get("/api/v1/me").await?;
    let subject = text(&me, "subject").to_owned();
    let mut count = 0;
    for kind in EXPECTED {
        let path = format!("/api/v1/audit?kind={kind}&limit=200");
        let own = |list: &Value| {
            count += items(list).len();
            Ok(items(list).iter().find(|r| text(r, "kind") == *kind || text(r, "action") == *kind).cloned())
        };
        let record = story.api()?.until(&format!("`{kind}` in the audit trail"), Duration::from_secs(30), &path, own).await?;
        for field in ["actor", "at", "result"] {
            anyhow::ensure!(!text(&record, field).is_empty(), "the record of {kind} has no {field}: {record}");
        }
        let by_us = kind.starts_with("run.finished") || text(&record, "actor") == subject;
        anyhow::ensure!(by_us, "{kind} is recorded for {}, not {subject}", text(&record, "actor"));
    }
    let printed = story.cli(&["audit", "--limit", "20"]).await?;
    anyhow::ensure!(printed.contains("AT") || !printed.trim().is_empty(), "`gantry audit` prints nothing");
    Ok(format!("{} kinds of records with who, what, when, result; {count} records looked at", EXPECTED.len()))
}
