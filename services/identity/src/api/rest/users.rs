//! Users and the own profile.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Path, created, with_etag};
use gantry_kernel::{Kind, OffsetDateTime, Problem, Role, Scope, Secret, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::{oneself, person};
use crate::app::App;
use crate::app::people::Person;
use crate::app::register::Registered;
use crate::app::signin::Origin;
use crate::app::users::{By, Profile};
use crate::error::fault;
use crate::store::directory;

const WRITE: &str = "identity.users-write";

#[derive(Serialize, ToSchema)]
pub struct User {
    pub id: UserId,
    /// `user:<id>`, as in bindings and audit records.
    pub subject: String,
    pub username: String,
    pub email: String,
    pub display_name: String,
    /// `active` or `suspended`.
    pub state: String,
    pub must_change_password: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl From<Person> for User {
    fn from(person: Person) -> Self {
        Self {
            subject: crate::app::people::subject(person.id),
            id: person.id,
            username: person.username,
            email: person.email,
            display_name: person.display_name,
            state: if person.suspended.is_some() { "suspended".into() } else { "active".into() },
            must_change_password: person.must_change_password,
            created_at: person.created_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    username: String,
    email: String,
    display_name: Option<String>,
    /// Without one the person cannot sign in until an administrator sets it.
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    #[serde(default)]
    must_change_password: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    username: String,
    email: String,
    display_name: Option<String>,
    #[schema(value_type = String)]
    password: Secret,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    email: Option<String>,
    display_name: Option<String>,
    #[schema(value_type = Option<String>)]
    password: Option<Secret>,
    /// Needed to change one's own password.
    #[schema(value_type = Option<String>)]
    current_password: Option<Secret>,
    /// Administrators only.
    suspended: Option<bool>,
    /// Why the user is suspended.
    reason: Option<String>,
}

/// Who I am and what I may do.
#[derive(Serialize, ToSchema)]
pub struct Me {
    #[serde(flatten)]
    user: User,
    /// `platform:admin`, `acme:editor`, `acme/shop:viewer`.
    groups: Vec<String>,
    platform_admin: bool,
}

/// Creates a user (needs `identity.users-write` on the platform).
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUser, responses((status = 201, body = User)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewUser>) -> ApiResult<Response> {
    app.host.auth.permit(&caller, "identity.users-write", Scope::Platform)?;
    let profile = Profile::parse(&body.username, &body.email, body.display_name.as_deref())?;
    let made = app.create_user(&profile, body.password.as_ref(), By::Admin, body.must_change_password, caller.meta(None)).await?;
    Ok(created(&format!("/api/v1/users/{}", made.id), made.version, Json(User::from(made))))
}

/// Registers oneself. 201: active at once; 202: a mail asks to confirm the address first.
#[utoipa::path(post, path = "/api/v1/registrations", tag = "users", request_body = Registration, security(()),
    responses((status = 201, body = User), (status = 202)))]
pub async fn register(State(app): State<App>, origin: Origin, Json(body): Json<Registration>) -> ApiResult<Response> {
    let profile = Profile::parse(&body.username, &body.email, body.display_name.as_deref())?;
    Ok(match app.register(profile, &body.password, &origin).await? {
        Registered::Active(made) => created(&format!("/api/v1/users/{}", made.id), made.version, Json(User::from(*made))),
        Registered::Waiting => (StatusCode::ACCEPTED, Json(serde_json::json!({ "state": "waiting" }))).into_response(),
        Registered::Unconfirmed => (StatusCode::ACCEPTED, Json(serde_json::json!({ "state": "unconfirmed" }))).into_response(),
    })
}

#[utoipa::path(get, path = "/api/v1/me", tag = "users", responses((status = 200, body = Me)))]
pub async fn me(State(app): State<App>, caller: Caller) -> ApiResult<Response> {
    let found = app.active_person(person(&caller)?).await?;
    let groups = app.groups(found.id).await?;
    let version = found.version;
    let platform_admin = app.may(&caller, Role::Admin, Scope::Platform);
    Ok(with_etag(version, Json(Me { user: found.into(), groups, platform_admin })))
}

/// Changes the own profile or password.
#[utoipa::path(patch, path = "/api/v1/me", tag = "users", params(IfMatch), request_body = UserChange, responses((status = 200, body = User)))]
pub async fn change_me(State(app): State<App>, caller: Caller, origin: Origin, expect: IfMatch, Json(body): Json<UserChange>) -> ApiResult<Response> {
    let id = oneself(&caller)?;
    let target = app.active_person(id).await?;
    apply(&app, &caller, &origin, target, expect, body).await
}

#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "users", params(("id" = String, Path, description = "id or user name")), responses((status = 200, body = User)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<Response> {
    let found = visible(&app, &caller, &id).await?;
    Ok(with_etag(found.version, Json(User::from(found))))
}

/// Changes a user: oneself, or any as platform administrator.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "users", params(("id" = String, Path), IfMatch), request_body = UserChange, responses((status = 200, body = User)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    expect: IfMatch,
    Path(id): Path<String>,
    Json(body): Json<UserChange>,
) -> ApiResult<Response> {
    let target = visible(&app, &caller, &id).await?;
    apply(&app, &caller, &origin, target, expect, body).await
}

/// Erases a user for ever: oneself, or any as platform administrator.
#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "users", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let target = visible(&app, &caller, &id).await?;
    if caller.user_id() == Some(target.id) {
        // As on `DELETE /api/v1/me`: a token that was found somewhere must not do it.
        app.prove(oneself(&caller)?, caller.session.as_deref()).await?;
    } else {
        app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
        app.refuse_subject_beyond(&caller, &crate::app::people::subject(target.id))?;
    }
    app.refuse_last_admin(target.id).await?;
    app.erase_user(&target, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The user, if the caller may know of them: oneself, a colleague, or any with a role on the platform.
pub(super) async fn visible(app: &App, caller: &Caller, id_or_name: &str) -> ApiResult<Person> {
    let missing = || Problem::not_found("user", id_or_name);
    let row = app.find_user(id_or_name).await?.ok_or_else(missing)?;
    let id = UserId(row.id);
    if caller.user_id() != Some(id) && app.host.auth.permit(caller, "identity.users-read", Scope::Platform).is_err() {
        let colleagues = directory::colleagues(app.orm(), person(caller)?.0).await.map_err(fault)?;
        if !colleagues.contains(&row.id) {
            return Err(missing());
        }
    }
    app.open(row).await
}

async fn apply(app: &App, caller: &Caller, origin: &Origin, target: Person, IfMatch(expect): IfMatch, body: UserChange) -> ApiResult<Response> {
    let own = caller.user_id() == Some(target.id);
    let admin = app.host.auth.permit(caller, WRITE, Scope::Platform).is_ok();
    if !own && !admin {
        return Err(Problem::forbidden(format_args!("{WRITE} on the platform")));
    }
    if own {
        oneself(caller)?;
    } else {
        // Who sets somebody's password or address can become them.
        app.refuse_subject_beyond(caller, &crate::app::people::subject(target.id))?;
    }
    let meta = caller.meta(None);
    // Only the first change may be under the caller's version and key: the next ones follow from it.
    let (mut expect, mut meta_now) = (expect, meta.clone());
    let mut spend = || {
        let spent = (std::mem::take(&mut expect), meta_now.clone());
        meta_now.command_id = None;
        spent
    };
    if let Some(new) = &body.password {
        if own {
            let current = body.current_password.as_ref().ok_or_else(|| Problem::invalid("current_password", "is needed to change the own password"))?;
            let known = app.verify_password(&target.username, current, origin).await;
            known.map_err(|p| if p.kind == Kind::Unauthenticated { Problem::invalid("current_password", "is wrong") } else { p })?;
        }
        let keep = caller.session.as_deref().and_then(|s| s.parse().ok()).filter(|_| own);
        let (expect, meta) = spend();
        app.change_password(&target, new, !own, keep, expect, meta).await?;
    }
    if body.email.is_some() || body.display_name.is_some() {
        let (expect, meta) = spend();
        app.change_profile(&target, body.email.as_deref(), body.display_name.as_deref(), expect, meta).await?;
    }
    match body.suspended {
        None => {}
        Some(_) if !admin => return Err(Problem::forbidden(format_args!("{WRITE} on the platform"))),
        Some(true) => {
            app.refuse_last_admin(target.id).await?;
            let (expect, meta) = spend();
            app.suspend(target.id, body.reason.as_deref().unwrap_or_default(), expect, meta).await?;
        }
        Some(false) => {
            let (expect, meta) = spend();
            app.resume(target.id, expect, meta).await?;
        }
    }
    let changed = app.person(target.id).await?.ok_or_else(|| Problem::not_found("user", target.id))?;
    Ok(with_etag(changed.version, Json(User::from(changed))))
}
