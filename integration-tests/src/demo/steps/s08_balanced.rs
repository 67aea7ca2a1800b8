//! Three instances run, and the balancer gives work to each.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::demo::api::text;
use crate::demo::story::{Door, Story};
use crate::demo::traffic;

pub async fn run(story: &mut Story) -> Result<String> {
    let app = running(story, 3).await?;
    let endpoint = app["endpoints"].as_array().into_iter().flatten().find(|e| text(e, "host").ends_with(".localhost")).cloned();
    let endpoint = endpoint.with_context(|| format!("the application has no route: {}", app["endpoints"]))?;
    let url = url::Url::parse(text(&endpoint, "url")).with_context(|| format!("the route has no address: {endpoint}"))?;
    let port = url.port_or_known_default().context("the route has no port")?;
    let host = url.host_str().context("the route has no host")?.to_owned();
    let door = Door { url: format!("http://{host}:{port}"), host, address: ([127, 0, 0, 1], port).into() };
    let client = traffic::client(&door)?;
    let mut by: BTreeMap<String, u32> = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while by.len() < 3 || by.values().any(|n| *n < 5) {
        match traffic::ask(&client, &door).await {
            Ok(answer) => *by.entry(text(&answer, "instance").to_owned()).or_default() += 1,
            Err(error) => anyhow::ensure!(tokio::time::Instant::now() < deadline, "{}: {error:#}", door.url),
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "not all instances answer at {}: {by:?}", door.url);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let shown = format!("{} answers from {by:?}", door.url);
    story.door = Some(door);
    Ok(shown)
}

/// Waits until the application runs with `count` running instances and nothing else; gives it.
pub async fn running(story: &Story, count: usize) -> Result<Value> {
    let limit = Duration::from_secs(90);
    let app = story.api()?.until("the application runs", limit, &story.app_path(), |app| Ok((text(app, "state") == "running").then(|| app.clone()))).await?;
    let path = format!("{}/instances", story.app_path());
    let all = |list: &Value| Ok((crate::demo::api::items(list).iter().filter(|i| text(i, "state") == "running").count() == count).then_some(()));
    story.api()?.until(&format!("{count} running instances"), limit, &path, all).await?;
    Ok(app)
}
