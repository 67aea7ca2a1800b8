//! OAuth clients: those of the platform for its administrators, those of an organisation for its own.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::identity::ClientSettings;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, created, with_etag};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Role, Scope, Uuid};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::owner;
use crate::app::App;
use crate::app::context::Fact;
use crate::app::secrets::{fresh, kept};
use crate::error::fault;
use crate::store::clients::{self, ClientRow};
use crate::store::registration_tokens::{self, InitialToken};

#[derive(Serialize, ToSchema)]
pub struct Client {
    id: String,
    /// Its organisation's name; none: the platform's.
    org: Option<String>,
    settings: ClientSettings,
    secrets: Vec<Secret>,
    /// It registered itself (RFC 7591).
    dynamic: bool,
    /// The subject of its own tokens; roles can be bound to it.
    robot: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
}

#[derive(Serialize, ToSchema)]
pub struct Secret {
    id: String,
    /// Its first letters.
    hint: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeClient {
    #[serde(flatten)]
    client: Client,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeSecret {
    id: String,
    /// Shown this once; not at all when the request was repeated.
    secret: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// 1 to 64 letters, digits, `.`, `_`, `-`; made if not given. Never used again, even when the client is deleted.
    id: Option<String>,
    /// The organisation it belongs to; none: the platform.
    org: Option<String>,
    settings: ClientSettings,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// 1 to 3660; without it the secret does not expire.
    expires_in_days: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfOrg {
    /// Only those of this organisation. Without it: all, for administrators of the platform.
    pub(super) org: Option<String>,
}

fn render(app: &App, row: ClientRow) -> Client {
    let org = row.org.map(OrgId).and_then(|id| app.host.auth.read(|rights| rights.org_ref(id).map(|o| o.name.to_string())));
    let at = |unix: i64| OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let robot = format!("robot:{}", crate::app::clients::Client::from(row.clone()).robot());
    let secrets = row.secrets.0.into_iter().map(|s| Secret { id: s.id, hint: s.hint, created_at: at(s.created_at), expires_at: s.expires_at.map(at) });
    Client {
        id: row.id,
        org,
        settings: row.settings.0,
        secrets: secrets.collect(),
        dynamic: row.dynamic,
        robot,
        created_at: row.created_at,
        changed_at: row.changed_at,
    }
}

/// Clients, by id.
#[utoipa::path(get, path = "/api/v1/clients", tag = "clients", params(PageQuery, OfOrg), responses((status = 200, body = Page<Client>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(page): Query<PageQuery>, Query(of): Query<OfOrg>) -> ApiResult<Json<Page<Client>>> {
    let limit = page.limit()?;
    let org = owner(&app, &caller, of.org.as_deref())?;
    let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let rows = clients::list(app.pool(), org, page.cursor.as_deref(), wanted).await.map_err(fault)?;
    Ok(Json(Page::of(rows.into_iter().map(|row| render(&app, row)).collect(), limit, |c: &Client| c.id.clone())))
}

/// Registers a client. Its secret, if it authenticates by one, is in the answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/clients", tag = "clients", request_body = NewClient, responses((status = 201, body = MadeClient)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewClient>) -> ApiResult<Response> {
    let org = owner(&app, &caller, body.org.as_deref())?;
    let made = app.register_client(body.id.as_deref(), org, body.settings, false, caller.meta(org)).await?;
    let row = read(&app, &made.client.id).await?;
    let location = format!("/api/v1/clients/{}", row.id);
    Ok(secret(created(&location, made.version, Json(MadeClient { client: render(&app, row), secret: made.secret }))))
}

#[utoipa::path(get, path = "/api/v1/clients/{client}", tag = "clients", params(("client" = String, Path)), responses((status = 200, body = Client)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<Response> {
    let row = at(&app, &caller, &id).await?;
    Ok(with_etag(row.version, Json(render(&app, row))))
}

/// Replaces all settings.
#[utoipa::path(put, path = "/api/v1/clients/{client}", tag = "clients", params(("client" = String, Path), IfMatch), request_body = ClientSettings, responses((status = 200, body = Client)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(id): Path<String>,
    Json(settings): Json<ClientSettings>,
) -> ApiResult<Response> {
    let row = at(&app, &caller, &id).await?;
    let org = row.org.map(OrgId);
    app.change_client(&id, org, settings, expect, caller.meta(org)).await?;
    let row = read(&app, &id).await?;
    Ok(with_etag(row.version, Json(render(&app, row))))
}

/// Deletes a client; all it was given stops working.
#[utoipa::path(delete, path = "/api/v1/clients/{client}", tag = "clients", params(("client" = String, Path), IfMatch), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, IfMatch(expect): IfMatch, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let row = at(&app, &caller, &id).await?;
    let org = row.org.map(OrgId);
    app.delete_client(&id, org, expect, caller.meta(org)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a second secret, so that the first can be replaced without a gap.
#[utoipa::path(post, path = "/api/v1/clients/{client}/secrets", tag = "clients", params(("client" = String, Path)), request_body = NewSecret, responses((status = 201, body = MadeSecret)))]
pub async fn add_secret(State(app): State<App>, caller: Caller, Path(id): Path<String>, Json(body): Json<NewSecret>) -> ApiResult<Response> {
    let org = at(&app, &caller, &id).await?.org.map(OrgId);
    let (made, secret_id) = app.add_client_secret(&id, org, body.expires_in_days, caller.meta(org)).await?;
    let location = format!("/api/v1/clients/{id}/secrets/{secret_id}");
    Ok(secret(created(&location, made.version, Json(MadeSecret { id: secret_id, secret: made.secret }))))
}

#[utoipa::path(delete, path = "/api/v1/clients/{client}/secrets/{secret}", tag = "clients", params(("client" = String, Path), ("secret" = String, Path)), responses((status = 204)))]
pub async fn remove_secret(State(app): State<App>, caller: Caller, Path((id, secret)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let org = at(&app, &caller, &id).await?.org.map(OrgId);
    app.remove_client_secret(&id, org, &secret, caller.meta(org)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
pub struct RegistrationToken {
    id: Uuid,
    uses_left: i32,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// Shown when it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistrationToken {
    /// Clients registered with it belong to this organisation; none: the platform.
    org: Option<String>,
    /// 1 to 1000; 1 if not given.
    uses: Option<i32>,
    /// 1 to 720; 24 if not given.
    expires_in_hours: Option<i64>,
}

impl From<InitialToken> for RegistrationToken {
    fn from(row: InitialToken) -> Self {
        Self { id: row.id, uses_left: row.uses_left, created_at: row.created_at, expires_at: row.expires_at, token: None }
    }
}

/// Tokens with which clients may register themselves (RFC 7591).
#[utoipa::path(get, path = "/api/v1/client-registration-tokens", tag = "clients", params(OfOrg), responses((status = 200, body = Page<RegistrationToken>)))]
pub async fn list_tokens(State(app): State<App>, caller: Caller, Query(of): Query<OfOrg>) -> ApiResult<Json<Page<RegistrationToken>>> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    let rows = registration_tokens::list(app.pool(), org, app.now()).await.map_err(fault)?;
    Ok(Json(Page::all(rows.into_iter().map(Into::into).collect())))
}

#[utoipa::path(post, path = "/api/v1/client-registration-tokens", tag = "clients", request_body = NewRegistrationToken, responses((status = 201, body = RegistrationToken)))]
pub async fn create_token(State(app): State<App>, caller: Caller, Json(body): Json<NewRegistrationToken>) -> ApiResult<Response> {
    let org = owner(&app, &caller, body.org.as_deref())?;
    let (uses, hours) = (body.uses.unwrap_or(1), body.expires_in_hours.unwrap_or(24));
    if !(1..=1_000).contains(&uses) {
        return Err(Problem::invalid("uses", "must be 1 to 1000"));
    }
    if !(1..=720).contains(&hours) {
        return Err(Problem::invalid("expires_in_hours", "must be 1 to 720"));
    }
    let (text, now) = (fresh(&app.host.env, "git_"), app.now());
    let row = InitialToken {
        id: app.host.env.uuid(),
        org: org.map(|o| o.0),
        created_by: caller.subject.clone(),
        created_at: now,
        expires_at: now + Duration::hours(hours),
        uses_left: uses,
    };
    registration_tokens::insert(app.pool(), &row, &kept(&text)).await.map_err(fault)?;
    let object = format!("registration-token:{}", row.id);
    let from = caller.from.clone().unwrap_or_default();
    app.record(Fact { actor: &caller.subject, action: "registration-token.created", object: &object, result: "ok", reason: "", from: &from }).await;
    let location = format!("/api/v1/client-registration-tokens/{}", row.id);
    Ok(secret(created(&location, 1, Json(RegistrationToken { token: Some(text), ..row.into() }))))
}

#[utoipa::path(delete, path = "/api/v1/client-registration-tokens/{id}", tag = "clients", params(("id" = String, Path), OfOrg), responses((status = 204)))]
pub async fn delete_token(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>, Query(of): Query<OfOrg>) -> ApiResult<StatusCode> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    if registration_tokens::delete(app.pool(), id, org).await.map_err(fault)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("registration token", id))
    }
}

/// The client, if the caller administers whom it belongs to. What is missing and what is hidden look alike.
async fn at(app: &App, caller: &Caller, id: &str) -> ApiResult<ClientRow> {
    let hidden = || Problem::not_found("client", id.chars().take(80).collect::<String>());
    let row = clients::get(app.pool(), id).await.map_err(fault)?;
    let scope = row.as_ref().map_or(Scope::Platform, |r| r.org.map_or(Scope::Platform, |o| Scope::Org(OrgId(o))));
    match (app.host.auth.require(caller, Role::Admin, scope), row) {
        (Ok(()), Some(row)) => Ok(row),
        (Ok(()), None) | (Err(_), _) => Err(hidden()),
    }
}

async fn read(app: &App, id: &str) -> ApiResult<ClientRow> {
    clients::get(app.pool(), id).await.map_err(fault)?.ok_or_else(|| Problem::not_found("client", id))
}

/// Nothing on the way may keep an answer with a secret in it.
fn secret(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
