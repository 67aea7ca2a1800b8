//! What an image is made of.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::Role;

use super::{digest, project, repository};
use crate::app::App;
use crate::app::layers::Parts;
use crate::domain::name::Reference;

/// The layers of an image with the steps that made them, and how much of it only it has.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/layers", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 200, body = Parts), (status = 404, description = "no such image, or not visible")))]
pub async fn layers(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Path<(String, String, String, String)>) -> ApiResult<Json<Parts>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    Ok(Json(app.parts(&repository, &Reference::Digest(digest(&at)?)).await?))
}
