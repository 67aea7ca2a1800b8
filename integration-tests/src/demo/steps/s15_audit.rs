//! Each thing the story did is on record: who, what, when, from where, result.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::demo::api::{Api, items, text};
use crate::demo::story::Story;

/// What the user did with their own hands, step by step.
const OWN: &[&str] = &[
    "org.created",
    "org.project-created",
    "org.space-created",
    "source.created",
    "source.pushed",
    "run.created",
    "quota.set",
    "service-instance.requested",
    "service-instance.bound",
];

/// What followed from it, done by services on the user's behalf.
const FOLLOWED: &[&str] = &[
    "run.step-finished",
    "run.image-pushed",
    "run.finished",
    "repository.manifest-pushed",
    "repository.scanned",
    "app.created",
    "app.revised",
    "app.release-finished",
    "instance.restarted",
    "service-instance.provisioned",
];

/// Facts about people, for the operator alone.
const PEOPLE: &[&str] = &["user.self-registered", "session.opened", "device.decided", "token.issued"];

const LIMIT: Duration = Duration::from_secs(30);

pub async fn run(story: &mut Story) -> Result<String> {
    let me = story.api()?.get("/api/v1/me").await?;
    let subject = text(&me, "subject").to_owned();
    for kind in OWN.iter().chain(FOLLOWED) {
        let actor = OWN.contains(kind).then_some(subject.as_str());
        record(story.api()?, &format!("kind={kind}&org={}", story.org), kind, actor).await?;
    }
    let operator = story.operator.as_ref().context("the operator has not signed in")?;
    for kind in PEOPLE {
        record(operator, &format!("kind={kind}&actor={subject}"), kind, Some(&subject)).await?;
    }
    // Another organisation's trail is not theirs.
    let foreign = story.api()?.get("/api/v1/audit?limit=500").await?;
    let orgs: std::collections::BTreeSet<&str> = items(&foreign).iter().filter_map(|r| r["org"].as_str()).collect();
    anyhow::ensure!(orgs.len() == 1, "the user of one organisation sees the trail of {}", orgs.len());
    let printed = story.cli(&["audit", "--kind", "org.created"]).await?;
    anyhow::ensure!(printed.contains("org.created"), "`gantry audit` prints: {printed}");
    Ok(format!(
        "{} kinds of records by {subject}, {} that followed, {} about people; the user sees {} records, the operator the rest",
        OWN.len(),
        FOLLOWED.len(),
        PEOPLE.len(),
        items(&foreign).len()
    ))
}

/// Waits for a record of this kind and checks that it says who, what, when and how it ended.
async fn record(api: &Api, query: &str, kind: &str, actor: Option<&str>) -> Result<()> {
    let path = format!("/api/v1/audit?{query}&limit=50");
    let found = |list: &Value| Ok(items(list).iter().find(|r| text(r, "kind") == kind && actor.is_none_or(|a| text(r, "actor") == a)).cloned());
    let record = api.until(&format!("`{kind}`{} in the audit trail", actor.map(|a| format!(" by {a}")).unwrap_or_default()), LIMIT, &path, found).await?;
    for field in ["actor", "at", "object", "result"] {
        anyhow::ensure!(!text(&record, field).is_empty(), "the record of {kind} has no {field}: {record}");
    }
    Ok(())
}
