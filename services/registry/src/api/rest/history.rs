//! The history of a repository's tags, and bringing a deleted one back.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, Query};
use gantry_kernel::{Problem, Role};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::search::cursor;
use super::{digest, project, repository};
use crate::app::App;
use crate::domain::name::Tag;
use crate::error::Error;
use crate::store::entities::tag_history;
use crate::store::images;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only this tag.
    pub tag: Option<String>,
    pub limit: Option<u64>,
    pub cursor: Option<String>,
}

/// One thing that happened to a tag.
#[derive(Serialize, ToSchema)]
pub struct Change {
    pub tag: String,
    /// `moved` (also: made) or `deleted`.
    pub action: String,
    /// Where it points, or pointed until then.
    pub digest: String,
    /// Where it pointed before it moved.
    pub previous: Option<String>,
    /// "user:<uuid>", "service:<name>", "robot:<uuid>".
    pub by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    #[serde(skip)]
    position: i64,
}

impl From<tag_history::Model> for Change {
    fn from(row: tag_history::Model) -> Self {
        Self { tag: row.tag, action: row.what, digest: row.digest, previous: row.previous, by: row.by_whom, at: row.at, position: row.position }
    }
}

/// Who moved and deleted which tag when, newest first.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/history", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), HistoryQuery),
    responses((status = 200, body = Page<Change>), (status = 404, description = "no such repository, or not visible")))]
pub async fn history(
    State(app): State<App>,
    caller: Caller,
    Path((org, name, repo)): Path<(String, String, String)>,
    Query(query): Query<HistoryQuery>,
) -> ApiResult<Json<Page<Change>>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    if images::repository(&app.host.db().orm, &repository).await.map_err(Problem::internal)?.is_none() {
        return Err(Error::UnknownRepository(repository.to_string()).into());
    }
    let tag = query.tag.as_deref().map(tag).transpose()?;
    let before = cursor::<i64>(query.cursor.as_deref())?;
    let limit = query.limit.unwrap_or(100).clamp(1, 1_000);
    let rows = app.history(&repository, tag.as_ref(), before, limit + 1).await?;
    Ok(Json(Page::of(rows.into_iter().map(Change::from).collect(), limit, |c: &Change| c.position.to_string())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// One it pointed at before; not given: the one it had when it was deleted.
    pub digest: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Restored {
    pub tag: String,
    pub digest: String,
}

/// Brings a deleted tag back, or points it at an image it had before, as long as the content lives.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/tags/{tag}/restore", tag = "images", request_body = RestoreRequest,
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("tag" = String, Path)),
    responses((status = 200, body = Restored), (status = 403, description = "needs editor on the project"), (status = 404, description = "the tag never pointed there"),
        (status = 409, description = "the tag is in use, or its content is gone")))]
pub async fn restore(
    State(app): State<App>,
    caller: Caller,
    Path((org, name, repo, at)): Path<(String, String, String, String)>,
    Json(body): Json<RestoreRequest>,
) -> ApiResult<Json<Restored>> {
    project(&app, &caller, &org, &name, Role::Editor)?;
    let repository = repository(&org, &name, &repo)?;
    let tag = tag(&at)?;
    let wanted = body.digest.as_deref().map(digest).transpose()?;
    let done = app.restore(&repository, &tag, wanted.as_ref(), caller.meta(None)).await?;
    Ok(Json(Restored { tag: tag.to_string(), digest: done.digest.to_string() }))
}

fn tag(text: &str) -> Result<Tag, Problem> {
    Tag::parse(text).map_err(|e| Problem::invalid("tag", e.to_string()))
}
