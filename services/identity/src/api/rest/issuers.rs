//! Outside issuers whose tokens programs may exchange for ours (RFC 8693): CI systems, Kubernetes, SPIFFE.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, Query, created};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Role, Scope, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::clients::OfOrg;
use crate::api::rest::owner;
use crate::app::App;
use crate::app::context::Fact;
use crate::domain::outsider::TrustedIssuer;
use crate::error::fault;
use crate::store::issuers::{self, IssuerRow};

#[derive(Serialize, ToSchema)]
pub struct Issuer {
    id: Uuid,
    name: String,
    settings: TrustedIssuer,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIssuer {
    name: String,
    /// Whose robots its tokens can become; none: the platform's.
    org: Option<String>,
    settings: TrustedIssuer,
}

impl From<IssuerRow> for Issuer {
    fn from(row: IssuerRow) -> Self {
        Self { id: row.id, name: row.name, settings: row.settings.0, created_at: row.created_at }
    }
}

#[utoipa::path(get, path = "/api/v1/trusted-issuers", tag = "clients", params(OfOrg), responses((status = 200, body = Page<Issuer>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(of): Query<OfOrg>) -> ApiResult<Json<Page<Issuer>>> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    let rows = issuers::list(app.pool(), org).await.map_err(fault)?;
    Ok(Json(Page::all(rows.into_iter().map(Into::into).collect())))
}

/// Trusts an issuer; its rules say which program is which client's robot.
#[utoipa::path(post, path = "/api/v1/trusted-issuers", tag = "clients", request_body = NewIssuer, responses((status = 201, body = Issuer)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewIssuer>) -> ApiResult<Response> {
    let org = owner(&app, &caller, body.org.as_deref())?;
    let row = app.trust_issuer(org, &body.name, body.settings).await?;
    note(&app, &caller, "issuer.trusted", &row).await;
    Ok(created(&format!("/api/v1/trusted-issuers/{}", row.id), 1, Json(Issuer::from(row))))
}

#[utoipa::path(delete, path = "/api/v1/trusted-issuers/{id}", tag = "clients", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    let row = issuers::get(app.pool(), id).await.map_err(fault)?;
    let scope = row.as_ref().map_or(Scope::Platform, |r| r.org.map_or(Scope::Platform, |o| Scope::Org(OrgId(o))));
    let row = match (app.host.auth.require(&caller, Role::Admin, scope), row) {
        (Ok(()), Some(row)) => row,
        _ => return Err(Problem::not_found("trusted issuer", id)),
    };
    issuers::delete(app.pool(), id).await.map_err(fault)?;
    note(&app, &caller, "issuer.distrusted", &row).await;
    Ok(StatusCode::NO_CONTENT)
}

/// What it was stands in the record.
async fn note(app: &App, caller: &Caller, action: &str, row: &IssuerRow) {
    let (object, from) = (format!("issuer:{}", row.name), caller.from.clone().unwrap_or_default());
    let reason = serde_json::to_string(&row.settings.0).unwrap_or_default();
    app.record(Fact { actor: &caller.subject, action, object: &object, result: "ok", reason: &reason, from: &from }).await;
}
