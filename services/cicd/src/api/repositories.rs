//! `/api/v1/orgs/{org}/projects/{project}/repositories`

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query, created};
use gantry_kernel::{Problem, Role};

use super::Api;
use super::bodies::{NewRepository, Repository};
use crate::app::Cicd;
use crate::error;
use crate::store::queries;

/// The repositories of a project.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/repositories", tag = "repositories",
    params(("org" = String, Path), ("project" = String, Path), PageQuery), responses((status = 200, body = Page<Repository>)))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project)): Path<(String, String)>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Response> {
    let host = &api.cicd.host;
    let project = host.auth.project(&org, &project)?;
    host.auth.require(&caller, Role::Viewer, project.scope())?;
    let limit = page.limit()?;
    let (host, watcher) = (host.clone(), caller.clone());
    let read = move || {
        let (host, caller, cursor, project) = (host.clone(), caller.clone(), page.cursor.clone(), project.clone());
        async move {
            // Asked again at every change: a right taken away ends the stream.
            host.auth.require(&caller, Role::Viewer, project.scope())?;
            let rows = queries::repositories(&host.db().orm, project.id, cursor.as_deref(), limit + 1).await.map_err(error::database)?;
            let items = rows.into_iter().map(|r| Repository::of(r, &host.platform.public_url)).collect();
            Ok::<_, Problem>(Page::of(items, limit, |r: &Repository| r.name.clone()))
        }
    };
    if page.watch {
        return Ok(gantry_host::watch_list(&api.cicd.host, &watcher, api.tables.clone(), read));
    }
    Ok(Json(read().await?).into_response())
}

/// Makes an empty repository.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/repositories", tag = "repositories",
    params(("org" = String, Path), ("project" = String, Path)), request_body = NewRepository, responses((status = 201, body = Repository)))]
pub async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((org, project)): Path<(String, String)>,
    Json(body): Json<NewRepository>,
) -> ApiResult<Response> {
    let host = &api.cicd.host;
    // First what says nothing about whether the project is there.
    let name = Cicd::name("name", &body.name)?;
    let project = host.auth.project(&org, &project)?;
    let executed = api.cicd.create_repository(&caller, &project, name.clone()).await?;
    host.settled(executed.position).await;
    let row = queries::repository(&host.db().orm, project.id, name.as_str()).await.map_err(error::database)?;
    let row = row.ok_or_else(|| Problem::not_found("repository", &name))?;
    let location = format!("/api/v1/orgs/{org}/projects/{}/repositories/{name}", project.name);
    Ok(created(&location, executed.version, Json(Repository::of(row, &host.platform.public_url))))
}

/// Deletes a repository with its history.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/repositories/{repository}", tag = "repositories",
    params(("org" = String, Path), ("project" = String, Path), ("repository" = String, Path)), responses((status = 204)))]
pub async fn remove(State(api): State<Arc<Api>>, caller: Caller, Path((org, project, repository)): Path<(String, String, String)>) -> ApiResult<StatusCode> {
    let name = Cicd::name("repository", &repository)?;
    let project = api.cicd.host.auth.project(&org, &project)?;
    let executed = api.cicd.delete_repository(&caller, &project, name).await?;
    api.cicd.host.settled(executed.position).await;
    Ok(StatusCode::NO_CONTENT)
}
