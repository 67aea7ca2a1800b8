//! Services of a space: found by those who call them, and registered where they run elsewhere.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use gantry_auth::Caller;
use gantry_host::{ApiResult, IfMatch, Json, Page, PageQuery, Path, Query, created, watch_list, with_etag};
use gantry_kernel::{Name, Problem};
use serde::Deserialize;

use super::apps::{SpacePath, readable};
use crate::app::Scheduler;
use crate::app::deploy::Deployed;
use crate::app::registry::{self, Registering, Registration};
use crate::app::view::ServiceBody;

#[derive(Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ServicePath {
    org: String,
    project: String,
    space: String,
    service: String,
}

#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ServicesQuery {
    /// Only those that are called so: `db`, or with its application `db.shop`.
    name: Option<String>,
    /// 1 to 500; 50 if not given.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// `true`: a stream of server-sent events, the list first, then changes.
    #[serde(default)]
    watch: bool,
}

/// What can be called by a name in the space: the services of its applications with the instances that answer now, and what runs elsewhere.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/services", tag = "services", params(SpacePath, ServicesQuery), responses((status = 200, body = Page<ServiceBody>)))]
pub async fn list(State(s): State<Scheduler>, caller: Caller, Path(at): Path<SpacePath>, Query(query): Query<ServicesQuery>) -> ApiResult<Response> {
    let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
    let ServicesQuery { name, limit, cursor, watch } = query;
    let limit = PageQuery { limit, cursor: None, watch }.limit()?;
    if watch {
        let (moved, host, watcher) = (s.moved.subscribe(), s.host.clone(), caller.clone());
        return Ok(watch_list(&host, &watcher, moved, move || {
            let (s, caller, at, name) = (s.clone(), caller.clone(), at.clone(), name.clone());
            async move {
                let space = readable(&s, &caller, &at.org, &at.project, &at.space)?;
                registry::list(&s, &space, name.as_deref(), None, limit).await.map(Page::all)
            }
        }));
    }
    let found = registry::list(&s, &space, name.as_deref(), cursor.as_deref(), limit + 1).await?;
    Ok(Json(Page::of(found, limit, ServiceBody::key)).into_response())
}

fn registering(s: &Scheduler, caller: Caller, at: &ServicePath, expect: IfMatch) -> Result<Registering, Problem> {
    let space = readable(s, &caller, &at.org, &at.project, &at.space)?;
    let name = Name::parse(&at.service).map_err(|e| Problem::invalid("service", format!("a name {e}")))?;
    Ok(Registering { name, meta: caller.meta(Some(space.org().id)), subject: caller.subject, space, expect: expect.0 })
}

/// Registers a service that runs elsewhere, so that instances of the space call it by the name; or says anew where it is.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/services/{service}", tag = "services", params(ServicePath, IfMatch), request_body = Registration,
    responses((status = 201, body = Deployed), (status = 200, description = "It is known already, as it is", body = Deployed)))]
pub async fn register(
    State(s): State<Scheduler>,
    caller: Caller,
    Path(at): Path<ServicePath>,
    expect: IfMatch,
    Json(body): Json<Registration>,
) -> ApiResult<Response> {
    let location = format!("/api/v1/orgs/{}/projects/{}/spaces/{}/apps/{}", at.org, at.project, at.space, at.service);
    let asked = registering(&s, caller, &at, expect)?;
    let deployed = registry::register(&s, asked, body).await?;
    let version = deployed.version;
    if deployed.changed { Ok(created(&location, version, Json(deployed))) } else { Ok(with_etag(version, Json(deployed))) }
}

/// Takes such a registration back.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/projects/{project}/spaces/{space}/services/{service}", tag = "services", params(ServicePath, IfMatch), responses((status = 204)))]
pub async fn deregister(State(s): State<Scheduler>, caller: Caller, Path(at): Path<ServicePath>, expect: IfMatch) -> ApiResult<Response> {
    registry::deregister(&s, registering(&s, caller, &at, expect)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
