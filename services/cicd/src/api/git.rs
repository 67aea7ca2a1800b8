//! `/git/{org}/{project}/{repository}.git/...`: what `git clone`, `fetch` and `push` speak (gitprotocol-http).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine;
use gantry_auth::Caller;
use gantry_host::Path;
use gantry_kernel::{Kind, Name, Problem, Role};
use tokio::sync::oneshot;

use super::Api;
use crate::adapters::git_backend::{self, Backend, GitRequest};
use crate::error;
use crate::store::queries;

const PULL: &str = "git-upload-pack";
const PUSH: &str = "git-receive-pack";
/// How personal access tokens begin.
const PERSONAL: &str = "gpat_";
/// How keys of service accounts begin.
const SERVICE_KEY: &str = "gsk_";

pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/git/{org}/{project}/{repository}/info/refs", get(info_refs))
        .route("/git/{org}/{project}/{repository}/git-upload-pack", post(upload_pack))
        .route("/git/{org}/{project}/{repository}/git-receive-pack", post(receive_pack))
        // Packs are as large as git's own limit allows.
        .layer(DefaultBodyLimit::disable())
}

type Place = (String, String, String);

async fn info_refs(State(api): State<Arc<Api>>, Path(place): Path<Place>, request: Request) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let service = match query.split('&').find_map(|pair| pair.strip_prefix("service=")) {
        Some(PULL) => PULL,
        Some(PUSH) => PUSH,
        _ => return Problem::invalid("service", "must be git-upload-pack or git-receive-pack: only the smart protocol is spoken").into_response(),
    };
    serve(&api, place, service, "GET", "info/refs", format!("service={service}"), request).await.unwrap_or_else(refuse)
}

async fn upload_pack(State(api): State<Arc<Api>>, Path(place): Path<Place>, request: Request) -> Response<Body> {
    serve(&api, place, PULL, "POST", PULL, String::new(), request).await.unwrap_or_else(refuse)
}

async fn receive_pack(State(api): State<Arc<Api>>, Path(place): Path<Place>, request: Request) -> Response<Body> {
    serve(&api, place, PUSH, "POST", PUSH, String::new(), request).await.unwrap_or_else(refuse)
}

async fn serve(
    api: &Arc<Api>,
    (org, project, repository): Place,
    service: &str,
    method: &'static str,
    action: &str,
    query: String,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = caller(api, &mut parts).await?;
    let host = &api.cicd.host;
    let missing = || Problem::not_found("repository", format_args!("{org}/{project}/{repository}"));
    let project = host.auth.project(&org, &project).map_err(|_| missing())?;
    let role = if service == PUSH { Role::Editor } else { Role::Viewer };
    host.auth.require(&caller, role, project.scope()).map_err(|problem| if problem.kind == Kind::NotFound { missing() } else { problem })?;
    let name = Name::parse(repository.strip_suffix(".git").unwrap_or(&repository)).map_err(|_| missing())?;
    queries::repository(&host.db().orm, project.id, name.as_str()).await.map_err(error::database)?.ok_or_else(missing)?;
    let Ok(permit) = api.git_room.clone().try_acquire_owned() else {
        return Err(Problem::new(Kind::Unavailable, "request.overloaded", "too many fetches and pushes at once; try again")
            .retry_after(std::time::Duration::from_secs(2)));
    };
    let backend = Backend::start(&GitRequest {
        project_root: api.cicd.git.project_root(project.id),
        path_info: format!("/{name}.git/{action}"),
        query,
        method,
        headers: parts.headers,
        user: caller.subject.clone(),
        max_push_bytes: api.max_push_bytes,
    })
    .map_err(error::git)?;
    let (feed, stdout) = backend.split();
    let (finished, done) = oneshot::channel();
    let (cicd, meta) = (api.cicd.clone(), caller.meta(Some(project.org.id)));
    let pushed = method == "POST" && service == PUSH;
    // Not bound to the connection: what was pushed must be recorded even if the client has gone away.
    host.tracker.spawn(async move {
        feed.run(body.into_data_stream()).await;
        if pushed {
            match cicd.record_refs(project.id, &name, meta).await {
                Ok(position) if position > 0 => cicd.host.settled(position).await,
                Ok(_) => {}
                Err(problem) => {
                    tracing::error!(repository = %name, error = problem.chain(), "a push could not be recorded; it will be found when the service starts again")
                }
            }
        }
        drop(permit);
        let _ = finished.send(());
    });
    git_backend::answer(stdout, done).await.map_err(error::git)
}

/// Git speaks Basic: any user name, and an access token or a personal access token as the password.
async fn caller(api: &Api, parts: &mut Parts) -> Result<Caller, Problem> {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if let Some(encoded) = header.strip_prefix("Basic ").or_else(|| header.strip_prefix("basic ")) {
        let pair = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok().and_then(|b| String::from_utf8(b).ok());
        let password = pair.as_deref().and_then(|p| p.split_once(':')).map(|(_, password)| password).unwrap_or_default();
        let token = if password.starts_with(PERSONAL) || password.starts_with(SERVICE_KEY) {
            api.peers.exchange_personal(password).await?
        } else {
            password.to_owned()
        };
        let bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Problem::unauthenticated("the password must be an access token"))?;
        parts.headers.insert(header::AUTHORIZATION, bearer);
    }
    Caller::from_parts(parts).await
}

/// Without this header git does not ask for a password.
fn refuse(problem: Problem) -> Response<Body> {
    let unauthenticated = problem.kind == Kind::Unauthenticated;
    let mut response = problem.into_response();
    if unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Gantry\", charset=\"UTF-8\""));
    }
    response
}
