//! Members of an organisation.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, PageQuery, Path, Query};
use gantry_kernel::{OffsetDateTime, Problem, Role, Scope, UserId, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::doer;
use crate::api::rest::orgs::at;
use crate::app::App;
use crate::app::people::subject;
use crate::error::fault;
use crate::store::directory;

#[derive(Serialize, ToSchema)]
pub struct Member {
    user: UserId,
    username: String,
    display_name: String,
    /// By bindings at the organisation or above.
    role: Option<Role>,
    #[serde(with = "time::serde::rfc3339")]
    added_at: OffsetDateTime,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Membership {
    /// The role at the organisation; `viewer` if not given.
    role: Option<Role>,
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/members", tag = "organisations", params(("org" = String, Path), PageQuery), responses((status = 200, body = Page<Member>)))]
pub async fn list(State(app): State<App>, caller: Caller, Path(name): Path<String>, Query(page): Query<PageQuery>) -> ApiResult<Json<Page<Member>>> {
    let org = at(&app, &caller, &name, Role::Viewer)?;
    let limit = page.limit()?;
    let after = page.cursor.as_deref().map(Uuid::parse_str).transpose().map_err(|_| Problem::invalid("cursor", "must be `next` of a page before"))?;
    let rows = directory::members(app.orm(), org, after, limit + 1).await.map_err(fault)?;
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        let user = UserId(row.user_id);
        let Some(person) = app.person(user).await? else { continue };
        let role = app.host.auth.read(|rights| rights.role(&subject(user), Scope::Org(org)));
        members.push(Member { user, username: person.username, display_name: person.display_name, role, added_at: row.added_at });
    }
    Ok(Json(Page::of(members, limit, |m| m.user.to_string())))
}

/// Makes somebody a member, or changes the member's role.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/members/{user}", tag = "organisations",
    params(("org" = String, Path), ("user" = String, Path, description = "id or user name")), request_body = Membership, responses((status = 204)))]
pub async fn put(State(app): State<App>, caller: Caller, Path((name, user)): Path<(String, String)>, Json(body): Json<Membership>) -> ApiResult<StatusCode> {
    let org = at(&app, &caller, &name, Role::Admin)?;
    let row = app.find_user(&user).await?.ok_or_else(|| Problem::not_found("user", &user))?;
    app.put_member(org, UserId(row.id), body.role.unwrap_or(Role::Viewer), caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a member out, with every role in the organisation. Members may leave by themselves.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/members/{user}", tag = "organisations", params(("org" = String, Path), ("user" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path((name, user)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let org = crate::api::rest::orgs::known(&app, &caller, &name)?;
    let row = app.find_user(&user).await?.ok_or_else(|| Problem::not_found("user", &user))?;
    if caller.user_id() == Some(UserId(row.id)) {
        doer(&caller)?;
    } else {
        app.host.auth.require(&caller, Role::Admin, Scope::Org(org))?;
    }
    if !directory::is_member(app.orm(), org, row.id).await.map_err(fault)? {
        return Err(Problem::not_found("member", &user));
    }
    app.remove_member(org, UserId(row.id), caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}
