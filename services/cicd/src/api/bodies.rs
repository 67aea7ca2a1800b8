//! What requests carry and answers show.

use gantry_kernel::{OffsetDateTime, Uuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Report;
use crate::store::queries::RunRow;
use crate::store::{artifact, repository, run_step};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRepository {
    /// A DNS label, unique in the project.
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Repository {
    pub name: String,
    pub org: String,
    pub project: String,
    /// Clone and push here; the password is an access token.
    pub clone_url: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    pub repository: String,
    /// A branch, or a full name such as `refs/tags/v1`.
    #[serde(rename = "ref")]
    pub reference: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    pub step: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Run {
    pub id: Uuid,
    pub number: i64,
    pub org: String,
    pub project: String,
    pub repository: String,
    #[serde(rename = "ref")]
    pub reference: String,
    pub commit: String,
    /// First line of the commit's message.
    pub message: String,
    /// push | manual
    pub trigger: String,
    /// On whose behalf: `user:<uuid>`.
    pub subject: String,
    /// queued | running | waiting | succeeded | failed | cancelled
    pub state: String,
    /// Why it failed.
    pub reason: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// In the order of the pipeline file.
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    pub stage: String,
    pub name: String,
    /// run | build | deploy | approval
    pub kind: String,
    /// pending | skipped | running | waiting | succeeded | failed | cancelled | not_run
    pub state: String,
    pub exit_code: Option<i32>,
    pub reason: String,
    /// What a build step pushed, with digest.
    pub image: Option<String>,
    pub approved_by: Option<String>,
    pub tests: Option<Report>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    pub duration_ms: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Artifact {
    /// `<step>/<path>`
    pub name: String,
    pub size_bytes: i64,
    pub digest: String,
    pub media_type: String,
}

impl Repository {
    pub fn of(row: repository::Model, public_url: &str) -> Self {
        let clone_url = format!("{public_url}/git/{}/{}/{}.git", row.org, row.project, row.name);
        Self { name: row.name, org: row.org, project: row.project, clone_url, created_at: row.created_at }
    }
}

impl From<RunRow> for Run {
    fn from(RunRow { run, steps }: RunRow) -> Self {
        Self {
            id: run.id,
            number: run.number,
            org: run.org,
            project: run.project,
            repository: run.repository,
            reference: run.reference,
            commit: run.commit_id,
            message: run.message,
            trigger: run.trigger,
            subject: run.subject,
            state: run.state,
            reason: run.reason,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            steps: steps.into_iter().map(Step::from).collect(),
        }
    }
}

impl From<run_step::Model> for Step {
    fn from(row: run_step::Model) -> Self {
        let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
        let tests =
            count(row.tests).map(|tests| Report { tests, failed: count(row.tests_failed).unwrap_or(0), skipped: count(row.tests_skipped).unwrap_or(0) });
        Self {
            stage: row.stage,
            name: row.step,
            kind: row.kind,
            state: row.state,
            exit_code: row.exit_code,
            reason: row.reason,
            image: row.image,
            approved_by: row.approved_by,
            tests,
            started_at: row.started_at,
            finished_at: row.finished_at,
            duration_ms: row.duration_ms,
        }
    }
}

impl From<artifact::Model> for Artifact {
    fn from(row: artifact::Model) -> Self {
        Self { name: row.name, size_bytes: row.size_bytes, digest: row.digest, media_type: row.media_type }
    }
}
