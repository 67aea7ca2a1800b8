//! Pull-through caches of a project: set by its administrators, seen by its members.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::registry::flow::Upstream;
use gantry_contract::registry::settings::Change;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query};
use gantry_kernel::{OffsetDateTime, Problem, Role};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::endpoints::{self, Trial};
use super::settings::{change, member};
use super::settings_view::SettingsView;
use crate::app::App;
use crate::domain::settings::Settings;
use crate::domain::settings::flow::joined;
use crate::store::cache;

/// A cache and how its upstream is.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpstreamView {
    pub upstream: Upstream,
    pub has_password: bool,
    /// When it last answered.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ok_at: Option<OffsetDateTime>,
    /// When it last did not.
    #[serde(with = "time::serde::rfc3339::option")]
    pub error_at: Option<OffsetDateTime>,
    /// What is wrong now; null when it answers.
    pub error: Option<String>,
}

/// One tag, or list of referrers, as it was last compared with the upstream.
#[derive(Debug, Serialize, ToSchema)]
pub struct CachedView {
    pub repository: String,
    pub reference: String,
    #[serde(with = "time::serde::rfc3339")]
    pub checked_at: OffsetDateTime,
    /// From when on the upstream is asked again.
    #[serde(with = "time::serde::rfc3339")]
    pub next_at: OffsetDateTime,
    /// Why it is served although the upstream did not confirm it.
    pub error: Option<String>,
}

type Project = Path<(String, String)>;
type Item = Path<(String, String, String)>;

/// The project's pull-through caches.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/upstreams", tag = "registry caches",
    params(("org" = String, Path), ("project" = String, Path)), responses((status = 200, body = Page<UpstreamView>), (status = 404, description = "no such project, or not a member")))]
pub async fn list(State(app): State<App>, caller: Caller, Path((org, name)): Project) -> ApiResult<Json<Page<UpstreamView>>> {
    let project = member(&app, &caller, &org, &name, Role::Viewer)?;
    let (settings, _) = app.settings_now(project.id).await?;
    let mut items = Vec::new();
    for kept in settings.upstreams.into_values() {
        let state = cache::state(&app.host.db().orm, project.id.0, &kept.upstream.name).await.map_err(Problem::internal)?;
        let (ok_at, error_at, error) = (state.ok_at, state.error_at, state.error);
        items.push(UpstreamView { has_password: kept.secret.is_some(), upstream: kept.upstream, ok_at, error_at, error });
    }
    Ok(Json(Page::all(items)))
}

/// Makes repositories of the project a cache of another registry. `password` goes beside the other fields and is never shown again; left
/// out, the one before stays.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/registry/upstreams/{name}", tag = "registry caches",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch), request_body = Upstream,
    responses((status = 200, body = SettingsView), (status = 400), (status = 403, description = "needs admin on the project"), (status = 404), (status = 412)))]
pub async fn set(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch, Json(body): Json<Value>) -> ApiResult<Response> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let before = |settings: &Settings, name: &str| settings.upstreams.get(name).map(|k| (k.upstream.endpoint.clone(), k.secret.clone()));
    let taken = endpoints::taken(&app, &caller, &place, (name, body), "endpoint.allow_private", before, |u: &Upstream| u.endpoint.clone());
    let (upstream, secret) = taken.await?;
    change(&app, &caller, (&org, &project), expect, Change::UpstreamSet { upstream, secret }).await
}

/// Ends a cache. What it took in stays, as ordinary images.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/registry/upstreams/{name}", tag = "registry caches",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), IfMatch),
    responses((status = 200, body = SettingsView), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn remove(State(app): State<App>, caller: Caller, Path((org, project, name)): Item, expect: IfMatch) -> ApiResult<Response> {
    change(&app, &caller, (&org, &project), expect, Change::UpstreamRemoved(name)).await
}

/// Asks the upstream whether it answers and takes the credentials.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/registry/upstreams/{name}/test", tag = "registry caches",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Trial), (status = 403, description = "needs admin on the project"), (status = 404)))]
pub async fn test(State(app): State<App>, caller: Caller, Path((org, project, name)): Item) -> ApiResult<Json<Trial>> {
    let place = member(&app, &caller, &org, &project, Role::Admin)?;
    let (settings, _) = app.settings_now(place.id).await?;
    let kept = settings.upstreams.get(&name).ok_or_else(|| Problem::not_found("upstream", &name))?;
    let remote = app.remote(place.id, &format!("upstream {name}"), &kept.upstream.endpoint, kept.secret.as_ref()).await?;
    Ok(Json(endpoints::tried(&app, remote).await))
}

/// What the cache has, and how it was last compared with the upstream.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/registry/upstreams/{name}/contents", tag = "registry caches",
    params(("org" = String, Path), ("project" = String, Path), ("name" = String, Path), PageQuery),
    responses((status = 200, body = Page<CachedView>), (status = 404)))]
pub async fn contents(
    State(app): State<App>,
    caller: Caller,
    Path((org, project, name)): Item,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<CachedView>>> {
    let place = member(&app, &caller, &org, &project, Role::Viewer)?;
    let (settings, _) = app.settings_now(place.id).await?;
    let kept = settings.upstreams.get(&name).ok_or_else(|| Problem::not_found("upstream", &name))?;
    let prefix = format!("{org}/{project}/{}", if kept.upstream.prefix.is_empty() { String::new() } else { joined(&kept.upstream.prefix, "") });
    let last = page.cursor.as_deref().and_then(|c| c.split_once(' ')).unwrap_or_default();
    let limit = page.limit()?;
    let rows = cache::below(&app.host.db().orm, &prefix, last, limit + 1).await.map_err(Problem::internal)?;
    let items =
        rows.into_iter().map(|r| CachedView { repository: r.repository, reference: r.reference, checked_at: r.checked_at, next_at: r.next_at, error: r.error });
    Ok(Json(Page::of(items.collect(), limit, |i: &CachedView| format!("{} {}", i.repository, i.reference))))
}
