//! Domain events as they happen, as far as the caller may see them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, Query, SignIn};
use gantry_kernel::Problem;
use http::HeaderMap;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::store::audit::{self, Record};

const PAGE: i64 = 200;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(events))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// Go on after this number; like the header `Last-Event-ID`, which wins. 0: from the first.
    after: Option<i64>,
}

/// Server-sent events `event`, each with its number as id; a broken stream goes on where it was (`Last-Event-ID`).
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventQuery), responses((status = 200, content_type = "text/event-stream", body = Record)))]
async fn events(State(app): State<Arc<App>>, caller: Caller, Query(query): Query<EventQuery>, headers: HeaderMap) -> ApiResult<Response> {
    let last = match headers.get("last-event-id") {
        Some(value) => {
            Some(value.to_str().ok().and_then(|v| v.parse().ok()).ok_or_else(|| Problem::invalid("Last-Event-ID", "must be the id of an earlier event"))?)
        }
        None => query.after,
    };
    let place = app.live_place()?;
    let pool = app.host.db().pool.clone();
    let mut reached: i64 = match last {
        Some(last) => last,
        None => audit::head(&pool).await.map_err(Problem::internal)?,
    };
    let mut wake = app.audit_bell.hear();
    let mut sign_in = SignIn::followed(&app.host, &caller);
    let stream = async_stream::stream! {
        let _place = place;
        loop {
            wake.mark_unchanged();
            if let Some(problem) = sign_in.over() {
                yield Ok::<_, Infallible>(Event::default().event("problem").data(problem.body().to_string()));
                break;
            }
            // Asked anew each time: a right that was taken away ends with the next event.
            let sight = app.event_sight(&caller);
            match audit::events_after(&pool, &sight, reached, PAGE).await {
                Ok(page) => {
                    let full = page.len() as i64 == PAGE;
                    for record in page {
                        reached = record.seq;
                        let shown = Record { from: None, ..record };
                        yield Ok(Event::default().id(reached.to_string()).event("event").data(serde_json::to_string(&shown).unwrap_or_default()));
                    }
                    if full {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "live events cannot be read");
                    break;
                }
            }
            tokio::select! {
                () = app.host.cancel.cancelled() => break,
                changed = wake.changed() => if changed.is_err() { break },
                // Told at the beginning of the next round.
                _ = sign_in.ended() => {}
            }
        }
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}
