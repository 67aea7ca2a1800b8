//! Upstreams: directories and foreign providers. The platform's are managed by its administrators, an organisation's by
//! the organisation's; what reaches beyond an organisation needs the platform's.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_contract::upstream::Settings;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, created, with_etag};
use gantry_kernel::{OffsetDateTime, OrgId, Problem, Role, Scope, Secret, UpstreamId, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::adapters::ldap;
use crate::api::rest::{orgs, owner};
use crate::app::App;
use crate::app::context::Fact;
use crate::app::signin::Origin;
use crate::app::upstreams::report::Report;
use crate::app::upstreams::sync::Extent;
use crate::app::upstreams::{Upstream as Found, manage};
use crate::error::fault;
use crate::store::upstreams as rows;

#[derive(Serialize, ToSchema)]
pub struct Upstream {
    id: UpstreamId,
    name: String,
    /// Whose it is; none: the platform's.
    org: Option<String>,
    settings: Settings,
    /// Whether a secret is kept; it is never shown.
    has_secret: bool,
    /// As in the ETag.
    version: i64,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpstream {
    /// A DNS label, unique on the platform; it stands in redirect addresses.
    name: String,
    /// Without one it is the platform's.
    org: Option<String>,
    settings: Settings,
    /// The password of the searching account, or the client's secret.
    #[schema(value_type = Option<String>)]
    secret: Option<Secret>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamChange {
    settings: Settings,
    /// Without one the secret stays.
    #[schema(value_type = Option<String>)]
    secret: Option<Secret>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTrial {
    org: Option<String>,
    settings: Settings,
    #[schema(value_type = Option<String>)]
    secret: Option<Secret>,
    /// Somebody to look up.
    username: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lookup {
    /// Somebody to look up.
    username: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Trial {
    ok: bool,
    steps: Vec<TrialStep>,
}

#[derive(Serialize, ToSchema)]
pub struct TrialStep {
    /// `name`, `connect`, `tls`, `bind`, `base`, `filter`, `attributes`, `groups`.
    step: String,
    server: String,
    ok: bool,
    /// What was found, or what to change.
    detail: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewSync {
    /// `changes` if not given; the first one is always `full`.
    extent: Option<Extent>,
}

#[derive(Serialize, ToSchema)]
pub struct Sync {
    id: Uuid,
    /// `full`, `changes`, `interrupted`, `running`.
    extent: String,
    /// `running`, `ok`, `failed`.
    result: String,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    report: Report,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Only this organisation's.
    org: Option<String>,
}

fn render(app: &App, of: Found) -> Upstream {
    let org = of.org.and_then(|org| app.host.auth.read(|rights| rights.org_ref(org).map(|o| o.name.to_string())));
    Upstream {
        id: of.id,
        org,
        has_secret: of.has_secret(),
        version: of.version,
        created_at: of.created_at,
        changed_at: of.changed_at,
        settings: (*of.settings).clone(),
        name: of.name,
    }
}

/// The upstream, if the caller administers where it belongs. What is hidden and what is missing look alike.
async fn managed(app: &App, caller: &Caller, name: &str) -> ApiResult<Found> {
    let found = app.upstream(name).await?.ok_or_else(|| Problem::not_found("upstream", name))?;
    let scope = found.org.map_or(Scope::Platform, Scope::Org);
    if !app.host.auth.read(|rights| rights.may_know(&caller.subject, scope)) {
        return Err(Problem::not_found("upstream", name));
    }
    app.host.auth.require(caller, Role::Admin, scope)?;
    Ok(found)
}

fn unreserved(app: &App, caller: &Caller, org: Option<OrgId>, before: Option<&Settings>, after: &Settings) -> ApiResult<()> {
    if org.is_some() && manage::reserved(before, after) {
        app.host.auth.require(caller, Role::Admin, Scope::Platform).map_err(|_| {
            Problem::forbidden("administrator of the platform, to say which e-mail domains belong to an organisation or to reach private addresses")
        })?;
    }
    Ok(())
}

/// The upstreams that the caller administers.
#[utoipa::path(get, path = "/api/v1/upstreams", tag = "upstreams", params(Of), responses((status = 200, body = Page<Upstream>)))]
pub async fn list(State(app): State<App>, caller: Caller, Query(of): Query<Of>) -> ApiResult<Json<Page<Upstream>>> {
    let only = match &of.org {
        Some(name) => Some(orgs::at(&app, &caller, name, Role::Admin)?),
        None => None,
    };
    if only.is_none() && !app.may(&caller, Role::Admin, Scope::Platform) {
        let mine = app.all_upstreams().await?.into_iter().filter(|u| u.org.is_some_and(|org| app.may(&caller, Role::Admin, Scope::Org(org))));
        let items: Vec<Upstream> = mine.map(|u| render(&app, u)).collect();
        if items.is_empty() {
            app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
        }
        return Ok(Json(Page::all(items)));
    }
    let all = app.all_upstreams().await?.into_iter().filter(|u| only.is_none() || u.org == only);
    Ok(Json(Page::all(all.map(|u| render(&app, u)).collect())))
}

#[utoipa::path(post, path = "/api/v1/upstreams", tag = "upstreams", request_body = NewUpstream, responses((status = 201, body = Upstream)))]
pub async fn create(State(app): State<App>, caller: Caller, Json(body): Json<NewUpstream>) -> ApiResult<Response> {
    let org = owner(&app, &caller, body.org.as_deref())?;
    unreserved(&app, &caller, org, None, &body.settings)?;
    let made = app.create_upstream(&body.name, org, body.settings, body.secret.as_ref(), caller.meta(org)).await?;
    let (at, version) = (format!("/api/v1/upstreams/{}", made.name), made.version);
    Ok(created(&at, version, Json(render(&app, made))))
}

#[utoipa::path(get, path = "/api/v1/upstreams/{name}", tag = "upstreams", params(("name" = String, Path)), responses((status = 200, body = Upstream)))]
pub async fn show(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Response> {
    let found = managed(&app, &caller, &name).await?;
    Ok(with_etag(found.version, Json(render(&app, found))))
}

/// Replaces the settings.
#[utoipa::path(put, path = "/api/v1/upstreams/{name}", tag = "upstreams", params(("name" = String, Path), IfMatch), request_body = UpstreamChange, responses((status = 200, body = Upstream)))]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    IfMatch(expect): IfMatch,
    Path(name): Path<String>,
    Json(body): Json<UpstreamChange>,
) -> ApiResult<Response> {
    let found = managed(&app, &caller, &name).await?;
    unreserved(&app, &caller, found.org, Some(&found.settings), &body.settings)?;
    let changed = app.change_upstream(&found, body.settings, body.secret.as_ref(), expect, caller.meta(found.org)).await?;
    Ok(with_etag(changed.version, Json(render(&app, changed))))
}

/// Deletes it. The people stay; the roles that it gave, and their links to it, go.
#[utoipa::path(delete, path = "/api/v1/upstreams/{name}", tag = "upstreams", params(("name" = String, Path), IfMatch), responses((status = 204)))]
pub async fn delete(State(app): State<App>, caller: Caller, IfMatch(expect): IfMatch, Path(name): Path<String>) -> ApiResult<StatusCode> {
    let found = managed(&app, &caller, &name).await?;
    app.delete_upstream(&found, expect, caller.meta(found.org)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tries settings out without keeping them.
#[utoipa::path(post, path = "/api/v1/upstream-trials", tag = "upstreams", request_body = NewTrial, responses((status = 200, body = Trial)))]
pub async fn try_new(State(app): State<App>, caller: Caller, origin: Origin, Json(body): Json<NewTrial>) -> ApiResult<Json<Trial>> {
    let org = owner(&app, &caller, body.org.as_deref())?;
    unreserved(&app, &caller, org, None, &body.settings)?;
    let steps = app.try_upstream(org, &body.settings, body.secret.unwrap_or_default(), body.username.as_deref()).await?;
    Ok(Json(tried(&app, &caller, &origin, "upstream:new", steps).await))
}

/// Tries the connection out, step by step.
#[utoipa::path(post, path = "/api/v1/upstreams/{name}/trials", tag = "upstreams", params(("name" = String, Path)), request_body = Lookup, responses((status = 200, body = Trial)))]
pub async fn try_kept(State(app): State<App>, caller: Caller, origin: Origin, Path(name): Path<String>, Json(body): Json<Lookup>) -> ApiResult<Json<Trial>> {
    let found = managed(&app, &caller, &name).await?;
    let secret = app.upstream_secret(&found).await?;
    let steps = app.try_upstream(found.org, &found.settings, secret, body.username.as_deref()).await?;
    Ok(Json(tried(&app, &caller, &origin, &found.actor(), steps).await))
}

async fn tried(app: &App, caller: &Caller, origin: &Origin, object: &str, steps: Vec<ldap::Trial>) -> Trial {
    let ok = steps.iter().all(|s| s.ok);
    let result = if ok { "ok" } else { "failed" };
    app.record(Fact { actor: &caller.subject, action: "upstream.tried", object, result, reason: "", from: &origin.address }).await;
    let step = |s: ldap::Trial| TrialStep { step: s.step.name().into(), server: s.server, ok: s.ok, detail: s.detail };
    Trial { ok, steps: steps.into_iter().map(step).collect() }
}

/// Synchronises a directory now; the report is in the list of synchronisations.
#[utoipa::path(post, path = "/api/v1/upstreams/{name}/syncs", tag = "upstreams", params(("name" = String, Path)), request_body = NewSync, responses((status = 202, body = Sync)))]
pub async fn sync(State(app): State<App>, caller: Caller, origin: Origin, Path(name): Path<String>, Json(body): Json<NewSync>) -> ApiResult<Response> {
    let found = managed(&app, &caller, &name).await?;
    let id = app.begin_sync(&found, body.extent).await?;
    app.record(Fact { actor: &caller.subject, action: "upstream.sync-asked", object: &found.actor(), result: "ok", reason: "", from: &origin.address }).await;
    let run = rows::syncs(app.pool(), found.id.0, 50).await.map_err(fault)?.into_iter().find(|r| r.id == id);
    let run = run.map(shown).ok_or_else(|| Problem::not_found("synchronisation", id))?;
    Ok((StatusCode::ACCEPTED, Json(run)).into_response())
}

/// The last synchronisations, newest first.
#[utoipa::path(get, path = "/api/v1/upstreams/{name}/syncs", tag = "upstreams", params(("name" = String, Path)), responses((status = 200, body = Page<Sync>)))]
pub async fn syncs(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<Page<Sync>>> {
    let found = managed(&app, &caller, &name).await?;
    Ok(Json(Page::all(rows::syncs(app.pool(), found.id.0, 50).await.map_err(fault)?.into_iter().map(shown).collect())))
}

fn shown(row: rows::SyncRow) -> Sync {
    Sync {
        id: row.id,
        extent: row.kind,
        result: row.result,
        started_at: row.started_at,
        ended_at: row.ended_at,
        report: serde_json::from_value(row.report).unwrap_or_default(),
    }
}
