//! A project's scanners outside, and asking for a scan once more.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::registry::flow::Scanner;
use gantry_contract::registry::settings::Change;
use gantry_es_pg::Todo;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path};
use gantry_kernel::{Problem, Role};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::endpoints;
use super::settings::{change, member};
use super::settings_view::SettingsView;
use super::{digest, project, repository};
use crate::app::App;
use crate::app::scan::{Job, SCAN};
use crate::app::scanners::Again;
use crate::domain::name::Reference;
use crate::domain::scan::external::Identity;
use crate::domain::settings::Settings;
use crate::store::scanner_reports;

#[derive(Debug, Serialize, ToSchema)]
pub struct ScannerView {
    pub scanner: Scanner,
    pub has_secret: bool,
    /// Of the platform's configuration, for all projects.
    pub platform: bool,
}

/// Whether a scanner answers, and what it can.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScannerTrial {
    pub ok: bool,
    pub identity: Option<Identity>,
    /// The form of report that is asked for.
    pub report: Option<String>,
    /// The form of bill of materials it makes; null: none.
    pub sbom: Option<String>,
    pub error: Option<String>,
}

/// What a scanner was asked about an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScannerState {
    pub scanner: String,
    /// `waiting`, `done` or `failed`.
    pub state: String,
    pub identity: Option<Identity>,
    #[serde(with = "time::serde::rfc3339")]
    pub asked_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    pub error: Option<String>,
    /// Whether it made a bill of materials (`sbom?scanner=`).
    pub has_sbom: bool,
}

/// Scans that were asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScanAsked {
    /// Scanners outside that were asked, too.
    pub scanners: usize,
}

type Project = Path<(String, String)>;
type Item = Path<(String, String, String)>;
type Address = Path<(String, String, String, String)>;

/// The scanners that the project's images are given to besides the own one.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/scanners", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<ScannerView>), (status = 404, description = "no such project, or not a member")))]
pub async fn list(State(app): State<App>, caller: Caller, Path((org, name)): Project) -> ApiResult<Json<Page<ScannerView>>> {
    let place = member(&app, &caller, &org, &name, Role::Viewer)?;
    let (settings, _) = app.settings_now(place.id).await?;
    let views = app.scanners(&settings).into_iter().map(|k| ScannerView { has_secret: k.has_secret(), platform: k.platform, scanner: k.scanner });
    Ok(Json(Page::all(views.collect())))
}

/// Gives the project's images to a scanner that speaks Harbor's pluggable scanner API. `password` goes beside the other fields and is never
/// shown again; left out, the one before stays.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/scanners/{name}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = Scanner,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn set(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch, Json(body): Json<Value>) -> ApiResult<Response> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let before = |settings: &Settings, name: &str| settings.scanners.get(name).map(|k| (k.scanner.endpoint(), k.secret.clone()));
    let (scanner, secret) = endpoints::taken(&app, &caller, &place, (name, body), "allow_private", before, Scanner::endpoint).await?;
    change(&app, &caller, (&org, &project), expect, Change::ScannerSet { scanner, secret }).await
}

/// Stops giving images to a scanner. What it found is in no report any more from the next scan on.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/scanners/{name}", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn remove(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::ScannerRemoved(name)).await
}

/// Asks a scanner what it is and can.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/scanners/{name}/test", tag = "registry settings",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ScannerTrial), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn test(State(app): State<App>, caller: Caller, Path((org, project, name)): Item) -> ApiResult<Json<ScannerTrial>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let (settings, _) = app.settings_now(place.id).await?;
    let known = app.scanners(&settings).into_iter().find(|k| k.scanner.name == name).ok_or_else(|| Problem::not_found("scanner", &name))?;
    Ok(Json(match app.try_scanner(place.id, &known).await {
        Ok(able) => {
            ScannerTrial { ok: true, identity: Some(able.scanner), report: Some(able.report.to_owned()), sbom: able.sbom.map(str::to_owned), error: None }
        }
        Err(why) => ScannerTrial { ok: false, identity: None, report: None, sbom: None, error: Some(why) },
    }))
}

/// Has an image scanned again, by the scanners outside, too.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/scan", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 202, body = ScanAsked), (status = 403, description = "needs editor on the project"), (status = 404, description = "no such image, or not visible")))]
pub async fn again(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address) -> ApiResult<(StatusCode, Json<ScanAsked>)> {
    let place = project(&app, &caller, &org, &name, Role::Editor)?;
    let repository = repository(&org, &name, &repo)?;
    let digest = digest(&at)?;
    app.manifest_row(&repository, &Reference::Digest(digest.clone())).await?;
    let job = Job { org: place.org.id, project: place.id, repository: repository.to_string(), digest: digest.to_string() };
    let settings = app.settings(place.id).await?;
    let scanners = app.ask_scanners(&job, &settings, Again::Everybody).await.map_err(|e| Problem::internal(e.into_boxed_dyn_error()))?;
    let payload = serde_json::to_value(&job).map_err(Problem::internal)?;
    Todo::enqueue(&app.host.db().orm, SCAN, &job.key(), &payload).await.map_err(Problem::internal)?;
    Ok((StatusCode::ACCEPTED, Json(ScanAsked { scanners })))
}

/// What the scanners outside were asked about an image, and how it went.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/scanners", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 200, body = Page<ScannerState>), (status = 404, description = "no such image, or not visible")))]
pub async fn states(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address) -> ApiResult<Json<Page<ScannerState>>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    let digest = digest(&at)?;
    app.manifest_row(&repository, &Reference::Digest(digest.clone())).await?;
    let asked = scanner_reports::of(&app.host.db().pool, repository.as_str(), digest.as_str()).await.map_err(Problem::internal)?;
    let state = |a: scanner_reports::Asked| ScannerState {
        identity: a.identity.and_then(|i| serde_json::from_value(i).ok()),
        scanner: a.scanner,
        state: a.state,
        asked_at: a.asked_at,
        at: a.at,
        error: a.error,
        has_sbom: a.has_sbom,
    };
    Ok(Json(Page::all(asked.into_iter().map(state).collect())))
}
