//! How an organisation's sign-in pages look.

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_auth::Caller;
use gantry_contract::branding::Branding;
use gantry_host::{ApiResult, IfMatch, Json, Path, with_etag};
use gantry_kernel::{Problem, Role};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::{orgs, seen};
use crate::app::App;
use crate::domain::branding::State as Brand;

#[derive(Serialize, ToSchema)]
pub struct OrgBranding {
    #[serde(flatten)]
    branding: Branding,
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<ShownLogo>,
}

#[derive(Serialize, ToSchema)]
pub struct ShownLogo {
    /// `image/png`, `image/jpeg` or `image/webp`.
    media_type: String,
    /// Lower-case hex.
    sha256: String,
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    size_bytes: u32,
    /// Where browsers get it, without signing in.
    url: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoContent {
    /// The picture in base64: PNG, JPEG or WebP, at most 100 KiB, sides of 16 to 1024 pixels.
    content: String,
}

fn render(org: &str, it: Brand) -> OrgBranding {
    let url = |sha256: &str| format!("/oauth2/brand/{org}/{sha256}");
    let logo = it.logo.map(|l| ShownLogo {
        url: url(&l.sha256),
        media_type: l.media_type,
        sha256: l.sha256,
        width: l.width,
        height: l.height,
        size_bytes: l.size_bytes,
    });
    OrgBranding { branding: it.branding, logo }
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/branding", tag = "branding", params(("org" = String, Path)), responses((status = 200, body = OrgBranding)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Response> {
    let org = seen(&app, &caller, &name)?;
    let (brand, version) = app.branding(org).await?;
    Ok(with_etag(version, Json(render(&name, brand))))
}

/// Replaces texts and colours of the organisation's sign-in pages; the logo stays.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/branding", tag = "branding", params(("org" = String, Path), IfMatch), request_body = Branding,
    responses((status = 200, body = OrgBranding)))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Json(body): Json<Branding>,
) -> ApiResult<Response> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let (brand, version) = app.change_branding(org, body, expect, caller.meta(None)).await?;
    Ok(with_etag(version, Json(render(&name, brand))))
}

/// The pages look as the platform's own again.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/branding", tag = "branding", params(("org" = String, Path), IfMatch), responses((status = 204)))]
pub async fn reset(State(app): State<App>, caller: Caller, IfMatch(expect): IfMatch, Path(name): Path<String>) -> ApiResult<StatusCode> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    app.change_branding(org, Branding::default(), expect, caller.meta(None)).await?;
    app.remove_logo(org, gantry_es_pg::Expect::Any, gantry_es::Meta { command_id: None, ..caller.meta(None) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the logo of the organisation's sign-in pages. What it is tells its content, not its name.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/branding/logo", tag = "branding", params(("org" = String, Path), IfMatch), request_body = LogoContent,
    responses((status = 200, body = OrgBranding)))]
pub async fn put_logo(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Json(body): Json<LogoContent>,
) -> ApiResult<Response> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let bytes = STANDARD.decode(body.content.trim()).map_err(|_| Problem::invalid("content", "must be base64 (RFC 4648 section 4)"))?;
    let (brand, version) = app.put_logo(org, &bytes, expect, caller.meta(None)).await?;
    Ok(with_etag(version, Json(render(&name, brand))))
}

#[utoipa::path(delete, path = "/api/v1/orgs/{org}/branding/logo", tag = "branding", params(("org" = String, Path), IfMatch), responses((status = 204)))]
pub async fn delete_logo(State(app): State<App>, caller: Caller, IfMatch(expect): IfMatch, Path(name): Path<String>) -> ApiResult<StatusCode> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    app.remove_logo(org, expect, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
