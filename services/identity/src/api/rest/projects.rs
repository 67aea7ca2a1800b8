//! Projects of an organisation and spaces of a project.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::{Caller, ProjectRef};
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query, created};
use gantry_kernel::{Name, OffsetDateTime, OrgId, Problem, ProjectId, Role, Scope, SpaceId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::orgs;
use crate::app::App;
use crate::error::fault;
use crate::store::directory;
use crate::store::entities::{project, space};

#[derive(Serialize, ToSchema)]
pub struct Project {
    id: ProjectId,
    org_id: OrgId,
    org: String,
    name: String,
    /// Anybody may pull its images.
    public: bool,
    role: Option<Role>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    name: String,
    #[serde(default)]
    public: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Space {
    id: SpaceId,
    project_id: ProjectId,
    org: String,
    project: String,
    name: String,
    role: Option<Role>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSpace {
    name: String,
}

fn role(app: &App, caller: &Caller, scope: Scope) -> Option<Role> {
    app.host.auth.read(|rights| rights.role(&caller.subject, scope))
}

fn may_know(app: &App, caller: &Caller, scope: Scope) -> bool {
    app.host.auth.read(|rights| rights.may_know(&caller.subject, scope))
}

fn render(app: &App, caller: &Caller, org: &str, row: project::Model) -> Project {
    let id = ProjectId(row.id);
    Project {
        id,
        org_id: OrgId(row.org),
        org: org.to_owned(),
        name: row.name,
        public: row.public,
        role: role(app, caller, Scope::Project(id)),
        created_at: row.created_at,
    }
}

fn render_space(app: &App, caller: &Caller, at: &ProjectRef, row: space::Model) -> Space {
    let id = SpaceId(row.id);
    Space {
        id,
        project_id: at.id,
        org: at.org.name.to_string(),
        project: at.name.to_string(),
        name: row.name,
        role: role(app, caller, Scope::Space(id)),
        created_at: row.created_at,
    }
}

/// The project, if the caller may know that it is there.
fn known(app: &App, caller: &Caller, org: &str, name: &str) -> ApiResult<ProjectRef> {
    let found = app.host.auth.project(org, name)?;
    if may_know(app, caller, found.scope()) { Ok(found) } else { Err(Problem::not_found("project", format_args!("{org}/{name}"))) }
}

/// Projects in which the caller has a role.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects", tag = "projects", params(("org" = String, Path), PageQuery), responses((status = 200, body = Page<Project>)))]
pub async fn list(State(app): State<App>, caller: Caller, Path(org): Path<String>, Query(page): Query<PageQuery>) -> ApiResult<Json<Page<Project>>> {
    let id = orgs::known(&app, &caller, &org)?;
    let limit = page.limit()?;
    let mut visible = Vec::new();
    let mut after = page.cursor.clone();
    // Rows that the caller may not see do not count.
    while visible.len() as u64 <= limit {
        let rows = directory::projects(app.orm(), id, after.as_deref(), limit + 1).await.map_err(fault)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.name.clone());
        visible.extend(rows.into_iter().filter(|row| may_know(&app, &caller, Scope::Project(ProjectId(row.id)))));
    }
    visible.truncate(usize::try_from(limit + 1).unwrap_or(usize::MAX));
    let projects = visible.into_iter().map(|row| render(&app, &caller, &org, row)).collect();
    Ok(Json(Page::of(projects, limit, |p: &Project| p.name.clone())))
}

#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects", tag = "projects", params(("org" = String, Path)), request_body = NewProject, responses((status = 201, body = Project)))]
pub async fn create(State(app): State<App>, caller: Caller, Path(org): Path<String>, Json(body): Json<NewProject>) -> ApiResult<Response> {
    let id = orgs::at(&app, &caller, &org, Role::Admin)?;
    let (_, name, version) = app.create_project(id, &body.name, body.public, caller.meta(None)).await?;
    let row = read(&app, id, &org, name.as_str()).await?;
    Ok(created(&format!("/api/v1/orgs/{org}/projects/{name}"), version, Json(render(&app, &caller, &org, row))))
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}", tag = "projects", params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Project)))]
pub async fn show(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Json<Project>> {
    let found = known(&app, &caller, &org, &name)?;
    let row = read(&app, found.org.id, &org, &name).await?;
    Ok(Json(render(&app, &caller, &org, row)))
}

/// Deletes a project with its spaces; every service removes what it keeps of it.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}", tag = "projects", params(("org" = String, Path), ("project" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let found = known(&app, &caller, &org, &name)?;
    app.host.auth.require(&caller, Role::Admin, found.scope())?;
    app.delete_project(found.org.id, found.name, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces", tag = "projects", params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<Space>)))]
pub async fn list_spaces(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Json<Page<Space>>> {
    let found = known(&app, &caller, &org, &name)?;
    let rows = directory::spaces(app.orm(), found.org.id, found.id).await.map_err(fault)?;
    let visible = rows.into_iter().filter(|row| may_know(&app, &caller, Scope::Space(SpaceId(row.id))));
    Ok(Json(Page::all(visible.map(|row| render_space(&app, &caller, &found, row)).collect())))
}

#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces", tag = "projects", params(("org" = String, Path), ("project" = String, Path)), request_body = NewSpace, responses((status = 201, body = Space)))]
pub async fn create_space(
    State(app): State<App>,
    caller: Caller,
    Path((org, name)): Path<(String, String)>,
    Json(body): Json<NewSpace>,
) -> ApiResult<Response> {
    let found = known(&app, &caller, &org, &name)?;
    app.host.auth.require(&caller, Role::Admin, found.scope())?;
    let (_, space, version) = app.create_space(found.org.id, found.name.clone(), &body.name, caller.meta(None)).await?;
    let rows = directory::spaces(app.orm(), found.org.id, found.id).await.map_err(fault)?;
    let row = rows.into_iter().find(|row| row.name == space.as_str()).ok_or_else(|| Problem::not_found("space", &space))?;
    Ok(created(&format!("/api/v1/orgs/{org}/projects/{name}/spaces/{space}"), version, Json(render_space(&app, &caller, &found, row))))
}

#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}", tag = "projects",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path)), responses((status = 204)))]
pub async fn delete_space(State(app): State<App>, caller: Caller, Path((org, name, space)): Path<(String, String, String)>) -> ApiResult<StatusCode> {
    let found = known(&app, &caller, &org, &name)?;
    app.host.auth.require(&caller, Role::Admin, found.scope())?;
    let space = Name::parse(&space).map_err(|_| Problem::not_found("space", &space))?;
    app.delete_space(found.org.id, found.name, space, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read(app: &App, id: OrgId, org: &str, name: &str) -> ApiResult<project::Model> {
    directory::project(app.orm(), id, name).await.map_err(fault)?.ok_or_else(|| Problem::not_found("project", format_args!("{org}/{name}")))
}
