//! `/invoices`.

use std::sync::Arc;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path};
use gantry_kernel::{Problem, Role, Scope};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::invoices::InvoiceView;
use crate::domain::period::Period;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(current)).routes(routes!(get)).routes(routes!(void))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct VoidRequest {
    reason: String,
}

fn period(text: &str) -> ApiResult<Period> {
    text.parse::<Period>().map_err(|error| Problem::invalid("period", error.to_string()))
}

/// Issued and voided invoices, the newest month first (a month has few, so there are no pages).
#[utoipa::path(get, path = "/api/v1/orgs/{org}/invoices", tag = "invoices", params(("org" = String, Path)), responses((status = 200, body = Page<InvoiceView>)))]
async fn list(State(app): State<Arc<App>>, caller: Caller, Path(org): Path<String>) -> ApiResult<Json<Page<InvoiceView>>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    Ok(Json(Page::all(app.invoices(org.id).await?)))
}

/// The open month so far.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/invoices/current", tag = "invoices", params(("org" = String, Path)), responses((status = 200, body = InvoiceView)))]
async fn current(State(app): State<Arc<App>>, caller: Caller, Path(org): Path<String>) -> ApiResult<Json<InvoiceView>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    Ok(Json(app.current_invoice(org.id).await?))
}

/// The latest invoice of a month, e.g. `2026-11`.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/invoices/{period}", tag = "invoices", params(("org" = String, Path), ("period" = String, Path)), responses((status = 200, body = InvoiceView)))]
async fn get(State(app): State<Arc<App>>, caller: Caller, Path((org, month)): Path<(String, String)>) -> ApiResult<Json<InvoiceView>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    Ok(Json(app.invoice(org.id, period(&month)?).await?))
}

/// Withdraws an issued invoice; a new one is then issued with today's prices. Platform administrators only.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/invoices/{period}/void", tag = "invoices", params(("org" = String, Path), ("period" = String, Path)), request_body = VoidRequest, responses((status = 200, body = InvoiceView)))]
async fn void(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((org, month)): Path<(String, String)>,
    Json(body): Json<VoidRequest>,
) -> ApiResult<Json<InvoiceView>> {
    let org = app.host.auth.org(&org)?;
    app.host.auth.require(&caller, Role::Viewer, org.scope())?;
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    Ok(Json(app.void(org.id, period(&month)?, body.reason, caller.meta(Some(org.id))).await?))
}
