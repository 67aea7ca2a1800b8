//! A tag by platforms, and the image of one of them as an archive.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path, Query};
use gantry_kernel::{Problem, Role};
use http::{HeaderValue, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{project, repository};
use crate::app::App;
use crate::app::export::Form;
use crate::app::platforms::TagPlatforms;
use crate::domain::name::Reference;
use crate::domain::platform::Platform;

type Address = Path<(String, String, String, String)>;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PlatformsQuery {
    /// Platforms that should be there, with commas between; those of the project's settings if not given.
    wanted: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// Such as `linux/arm64`; may be left out when there is only one image.
    platform: Option<String>,
    /// `oci` (the default): an OCI layout. `docker`: with what `docker load` needs beside it.
    format: Option<String>,
}

pub(super) fn reference(text: &str) -> Result<Reference, Problem> {
    Reference::parse(text).map_err(|_| Problem::invalid("reference", "must be a tag or a digest"))
}

fn platform(field: &'static str, text: &str) -> Result<Platform, Problem> {
    Platform::parse(text).ok_or_else(|| Problem::invalid(field, format!("`{text}` must be os/architecture[/variant], such as linux/arm64")))
}

/// The images of a tag, one for each platform: whether each is what it claims, and which wanted platforms are missing.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{reference}/platforms", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"),
        ("reference" = String, Path, description = "a tag or a digest"), PlatformsQuery),
    responses((status = 200, body = TagPlatforms), (status = 400), (status = 404, description = "no such image, or not visible")))]
pub async fn platforms(
    State(app): State<App>,
    caller: Caller,
    Path((org, name, repo, at)): Address,
    Query(query): Query<PlatformsQuery>,
) -> ApiResult<Json<TagPlatforms>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    let wanted = match query.wanted.as_deref() {
        None => None,
        Some(text) => Some(text.split(',').filter(|p| !p.trim().is_empty()).map(|p| platform("wanted", p)).collect::<Result<Vec<_>, _>>()?),
    };
    Ok(Json(app.platforms_of(&repository, &reference(&at)?, wanted).await?))
}

/// The image of one platform as a tar archive. What a policy does not hand out is not exported either.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{reference}/export", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"),
        ("reference" = String, Path, description = "a tag or a digest"), ExportQuery),
    responses((status = 200, content_type = "application/x-tar", body = Vec<u8>), (status = 400, description = "no image, or several, for this platform"),
        (status = 403, description = "a policy refuses the image"), (status = 404, description = "no such image, or not visible")))]
pub async fn export(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address, Query(query): Query<ExportQuery>) -> ApiResult<Response> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    let form = Form::parse(query.format.as_deref().unwrap_or("oci")).ok_or_else(|| Problem::invalid("format", "must be oci or docker"))?;
    let wanted = query.platform.as_deref().map(|p| platform("platform", p)).transpose()?;
    let archive = app.export(&repository, &reference(&at)?, wanted.as_ref(), form).await?;
    let short = &archive.digest.hex()[..12];
    let file = format!("attachment; filename=\"{}-{short}.tar\"", repository.rest().replace('/', "-"));
    let mut response = Response::new(Body::from_stream(archive.stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(archive.bytes));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(file).expect("repository names and digests are header values"));
    headers.insert("docker-content-digest", HeaderValue::try_from(archive.digest.as_str()).expect("digests are header values"));
    Ok(response)
}
