//! Lists of repositories and tags; deletion of a tag, or of an image.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query, watch_list};
use gantry_kernel::{Problem, Role};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::bodies::{Image, Tag};
use super::{digest, project, repository};
use crate::app::App;
use crate::domain::name::{self, Reference};
use crate::error::Error;
use crate::store::images::{self, Wanted};

/// The repositories of a project, by name.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), PageQuery),
    responses((status = 200, body = Page<Image>), (status = 404, description = "no such project, or not visible")))]
pub async fn list(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>, Query(page): Query<PageQuery>) -> ApiResult<Response> {
    let found = project(&app, &caller, &org, &name, Role::Viewer)?;
    let limit = page.limit()?;
    let moved = app.host.progress.watch("images").filter(|_| page.watch);
    let (host, watcher) = (app.host.clone(), caller.clone());
    let read = move || {
        let (app, cursor, caller, org, name) = (app.clone(), page.cursor.clone(), caller.clone(), org.clone(), name.clone());
        async move {
            // Asked again at every change: a right taken away ends the stream.
            project(&app, &caller, &org, &name, Role::Viewer)?;
            let items = app.list(found.id, cursor.as_deref(), limit + 1).await.map_err(Problem::internal)?;
            let items: Vec<_> = items.into_iter().map(|l| Image::of(&app, l)).collect();
            Ok::<_, Problem>(Page::of(items, limit, |i| i.name.clone()))
        }
    };
    match moved {
        Some(moved) => Ok(watch_list(&host, &watcher, moved, read)),
        None => Ok(Json(read().await?).into_response()),
    }
}

/// Which tags, a page at a time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TagsQuery {
    /// 1 to 500; 50 if not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Only tags whose name contains this.
    pub q: Option<String>,
    /// Only tags whose name begins with this.
    pub prefix: Option<String>,
}

impl TagsQuery {
    fn wanted(&self) -> Result<Wanted<'_>, Problem> {
        for (name, text) in [("q", &self.q), ("prefix", &self.prefix), ("cursor", &self.cursor)] {
            // Postgres keeps no U+0000.
            if text.as_deref().is_some_and(|t| t.contains('\0')) {
                return Err(Problem::invalid(name, "must not have U+0000 in it"));
            }
        }
        Ok(Wanted { last: self.cursor.as_deref(), prefix: self.prefix.as_deref(), search: self.q.as_deref() })
    }
}

/// The tags of a repository, by name.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/tags", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), TagsQuery),
    responses((status = 200, body = Page<Tag>), (status = 404, description = "no such repository, or not visible")))]
pub async fn tags(
    State(app): State<App>,
    caller: Caller,
    Path((org, name, repo)): Path<(String, String, String)>,
    Query(query): Query<TagsQuery>,
) -> ApiResult<Json<Page<Tag>>> {
    project(&app, &caller, &org, &name, Role::Viewer)?;
    let repository = repository(&org, &name, &repo)?;
    let limit = PageQuery { limit: query.limit, ..PageQuery::default() }.limit()?;
    let wanted = query.wanted()?;
    let db = &app.host.db().orm;
    if images::repository(db, &repository).await.map_err(Problem::internal)?.is_none() {
        return Err(Error::UnknownRepository(repository.to_string()).into());
    }
    let names = images::tag_names(db, &repository, &wanted, limit + 1).await.map_err(Problem::internal)?;
    let rows = images::tags_named(db, &repository, &names).await.map_err(Problem::internal)?;
    let digests: Vec<String> = rows.iter().map(|t| t.digest.clone()).collect();
    let manifests = images::known_manifests(db, &repository, &digests).await.map_err(Problem::internal)?;
    let items = rows
        .into_iter()
        .map(|t| {
            let m = manifests.iter().find(|m| m.digest == t.digest);
            Tag::of(t, m)
        })
        .collect();
    Ok(Json(Page::of(items, limit, |t: &Tag| t.tag.clone())))
}

/// Deletes a tag; the image stays under its digest.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/tags/{tag}", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("tag" = String, Path)),
    responses((status = 204), (status = 403, description = "needs admin on the project"), (status = 404, description = "no such tag, or not visible")))]
pub async fn delete_tag(State(app): State<App>, caller: Caller, Path((org, name, repo, tag)): Path<(String, String, String, String)>) -> ApiResult<StatusCode> {
    project(&app, &caller, &org, &name, Role::Admin)?;
    let repository = repository(&org, &name, &repo)?;
    let tag = name::Tag::parse(&tag).map_err(|e| Problem::invalid("tag", e.to_string()))?;
    app.delete_manifest(&repository, &Reference::Tag(tag), caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes an image with every tag that points at it. Content that nothing else needs goes after the grace period.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/images/{repo}/{digest}", tag = "images",
    params(("org" = String, Path), ("project" = String, Path), ("repo" = String, Path, description = "after the project; `/` as `%2F`"), ("digest" = String, Path)),
    responses((status = 204), (status = 403, description = "needs admin on the project"), (status = 404, description = "no such image, or not visible"),
        (status = 409, description = "a tag of it is immutable")))]
pub async fn delete_image(
    State(app): State<App>,
    caller: Caller,
    Path((org, name, repo, at)): Path<(String, String, String, String)>,
) -> ApiResult<StatusCode> {
    project(&app, &caller, &org, &name, Role::Admin)?;
    let repository = repository(&org, &name, &repo)?;
    app.delete_manifest(&repository, &Reference::Digest(digest(&at)?), caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
