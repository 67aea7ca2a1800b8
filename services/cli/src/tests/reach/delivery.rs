//! The same for the API of repositories and pipelines.

use serde_json::json;

use super::held;

/// All are about the project acme/shop.
const COMMANDS: &[&str] = &[
    "repo create web",
    "repo list",
    "repo delete web --yes",
    "pipeline run web --no-wait",
    "pipeline list --repository web",
    "pipeline show 1",
    "pipeline logs 1 build --follow",
    "pipeline approve 1 sure",
    "pipeline cancel 1",
    "pipeline artifacts 1",
    "pipeline download 1 junit.xml -f {new}",
];

#[tokio::test]
async fn every_operation_of_repositories_and_pipelines_can_be_typed() {
    let yes = json!({ "items": [], "next": null, "id": "1", "state": "succeeded", "steps": [{ "name": "build" }] });
    let commands: Vec<String> = COMMANDS.iter().map(|words| format!("{words} --at acme/shop")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    held(include_str!("../../../../../schemas/openapi/cicd.json"), &commands, yes, &[], &[], "").await;
}
