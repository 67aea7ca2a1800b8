//! A limit of the project holds, and the refusal names it.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::demo::api::detail;
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let quota = format!("{}/quota", story.project_path());
    story.api()?.put(&quota, &json!({ "containers": 5 })).await?;
    let document = format!("services:\n  crowd:\n    image: {}\n    command: [/bin/sleep, \"3600\"]\n    deploy: {{ replicas: 9 }}\n", story.image("base:1"));
    let body = json!({ "name": "crowd", "format": "compose", "document": document, "values": {}, "reason": "too many on purpose" });
    let (status, answer) = story.api()?.call(Method::POST, &format!("{}/apps", story.space_path()), Some(&body)).await?;
    anyhow::ensure!(status == 422, "9 more containers with a limit of 5 are answered by {status}: {answer}");
    let said = detail(&answer);
    anyhow::ensure!(said.contains("containers") && said.contains('5'), "the refusal does not name the limit: {said}");
    let (status, _) = story.api()?.call(Method::GET, &format!("{}/apps/crowd", story.space_path()), None).await?;
    anyhow::ensure!(status == 404, "the refused application is there nevertheless ({status})");
    story.api()?.put(&quota, &json!({})).await?;
    Ok(format!("refused: {said}"))
}
