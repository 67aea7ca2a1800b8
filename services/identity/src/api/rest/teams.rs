//! Teams of an organisation.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, created, watch_list, with_etag};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, TeamId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::{permitted, seen};
use crate::app::App;
use crate::error::fault;
use crate::store::groups;

#[derive(Serialize, ToSchema)]
pub struct Team {
    id: TeamId,
    name: String,
    display_name: String,
    /// The name of the team above it: its members have that one's rights as well.
    parent: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    /// A DNS label, unique in the organisation.
    name: String,
    display_name: Option<String>,
    /// Name or id of the team above.
    parent: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamChange {
    display_name: Option<String>,
    /// Name or id of the team above; `""`: none.
    parent: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct TeamMember {
    /// `user:<id>` or `robot:<id>`.
    subject: String,
    /// User name, or `robot:<name>`.
    name: String,
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
}

fn render(app: &App, row: groups::TeamRow) -> Team {
    let parent = row.parent.and_then(|p| app.team_name(p.into())).map(|n| n.to_string());
    Team { id: row.id.into(), name: row.name, display_name: row.display_name, parent, created_at: row.created_at }
}

async fn page(app: &App, org: OrgId, query: &PageQuery) -> ApiResult<Page<Team>> {
    let limit = query.limit()?;
    let rows = groups::teams(app.pool(), org, query.cursor.as_deref(), limit + 1).await.map_err(fault)?;
    Ok(Page::of(rows.into_iter().map(|row| render(app, row)).collect(), limit, |t: &Team| t.name.clone()))
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/teams", tag = "rights", params(("org" = String, Path), PageQuery), responses((status = 200, body = Page<Team>)))]
pub async fn list(State(app): State<App>, caller: Caller, Path(name): Path<String>, Query(query): Query<PageQuery>) -> ApiResult<Response> {
    let org = seen(&app, &caller, &name)?;
    if query.watch {
        let (host, watcher) = (app.host.clone(), caller.clone());
        let moved = host.progress.watch("groups").ok_or_else(|| Problem::unavailable("the list"))?;
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (app, caller, name, query) = (app.clone(), caller.clone(), name.clone(), query.clone());
            async move {
                // Asked again at every change: a right taken away ends the stream.
                let org = seen(&app, &caller, &name)?;
                page(&app, org, &query).await
            }
        }));
    }
    Ok(Json(page(&app, org, &query).await?).into_response())
}

/// Creates a team (needs `identity.teams-write`).
#[utoipa::path(post, path = "/api/v1/orgs/{org}/teams", tag = "rights", params(("org" = String, Path)), request_body = NewTeam, responses((status = 201, body = Team)))]
pub async fn create(State(app): State<App>, caller: Caller, Path(name): Path<String>, Json(body): Json<NewTeam>) -> ApiResult<Response> {
    let org = permitted(&app, &caller, &name, "identity.teams-write")?;
    let parent = match &body.parent {
        Some(parent) => Some(app.find_team(org, parent).await.map_err(|_| Problem::invalid("parent", "there is no such team"))?.id.into()),
        None => None,
    };
    let (team, version) = app.create_team(org, &body.name, body.display_name.as_deref(), parent, caller.meta(Some(org))).await?;
    let row = app.find_team(org, &team.to_string()).await?;
    Ok(created(&format!("/api/v1/orgs/{name}/teams/{}", row.name), version, Json(render(&app, row))))
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/teams/{team}", tag = "rights", params(("org" = String, Path), ("team" = String, Path, description = "name or id")),
    responses((status = 200, body = Team)))]
pub async fn show(State(app): State<App>, caller: Caller, Path((org, team)): Path<(String, String)>) -> ApiResult<Response> {
    let org = seen(&app, &caller, &org)?;
    let row = app.find_team(org, &team).await?;
    Ok(with_etag(row.version, Json(render(&app, row))))
}

/// Renames a team or puts it below another one; a circle is refused.
#[utoipa::path(patch, path = "/api/v1/orgs/{org}/teams/{team}", tag = "rights", params(("org" = String, Path), ("team" = String, Path), IfMatch),
    request_body = TeamChange, responses((status = 200, body = Team)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path((org, team)): Path<(String, String)>,
    Json(body): Json<TeamChange>,
) -> ApiResult<Response> {
    let org = permitted(&app, &caller, &org, "identity.teams-write")?;
    let row = app.find_team(org, &team).await?;
    let parent = match body.parent.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(parent) => Some(Some(TeamId(app.find_team(org, parent).await.map_err(|_| Problem::invalid("parent", "there is no such team"))?.id))),
    };
    if let Some(Some(above)) = parent
        && row.parent != Some(above.0)
    {
        // Everybody in the team gets the roles of the one above it, so one needs those. Where it hangs already, nobody gets anything.
        app.refuse_team_beyond(&caller, above)?;
    }
    app.change_team(org, row.id.into(), body.display_name.as_deref(), parent, expect, caller.meta(Some(org))).await?;
    let row = app.find_team(org, &row.id.to_string()).await?;
    Ok(with_etag(row.version, Json(render(&app, row))))
}

/// Deletes a team with the roles it was given; not while other teams are below it.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/teams/{team}", tag = "rights", params(("org" = String, Path), ("team" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path((org, team)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let org = permitted(&app, &caller, &org, "identity.teams-write")?;
    let row = app.find_team(org, &team).await?;
    app.delete_team(org, row.id.into(), caller.meta(Some(org))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in the team itself; members of the teams below it are listed there.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/teams/{team}/members", tag = "rights", params(("org" = String, Path), ("team" = String, Path), PageQuery),
    responses((status = 200, body = Page<TeamMember>)))]
pub async fn members(
    State(app): State<App>,
    caller: Caller,
    Path((org, team)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<TeamMember>>> {
    let org = seen(&app, &caller, &org)?;
    let row = app.find_team(org, &team).await?;
    let limit = query.limit()?;
    let mut items = Vec::new();
    for member in groups::team_members(app.pool(), org, row.id.into(), query.cursor.as_deref(), limit + 1).await.map_err(fault)? {
        let name = app.subject_name(&member.subject).await?.unwrap_or_default();
        items.push(TeamMember { subject: member.subject, name, added_at: member.added_at });
    }
    Ok(Json(Page::of(items, limit, |m| m.subject.clone())))
}

/// Puts a member of the organisation, or one of its service accounts (`robot:<name>`), into the team.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/teams/{team}/members/{subject}", tag = "rights",
    params(("org" = String, Path), ("team" = String, Path), ("subject" = String, Path, description = "user name, `user:<id>`, `robot:<name>`")), responses((status = 204)))]
pub async fn put_member(State(app): State<App>, caller: Caller, Path((org, team, subject)): Path<(String, String, String)>) -> ApiResult<StatusCode> {
    set(&app, &caller, &org, &team, &subject, true).await
}

#[utoipa::path(delete, path = "/api/v1/orgs/{org}/teams/{team}/members/{subject}", tag = "rights",
    params(("org" = String, Path), ("team" = String, Path), ("subject" = String, Path)), responses((status = 204)))]
pub async fn delete_member(State(app): State<App>, caller: Caller, Path((org, team, subject)): Path<(String, String, String)>) -> ApiResult<StatusCode> {
    set(&app, &caller, &org, &team, &subject, false).await
}

async fn set(app: &App, caller: &Caller, org: &str, team: &str, subject: &str, is_in: bool) -> ApiResult<StatusCode> {
    let org = permitted(app, caller, org, "identity.teams-write")?;
    let row = app.find_team(org, team).await?;
    let subject = app.team_subject(org, subject).await?;
    if is_in {
        // Putting somebody into a team gives them its roles, so one needs those.
        app.refuse_team_beyond(caller, row.id.into())?;
    }
    app.put_in_team(org, row.id.into(), &subject, is_in, caller.meta(Some(org))).await?;
    Ok(StatusCode::NO_CONTENT)
}
