//! Reading applications, and deploying them.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::{Caller, SpaceRef};
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, WatchQuery, created, watch_list, with_etag};
use gantry_kernel::{Name, Problem, Role};
use serde::Deserialize;

use crate::app::deploy::{Deploy, Deployed};
use crate::app::documents::{self, Source};
use crate::app::view::{AppBody, InstanceBody, RevisionBody, WhyBody};
use crate::app::{Scheduler, change, deploy as deploying, view};

#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SpacePath {
    pub org: String,
    pub project: String,
    pub space: String,
}

#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AppPath {
    pub org: String,
    pub project: String,
    pub space: String,
    pub app: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployBody {
    /// A DNS label, unique in the space.
    name: String,
    /// compose | kubernetes | gantry
    #[serde(default = "compose")]
    format: String,
    document: String,
    /// Documents that are laid over the first one, in this order.
    #[serde(default)]
    overrides: Vec<String>,
    /// Files that lie beside the document, by their path from its folder.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Files that are no text, as base64.
    #[serde(default)]
    binary_files: BTreeMap<String, String>,
    /// Values for `${...}` in the document.
    #[serde(default)]
    values: BTreeMap<String, String>,
    /// Images for services that are built elsewhere, by service.
    #[serde(default)]
    images: BTreeMap<String, String>,
    /// Which optional parts are wanted.
    #[serde(default)]
    profiles: BTreeSet<String>,
    /// Go on without what the platform, or the engine here, does not do instead of refusing the document.
    #[serde(default)]
    allow_unsupported: bool,
    /// Accept it although the quota is full for now, and put it to work when there is room.
    #[serde(default)]
    queue: bool,
    #[serde(default)]
    reason: String,
}

pub fn compose() -> String {
    "compose".into()
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DryRun {
    /// Only say what would happen.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// The space, if the caller may read there.
pub fn readable(s: &Scheduler, caller: &Caller, org: &str, project: &str, space: &str) -> ApiResult<SpaceRef> {
    let found = s.host.auth.space(org, project, space)?;
    // Who may not read there learns the same as if it were not there.
    s.host.auth.require(caller, Role::Viewer, found.scope()).map_err(|problem| match problem.kind {
        gantry_kernel::Kind::NotFound => Problem::not_found("space", format_args!("{org}/{project}/{space}")),
        _ => problem,
    })?;
    Ok(found)
}

/// Applications of a space, by name.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps", tag = "applications", params(SpacePath, PageQuery), responses((status = 200, body = Page<AppBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>, Query(page): Query<PageQuery>) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let limit = page.limit()?;
    if page.watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller, at) = (s.clone(), caller.clone(), at.clone());
            async move {
                let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
                view::list(&s, &space, None, limit).await.map(Page::all)
            }
        }));
    }
    let apps = view::list(&s, &space, page.cursor.as_deref(), limit + 1).await?;
    Ok(Json(Page::of(apps, limit, |app| app.name.clone())).into_response())
}

/// Deploys a document: creates the application or brings its next revision.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps", tag = "applications", params(SpacePath, DryRun, IfMatch), request_body = DeployBody,
    responses((status = 201, body = Deployed), (status = 200, description = "A dry run, or nothing to change", body = Deployed)))]
pub async fn deploy(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<SpacePath>,
    Query(query): Query<DryRun>,
    IfMatch(expect): IfMatch,
    Json(body): Json<DeployBody>,
) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let name = Name::parse(&body.name).map_err(|e| Problem::invalid("name", e.to_string()))?;
    let location = format!("/api/v1/orgs/{}/projects/{}/spaces/{}/apps/{name}", at.org, at.project, at.space);
    let request = Deploy {
        meta: caller.meta(Some(space.org().id)),
        subject: caller.subject.clone(),
        space,
        name,
        source: Source {
            format: body.format,
            document: body.document,
            overrides: body.overrides,
            files: documents::files(body.files, body.binary_files)?,
            values: body.values,
            images: body.images,
            profiles: body.profiles,
            ..Source::default()
        },
        allow_unsupported: body.allow_unsupported,
        reason: body.reason,
        queue: body.queue,
        dry_run: query.dry_run,
        expect,
    };
    let deployed = deploying::deploy(&s, request).await?;
    let version = deployed.version;
    if query.dry_run || !deployed.changed {
        return Ok(with_etag(version, Json(deployed)));
    }
    Ok(created(&location, version, Json(deployed)))
}

/// One application.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}", tag = "applications", params(AppPath, WatchQuery), responses((status = 200, body = AppBody)))]
pub async fn get(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(query): Query<WatchQuery>) -> ApiResult<Response> {
    if query.watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller, at) = (s.clone(), caller.clone(), at.clone());
            async move { Ok(seen(&s, &caller, &at).await?.body(&s)) }
        }));
    }
    let body = seen(&s, &caller, &at).await?.body(&s);
    Ok(with_etag(body.version, Json(body)))
}

async fn seen(s: &Scheduler, caller: &Caller, at: &AppPath) -> ApiResult<view::Seeing> {
    let space = readable(s, caller, &at.org, &at.project, &at.space)?;
    let row = change::find(s, &space, &at.app).await?;
    view::see(s, row, &view::reports(s)).await
}

/// Instances that have not ended.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/instances", tag = "applications", params(AppPath, WatchQuery), responses((status = 200, body = Page<InstanceBody>)))]
pub async fn instances(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(query): Query<WatchQuery>) -> ApiResult<Response> {
    if query.watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller, at) = (s.clone(), caller.clone(), at.clone());
            async move { Ok(Page::all(seen(&s, &caller, &at).await?.instances())) }
        }));
    }
    Ok(Json(Page::all(seen(&s, &caller, &at).await?.instances())).into_response())
}

/// What was deployed, newest first, with who, why and what differs.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/revisions", tag = "applications", params(AppPath), responses((status = 200, body = Page<RevisionBody>)))]
pub async fn revisions(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>) -> ApiResult<Json<Page<RevisionBody>>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let row = change::find(&s, &space, &at.app).await?;
    Ok(Json(Page::all(view::revisions(&s, &row).await?)))
}

/// Why it is as it is: what waits and why not on which node, and what has gone wrong lately.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/why", tag = "applications", params(AppPath), responses((status = 200, body = WhyBody)))]
pub async fn why(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>) -> ApiResult<Json<WhyBody>> {
    Ok(Json(seen(&s, &caller, &at).await?.why(&s).await?))
}
