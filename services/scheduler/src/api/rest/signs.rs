//! Signs of an intrusion.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path, Query, WatchQuery, watch_list};
use serde::Deserialize;

use super::apps::{AppPath, SpacePath, readable};
use crate::app::Scheduler;
use crate::app::signs::{self, SignBody, SignFilter};

/// What was found in the application's instances that an intruder would do, the newest first: programs that are not of the image, rights
/// that a container was not given, connections that the space does not allow.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/signs", tag = "applications", params(AppPath, WatchQuery), responses((status = 200, body = Page<SignBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<AppPath>, Query(query): Query<WatchQuery>) -> ApiResult<Response> {
    if query.watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller, at) = (s.clone(), caller.clone(), at.clone());
            async move { of_app(&s, &caller, &at).await.map(Page::all) }
        }));
    }
    Ok(Json(Page::all(of_app(&s, &caller, &at).await?)).into_response())
}

async fn of_app(s: &Scheduler, caller: &Caller, at: &AppPath) -> ApiResult<Vec<SignBody>> {
    let space = readable(s, caller, &at.org, &at.project, &at.space)?;
    signs::list(s, &space, &at.app).await
}

#[derive(Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignsQuery {
    /// Only of this application.
    app: Option<String>,
    /// Only of this kind: program | privilege | connection
    sign: Option<String>,
    /// Only from this node.
    node: Option<String>,
    /// Only those that nobody has acknowledged.
    #[serde(default)]
    open: bool,
    /// `true`: a stream of server-sent events, the whole list first, then changes.
    #[serde(default)]
    watch: bool,
}

impl SignsQuery {
    fn filter(self) -> SignFilter {
        let said = |text: Option<String>| text.filter(|t| !t.is_empty());
        SignFilter { app: said(self.app), sign: said(self.sign), node: said(self.node), open: self.open }
    }
}

/// What was found in the instances of all applications of the space that an intruder would do, the newest first; at most 1000.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/signs", tag = "applications", params(SpacePath, SignsQuery), responses((status = 200, body = Page<SignBody>)))]
pub async fn of_space(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>, Query(query): Query<SignsQuery>) -> ApiResult<Response> {
    let watch = query.watch;
    let wanted = query.filter();
    if watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller, at, wanted) = (s.clone(), caller.clone(), at.clone(), wanted.clone());
            async move { in_space(&s, &caller, &at, &wanted).await.map(Page::all) }
        }));
    }
    Ok(Json(Page::all(in_space(&s, &caller, &at, &wanted).await?)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SignPath {
    org: String,
    project: String,
    space: String,
    /// Its number in the list.
    sign: u64,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeBody {
    /// What it was: 1 to 500 characters.
    reason: String,
}

/// Somebody has looked into a sign and says what it was. It does not count as open any more, and stays in the list.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/signs/{sign}/acknowledge", tag = "applications", params(SignPath), request_body = AcknowledgeBody, responses((status = 200, body = SignBody)))]
pub async fn acknowledge(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SignPath>, Json(body): Json<AcknowledgeBody>) -> ApiResult<Json<SignBody>> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    Ok(Json(signs::acknowledge(&s, &caller, &space, at.sign, &body.reason).await?))
}

async fn in_space(s: &Scheduler, caller: &Caller, at: &SpacePath, wanted: &SignFilter) -> ApiResult<Vec<SignBody>> {
    let space = readable(s, caller, &at.org, &at.project, &at.space)?;
    signs::of_space(s, &space, wanted).await
}
