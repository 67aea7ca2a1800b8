//! Proof of erasure.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path};
use gantry_kernel::{Problem, Role, Scope, UserId};

use crate::app::App;
use crate::app::context::Fact;
use crate::app::people::subject;
use crate::app::remains::Remains;

/// What still names a person, erased or not: events and rows by id, whether any of their values can be read, and when their key was
/// destroyed. Reads the whole log and every table: for administrators of the platform, now and then.
#[utoipa::path(get, path = "/api/v1/users/{id}/remains", tag = "users",
    params(("id" = String, Path, description = "the id, which stays after erasure; or the user name of somebody who is here")),
    responses((status = 200, body = Remains)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<Json<Remains>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let user = match id.strip_prefix("user:").unwrap_or(&id).parse::<UserId>() {
        Ok(user) => user,
        Err(_) => UserId(app.find_user(&id).await?.ok_or_else(|| Problem::not_found("user", &id))?.id),
    };
    let remains = app.remains(user).await?;
    let (object, from) = (subject(user), caller.from.clone().unwrap_or_default());
    app.record(Fact { actor: &caller.subject, action: "user.remains-read", object: &object, result: "ok", reason: remains.state, from: &from }).await;
    Ok(Json(remains))
}
