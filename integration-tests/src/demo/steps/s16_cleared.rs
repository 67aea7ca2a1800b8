//! Deletes what runs: containers, balancers and quota are free again; history, bill and audit trail stay.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::demo::leftovers;
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let count = leftovers::clear(story.api()?, &story.org).await?;
    anyhow::ensure!(count >= 2, "only {count} things were there to delete");
    let quota = format!("{}/quota", story.project_path());
    let free = |quota: &Value| Ok((quota["used"]["containers"] == 0).then_some(()));
    story.api()?.until("the project's quota is free again", Duration::from_secs(30), &quota, free).await?;
    Ok(format!("{count} applications and services deleted; nothing of the quota is in use"))
}
