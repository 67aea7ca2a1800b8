//! Identity, registry and billing as far as the scheduler asks them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gantry_contract::proto::billing::quotas_server::{Quotas, QuotasServer};
use gantry_contract::proto::billing::{ReserveRequest, ReserveResponse};
use gantry_contract::proto::identity::tokens_server::{Tokens, TokensServer};
use gantry_contract::proto::identity::{
    IssueRegistryCredentialRequest, IssueRegistryCredentialResponse, NodeStandingRequest, StandingRequest, StandingResponse,
};
use gantry_contract::proto::registry::images_server::{Images, ImagesServer};
use gantry_contract::proto::registry::{Platform, ResolveRequest, ResolveResponse};
use gantry_host::{Host, Leaf, NodeCertificate, Parts, Pki, Section, Service};
use gantry_kernel::{Kind, OffsetDateTime, Problem};
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tonic::{Request, Response, Status, async_trait};

/// The most a project may reserve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub cpu_millis: u64,
    #[serde(skip)]
    pub gate: Option<Gate>,
}

/// Whoever asks for 777 millicores waits until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    pub entered: Arc<Notify>,
    pub opened: Arc<Notify>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_millis: 100_000, gate: None }
    }
}

impl Section for Limits {}

pub struct Billing;
struct BillingApi {
    limit: u64,
    gate: Option<Gate>,
    /// Of each holder.
    held: Mutex<BTreeMap<String, u64>>,
}

#[async_trait]
impl Quotas for BillingApi {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let request = request.into_inner();
        let asked = request.total.unwrap_or_default().cpu_millis;
        if let Some(gate) = self.gate.as_ref().filter(|_| asked == 777) {
            gate.entered.notify_one();
            gate.opened.notified().await;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let used: u64 = held.iter().filter(|(holder, _)| **holder != request.holder).map(|(_, n)| n).sum();
        if used + asked > self.limit {
            let text = format!("cpu: limit {} millicores, used {used}, asked {asked}", self.limit);
            let code = if asked > self.limit { "billing.quota_too_small" } else { "billing.quota_exceeded" };
            return Err(Problem::new(Kind::QuotaExceeded, code, text).into());
        }
        if !request.check_only {
            held.insert(request.holder, asked);
        }
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
        grpc.add_service(QuotasServer::new(BillingApi { limit: config.cpu_millis, gate: config.gate, held: Mutex::default() }));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}

/// What the registry says of images.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Digests {
    /// Of every tag of a repository (`<org>/<project>/<name>`): where a node has the image. Of other repositories a tag `7` has the
    /// digest `sha256:00…07`, and there is no tag `missing`.
    pub by_repository: BTreeMap<String, String>,
}

impl Section for Digests {}

pub struct Registry;
struct RegistryApi(Digests);

#[async_trait]
impl Images for RegistryApi {
    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let reference = request.into_inner().reference;
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((&reference, "latest"));
        if tag == "missing" {
            return Err(Status::not_found("no such tag"));
        }
        let known = self.0.by_repository.get(repository).cloned();
        // What nodes have is their machine's; what they only pretend to have is what they pretend to be.
        let architecture = if known.is_some() && cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Ok(Response::new(ResolveResponse {
            repository: repository.into(),
            digest: known.unwrap_or_else(|| format!("sha256:{tag:0>64}")),
            media_type: String::new(),
            size_bytes: 1,
            platforms: vec![Platform { os: "linux".into(), architecture: architecture.into(), variant: String::new() }],
        }))
    }
}

#[async_trait]
impl Service for Registry {
    const NAME: &'static str = "registry";
    const DATABASE: bool = false;
    type Config = Digests;

    fn openapi() -> utoipa::openapi::OpenApi {
        utoipa::openapi::OpenApi::default()
    }

    async fn start(digests: Digests, _: Host) -> anyhow::Result<Parts> {
        let mut grpc = tonic::service::Routes::builder();
        grpc.add_service(ImagesServer::new(RegistryApi(digests)));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}

/// A certificate of a node, which counts at the identity below until `until`.
pub fn node_leaf(pki: &Pki, node: &str, until: OffsetDateTime) -> Leaf {
    let key = KeyPair::generate().expect("a key");
    let request = CertificateParams::new(Vec::new()).and_then(|params| params.serialize_request(&key)).and_then(|request| request.pem()).expect("a request");
    let mut serial = [0x40; 16];
    serial[8..].copy_from_slice(&until.unix_timestamp().to_be_bytes());
    let now = gantry_kernel::Env::system().now();
    let wanted = NodeCertificate { node, request: &request, serial, now, life: time::Duration::hours(24) };
    Leaf { chain_pem: pki.sign_node(&wanted).expect("the authority signs"), key_pem: key.serialize_pem() }
}

pub struct Identity;
/// How many credentials have been given before: no two are the same.
struct IdentityApi(AtomicU64);

#[async_trait]
impl Tokens for IdentityApi {
    async fn issue_registry_credential(&self, request: Request<IssueRegistryCredentialRequest>) -> Result<Response<IssueRegistryCredentialResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let asked = request.into_inner();
        let patterns: Vec<_> = asked.grants.iter().map(|g| g.pattern.clone()).collect();
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let password = patterns.join(" ") + &if before > 0 { format!(" {before}") } else { String::new() };
        let expires_at_unix = gantry_kernel::Env::system().now().unix_timestamp() + i64::from(asked.ttl_seconds);
        Ok(Response::new(IssueRegistryCredentialResponse { username: "node".into(), password, expires_at_unix }))
    }

    /// A session of these tests says itself when its sign-in ends: `until:<Unix time>`; others stand for ever.
    async fn standing(&self, request: Request<StandingRequest>) -> Result<Response<StandingResponse>, Status> {
        gantry_auth::peer(&request, &["catalog", "cicd", "monitoring", "registry", "scheduler"])?;
        let until = request.into_inner().session.strip_prefix("until:").and_then(|t| t.parse::<i64>().ok());
        let stands = until.is_none_or(|until| gantry_kernel::Env::system().now().unix_timestamp() < until);
        Ok(Response::new(StandingResponse { stands }))
    }

    /// A certificate of these tests says itself when it is revoked: its serial ends with that Unix time, as 8 bytes.
    async fn node_standing(&self, request: Request<NodeStandingRequest>) -> Result<Response<StandingResponse>, Status> {
        gantry_auth::peer(&request, &["scheduler"])?;
        let serial = request.into_inner().serial;
        let until = serial.get(serial.len().saturating_sub(16)..).and_then(|t| i64::from_str_radix(t, 16).ok());
        let stands = until.is_none_or(|until| gantry_kernel::Env::system().now().unix_timestamp() < until);
        Ok(Response::new(StandingResponse { stands }))
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
        grpc.add_service(TokensServer::new(IdentityApi(AtomicU64::new(0))));
        Ok(Parts { grpc: Some(grpc.routes()), ..Parts::default() })
    }
}
