//! Identity, registry and billing as far as the scheduler asks them.

use async_trait::async_trait;
use gantry_contract::proto::billing::quotas_server::{Quotas, QuotasServer};
use gantry_contract::proto::billing::{ReserveRequest, ReserveResponse};
use gantry_contract::proto::identity::tokens_server::{Tokens, TokensServer};
use gantry_contract::proto::identity::{IssueRegistryCredentialRequest, IssueRegistryCredentialResponse};
use gantry_contract::proto::registry::images_server::{Images, ImagesServer};
use gantry_contract::proto::registry::{Platform, ResolveRequest, ResolveResponse};
use gantry_host::{Host, Parts, Section, Service};
use gantry_kernel::{Kind, Problem};
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};

/// The most a project may reserve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub cpu_millis: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_millis: 100_000 }
    }
}

impl Section for Limits {}

pub struct Billing;
struct BillingApi {
    limit: u64,
    /// Of each holder.
    held: std::sync::Mutex<std::collections::BTreeMap<String, u64>>,
}

#[tonic::async_trait]
impl Quotas for BillingApi {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let request = request.into_inner();
        let asked = request.total.unwrap_or_default().cpu_millis;
        let mut held = self.held.lock().unwrap();
        let used: u64 = held.iter().filter(|(holder, _)| **holder != request.holder).map(|(_, n)| n).sum();
        if used + asked > self.limit {
            let text = format!("cpu: limit {} millicores, used {used}, asked {asked}", self.limit);
            let code = if asked > self.limit { "billing.quota_too_small" } else { "billing.quota_exceeded" };
            return Err(Problem::new(Kind::QuotaExceeded, code, text).into());
        }
        held.insert(request.holder, asked);
        Ok(Response::new(ReserveResponse {}))
    }
}

#[async_trait]
impl Service for Billing {
    const NAME: &'static str = "billing";
    const DATABASE: bool = false;
    type Config = Limits;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(config: Limits, _: Host) -> anyhow::Result<Parts> {
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(QuotasServer::new(BillingApi { limit: config.cpu_millis, held: Default::default() }));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}

pub struct Registry;
struct RegistryApi;

#[tonic::async_trait]
impl Images for RegistryApi {
    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let reference = request.into_inner().reference;
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((&reference, "latest"));
        if tag == "missing" {
            return Err(Status::not_found("no such tag"));
        }
        Ok(Response::new(ResolveResponse {
            repository: repository.into(),
            digest: format!("sha256:{tag:0>64}"),
            media_type: String::new(),
            size_bytes: 1,
            platforms: vec![Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() }],
        }))
    }
}

#[async_trait]
impl Service for Registry {
    const NAME: &'static str = "registry";
    const DATABASE: bool = false;
    type Config = gantry_host::config::Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(_: Self::Config, _: Host) -> anyhow::Result<Parts> {
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(ImagesServer::new(RegistryApi));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}

pub struct Identity;
/// How many credentials have been given before: no two are the same.
struct IdentityApi(std::sync::atomic::AtomicU64);

#[tonic::async_trait]
impl Tokens for IdentityApi {
    async fn issue_registry_credential(&self, request: Request<IssueRegistryCredentialRequest>) -> Result<Response<IssueRegistryCredentialResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let asked = request.into_inner();
        let patterns: Vec<_> = asked.grants.iter().map(|g| g.pattern.clone()).collect();
        let before = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let password = patterns.join(" ") + &if before > 0 { format!(" {before}") } else { String::new() };
        let expires_at_unix = gantry_kernel::Env::system().now().unix_timestamp() + i64::from(asked.ttl_seconds);
        Ok(Response::new(IssueRegistryCredentialResponse { username: "node".into(), password, expires_at_unix }))
    }
}

#[async_trait]
impl Service for Identity {
    const NAME: &'static str = "identity";
    const DATABASE: bool = false;
    type Config = gantry_host::config::Nothing;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(_: Self::Config, _: Host) -> anyhow::Result<Parts> {
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(TokensServer::new(IdentityApi(0.into())));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}
