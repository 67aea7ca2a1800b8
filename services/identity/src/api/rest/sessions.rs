//! Browser sessions: the own ones, and for those who look after users somebody else's.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path};
use gantry_kernel::{OffsetDateTime, Problem, Scope, UserId, Uuid};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::rest::users::visible;
use crate::api::rest::{doer, person};
use crate::app::App;
use crate::app::people::subject;
use crate::app::signin::Origin;
use crate::error::fault;
use crate::store::sessions;

const WRITE: &str = "identity.users-write";

#[derive(Serialize, ToSchema)]
pub struct Session {
    id: Uuid,
    /// Whether the caller's token came from it.
    current: bool,
    from: String,
    user_agent: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", responses((status = 200, body = Page<Session>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<Session>>> {
    Ok(Json(sessions_of(&app, &caller, person(&caller)?).await?))
}

async fn sessions_of(app: &App, caller: &Caller, user: UserId) -> ApiResult<Page<Session>> {
    let rows = sessions::of_user(app.pool(), user, app.now()).await.map_err(fault)?;
    let render = |row: sessions::Session| Session {
        current: caller.session.as_deref() == Some(row.id.to_string().as_str()),
        id: row.id,
        from: row.from_addr,
        user_agent: row.user_agent,
        created_at: row.created_at,
        last_seen_at: row.last_seen_at,
        expires_at: row.expires_at,
    };
    Ok(Page::all(rows.into_iter().map(render).collect()))
}

/// Ends one of the own sessions with the tokens that came from it.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, origin: Origin, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    let me = doer(&caller)?;
    if app.end_session(me, id, &subject(me), &origin.address).await? { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("session", id)) }
}

/// Ends all own sessions but the one the caller's token came from.
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "sessions", responses((status = 204)))]
pub async fn delete_all(State(app): State<App>, caller: Caller) -> ApiResult<StatusCode> {
    let keep = caller.session.as_deref().and_then(|s| s.parse().ok());
    app.end_sessions(doer(&caller)?, keep, "ended by the person").await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where somebody is signed in (needs `identity.users-write` on the platform).
#[utoipa::path(get, path = "/api/v1/users/{id}/sessions", tag = "sessions", params(("id" = String, Path)), responses((status = 200, body = Page<Session>)))]
pub async fn of_user(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<Json<Page<Session>>> {
    app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
    let user = visible(&app, &caller, &id).await?.id;
    Ok(Json(sessions_of(&app, &caller, user).await?))
}

/// Ends a session of somebody with the tokens that came from it (needs `identity.users-write` and all rights of the person).
#[utoipa::path(delete, path = "/api/v1/users/{id}/sessions/{session}", tag = "sessions", params(("id" = String, Path), ("session" = String, Path)),
    responses((status = 204)))]
pub async fn delete_of_user(State(app): State<App>, caller: Caller, origin: Origin, Path((id, session)): Path<(String, Uuid)>) -> ApiResult<StatusCode> {
    app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
    let user = visible(&app, &caller, &id).await?.id;
    app.refuse_subject_beyond(&caller, &subject(user))?;
    if app.end_session(user, session, &caller.subject, &origin.address).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("session", session))
    }
}
