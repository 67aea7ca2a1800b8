//! `/samples`: parse, call, render.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Path, with_etag};
use gantry_kernel::{Name, Problem, Role, Scope};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::items::ItemView;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(show, write))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewItem {
    text: String,
}

#[utoipa::path(get, path = "/api/v1/samples/{name}", tag = "sample", params(("name" = String, Path)), responses((status = 200, body = ItemView)))]
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(name): Path<String>) -> ApiResult<Response> {
    app.host.auth.require(&caller, Role::Viewer, Scope::Platform)?;
    let item = app.item(&parse(&name)?).await?;
    Ok(with_etag(item.version, Json(item)))
}

/// Writes an item; the same text again changes nothing.
#[utoipa::path(put, path = "/api/v1/samples/{name}", tag = "sample", params(("name" = String, Path)), request_body = NewItem, responses((status = 200, body = ItemView)))]
async fn write(State(app): State<Arc<App>>, caller: Caller, Path(name): Path<String>, Json(body): Json<NewItem>) -> ApiResult<Response> {
    app.host.auth.require(&caller, Role::Editor, Scope::Platform)?;
    let item = app.write(&parse(&name)?, body.text, caller.meta(None)).await?;
    Ok(with_etag(item.version, Json(item)))
}

fn parse(name: &str) -> Result<Name, Problem> {
    Name::parse(name).map_err(|fault| Problem::invalid("name", fault.to_string()))
}
