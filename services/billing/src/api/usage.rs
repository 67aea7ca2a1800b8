//! `/usage`.

use std::sync::Arc;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path, Query};
use gantry_kernel::{OffsetDateTime, Problem, Role};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::usage::Usage;
use crate::domain::period::Period;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(of_org)).routes(routes!(of_project))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Interval {
    /// RFC 3339; the beginning of this month if not given. Rounded down to the hour.
    from: Option<String>,
    /// RFC 3339; now if not given. Rounded up to the hour.
    to: Option<String>,
}

impl Interval {
    fn resolve(&self, now: OffsetDateTime) -> ApiResult<(OffsetDateTime, OffsetDateTime)> {
        let parse =
            |field: &str, text: &str| OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Problem::invalid(field, "must be a time such as 2026-11-22T10:00:00Z"));
        let to = self.to.as_deref().map_or(Ok(now), |text| parse("to", text))?;
        let from = self.from.as_deref().map_or_else(|| Ok(Period::of(now).start().min(to)), |text| parse("from", text))?;
        Ok((from, to))
    }
}

/// What an organisation used, by project, application and meter.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/usage", tag = "usage", params(("org" = String, Path), Interval), responses((status = 200, body = Usage)))]
async fn of_org(State(app): State<Arc<App>>, caller: Caller, Path(org): Path<String>, Query(interval): Query<Interval>) -> ApiResult<Json<Usage>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    let (from, to) = interval.resolve(app.host.env.now())?;
    Ok(Json(app.usage(org.id, None, from, to).await?))
}

/// What a project used, by application and meter.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/usage", tag = "usage", params(("org" = String, Path), ("project" = String, Path), Interval), responses((status = 200, body = Usage)))]
async fn of_project(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((org, project)): Path<(String, String)>,
    Query(interval): Query<Interval>,
) -> ApiResult<Json<Usage>> {
    let project = app.host.auth.project(&org, &project)?;
    app.host.auth.require(&caller, Role::Viewer, project.scope())?;
    let (from, to) = interval.resolve(app.host.env.now())?;
    Ok(Json(app.usage(project.org.id, Some(project.id), from, to).await?))
}
