//! OCI distribution-spec 1.1 under `/v2/`. Names hold slashes, so one wildcard route is taken apart by `route`.

mod access;
mod blobs;
mod condition;
mod failure;
mod listing;
mod manifests;
mod query;
mod route;
mod uploads;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderValue, Method, StatusCode, header};

pub use access::Who;
use failure::Failure;
use route::Target;

use crate::app::App;
use crate::domain::access::Action;
use crate::domain::name::RepositoryName;
use crate::error::Error;

type Answer = Result<Response, Failure>;

pub fn router(app: App) -> Router {
    Router::new()
        .route("/v2", get(base))
        .route("/v2/", get(base))
        .route("/v2/_catalog", get(catalog))
        .route("/v2/{*rest}", any(dispatch))
        .layer(axum::middleware::map_response(version))
        .with_state(app)
}

/// Old docker clients look for it.
async fn version(mut response: Response) -> Response {
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

/// "Is this a registry, and am I signed in?"
async fn base(State(app): State<App>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    access::authenticate(&app, &parts, &[]).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], "{}").into_response())
}

async fn catalog(State(app): State<App>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    listing::catalog(&app, &parts).await
}

async fn dispatch(State(app): State<App>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let Some((name, target)) = route::parse(parts.uri.path()) else {
        return Err(Error::UnknownRepository(parts.uri.path().to_owned()).into());
    };
    let name = RepositoryName::parse(&name).map_err(Error::from)?;
    let action = action(&parts.method, &target);
    let from = match (&target, &parts.method) {
        (Target::Uploads, &Method::POST) => uploads::source(&parts.uri),
        _ => None,
    };
    let who = access::authorize(&app, &parts, &name, action, from.as_ref().filter(|f| **f != name)).await?;
    if action == Action::Push {
        app.takes_pushes(&name).await?;
    }
    let call = Call { app: &app, name, parts: &parts, who: &who };
    match target {
        Target::Blob(digest) => match parts.method {
            Method::GET | Method::HEAD => blobs::read(call, &digest).await,
            Method::DELETE => blobs::delete(call, &digest).await,
            _ => wrong_method(),
        },
        Target::Uploads => match parts.method {
            Method::POST => uploads::start(call, body).await,
            _ => wrong_method(),
        },
        Target::Upload(id) => match parts.method {
            Method::GET | Method::HEAD => uploads::status(call, &id).await,
            Method::PATCH => uploads::append(call, &id, body).await,
            Method::PUT => uploads::finish(call, &id, body).await,
            Method::DELETE => uploads::cancel(call, &id).await,
            _ => wrong_method(),
        },
        Target::Manifest(reference) => match parts.method {
            Method::GET | Method::HEAD => manifests::read(call, &reference).await,
            Method::PUT => manifests::push(call, &reference, body).await,
            Method::DELETE => manifests::delete(call, &reference).await,
            _ => wrong_method(),
        },
        Target::Tags if parts.method == Method::GET => listing::tags(call).await,
        Target::Referrers(digest) if parts.method == Method::GET => listing::referrers(call, &digest).await,
        Target::Tags | Target::Referrers(_) => wrong_method(),
    }
}

/// A request about one repository, by somebody who may make it.
struct Call<'a> {
    app: &'a App,
    name: RepositoryName,
    parts: &'a http::request::Parts,
    who: &'a Who,
}

impl Call<'_> {
    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

fn action(method: &Method, target: &Target) -> Action {
    match (method, target) {
        // Status and cancellation of an upload belong to the push.
        (_, Target::Uploads | Target::Upload(_)) => Action::Push,
        (&Method::DELETE, _) => Action::Delete,
        (&Method::GET | &Method::HEAD, _) => Action::Pull,
        _ => Action::Push,
    }
}

fn wrong_method() -> Answer {
    Err(Error::Unsupported("this method is not for this resource").into())
}

/// A bodyless answer.
fn empty(status: StatusCode, headers: &[(&'static str, String)]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(*name, value);
        }
    }
    response
}
