//! Invitations into organisations.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, created};
use gantry_kernel::{OffsetDateTime, Role, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::orgs;
use crate::app::App;
use crate::error::fault;
use crate::store::links;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    email: String,
    /// The role at the organisation; `viewer` if not given.
    role: Option<Role>,
    /// 1 to 30; 7 if not given.
    expires_in_days: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct Invitation {
    id: Uuid,
    email: String,
    role: String,
    invited_by: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// The address to open; shown this once, and mailed if there is a mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

fn render(it: links::Invitation, email: String, link: Option<String>) -> Invitation {
    Invitation { id: it.id, email, role: it.role, invited_by: it.invited_by, created_at: it.created_at, expires_at: it.expires_at, link }
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/invitations", tag = "organisations", params(("org" = String, Path)), responses((status = 200, body = Page<Invitation>)))]
pub async fn list(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<Page<Invitation>>> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let mut all = Vec::new();
    for it in links::invitations(app.pool(), org.0, app.now()).await.map_err(fault)? {
        let email = app.invited_email(&it).await?;
        all.push(render(it, email, None));
    }
    Ok(Json(Page::all(all)))
}

/// Invites somebody by e-mail address. The link works once, also where registration is closed.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/invitations", tag = "organisations", params(("org" = String, Path)), request_body = NewInvitation,
    responses((status = 201, body = Invitation)))]
pub async fn create(State(app): State<App>, caller: Caller, Path(name): Path<String>, Json(body): Json<NewInvitation>) -> ApiResult<Response> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let days = body.expires_in_days.unwrap_or(7);
    let (made, link) = app.invite(org, &name, &body.email, body.role.unwrap_or(Role::Viewer), days, &caller.meta(Some(org))).await?;
    let location = format!("/api/v1/orgs/{name}/invitations/{}", made.id);
    Ok(created(&location, 1, Json(render(made, body.email, Some(link)))))
}

#[utoipa::path(delete, path = "/api/v1/orgs/{org}/invitations/{id}", tag = "organisations", params(("org" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path((name, id)): Path<(String, Uuid)>) -> ApiResult<StatusCode> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    app.withdraw_invitation(org, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
