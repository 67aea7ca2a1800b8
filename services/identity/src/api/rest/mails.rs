//! Whether mail gets out: for operators.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json};
use gantry_kernel::{OffsetDateTime, Role, Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::mailing::{FORGOTTEN, MAIL};
use crate::error::fault;
use crate::store::mails;

#[derive(Serialize, ToSchema)]
pub struct MailState {
    /// Whether there is a mail server at all (`identity.smtp`).
    configured: bool,
    /// Mails that are written and not sent yet; each is tried for a day.
    waiting: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    next_try_at: Option<OffsetDateTime>,
    /// Of the one that was tried most often; above 1 the mail server refused or was away.
    tries: i32,
    /// What the last try of that one met with.
    fault: Option<String>,
}

/// How many mails wait, and why (administrators of the platform).
#[utoipa::path(get, path = "/api/v1/mails", tag = "mails", responses((status = 200, body = MailState)))]
pub async fn state(State(app): State<App>, caller: Caller) -> ApiResult<Json<MailState>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let mails::Waiting { waiting, next_try_at, tries, fault: met } = mails::waiting(app.pool(), &[MAIL, FORGOTTEN]).await.map_err(fault)?;
    Ok(Json(MailState { configured: app.mailer.is_some(), waiting, next_try_at, tries, fault: met }))
}
