//! The accounts elsewhere that are linked to one's own here.

use axum::extract::State;
use gantry_auth::Caller;
use gantry_host::{ApiResult, Json, Page, Path};
use gantry_kernel::{LinkId, OffsetDateTime, Problem, Role, Scope, Secret, UserId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::rest::{doer, oneself, person};
use crate::app::App;
use crate::app::signin::Origin;
use crate::app::upstreams::links::Linked;

#[derive(Serialize, ToSchema)]
pub struct Link {
    id: LinkId,
    /// The upstream's name.
    upstream: String,
    display_name: String,
    /// What the upstream calls the account.
    subject: String,
    /// The upstream made the account here.
    provisioned: bool,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// A directory's name. Providers are linked in the browser: `/login/links`.
    upstream: String,
    username: String,
    #[schema(value_type = String)]
    password: Secret,
}

impl From<Linked> for Link {
    fn from(link: Linked) -> Self {
        let name = link.upstream.as_ref().map_or_else(|| "-".to_owned(), |u| u.name.clone());
        Self {
            id: link.id,
            display_name: link.upstream.as_ref().map_or_else(|| name.clone(), |u| u.shown().to_owned()),
            upstream: name,
            subject: link.subject,
            provisioned: link.provisioned,
            created_at: link.created_at,
        }
    }
}

/// My links.
#[utoipa::path(get, path = "/api/v1/me/links", tag = "upstreams", responses((status = 200, body = Page<Link>)))]
pub async fn mine(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<Link>>> {
    Ok(Json(Page::all(app.links_of(person(&caller)?).await?.into_iter().map(Link::from).collect())))
}

/// Links an account of a directory, proven by its password.
#[utoipa::path(post, path = "/api/v1/me/links", tag = "upstreams", request_body = NewLink, responses((status = 201, body = Page<Link>)))]
pub async fn make(State(app): State<App>, caller: Caller, origin: Origin, Json(body): Json<NewLink>) -> ApiResult<(StatusCode, Json<Page<Link>>)> {
    let me = app.active_person(oneself(&caller)?).await?;
    let by = app.upstream(&body.upstream).await?.filter(|u| u.settings.enabled && u.is_directory());
    let by = by.ok_or_else(|| Problem::invalid("upstream", "there is no such directory"))?;
    // Guessing a directory's passwords here is as limited as on the sign-in page.
    let key = app.lookup.hash(&body.username);
    app.attempts.begin(&key, &origin.address).await?;
    let external = app.directory_proof(&by, &body.username, &body.password).await.map_err(|problem| match problem.kind {
        gantry_kernel::Kind::Unauthenticated => Problem::invalid("password", "the user name or the password is wrong"),
        _ => problem,
    })?;
    app.attempts.succeeded(&key, &origin.address).await;
    app.link_proven(&by, me.id, &external, &origin.address).await?;
    Ok((StatusCode::CREATED, Json(Page::all(app.links_of(me.id).await?.into_iter().map(Link::from).collect()))))
}

/// Removes a link of mine; refused for the last way to sign in.
#[utoipa::path(delete, path = "/api/v1/me/links/{id}", tag = "upstreams", params(("id" = String, Path)), responses((status = 204)))]
pub async fn remove(State(app): State<App>, caller: Caller, Path(id): Path<LinkId>) -> ApiResult<StatusCode> {
    app.unlink(doer(&caller)?, id, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody's links (administrators of the platform).
#[utoipa::path(get, path = "/api/v1/users/{id}/links", tag = "upstreams", params(("id" = String, Path)), responses((status = 200, body = Page<Link>)))]
pub async fn of_user(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<Json<Page<Link>>> {
    app.host.auth.require(&caller, Role::Admin, Scope::Platform)?;
    let row = app.find_user(&id).await?.ok_or_else(|| Problem::not_found("user", &id))?;
    Ok(Json(Page::all(app.links_of(UserId(row.id)).await?.into_iter().map(Link::from).collect())))
}
