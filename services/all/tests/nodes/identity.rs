//! Identity as far as a scheduler in another process asks it: the keys of this test's tokens, and credentials for images.

use async_trait::async_trait;
use axum::Json;
use axum::routing::get;
use gantry_contract::proto::identity::tokens_server::{Tokens, TokensServer};
use gantry_contract::proto::identity::{
    IssueRegistryCredentialRequest, IssueRegistryCredentialResponse, NodeStandingRequest, StandingRequest, StandingResponse,
};
use gantry_host::{Host, Parts, Section, Service};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic::{Request, Response, Status};

/// A JWK set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Keys(pub Value);

impl Section for Keys {}

pub struct Identity;
struct Api;

#[tonic::async_trait]
impl Tokens for Api {
    async fn issue_registry_credential(&self, _: Request<IssueRegistryCredentialRequest>) -> Result<Response<IssueRegistryCredentialResponse>, Status> {
        // All images of these tests are on the nodes already.
        Err(Status::unimplemented("no credentials here"))
    }

    async fn standing(&self, _: Request<StandingRequest>) -> Result<Response<StandingResponse>, Status> {
        Ok(Response::new(StandingResponse { stands: true }))
    }

    async fn node_standing(&self, _: Request<NodeStandingRequest>) -> Result<Response<StandingResponse>, Status> {
        Ok(Response::new(StandingResponse { stands: true }))
    }
}

#[async_trait]
impl Service for Identity {
    const NAME: &'static str = "identity";
    const DATABASE: bool = false;
    type Config = Keys;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(config: Keys, _: Host) -> anyhow::Result<Parts> {
        let Keys(keys) = config;
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(TokensServer::new(Api));
        let router = axum::Router::new().route("/oauth2/jwks", get(move || async move { Json(keys.clone()) }));
        Ok(Parts { grpc: Some(grpc.routes()), router, ..Parts::default() })
    }
}
