//! The token endpoint of the image registry (Docker token specification, both forms), for docker, podman, skopeo,
//! buildah and containerd.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use gantry_kernel::{Problem, Secret};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::api::oauth::form::Form;
use crate::api::origin::basic;
use crate::app::App;
use crate::app::registry_token::{Asker, RegistryToken};
use crate::app::signin::Origin;
use crate::domain::registry_scope::{asks_for_catalog, parse};
use crate::error::OAuthError;

/// GET with HTTP Basic, or anonymously.
pub async fn by_query(State(app): State<App>, headers: HeaderMap, origin: Origin, RawQuery(query): RawQuery) -> Result<Response, Response> {
    let query = Form::parse(query.unwrap_or_default().as_bytes());
    let asker = match basic(&headers) {
        Some((name, secret)) => app.registry_asker(&name, &secret, &origin).await.map_err(refuse)?,
        None if headers.contains_key(header::AUTHORIZATION) => return Err(refuse(Problem::unauthenticated("use HTTP Basic"))),
        None => Asker::Anonymous,
    };
    let mut token = app.registry_token(&asker, &parse(query.all("scope")), asks_for_catalog(query.all("scope")), &origin).await.map_err(refuse)?;
    if query.get("offline_token") == Some("true") {
        token.refresh_token = offline(&app, &asker).await.map_err(refuse)?;
    }
    Ok(answer(token))
}

/// POST with `grant_type=refresh_token` or `password`.
pub async fn by_form(State(app): State<App>, origin: Origin, form: Form) -> Result<Response, OAuthError> {
    let asker = match form.need("grant_type")? {
        "refresh_token" => app.registry_refresh(form.need("refresh_token")?).await?,
        "password" => {
            let secret = Secret::new(form.need("password")?);
            app.registry_asker(form.need("username")?, &secret, &origin).await?
        }
        _ => return Err(OAuthError::new("unsupported_grant_type", "refresh_token or password")),
    };
    let scope = form.all("scope").collect::<Vec<_>>().join(" ");
    let mut token = app.registry_token(&asker, &parse([scope.as_str()]), asks_for_catalog([scope.as_str()]), &origin).await?;
    token.refresh_token = match form.get("refresh_token") {
        Some(kept) => Some(kept.to_owned()),
        None if form.get("access_type") == Some("offline") => offline(&app, &asker).await?,
        None => None,
    };
    token.scope = Some(scope);
    Ok(answer(token))
}

async fn offline(app: &App, asker: &Asker) -> Result<Option<String>, Problem> {
    let Asker::User(subject) = asker else { return Ok(None) };
    match subject.strip_prefix("user:").and_then(|id| id.parse().ok()) {
        Some(user) => app.registry_refresh_token(user).await.map(Some),
        None => Ok(None),
    }
}

fn answer(token: RegistryToken) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(token)).into_response()
}

/// In the error format of registries, which these clients show to people.
fn refuse(problem: Problem) -> Response {
    let status = problem.kind.status();
    let code = if status == StatusCode::UNAUTHORIZED { "UNAUTHORIZED" } else { "UNKNOWN" };
    let body = json!({ "errors": [{ "code": code, "message": problem.detail }], "details": problem.detail });
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"gantry\""));
    }
    if let Some(after) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response.extensions_mut().insert(problem);
    response
}
