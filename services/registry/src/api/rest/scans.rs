//! What was found in an image: the report, and the bill of materials.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path, Query};
use gantry_kernel::{Kind, Problem, Role};
use http::header;
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;

use super::bodies::ScanReport;
use super::{digest, project, repository};
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::name::{Reference, RepositoryName};
use crate::domain::scan::export;
use crate::domain::scan::report::ScanSummary;
use crate::domain::scan::sbom::Format;
use crate::store::scanner_reports;
use crate::store::scans::{self, Scan};

type Address = Path<(String, String, String, String)>;

/// The findings of an image. Those the project accepts say why and are not counted.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/scan", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path), ReportQuery),
    responses((status = 200, body = ScanReport), (status = 404, description = "no such image, not visible, or not scanned yet")))]
pub async fn report(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address, Query(query): Query<ReportQuery>) -> ApiResult<Response> {
    let (repository, digest, scan) = find(&app, &caller, &org, &name, &repo, &at).await?;
    let place = app.place(&repository).await?;
    let settings = app.settings(place.project).await?;
    let mut report = scan.report;
    let now = app.host.env.now();
    for finding in &mut report.findings {
        let ids: Vec<&str> = std::iter::once(finding.id.as_str()).chain(finding.aliases.iter().map(String::as_str)).collect();
        finding.accepted = settings.allowance(&ids, &finding.package, now).map(|a| a.reason.clone());
    }
    let counts = report.summary();
    let at = scan.at.format(&Rfc3339).map_err(Problem::internal)?;
    let subject = format!("{repository}@{digest}");
    match query.format.as_deref() {
        None | Some("json") => {}
        Some("sarif") => return Ok(([(header::CONTENT_TYPE, "application/sarif+json")], export::sarif(&subject, &report).to_string()).into_response()),
        Some("html") => {
            let page = export::html(&subject, &report, &at, &scan.database);
            return Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response());
        }
        Some(_) => return Err(Problem::invalid("format", "must be json, sarif or html")),
    }
    let summary = ScanSummary {
        packages: counts.packages,
        critical: counts.critical,
        high: counts.high,
        medium: counts.medium,
        low: counts.low,
        unknown: counts.unknown,
        database: scan.database,
        at,
    };
    let (name, digest) = (repository.to_string(), digest.to_string());
    let body = ScanReport { name, digest, system: report.system, summary, findings: report.findings, notes: report.notes, platform: report.platform };
    Ok(Json(body).into_response())
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ReportQuery {
    /// `json` (the default), `sarif` (2.1.0) or `html`.
    format: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SbomQuery {
    /// `cyclonedx` (1.6), `cyclonedx-1.5` (the default) or `spdx` (2.3).
    format: Option<String>,
    /// The bill of materials that this scanner outside made, as it made it.
    scanner: Option<String>,
}

/// The packages of an image as a bill of materials: CycloneDX or SPDX.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/sbom", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path), SbomQuery),
    responses((status = 200, content_type = "application/vnd.cyclonedx+json", body = Object), (status = 404, description = "no such image, not visible, or not scanned yet")))]
pub async fn sbom(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address, Query(query): Query<SbomQuery>) -> ApiResult<Response> {
    let word = query.format.as_deref().unwrap_or("cyclonedx-1.5");
    let format = Format::parse(word).ok_or_else(|| Problem::invalid("format", "must be cyclonedx, cyclonedx-1.5 or spdx"))?;
    let (repository, digest, scan) = find(&app, &caller, &org, &name, &repo, &at).await?;
    if let Some(scanner) = query.scanner {
        let found = scanner_reports::sbom(&app.host.db().pool, repository.as_str(), digest.as_str(), &scanner).await.map_err(Problem::internal)?;
        let found = found.ok_or_else(|| Problem::not_found("bill of materials of scanner", &scanner))?;
        let kind = if found["spdxVersion"].is_string() { "application/spdx+json" } else { "application/vnd.cyclonedx+json" };
        return Ok(([(header::CONTENT_TYPE, kind)], found.to_string()).into_response());
    }
    let at = scan.at.format(&Rfc3339).map_err(Problem::internal)?;
    let bom = format.write(&format!("{repository}@{digest}"), digest.as_str(), &scan.inventory, &at);
    Ok(([(header::CONTENT_TYPE, format.content_type())], bom.to_string()).into_response())
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
