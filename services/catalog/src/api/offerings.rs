//! `/offerings`.

use std::sync::Arc;

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::app::offerings::OfferingView;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Everything that can be had, with its plans and their parameters.
#[utoipa::path(get, path = "/api/v1/offerings", tag = "catalogue", responses((status = 200, body = Page<OfferingView>)))]
async fn list(State(app): State<Arc<App>>, _: Caller) -> ApiResult<Json<Page<OfferingView>>> {
    Ok(Json(Page::all(app.offerings.iter().map(OfferingView::from).collect())))
}
