//! Join tokens and certificates of nodes.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gantry_auth::{Caller, Peer, PeerSerial};
use gantry_host::{ApiResult, Json, Page, Path, Query, created};
use gantry_kernel::{OffsetDateTime, Problem, Scope, Secret, Uuid};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::app::nodes::Signed;
use crate::app::signin::Origin;
use crate::error::fault;
use crate::store::nodes;

const JOIN: &str = "identity.nodes-join";

#[derive(Serialize, ToSchema)]
pub struct NodeToken {
    id: Uuid,
    /// The only node it is good for; null: any.
    node: Option<String>,
    hint: String,
    created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// The node that used it.
    used_by: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct MadeNodeToken {
    #[serde(flatten)]
    token: NodeToken,
    /// Shown this once.
    secret: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewNodeToken {
    node: Option<String>,
    /// 1 to 10080; 60 if not given.
    expires_in_minutes: Option<u32>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    #[schema(value_type = String)]
    token: Secret,
    node: String,
    /// PKCS#10 in PEM: the node keeps its key.
    request: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    request: String,
}

#[derive(Serialize, ToSchema)]
pub struct NodeCertificate {
    serial: String,
    node: String,
    #[serde(with = "time::serde::rfc3339")]
    issued_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    revoked_at: Option<OffsetDateTime>,
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct SignedCertificate {
    #[serde(flatten)]
    certificate: NodeCertificate,
    /// PEM.
    pem: String,
    /// The authority's certificate in PEM.
    ca: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfNode {
    node: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Why {
    #[serde(default)]
    reason: String,
}

fn token(row: nodes::JoinToken) -> NodeToken {
    let nodes::JoinToken { id, node, hint, created_by, created_at, expires_at, used_by, .. } = row;
    NodeToken { id, node, hint, created_by, created_at, expires_at, used_by }
}

fn certificate(row: nodes::Certificate) -> NodeCertificate {
    let nodes::Certificate { serial, node, issued_at, expires_at, revoked_at, reason } = row;
    NodeCertificate { serial, node, issued_at, expires_at, revoked_at, reason }
}

fn signed(app: &App, Signed { certificate: row, pem }: Signed) -> Response {
    let body = SignedCertificate { certificate: certificate(row), pem, ca: app.host.pki.ca_pem.clone() };
    (StatusCode::CREATED, Json(body)).into_response()
}

#[utoipa::path(get, path = "/api/v1/node-join-tokens", tag = "nodes", responses((status = 200, body = Page<NodeToken>)))]
pub async fn tokens(State(app): State<App>, caller: Caller) -> ApiResult<Json<Page<NodeToken>>> {
    app.host.auth.permit(&caller, JOIN, Scope::Platform)?;
    Ok(Json(Page::all(nodes::tokens(app.pool()).await.map_err(fault)?.into_iter().map(token).collect())))
}

/// Makes a token that lets one node in, once; without a name, one that has no certificate yet (needs `identity.nodes-join` on the platform).
#[utoipa::path(post, path = "/api/v1/node-join-tokens", tag = "nodes", request_body = NewNodeToken, responses((status = 201, body = MadeNodeToken)))]
pub async fn create_token(State(app): State<App>, caller: Caller, origin: Origin, Json(body): Json<NewNodeToken>) -> ApiResult<Response> {
    app.host.auth.permit(&caller, JOIN, Scope::Platform)?;
    let (row, secret) = app.make_join_token(body.node.as_deref(), body.expires_in_minutes, &caller.subject, &origin).await?;
    let mut response = created(&format!("/api/v1/node-join-tokens/{}", row.id), 1, Json(MadeNodeToken { token: token(row), secret }));
    response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Ok(response)
}

#[utoipa::path(delete, path = "/api/v1/node-join-tokens/{id}", tag = "nodes", params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete_token(State(app): State<App>, caller: Caller, origin: Origin, Path(id): Path<Uuid>) -> ApiResult<StatusCode> {
    app.host.auth.permit(&caller, JOIN, Scope::Platform)?;
    app.revoke_join_token(id, &caller.subject, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A node's first certificate, for a join token.
#[utoipa::path(post, path = "/api/v1/node-certificates", tag = "nodes", security(()), request_body = Join, responses((status = 201, body = SignedCertificate)))]
pub async fn join(State(app): State<App>, origin: Origin, Json(body): Json<Join>) -> ApiResult<Response> {
    Ok(signed(&app, app.join_node(body.token.expose(), &body.node, &body.request, &origin).await?))
}

/// A node's next certificate; the node shows its present one in the TLS connection.
#[utoipa::path(post, path = "/api/v1/node-certificates/renewals", tag = "nodes", security(()), request_body = Renewal, responses((status = 201, body = SignedCertificate)))]
pub async fn renew(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    serial: Option<Extension<PeerSerial>>,
    origin: Origin,
    Json(body): Json<Renewal>,
) -> ApiResult<Response> {
    let node = peer.as_ref().and_then(|Extension(Peer(name))| name.strip_prefix("node/"));
    let (Some(node), Some(Extension(PeerSerial(serial)))) = (node, &serial) else {
        return Err(Problem::unauthenticated("a node renews its certificate over a connection in which it shows its present one"));
    };
    Ok(signed(&app, app.renew_node(node, serial, &body.request, &origin).await?))
}

#[utoipa::path(get, path = "/api/v1/node-certificates", tag = "nodes", params(OfNode), responses((status = 200, body = Page<NodeCertificate>)))]
pub async fn certificates(State(app): State<App>, caller: Caller, Query(of): Query<OfNode>) -> ApiResult<Json<Page<NodeCertificate>>> {
    app.host.auth.permit(&caller, JOIN, Scope::Platform)?;
    let rows = nodes::certificates(app.pool(), of.node.as_deref()).await.map_err(fault)?;
    Ok(Json(Page::all(rows.into_iter().map(certificate).collect())))
}

/// Revokes all certificates of a node; it has to join anew.
#[utoipa::path(delete, path = "/api/v1/node-certificates/{node}", tag = "nodes", params(("node" = String, Path), Why), responses((status = 204)))]
pub async fn revoke(State(app): State<App>, caller: Caller, origin: Origin, Path(node): Path<String>, Query(why): Query<Why>) -> ApiResult<StatusCode> {
    app.host.auth.permit(&caller, JOIN, Scope::Platform)?;
    app.revoke_node(&node, &why.reason, &caller.subject, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The revocation list (RFC 5280) in PEM, for whoever checks certificates of nodes.
#[utoipa::path(get, path = "/api/v1/node-certificates/revoked", tag = "nodes", security(()), responses((status = 200, body = String, content_type = "application/x-pem-file")))]
pub async fn revoked(State(app): State<App>) -> ApiResult<Response> {
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], app.node_revocations().await?).into_response())
}
