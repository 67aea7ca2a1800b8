//! Kills an instance's process behind the platform's back, through containerd itself.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::s08_balanced;
use crate::demo::api::{items, text};
use crate::demo::story::Story;
use crate::demo::tools;

pub async fn run(story: &mut Story) -> Result<String> {
    let before = story.running().await?;
    let victim = before.first().context("no instance runs")?;
    let id = ["instance_id", "id", "instance"].iter().map(|k| text(victim, k)).find(|t| !t.is_empty()).context("an instance has no id")?.to_owned();
    let restarts = victim["restarts"].as_u64().unwrap_or(0);
    let container = container_of(story, &id).await?;
    ctr(story, &["tasks", "kill", "--signal", "SIGKILL", &container]).await?;
    let path = format!("{}/instances", story.app_path());
    // The same one started again, or another in its place.
    let back = |list: &Value| {
        let same = items(list).iter().find(|i| i.to_string().contains(&id));
        let other = items(list).iter().filter(|i| text(i, "state") == "running" && before.iter().all(|b| id_of(b) != id_of(i))).count();
        let again = same.is_some_and(|i| text(i, "state") == "running" && i["restarts"].as_u64().unwrap_or(0) > restarts);
        Ok((again || other > 0).then_some(if again { "the same instance started again" } else { "another instance took its place" }))
    };
    let how = story.api()?.until("the killed instance comes back", Duration::from_secs(60), &path, back).await?;
    s08_balanced::running(story, 3).await?;
    Ok(format!("instance {id} (container {}) killed; {how}", &container[..12]))
}

fn id_of(instance: &Value) -> &str {
    ["instance_id", "id", "instance"].iter().map(|k| text(instance, k)).find(|t| !t.is_empty()).unwrap_or_default()
}

/// The running container that carries the instance's id in a label.
async fn container_of(story: &Story, id: &str) -> Result<String> {
    let running = ctr(story, &["tasks", "list"]).await?;
    for container in running.lines().skip(1).filter(|l| l.contains("RUNNING")).filter_map(|l| l.split_whitespace().next()) {
        let info: Value = serde_json::from_str(&ctr(story, &["containers", "info", container]).await?)?;
        let labels = info["Labels"].as_object().context("a container without labels")?;
        let kind = labels.get("io.cri-containerd.kind").and_then(Value::as_str);
        if kind == Some("container") && labels.values().any(|v| v == id) {
            return Ok(container.to_owned());
        }
    }
    anyhow::bail!("containerd has no running container of instance {id}")
}

async fn ctr(story: &Story, args: &[&str]) -> Result<String> {
    let common = ["--address", story.suite.containerd.as_str(), "--namespace", "k8s.io"];
    tools::run("ctr", &[&common[..], args].concat(), story.files.path(), &[]).await
}
