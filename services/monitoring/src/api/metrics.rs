//! Charts, and PromQL for administrators of the platform.

use std::sync::Arc;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path, Query};
use gantry_kernel::{Name, OffsetDateTime, Problem, Role, Scope};
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::logs::AppPath;
use crate::app::metrics::{Charts, Range};
use crate::domain::span;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(of_node)).routes(routes!(of_app)).routes(routes!(query)).routes(routes!(query_range))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RangeQuery {
    /// RFC 3339, or a span before now; `1h` if not given.
    from: Option<String>,
    /// The same; now if not given.
    to: Option<String>,
    /// `15s`, `1m`, ...; about 240 points if not given.
    step: Option<String>,
}

impl RangeQuery {
    fn resolve(&self, now: OffsetDateTime) -> ApiResult<Range> {
        let to = self.to.as_deref().map_or(Ok(now), |text| span::instant("to", text, now))?;
        let from = span::instant("from", self.from.as_deref().unwrap_or("1h"), now)?;
        let step =
            self.step.as_deref().map(|text| span::length(text).ok_or_else(|| Problem::invalid("step", "must be a span such as 15s or 1m"))).transpose()?;
        Range::new(from, to, step)
    }
}

/// CPU, memory, disk, disk and network traffic of a node over time. Viewers of the platform.
#[utoipa::path(get, path = "/api/v1/nodes/{node}/metrics", tag = "metrics", params(("node" = String, Path), RangeQuery), responses((status = 200, body = Charts)))]
async fn of_node(State(app): State<Arc<App>>, caller: Caller, Path(node): Path<String>, Query(range): Query<RangeQuery>) -> ApiResult<Json<Charts>> {
    app.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    let node = Name::parse(&node).map_err(|_| Problem::not_found("node", &node))?;
    Ok(Json(app.node_charts(node.as_str(), range.resolve(app.host.env.now())?).await?))
}

/// The same of an application's containers, a series per instance.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/apps/{app}/metrics", tag = "metrics",
    params(("org" = String, Path), ("project" = String, Path), ("space" = String, Path), ("app" = String, Path), RangeQuery),
    responses((status = 200, body = Charts)))]
async fn of_app(State(app): State<Arc<App>>, caller: Caller, Path(path): Path<AppPath>, Query(range): Query<RangeQuery>) -> ApiResult<Json<Charts>> {
    app.readable(&caller, &path).await?;
    Ok(Json(app.app_charts(&path, range.resolve(app.host.env.now())?).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Instant {
    /// PromQL.
    query: String,
    /// Unix time or RFC 3339; now if not given.
    time: Option<String>,
}

/// A free PromQL query at one instant, answered as Prometheus does. Platform administrators only: PromQL knows no tenants.
#[utoipa::path(get, path = "/api/v1/metrics/query", tag = "metrics", params(Instant), responses((status = 200, body = Value)))]
async fn query(State(app): State<Arc<App>>, caller: Caller, Query(query): Query<Instant>) -> ApiResult<Json<Value>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let mut parameters = vec![("query", query.query.as_str())];
    parameters.extend(query.time.as_deref().map(|t| ("time", t)));
    Ok(Json(app.prometheus.ask("query", &parameters).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Spanning {
    /// PromQL.
    query: String,
    start: String,
    end: String,
    step: String,
}

/// A free PromQL query over a range, answered as Prometheus does. Platform administrators only.
#[utoipa::path(get, path = "/api/v1/metrics/query_range", tag = "metrics", params(Spanning), responses((status = 200, body = Value)))]
async fn query_range(State(app): State<Arc<App>>, caller: Caller, Query(query): Query<Spanning>) -> ApiResult<Json<Value>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let parameters = [("query", query.query.as_str()), ("start", &query.start), ("end", &query.end), ("step", &query.step)];
    Ok(Json(app.prometheus.ask("query_range", &parameters).await?))
}
