//! Organisations.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, created, with_etag};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Role, Scope, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::doer;
use crate::app::App;
use crate::error::fault;
use crate::store::directory;
use crate::store::entities::org;

#[derive(Serialize, ToSchema)]
pub struct Org {
    pub id: OrgId,
    pub name: String,
    pub display_name: String,
    pub owner: UserId,
    /// The caller's own role there, if any.
    pub role: Option<Role>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrg {
    /// A DNS label, unique on the platform.
    name: String,
    display_name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgChange {
    display_name: Option<String>,
    /// A user name or id: who owns it from now on (only its owner, or a platform administrator).
    owner: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Confirm {
    /// The organisation's name again.
    confirm: Option<String>,
}

fn render(app: &App, caller: &Caller, row: org::Model) -> Org {
    let scope = Scope::Org(OrgId(row.id));
    Org {
        id: OrgId(row.id),
        name: row.name,
        display_name: row.display_name,
        owner: UserId(row.owner),
        role: app.host.auth.read(|rights| rights.role(&caller.subject, scope)),
        created_at: row.created_at,
    }
}

/// Organisations in which the caller has a role.
#[utoipa::path(get, path = "/api/v1/orgs", tag = "organisations", params(PageQuery), responses((status = 200, body = Page<Org>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(page): Query<PageQuery>) -> ApiResult<Json<Page<Org>>> {
    let limit = page.limit()?;
    let among = if app.may(&caller, Role::Viewer, Scope::Platform) {
        None
    } else {
        let visible = app.host.auth.read(|rights| rights.visible_orgs(&caller.subject));
        Some(visible.into_iter().map(|o| o.id.0).collect())
    };
    let rows = directory::orgs(app.orm(), among, page.cursor.as_deref(), limit + 1).await.map_err(fault)?;
    let orgs = rows.into_iter().map(|row| render(&app, &caller, row)).collect();
    Ok(Json(Page::of(orgs, limit, |o: &Org| o.name.clone())))
}

/// Creates an organisation; the caller becomes its owner and administrator.
#[utoipa::path(post, path = "/api/v1/orgs", tag = "organisations", request_body = NewOrg, responses((status = 201, body = Org)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewOrg>) -> ApiResult<Response> {
    let owner = app.active_person(doer(&caller)?).await?.id;
    let (made, version) = app.create_org(&body.name, body.display_name.as_deref(), owner, caller.meta(None)).await?;
    let row = read(&app, made.name.as_str()).await?;
    Ok(created(&format!("/api/v1/orgs/{}", made.name), version, Json(render(&app, &caller, row))))
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}", tag = "organisations", params(("org" = String, Path)), responses((status = 200, body = Org)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Response> {
    known(&app, &caller, &name)?;
    let row = read(&app, &name).await?;
    Ok(with_etag(row.version, Json(render(&app, &caller, row))))
}

#[utoipa::path(patch, path = "/api/v1/orgs/{org}", tag = "organisations", params(("org" = String, Path), IfMatch), request_body = OrgChange, responses((status = 200, body = Org)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Json(body): Json<OrgChange>,
) -> ApiResult<Response> {
    let org = at(&app, &caller, &name, Role::Admin)?;
    if let Some(display_name) = &body.display_name {
        app.rename_org(org, display_name, expect, caller.meta(None)).await?;
    }
    if let Some(owner) = &body.owner {
        let row = read(&app, &name).await?;
        if caller.user_id() != Some(UserId(row.owner)) {
            app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
        }
        let to = app.find_user(owner).await?.ok_or_else(|| Problem::invalid("owner", "there is no such user"))?;
        app.change_owner(org, UserId(to.id), gantry_es::Meta { command_id: None, ..caller.meta(None) }).await?;
    }
    let row = read(&app, &name).await?;
    Ok(with_etag(row.version, Json(render(&app, &caller, row))))
}

/// Deletes an organisation with everything in it; `confirm` repeats its name.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}", tag = "organisations", params(("org" = String, Path), Confirm, IfMatch), responses((status = 204)))]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Query(query): Query<Confirm>,
) -> ApiResult<StatusCode> {
    let org = crate::api::rest::permitted(&app, &caller, &name, "identity.org-delete")?;
    let name = app.host.auth.org(&name)?.name;
    app.delete_org(org, &name, query.confirm.as_deref(), expect, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn read(app: &App, name: &str) -> ApiResult<org::Model> {
    directory::org(app.orm(), name).await.map_err(fault)?.ok_or_else(|| Problem::not_found("organisation", name))
}

/// The organisation, if the caller may know that it is there. What is missing and what is hidden look alike.
pub(super) fn known(app: &App, caller: &Caller, name: &str) -> ApiResult<OrgId> {
    let org = app.host.auth.org(name)?.id;
    if app.host.auth.read(|rights| rights.may_know(&caller.subject, Scope::Org(org))) { Ok(org) } else { Err(Problem::not_found("organisation", name)) }
}

/// The organisation, if the caller has `role` there.
pub(super) fn at(app: &App, caller: &Caller, name: &str, role: Role) -> ApiResult<OrgId> {
    let org = known(app, caller, name)?;
    app.host.auth.require(caller, role, Scope::Org(org))?;
    Ok(org)
}
