//! `/price-plans`, and which one an organisation has.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, Path, with_etag};
use gantry_kernel::{Name, Role, Scope};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::plans::PricePlan;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, publish)).routes(routes!(of_org, assign))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PublishRequest {
    name: Name,
    /// ISO 4217.
    currency: String,
    /// Billed meter (`cpu_core_hours`, `reserved_cpu_core_hours`, ...) to the price of one unit, a decimal text.
    prices: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AssignRequest {
    plan: Name,
}

/// All price plans. `default` is for everybody who has no other.
#[utoipa::path(get, path = "/api/v1/price-plans", tag = "price plans", responses((status = 200, body = Page<PricePlan>)))]
async fn list(State(app): State<Arc<App>>, _: Caller) -> ApiResult<Json<Page<PricePlan>>> {
    Ok(Json(Page::all(app.price_plans().await?)))
}

/// Publishes a plan, or new prices of one; they hold for the open month and later ones. Platform administrators only.
#[utoipa::path(put, path = "/api/v1/price-plans", tag = "price plans", params(IfMatch), request_body = PublishRequest, responses((status = 200, body = PricePlan)))]
async fn publish(State(app): State<Arc<App>>, caller: Caller, IfMatch(expect): IfMatch, Json(body): Json<PublishRequest>) -> ApiResult<Response> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let plan = app.publish_plan(&body.name, body.currency, body.prices, expect, caller.meta(None)).await?;
    Ok(with_etag(plan.version, Json(plan)))
}

/// The plan an organisation's bills are made with.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/price-plan", tag = "price plans", params(("org" = String, Path)), responses((status = 200, body = PricePlan)))]
async fn of_org(State(app): State<Arc<App>>, caller: Caller, Path(org): Path<String>) -> ApiResult<Json<PricePlan>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    Ok(Json(app.plan_of(org.id).await?))
}

/// Gives an organisation another plan, from the open month on. Platform administrators only.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/price-plan", tag = "price plans", params(("org" = String, Path)), request_body = AssignRequest, responses((status = 200, body = PricePlan)))]
async fn assign(State(app): State<Arc<App>>, caller: Caller, Path(org): Path<String>, Json(body): Json<AssignRequest>) -> ApiResult<Json<PricePlan>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    Ok(Json(app.assign_plan(org.id, &body.plan, caller.meta(Some(org.id))).await?))
}
