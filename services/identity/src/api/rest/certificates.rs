//! Certificates that people sign in with, and the authorities that organisations trust for them.

use axum::extract::State;
use axum::response::Response;
use gantry_auth::Caller;
use gantry_contract::certificate::WhenStale;
use gantry_host::{ApiResult, Json, Page, Path, Query, created};
use gantry_kernel::{OffsetDateTime, Problem, Role, Scope, Uuid};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::oauth::client_auth::Asking;
use crate::api::rest::account::proved;
use crate::api::rest::users::visible;
use crate::api::rest::{doer, orgs, person, seen};
use crate::app::App;
use crate::app::people::subject;
use crate::app::person_certificates::PersonCertificate;
use crate::app::revocation::{NewRevocation, Revocation};
use crate::error::fault;
use crate::store::person_certificates::{self as rows, AuthorityRow};

const READ: &str = "identity.users-read";
const WRITE: &str = "identity.users-write";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPersonCertificate {
    /// A name for it; its subject if not given.
    #[serde(default)]
    label: String,
    /// `certificate` (this one only; the default), or `name`: every one in which the authority of an organisation of the caller says
    /// the same name, so that its successors need not be bound.
    by: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Because {
    /// Kept in the record.
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct CertificateAuthority {
    id: Uuid,
    name: String,
    /// Its own certificate.
    pem: String,
    #[serde(with = "time::serde::rfc3339")]
    trusted_at: OffsetDateTime,
    /// How it says which certificates it has taken back; none if nobody looks.
    revocation: Option<Revocation>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificateAuthority {
    /// A DNS label, unique in the organisation.
    name: String,
    /// The certificate of the authority itself; intermediates are authorities of their own.
    pem: String,
}

/// Where an authority's list of revoked certificates (RFC 5280) comes from: an address or the list itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAuthorityRevocation {
    /// It is fetched from here every hour (http or https, at most 10 MiB).
    url: Option<String>,
    /// The list itself, in PEM, or in base64 of DER. Give the next one before it ends.
    list: Option<String>,
    /// While no list holds: `refuse` (the default), the authority's certificates sign nobody in; `accept`, they do.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    when_stale: WhenStale,
}

async fn render(app: &App, rows: Vec<AuthorityRow>) -> ApiResult<Vec<CertificateAuthority>> {
    let revocations = app.revocations(&rows).await?;
    let one = |(row, revocation): (AuthorityRow, Option<Revocation>)| CertificateAuthority {
        id: row.id,
        name: row.name,
        pem: row.pem,
        trusted_at: row.trusted_at,
        revocation,
    };
    Ok(rows.into_iter().zip(revocations).map(one).collect())
}

async fn rendered(app: &App, row: AuthorityRow) -> ApiResult<CertificateAuthority> {
    let id = row.id;
    render(app, vec![row]).await?.pop().ok_or_else(|| Problem::not_found("authority", id))
}

/// Certificates that sign the caller in.
#[utoipa::path(get, path = "/api/v1/me/certificates", tag = "account", responses((status = 200, body = Page<PersonCertificate>)))]
pub async fn mine(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<PersonCertificate>>> {
    Ok(Json(Page::all(app.certificates_of(person(&caller)?).await?)))
}

/// Binds the certificate that this very request was made with: call it at the address for certificates
/// (`mtls_endpoint_aliases` of the discovery document).
#[utoipa::path(post, path = "/api/v1/me/certificates", tag = "account", request_body = NewPersonCertificate, responses((status = 201, body = PersonCertificate)))]
pub async fn bind(State(app): State<App>, caller: Caller, asking: Asking, Json(body): Json<NewPersonCertificate>) -> ApiResult<Response> {
    let me = proved(&app, &caller).await?;
    let by_name = match body.by.as_deref() {
        None | Some("certificate") => false,
        Some("name") => true,
        Some(_) => return Err(Problem::invalid("by", "must be certificate or name")),
    };
    let der = asking.certificate.ok_or_else(|| {
        Problem::invalid("certificate", "this request shows none: make it with the certificate at the address for certificates (mtls_endpoint_aliases)")
    })?;
    let made = app.bind_certificate(&me, &der, by_name, &body.label, caller.meta(None)).await?;
    Ok(created(&format!("/api/v1/me/certificates/{}", made.id), 1, Json(made)))
}

#[utoipa::path(delete, path = "/api/v1/me/certificates/{id}", tag = "account", params(("id" = String, Path)), responses((status = 204)))]
pub async fn unbind(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    // What only ends things needs no fresh sign-in.
    app.remove_certificate(doer(&caller)?, id, "removed by the person", caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Certificates that sign somebody in (needs `identity.users-read` on the platform).
#[utoipa::path(get, path = "/api/v1/users/{id}/certificates", tag = "users", params(("id" = String, Path)), responses((status = 200, body = Page<PersonCertificate>)))]
pub async fn of_user(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> ApiResult<Json<Page<PersonCertificate>>> {
    app.host.auth.permit(&caller, READ, Scope::Platform)?;
    let user = visible(&app, &caller, &id).await?.id;
    Ok(Json(Page::all(app.certificates_of(user).await?)))
}

/// Revokes a certificate of somebody (needs `identity.users-write` and all rights of the person): it signs nobody in from now on.
#[utoipa::path(delete, path = "/api/v1/users/{id}/certificates/{certificate}", tag = "users",
    params(("id" = String, Path), ("certificate" = String, Path), Because), responses((status = 204)))]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path((id, certificate)): Path<(String, Uuid)>,
    Query(why): Query<Because>,
) -> ApiResult<StatusCode> {
    app.host.auth.permit(&caller, WRITE, Scope::Platform)?;
    let user = visible(&app, &caller, &id).await?.id;
    app.refuse_subject_beyond(&caller, &subject(user))?;
    app.remove_certificate(user, certificate, why.reason.as_deref().unwrap_or_default(), caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Authorities whose certificates the organisation's people may bind by name.
#[utoipa::path(get, path = "/api/v1/orgs/{org}/certificate-authorities", tag = "organisations", params(("org" = String, Path)),
    responses((status = 200, body = Page<CertificateAuthority>)))]
pub async fn authorities(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<Json<Page<CertificateAuthority>>> {
    let org = seen(&app, &caller, &name)?;
    let all = rows::authorities(app.pool(), org.0).await.map_err(fault)?;
    Ok(Json(Page::all(render(&app, all).await?)))
}

/// Trusts an authority. It signs in whoever has bound a certificate of it by name, so only administrators of the organisation do this.
#[utoipa::path(post, path = "/api/v1/orgs/{org}/certificate-authorities", tag = "organisations", params(("org" = String, Path)),
    request_body = NewCertificateAuthority, responses((status = 201, body = CertificateAuthority)))]
pub async fn trust(State(app): State<App>, caller: Caller, Path(name): Path<String>, Json(body): Json<NewCertificateAuthority>) -> ApiResult<Response> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let made = app.trust_authority(org, &body.name, &body.pem, caller.meta(None)).await?;
    Ok(created(&format!("/api/v1/orgs/{name}/certificate-authorities/{}", made.id), 1, Json(rendered(&app, made).await?)))
}

/// Trusts an authority no longer: certificates that were bound by its word sign nobody in from now on.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/certificate-authorities/{id}", tag = "organisations", params(("org" = String, Path), ("id" = String, Path)),
    responses((status = 204)))]
pub async fn distrust(State(app): State<App>, caller: Caller, Path((name, id)): Path<(String, Uuid)>) -> ApiResult<StatusCode> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    app.distrust_authority(org, id, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has the organisation look at an authority's list of revoked certificates: those it names sign nobody in.
#[utoipa::path(put, path = "/api/v1/orgs/{org}/certificate-authorities/{id}/revocation", tag = "organisations",
    params(("org" = String, Path), ("id" = String, Path)), request_body = NewAuthorityRevocation, responses((status = 200, body = CertificateAuthority)))]
pub async fn set_revocation(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, Uuid)>,
    Json(body): Json<NewAuthorityRevocation>,
) -> ApiResult<Json<CertificateAuthority>> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let new = NewRevocation { url: body.url, list: body.list, when_stale: body.when_stale };
    let row = app.set_revocation(org, id, new, caller.meta(None)).await?;
    Ok(Json(rendered(&app, row).await?))
}

/// Looks at no list of this authority any more.
#[utoipa::path(delete, path = "/api/v1/orgs/{org}/certificate-authorities/{id}/revocation", tag = "organisations",
    params(("org" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub async fn remove_revocation(State(app): State<App>, caller: Caller, Path((name, id)): Path<(String, Uuid)>) -> ApiResult<StatusCode> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    app.remove_revocation(org, id, caller.meta(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fetches an authority's list of revoked certificates now. Whether that worked is in the answer (`revocation.fault`).
#[utoipa::path(post, path = "/api/v1/orgs/{org}/certificate-authorities/{id}/revocation/fetches", tag = "organisations",
    params(("org" = String, Path), ("id" = String, Path)), responses((status = 200, body = CertificateAuthority)))]
pub async fn fetch_revocation(State(app): State<App>, caller: Caller, Path((name, id)): Path<(String, Uuid)>) -> ApiResult<Json<CertificateAuthority>> {
    let org = orgs::at(&app, &caller, &name, Role::Admin)?;
    let row = app.fetch_revocation(org, id).await?;
    Ok(Json(rendered(&app, row).await?))
}
