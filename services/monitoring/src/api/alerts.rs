//! `/alert-rules` and `/alerts` of a space.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gantry_auth::{Caller, SpaceRef};
use gantry_contract::monitoring::AlertRule;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, Query, with_etag};
use gantry_kernel::{Name, Problem, Role};
use http::StatusCode;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::store::alerts::{Alert, AlertRuleView};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(rules)).routes(routes!(rule, put_rule, delete_rule)).routes(routes!(alerts))
}

/// A space, as a path says it.
#[derive(Debug, Deserialize)]
struct SpacePath {
    org: String,
    project: String,
    space: String,
}

#[derive(Debug, Deserialize)]
struct RulePath {
    org: String,
    project: String,
    space: String,
    name: String,
}

impl RulePath {
    fn space(&self, app: &App, caller: &Caller, role: Role) -> ApiResult<SpaceRef> {
        space(app, caller, [&self.org, &self.project, &self.space], role)
    }

    fn name(&self) -> ApiResult<Name> {
        Name::parse(&self.name).map_err(|error| Problem::invalid("name", error.to_string()))
    }
}

fn space(app: &App, caller: &Caller, [org, project, space]: [&String; 3], role: Role) -> ApiResult<SpaceRef> {
    let space = app.host.auth.space(org, project, space)?;
    app.host.auth.require(caller, role, space.scope())?;
    Ok(space)
}

/// The alert rules of a space, and where each stands.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/alert-rules", tag = "alerts",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path)), responses((status = 200, body = Page<AlertRuleView>)))]
async fn rules(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<SpacePath>) -> ApiResult<Json<Page<AlertRuleView>>> {
    let space = space(&app, &caller, [&path.org, &path.project, &path.space], Role::Viewer)?;
    Ok(Json(Page::all(app.alert_rules(space.id).await?)))
}

/// One alert rule.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/alert-rules/{name}", tag = "alerts",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("name" = String, Path)), responses((status = 200, body = AlertRuleView)))]
async fn rule(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<RulePath>) -> ApiResult<Response> {
    let space = path.space(&app, &caller, Role::Viewer)?;
    let view = app.alert_rule(space.id, &path.name).await?;
    Ok(with_etag(view.version, Json(view)))
}

/// Makes an alert rule, or sets it as a whole. A space has 100 at most.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/alert-rules/{name}", tag = "alerts",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("name" = String, Path), IfMatch), request_body = AlertRule,
    responses((status = 200, body = AlertRuleView)))]
async fn put_rule(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<RulePath>,
    IfMatch(expect): IfMatch,
    Json(body): Json<AlertRule>,
) -> ApiResult<Response> {
    let space = path.space(&app, &caller, Role::Editor)?;
    let meta = caller.meta(Some(space.project.org.id));
    let view = app.set_alert_rule(&space, path.name()?, body, expect, meta).await?;
    Ok(with_etag(view.version, Json(view)))
}

/// Deletes an alert rule; if it fires, that is over with the next round.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/alert-rules/{name}", tag = "alerts",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("name" = String, Path), IfMatch), responses((status = 204)))]
async fn delete_rule(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<RulePath>, IfMatch(expect): IfMatch) -> ApiResult<StatusCode> {
    let space = path.space(&app, &caller, Role::Editor)?;
    let meta = caller.meta(Some(space.project.org.id));
    app.delete_alert_rule(&space, path.name()?, expect, meta).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AlertQuery {
    /// `true`: changes of state instead, the newest first.
    #[serde(default)]
    history: bool,
    /// Of the history, 1 to 500; 50 if not given.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What is pending or firing in a space now, or what was.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/alerts", tag = "alerts",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), AlertQuery), responses((status = 200, body = Page<Alert>)))]
async fn alerts(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<SpacePath>, Query(query): Query<AlertQuery>) -> ApiResult<Json<Page<Alert>>> {
    let space = space(&app, &caller, [&path.org, &path.project, &path.space], Role::Viewer)?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(Problem::invalid("limit", "must be 1 to 500"));
    }
    let before =
        query.cursor.as_deref().map(|c| c.parse::<i64>().map_err(|_| Problem::invalid("cursor", "must be `next` of an earlier answer"))).transpose()?;
    if !query.history {
        return Ok(Json(Page::all(app.alerts(space.id).await?)));
    }
    let changes = app.alert_history(space.id, before, i64::from(limit) + 1).await?;
    Ok(Json(Page::of(changes, limit.into(), |c| c.number.unwrap_or_default().to_string())))
}
