//! The same for the API of logs, the audit trail, events and figures.

use serde_json::json;

use super::{Operations, held};

const LOGS: &str = "GET /api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/logs?format";
const OTHERS: Operations<'_> = &[
    ("GET /api/v1/metrics/query", "PromQL is for programs; gantry app metrics and gantry node metrics show the figures"),
    ("GET /api/v1/metrics/query_range", "the same"),
    ("GET /api/v1/events?after", "a person looks at what happens now"),
    (LOGS, "lines are printed as text anyway"),
];

/// All are about the space acme/shop/test.
const COMMANDS: &[&str] = &[
    "audit --actor user:1 --kind app.* --object app:1 --result ok --from 2h --to 1h --org acme -q web",
    "audit --export {new}",
    "audit verify",
    "app logs web --since 2h --until 1h --instance web-0 --workload web --text error --stream stderr",
    "app logs web --follow",
    "app logs web --previous",
    "app metrics web --from 2h --to 1h --step 1m",
    "node metrics n1 --from 2h --to 1h --step 1m",
    "events tail -n 1",
    "alert list",
    "alert list --history --limit 10",
    "alert rule list",
    "alert rule show hot",
    "alert rule set hot --app web --workload web --figure memory --above 512MiB --for 300 --severity critical",
    "alert rule set idle --app web --figure cpu --below 0.01",
    "alert rule delete hot --yes",
];

#[tokio::test]
async fn every_operation_of_monitoring_can_be_typed() {
    let yes = json!({ "items": [{ "id": "1", "name": "web-0", "restarts": 1 }], "next": null, "whole": true, "charts": [] });
    let commands: Vec<String> = COMMANDS.iter().map(|words| format!("{words} --at acme/shop/test")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let elsewhere = [("GET", "/api/v1/security-record/verify"), ("GET", "/api/v1/orgs/acme/projects/shop/spaces/test/apps/web/instances")];
    held(include_str!("../../../../../schemas/openapi/monitoring.json"), &commands, yes, OTHERS, &elsewhere, "").await;
}
