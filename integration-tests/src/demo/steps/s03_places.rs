//! An organisation by the command line, project and space by REST.

use anyhow::Result;
use serde_json::json;

use crate::demo::story::Story;

pub async fn run(story: &mut Story) -> Result<String> {
    story.cli(&["org", "create", &story.org]).await?;
    story.api()?.post(&format!("/api/v1/orgs/{}/projects", story.org), &json!({ "name": story.project })).await?;
    story.api()?.post(&format!("{}/spaces", story.project_path()), &json!({ "name": story.space })).await?;
    let listed = story.cli(&["org", "list", "-o", "json"]).await?;
    anyhow::ensure!(listed.contains(&story.org), "`gantry org list` does not show {}: {listed}", story.org);
    Ok(format!("{}/{}/{}", story.org, story.project, story.space))
}
