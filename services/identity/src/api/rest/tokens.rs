//! Personal access tokens.

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, created};
use gantry_kernel::{OffsetDateTime, Problem, UserId, Uuid};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::origin::basic;
use crate::api::rest::{doer, oneself, person};
use crate::app::App;
use crate::app::signin::Origin;
use crate::error::fault;
use crate::store::personal::{self, PersonalToken};

#[derive(Serialize, ToSchema)]
pub struct Token {
    id: Uuid,
    name: String,
    /// Its first letters.
    hint: String,
    scope: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    #[serde(flatten)]
    token: Token,
    /// Shown this once.
    secret: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    name: String,
    /// `api` (everything you may do), `api:read`, `registry:pull`, `registry:push`; `api` if not given.
    #[serde(default)]
    scopes: Vec<String>,
    /// 1 to 366; 90 if not given.
    expires_in_days: Option<u32>,
}

impl From<PersonalToken> for Token {
    fn from(row: PersonalToken) -> Self {
        Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scope: row.scope,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// The person who makes a token: by bearer token, or by name and password, so that a script can start from those.
pub struct Maker(UserId);

impl FromRequestParts<App> for Maker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some((name, password)) = basic(&parts.headers) {
            let Ok(origin) = Origin::from_request_parts(parts, app).await;
            return Ok(Self(app.verify_basic(&name, &password, &origin).await?.id));
        }
        let caller = Caller::from_parts(parts).await?;
        oneself(&caller).map(Self)
    }
}

#[utoipa::path(get, path = "/api/v1/tokens", tag = "sessions", responses((status = 200, body = Page<Token>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<Token>>> {
    let rows = personal::of_user(app.pool(), person(&caller)?).await.map_err(fault)?;
    Ok(Json(Page::all(rows.into_iter().map(Token::from).collect())))
}

/// Makes a token that stands for the person wherever a password does (`docker login`, git), and that `/oauth2/token`
/// exchanges for an access token. Also with HTTP Basic authentication.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "sessions", request_body = NewToken, responses((status = 201, body = MadeToken)))]
pub async fn create(State(app): State<App>, Maker(user): Maker, origin: Origin, Json(body): Json<NewToken>) -> ApiResult<Response> {
    let (row, secret) = app.make_personal(user, &body.name, &body.scopes, body.expires_in_days, &origin).await?;
    let location = format!("/api/v1/tokens/{}", row.id);
    let mut response = created(&location, 1, Json(MadeToken { token: row.into(), secret }));
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok(response)
}

#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "sessions", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, origin: Origin, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.revoke_personal(doer(&caller)?, id, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
