//! What was found in an image: the report, and the bill of materials.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::{Kind, Problem, Role};
use http::header;
use time::format_description::well_known::Rfc3339;

use super::bodies::{ScanReport, ScanSummary};
use super::{digest, project, repository};
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::scan::sbom::cyclonedx;
use crate::store::scans::{self, Scan};

type Address = Path<(String, String, String, String)>;

/// The findings of an image.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/scan", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 200, body = ScanReport), (status = 404, description = "no such image, not visible, or not scanned yet")))]
pub async fn report(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address) -> ApiResult<Json<ScanReport>> {
    let (repository, digest, scan) = find(&app, &caller, &org, &name, &repo, &at).await?;
    let counts = scan.report.summary();
    let summary = ScanSummary {
        packages: counts.packages,
        critical: counts.critical,
        high: counts.high,
        medium: counts.medium,
        low: counts.low,
        unknown: counts.unknown,
        database: scan.database,
        at: scan.at.format(&Rfc3339).map_err(Problem::internal)?,
    };
    let report = scan.report;
    Ok(Json(ScanReport {
        name: repository.to_string(),
        digest: digest.to_string(),
        system: report.system,
        summary,
        findings: report.findings,
        notes: report.notes,
    }))
}

/// The packages of an image as a CycloneDX 1.5 bill of materials.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/sbom", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 200, content_type = "application/vnd.cyclonedx+json", body = Object), (status = 404, description = "no such image, not visible, or not scanned yet")))]
pub async fn sbom(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address) -> ApiResult<Response> {
    let (repository, digest, scan) = find(&app, &caller, &org, &name, &repo, &at).await?;
    let at = scan.at.format(&Rfc3339).map_err(Problem::internal)?;
    let bom = cyclonedx(&format!("{repository}@{digest}"), digest.as_str(), &scan.inventory, &at);
    Ok(([(header::CONTENT_TYPE, "application/vnd.cyclonedx+json; version=1.5")], bom.to_string()).into_response())
}

async fn find(app: &App, caller: &Caller, org: &str, name: &str, repo: &str, at: &str) -> Result<(RepositoryName, Digest, Scan), Problem> {
    project(app, caller, org, name, Role::Viewer)?;
    let repository = repository(org, name, repo)?;
    let digest = digest(at)?;
    app.manifest_row(&repository, &Reference::Digest(digest.clone())).await?;
    let scan = scans::find(&app.host.db().orm, &repository, &digest).await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))?;
    let scan =
        scan.ok_or_else(|| Problem::new(Kind::NotFound, "registry.not_scanned", "this image has not been scanned yet, or is of a kind that is not scanned"))?;
    Ok((repository, digest, scan))
}
