//! Tokens with which a directory provisions an organisation by SCIM.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, created};
use gantry_kernel::{OffsetDateTime, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::permitted;
use crate::app::App;
use crate::app::signin::Origin;
use crate::error::fault;
use crate::store::scim::{self, ScimToken};

const WRITE: &str = "identity.scim-write";

#[derive(Serialize, ToSchema)]
pub struct ProvisioningToken {
    id: Uuid,
    name: String,
    /// Its first letters.
    hint: String,
    created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeProvisioningToken {
    #[serde(flatten)]
    token: ProvisioningToken,
    /// Shown this once.
    secret: String,
    /// What to enter in the directory as the SCIM address.
    base_url: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvisioningToken {
    name: String,
    /// 1 to 730; 365 if not given.
    expires_in_days: Option<u32>,
}

fn render(row: ScimToken) -> ProvisioningToken {
    ProvisioningToken {
        id: row.id,
        name: row.name,
        hint: row.hint,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    }
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/scim-tokens", tag = "provisioning", params(("org" = String, Path)), responses((status = 200, body = Page<ProvisioningToken>)))]
pub async fn list(State(app): State<App>, caller: Caller, Path(org): Path<String>) -> ApiResult<Json<Page<ProvisioningToken>>> {
    let org = permitted(&app, &caller, &org, WRITE)?;
    let rows = scim::tokens(app.pool(), org).await.map_err(fault)?;
    Ok(Json(Page::all(rows.into_iter().map(render).collect())))
}

/// Makes a provisioning token (needs `identity.scim-write`). Who has it can add people to any team of the organisation,
/// so only who has every right there can make one.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/scim-tokens", tag = "provisioning", params(("org" = String, Path)), request_body = NewProvisioningToken,
    responses((status = 201, body = MadeProvisioningToken)))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(name): Path<String>,
    Json(body): Json<NewProvisioningToken>,
) -> ApiResult<Response> {
    let org = permitted(&app, &caller, &name, WRITE)?;
    app.refuse_more_than_own(&caller, gantry_kernel::Role::Admin.into(), gantry_kernel::Scope::Org(org))?;
    let (row, secret) = app.make_scim_token(org, &body.name, body.expires_in_days, &caller.subject, &origin).await?;
    let base_url = format!("{}/scim/v2/orgs/{name}", app.issuer);
    let location = format!("/api/v1/orgs/{name}/scim-tokens/{}", row.id);
    let mut response = created(&location, 1, Json(MadeProvisioningToken { token: render(row), secret, base_url }));
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok(response)
}

#[utoipa::path(delete, path = "/api/v1/orgs/{org}/scim-tokens/{id}", tag = "provisioning", params(("org" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, origin: Origin, Path((org, id)): Path<(String, Uuid)>) -> ApiResult<StatusCode> {
    let org = permitted(&app, &caller, &org, WRITE)?;
    app.revoke_scim_token(org, id, &caller.subject, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
