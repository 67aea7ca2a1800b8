//! The keys that sign tokens: what there is, and a new one by hand.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page};
use gantry_kernel::{OffsetDateTime, Problem, Role, Scope};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::ToSchema;

use crate::app::App;
use crate::app::context::Fact;
use crate::domain::signing::Algorithm;
use crate::error::fault;

#[derive(Serialize, ToSchema)]
pub struct SigningKey {
    kid: String,
    /// ES256, EdDSA or RS256.
    alg: String,
    /// `coming`, `signing` or `verifying`.
    state: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// From when it signs.
    #[serde(with = "time::serde::rfc3339")]
    active_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// ES256, EdDSA or RS256.
    alg: String,
    /// It is published at once and signs after this many seconds, 60 to 86400; 600 if not given, so that everybody who keeps
    /// the key set for a while has it by then.
    after_seconds: Option<u32>,
    /// The earlier keys are in somebody's hands: the new one signs at once and nothing they signed counts any more.
    #[serde(default)]
    compromised: bool,
}

#[utoipa::path(get, path = "/api/v1/signing-keys", tag = "keys", responses((status = 200, body = Page<SigningKey>)))]
pub async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<SigningKey>>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let rows = app.keys.list().await.map_err(fault)?;
    let render = |(row, state): (crate::store::keys::SigningKeyRow, &str)| SigningKey {
        kid: row.kid,
        alg: row.alg,
        state: state.to_owned(),
        created_at: row.created_at,
        active_at: row.active_at,
    };
    Ok(Json(Page::all(rows.into_iter().map(render).collect())))
}

/// Makes a new key now instead of when the schedule says.
#[utoipa::path(post, path = "/api/v1/signing-keys", tag = "keys", request_body = Rotation, responses((status = 201, body = SigningKey)))]
pub async fn rotate(State(app): State<App>, caller: Caller, Json(body): Json<Rotation>) -> ApiResult<(StatusCode, Json<SigningKey>)> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let algorithm = Algorithm::parse(&body.alg).ok_or_else(|| Problem::invalid("alg", "must be ES256, EdDSA or RS256"))?;
    let after = body.after_seconds.unwrap_or(600);
    if !(60..=86_400).contains(&after) {
        return Err(Problem::invalid("after_seconds", "must be 60 to 86400"));
    }
    let kid = app.keys.rotate(algorithm, Duration::seconds(after.into()), body.compromised).await.map_err(fault)?;
    crate::flows::rotation::publish(&app);
    let (object, from) = (format!("signing-key:{kid}"), caller.from.clone().unwrap_or_default());
    let reason = if body.compromised { "the earlier keys are compromised" } else { "by hand" };
    app.record(Fact { actor: &caller.subject, action: "signing-key.made", object: &object, result: "ok", reason, from: &from }).await;
    let made = app.keys.list().await.map_err(fault)?.into_iter().find(|(row, _)| row.kid == kid);
    let (row, state) = made.ok_or_else(|| Problem::not_found("signing key", &kid))?;
    let key = SigningKey { kid: row.kid, alg: row.alg, state: state.to_owned(), created_at: row.created_at, active_at: row.active_at };
    Ok((StatusCode::CREATED, Json(key)))
}
