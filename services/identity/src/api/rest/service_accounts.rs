//! Service accounts (robots) of an organisation and their keys.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::identity::RepositoryGrant;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, created, with_etag};
use gantry_kernel::{OffsetDateTime, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::{permitted, seen};
use crate::app::App;
use crate::app::signin::Origin;
use crate::error::fault;
use crate::store::groups::{self, RobotRow};
use crate::store::robot_keys::{self, RobotKey};

const WRITE: &str = "identity.robots-write";

#[derive(Serialize, ToSchema)]
pub struct ServiceAccount {
    id: Uuid,
    /// `robot:<id>`, as in bindings and audit records.
    subject: String,
    name: String,
    description: String,
    /// Repositories it may use without a role.
    repositories: Vec<RepositoryGrant>,
    /// `active` or `suspended`.
    state: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewServiceAccount {
    /// A DNS label, unique in the organisation.
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    repositories: Vec<RepositoryGrant>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAccountChange {
    description: Option<String>,
    repositories: Option<Vec<RepositoryGrant>>,
    suspended: Option<bool>,
    /// Why it is suspended.
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Key {
    id: Uuid,
    name: String,
    /// Its first letters.
    hint: String,
    /// `user:<id>`
    created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeKey {
    #[serde(flatten)]
    key: Key,
    /// Shown this once.
    secret: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    #[serde(default)]
    name: String,
    /// 1 to 366; 90 if not given.
    expires_in_days: Option<u32>,
}

fn render(row: RobotRow) -> ServiceAccount {
    ServiceAccount {
        repositories: row.grants(),
        subject: format!("robot:{}", row.id),
        id: row.id,
        name: row.name,
        description: row.description,
        state: if row.suspended_reason.is_some() { "suspended".into() } else { "active".into() },
        created_at: row.created_at,
    }
}

fn render_key(row: RobotKey) -> Key {
    Key {
        id: row.id,
        name: row.name,
        hint: row.hint,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    }
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/service-accounts", tag = "service accounts", params(("org" = String, Path), PageQuery),
    responses((status = 200, body = Page<ServiceAccount>)))]
pub async fn list(State(app): State<App>, caller: Caller, Path(org): Path<String>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<ServiceAccount>>> {
    let org = seen(&app, &caller, &org)?;
    let limit = query.limit()?;
    let rows = groups::robots(app.pool(), org, query.cursor.as_deref(), limit + 1).await.map_err(fault)?;
    Ok(Json(Page::of(rows.into_iter().map(render).collect(), limit, |r: &ServiceAccount| r.name.clone())))
}

/// Creates a service account (needs `identity.robots-write`). Give it roles by bindings, or repositories here.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/service-accounts", tag = "service accounts", params(("org" = String, Path)),
    request_body = NewServiceAccount, responses((status = 201, body = ServiceAccount)))]
pub async fn create(State(app): State<App>, caller: Caller, Path(name): Path<String>, Json(body): Json<NewServiceAccount>) -> ApiResult<Response> {
    let org = permitted(&app, &caller, &name, WRITE)?;
    app.refuse_repositories_beyond(&caller, &body.repositories)?;
    let (made, version) = app.create_robot(org, &body.name, &body.description, body.repositories, caller.meta(Some(org))).await?;
    let row = app.find_robot(org, made.name.as_str()).await?;
    Ok(created(&format!("/api/v1/orgs/{name}/service-accounts/{}", made.name), version, Json(render(row))))
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/service-accounts/{name}", tag = "service accounts", params(("org" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ServiceAccount)))]
pub async fn show(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Response> {
    let org = seen(&app, &caller, &org)?;
    let row = app.find_robot(org, &name).await?;
    Ok(with_etag(row.version, Json(render(row))))
}

#[utoipa::path(patch, path = "/api/v1/orgs/{org}/service-accounts/{name}", tag = "service accounts", params(("org" = String, Path), ("name" = String, Path), IfMatch),
    request_body = ServiceAccountChange, responses((status = 200, body = ServiceAccount)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path((org, name)): Path<(String, String)>,
    Json(body): Json<ServiceAccountChange>,
) -> ApiResult<Response> {
    let org = permitted(&app, &caller, &org, WRITE)?;
    let row = app.find_robot(org, &name).await?;
    let mut expect = expect;
    let meta = gantry_es::Meta { command_id: None, ..caller.meta(Some(org)) };
    if let Some(repositories) = &body.repositories {
        app.refuse_repositories_beyond(&caller, repositories)?;
    }
    if body.description.is_some() || body.repositories.is_some() {
        app.change_robot(&row, body.description, body.repositories, std::mem::take(&mut expect), meta.clone()).await?;
    }
    if let Some(suspended) = body.suspended {
        app.suspend_robot(&row, suspended, body.reason.as_deref().unwrap_or_default(), expect, meta).await?;
    }
    let row = app.find_robot(org, &name).await?;
    Ok(with_etag(row.version, Json(render(row))))
}

/// Deletes a service account with its roles and keys.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/service-accounts/{name}", tag = "service accounts", params(("org" = String, Path), ("name" = String, Path)),
    responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let org = permitted(&app, &caller, &org, WRITE)?;
    let row = app.find_robot(org, &name).await?;
    app.delete_robot(&row, caller.meta(Some(org))).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/api/v1/orgs/{org}/service-accounts/{name}/keys", tag = "service accounts", params(("org" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Page<Key>)))]
pub async fn keys(State(app): State<App>, caller: Caller, Path((org, name)): Path<(String, String)>) -> ApiResult<Json<Page<Key>>> {
    let org = permitted(&app, &caller, &org, WRITE)?;
    let row = app.find_robot(org, &name).await?;
    let keys = robot_keys::of_robot(app.pool(), row.id).await.map_err(fault)?;
    Ok(Json(Page::all(keys.into_iter().map(render_key).collect())))
}

/// Makes a key. Two may live at once, so that a new one can take over before the old one is revoked. Who makes a key
/// can act as the account, so they need all of its rights.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/service-accounts/{name}/keys", tag = "service accounts", params(("org" = String, Path), ("name" = String, Path)),
    request_body = NewKey, responses((status = 201, body = MadeKey)))]
pub async fn create_key(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path((org_name, name)): Path<(String, String)>,
    Json(body): Json<NewKey>,
) -> ApiResult<Response> {
    let org = permitted(&app, &caller, &org_name, WRITE)?;
    let row = app.find_robot(org, &name).await?;
    app.refuse_subject_beyond(&caller, &format!("robot:{}", row.id))?;
    let (key, secret) = app.make_robot_key(&row, &body.name, body.expires_in_days, &caller.subject, &origin).await?;
    let location = format!("/api/v1/orgs/{org_name}/service-accounts/{name}/keys/{}", key.id);
    let mut response = created(&location, 1, Json(MadeKey { key: render_key(key), secret }));
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok(response)
}

#[utoipa::path(delete, path = "/api/v1/orgs/{org}/service-accounts/{name}/keys/{id}", tag = "service accounts",
    params(("org" = String, Path), ("name" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub async fn delete_key(State(app): State<App>, caller: Caller, origin: Origin, Path((org, name, id)): Path<(String, String, Uuid)>) -> ApiResult<StatusCode> {
    let org = permitted(&app, &caller, &org, WRITE)?;
    let row = app.find_robot(org, &name).await?;
    app.revoke_robot_key(&row, id, &caller.subject, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
