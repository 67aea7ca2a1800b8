//! Signs of an intrusion.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path};

use super::apps::{AppPath, readable};
use crate::app::Scheduler;
use crate::app::signs::{self, SignBody};

/// What was found in the application's instances that an intruder would do, the newest first: programs that are not of the image, rights
/// that a container was not given, connections that the space does not allow.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/signs", tag = "applications", params(AppPath), responses((status = 200, body = Page<SignBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>) -> ApiResult<Json<Page<SignBody>>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(Page::all(signs::list(&s, &space, &at.app).await?)))
}
