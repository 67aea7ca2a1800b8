//! Events of CI/CD.

use gantry_es::EventData;
use gantry_kernel::{Name, OrgId, ProjectId, RunId};
use serde::{Deserialize, Serialize};

/// Stream `source-<project id>/<name>`: a hosted source repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum SourceEvent {
    #[serde(rename = "source.created")]
    Created { org: OrgId, project: ProjectId, org_name: Name, project_name: Name, name: Name },
    #[serde(rename = "source.pushed")]
    Pushed { org: OrgId, project: ProjectId, name: Name, reference: String, before: String, after: String },
    #[serde(rename = "source.deleted")]
    Deleted { org: OrgId, project: ProjectId, name: Name },
}

impl EventData for SourceEvent {
    const AGGREGATE: &'static str = "source";
}

/// Stream `run-<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", content = "data", deny_unknown_fields)]
pub enum RunEvent {
    /// `subject`: on whose behalf ("user:<uuid>"); `message`: first line of the commit; `pipeline`: null when the file has faults.
    #[serde(rename = "run.created")]
    Created {
        run: RunId,
        org: OrgId,
        project: ProjectId,
        org_name: Name,
        project_name: Name,
        repository: Name,
        reference: String,
        commit: String,
        trigger: String,
        number: u64,
        subject: String,
        #[serde(default)]
        message: String,
        pipeline: serde_json::Value,
    },
    #[serde(rename = "run.started")]
    Started { run: RunId },
    #[serde(rename = "run.step-started")]
    StepStarted { run: RunId, stage: String, step: String },
    #[serde(rename = "run.step-finished")]
    StepFinished { run: RunId, stage: String, step: String, ok: bool, exit_code: i32, reason: String, duration_ms: u64 },
    /// `image`: full reference with digest.
    #[serde(rename = "run.image-pushed")]
    ImagePushed { run: RunId, step: String, image: String, digest: String },
    #[serde(rename = "run.tests-reported")]
    TestsReported { run: RunId, step: String, tests: u32, failed: u32, skipped: u32 },
    #[serde(rename = "run.artifact-kept")]
    ArtifactKept { run: RunId, name: String, size_bytes: u64, digest: String, media_type: String },
    #[serde(rename = "run.approval-asked")]
    ApprovalAsked { run: RunId, stage: String, step: String },
    #[serde(rename = "run.approved")]
    Approved { run: RunId, stage: String, step: String },
    #[serde(rename = "run.finished")]
    Finished { run: RunId, ok: bool, reason: String },
    #[serde(rename = "run.cancelled")]
    Cancelled { run: RunId },
}

impl EventData for RunEvent {
    const AGGREGATE: &'static str = "run";
}
