//! Sets of configuration documents: `gantry apply --set` keeps here what its documents named, so that `--prune` knows what they name no
//! longer. Whoever administers the organisation (or the platform) keeps its sets.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, with_etag};
use gantry_kernel::{Kind, Name, OffsetDateTime, OrgId, Problem};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::types::Json as Stored;
use utoipa::ToSchema;

use crate::api::rest::clients::OfOrg;
use crate::api::rest::owner;
use crate::app::App;
use crate::app::context::Fact;
use crate::domain::config_set::{self, Item};
use crate::error::fault;
use crate::store::config_sets::{self, SetRow};

#[derive(Serialize, ToSchema)]
pub struct ConfigurationSet {
    name: String,
    /// Whose it is; none: the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    items: Vec<Item>,
    /// As in the ETag.
    version: i64,
    /// Who applied it last.
    changed_by: String,
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationItems {
    /// At most 10,000.
    items: Vec<Item>,
}

fn render(row: SetRow, org: Option<&str>) -> ConfigurationSet {
    let SetRow { name, items, version, changed_by, changed_at, .. } = row;
    ConfigurationSet { name, org: org.map(str::to_owned), items: items.0, version, changed_by, changed_at }
}

fn missing(name: &str) -> Problem {
    Problem::not_found("configuration set", name.chars().take(80).collect::<String>())
}

#[utoipa::path(get, path = "/api/v1/configuration-sets", tag = "configuration", params(OfOrg), responses((status = 200, body = Page<ConfigurationSet>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(of): Query<OfOrg>) -> ApiResult<Json<Page<ConfigurationSet>>> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    let rows = config_sets::list(app.pool(), org).await.map_err(fault)?;
    Ok(Json(Page::all(rows.into_iter().map(|row| render(row, of.org.as_deref())).collect())))
}

#[utoipa::path(get, path = "/api/v1/configuration-sets/{set}", tag = "configuration", params(("set" = String, Path), OfOrg), responses((status = 200, body = ConfigurationSet)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(name): Path<String>, Query(of): Query<OfOrg>) -> ApiResult<Response> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    let row = config_sets::get(app.pool(), org, &name).await.map_err(fault)?.ok_or_else(|| missing(&name))?;
    Ok(with_etag(row.version, Json(render(row, of.org.as_deref()))))
}

/// Keeps what the documents of a set name now. `If-Match` with the version that was read keeps two from overwriting each other.
#[utoipa::path(put, path = "/api/v1/configuration-sets/{set}", tag = "configuration", params(("set" = String, Path), OfOrg, IfMatch), request_body = ConfigurationItems,
    responses((status = 200, body = ConfigurationSet)))]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Query(of): Query<OfOrg>,
    Json(body): Json<ConfigurationItems>,
) -> ApiResult<Response> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    let name = Name::parse(&name).map_err(|error| Problem::invalid("set", error.to_string()))?.to_string();
    config_set::check(&body.items)?;
    let row = SetRow { org: org.map(|o| o.0), name, items: Stored(body.items), version: 0, changed_by: caller.subject.clone(), changed_at: app.now() };
    let stale = || Problem::new(Kind::Stale, "request.stale", "somebody applied this set meanwhile: read it again");
    let kept = config_sets::put(app.pool(), &row, expect).await.map_err(fault)?.ok_or_else(stale)?;
    note(&app, &caller, org, "configuration-set.changed", &kept.name).await;
    Ok(with_etag(kept.version, Json(render(kept, of.org.as_deref()))))
}

/// Forgets a set; what its documents made stays.
#[utoipa::path(delete, path = "/api/v1/configuration-sets/{set}", tag = "configuration", params(("set" = String, Path), OfOrg), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, Path(name): Path<String>, Query(of): Query<OfOrg>) -> ApiResult<StatusCode> {
    let org = owner(&app, &caller, of.org.as_deref())?;
    if !config_sets::delete(app.pool(), org, &name).await.map_err(fault)? {
        return Err(missing(&name));
    }
    note(&app, &caller, org, "configuration-set.deleted", &name).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn note(app: &App, caller: &Caller, org: Option<OrgId>, action: &str, name: &str) {
    let object = org.map_or_else(|| format!("configuration-set:{name}"), |o| format!("configuration-set:{o}/{name}"));
    let from = caller.from.clone().unwrap_or_default();
    app.record(Fact { actor: &caller.subject, action, object: &object, result: "ok", reason: "", from: &from }).await;
}
