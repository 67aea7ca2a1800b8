//! The built image in the registry's list, with the result of its scan.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::demo::api::{items, text};
use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    let path = format!("{}/images", story.project_path());
    let scanned = |list: &Value| Ok(items(list).iter().find(|i| text(i, "repository") == "web" && !i["scan"].is_null()).cloned());
    let image = story.api()?.until("the image with its scan", Duration::from_secs(60), &path, scanned).await?;
    let tags: Vec<&str> = image["tags"].as_array().into_iter().flatten().map(|t| text(t, "tag")).collect();
    anyhow::ensure!(tags.contains(&"latest") && tags.len() >= 2, "the tags are {tags:?}");
    let scan = &image["scan"];
    Ok(format!(
        "{} tags {tags:?}, {} bytes, scanned: {} packages, {} critical, {} high",
        text(&image, "name"),
        image["size_bytes"],
        scan["packages"],
        scan["critical"],
        scan["high"]
    ))
}
