//! What an image was built on, and what is built on it.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query};
use gantry_kernel::Role;

use super::platforms::reference;
use super::search::{cursor, numbered};
use super::{digest, project, repository};
use crate::app::App;
use crate::app::origin::{Derived, Origins};

type Address = Path<(String, String, String, String)>;

/// The base of an image (of an index: of each of its images), whether it is signed, and whether it has moved since.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{reference}/origin", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"),
        ("reference" = String, Path, description = "a tag or a digest")),
    responses((status = 200, body = Origins), (status = 404, description = "no such image, or not visible")))]
pub async fn origin(State(app): State<App>, caller: Caller, Path((org, name, repo, at)): Address) -> ApiResult<Json<Origins>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    Ok(Json(app.origins(&caller, &repository, &reference(&at)?).await?))
}

/// Images built on this one, in all projects that the caller may see, the newest first.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}/derived", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path), PageQuery),
    responses((status = 200, body = Page<Derived>), (status = 404, description = "no such image, or not visible")))]
pub async fn derived(
    State(app): State<App>,
    caller: Caller,
    Path((org, name, repo, at)): Address,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<Derived>>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    let limit = page.limit()?;
    let found = app.derived(&caller, &repository, &digest(&at)?, cursor::<i64>(page.cursor.as_deref())?, limit + 1).await?;
    Ok(Json(numbered(found, limit)))
}
