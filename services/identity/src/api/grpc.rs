//! Credentials for platform services, which prove themselves by their certificates; and which gRPC services are the REST API itself.

use gantry_auth::peer;
use gantry_contract::proto::identity::tokens_server::{Tokens, TokensServer};
use gantry_contract::proto::identity::{
    IssueRegistryCredentialRequest, IssueRegistryCredentialResponse, NodeStandingRequest, StandingRequest, StandingResponse,
};
use gantry_kernel::{Problem, Uuid};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::app::context::Fact;
use crate::app::registry_token::pattern_of;
use crate::app::standing::Begun;

/// Nobody else gets credentials for images by themselves: an agent has what the scheduler sends it, for the applications of its node.
const CALLERS: &[&str] = &["cicd", "scheduler"];

/// Who carries what goes on longer than a token: sessions in instances, followed logs, watched lists.
const CARRIERS: &[&str] = &["catalog", "cicd", "identity", "monitoring", "registry", "scheduler"];

/// Who hears what agents say for their nodes.
const HEARERS: &[&str] = &["scheduler"];

/// Their RPCs say which REST call they are (`schemas/proto/identity/v1`).
pub const OF_REST: &[&str] = &[
    "gantry.identity.v1.Account",
    "gantry.identity.v1.Brandings",
    "gantry.identity.v1.Certificates",
    "gantry.identity.v1.Clients",
    "gantry.identity.v1.ConfigurationSets",
    "gantry.identity.v1.Mails",
    "gantry.identity.v1.NodeIdentities",
    "gantry.identity.v1.Organisations",
    "gantry.identity.v1.Projects",
    "gantry.identity.v1.Rights",
    "gantry.identity.v1.SecurityPolicies",
    "gantry.identity.v1.SecurityRecord",
    "gantry.identity.v1.ServiceAccounts",
    "gantry.identity.v1.Teams",
    "gantry.identity.v1.Upstreams",
    "gantry.identity.v1.Users",
];

pub struct TokensService(App);

pub fn service(app: App) -> TokensServer<TokensService> {
    TokensServer::new(TokensService(app))
}

#[tonic::async_trait]
impl Tokens for TokensService {
    async fn issue_registry_credential(&self, request: Request<IssueRegistryCredentialRequest>) -> Result<Response<IssueRegistryCredentialResponse>, Status> {
        let service = peer(&request, CALLERS)?;
        self.issue(&service, request.into_inner()).await.map(Response::new).map_err(Status::from)
    }

    async fn standing(&self, request: Request<StandingRequest>) -> Result<Response<StandingResponse>, Status> {
        peer(&request, CARRIERS)?;
        let StandingRequest { token_id, session, subject, client } = request.into_inner();
        let session = match session.as_str() {
            "" => None,
            text => Some(text.parse::<Uuid>().map_err(|_| Problem::invalid("session", "must be a UUID"))?),
        };
        let stands = self.0.stands(&Begun { token_id: &token_id, session, subject: &subject, client: &client }).await?;
        Ok(Response::new(StandingResponse { stands }))
    }

    async fn node_standing(&self, request: Request<NodeStandingRequest>) -> Result<Response<StandingResponse>, Status> {
        peer(&request, HEARERS)?;
        let NodeStandingRequest { node, serial } = request.into_inner();
        let stands = self.0.node_stands(&node, &serial).await?;
        Ok(Response::new(StandingResponse { stands }))
    }
}

impl TokensService {
    async fn issue(&self, service: &str, request: IssueRegistryCredentialRequest) -> Result<IssueRegistryCredentialResponse, Problem> {
        let app = &self.0;
        let grants = request.grants.iter().map(|g| pattern_of(&g.pattern, &g.actions)).collect::<Result<Vec<_>, _>>()?;
        let names = grants.iter().map(|g| g.pattern.as_str()).collect::<Vec<_>>().join(" ");
        let on_behalf = Some(request.subject.as_str()).filter(|s| !s.is_empty());
        let issued = app.registry_credential(service, on_behalf, grants, request.ttl_seconds);
        let actor = format!("service:{service}");
        let (result, reason) = match &issued {
            Ok(_) => ("ok", request.subject.clone()),
            Err(problem) => ("denied", problem.detail.clone()),
        };
        app.record(Fact { actor: &actor, action: "credential.issued", object: &names, result, reason: &reason, from: "" }).await;
        let (username, password, expires_at) = issued?;
        Ok(IssueRegistryCredentialResponse { username, password, expires_at_unix: expires_at.unix_timestamp() })
    }
}
