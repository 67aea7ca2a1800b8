//! The scheduler on the real host and durable servers, with neighbours that answer as the contract says, one project, and a token of
//! somebody who may do everything. What groups of applications and nodes have in common.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gantry_host::{Host, Running, SERVER_SUFFIX, start};
use gantry_kernel::{Role, Scope, UserId};
use gantry_scheduler::{Config, Scheduler};
use gantry_testkit::neighbours::{Billing, Digests, Identity, Limits, Registry};
use gantry_testkit::{Signer, TestIdentity};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

use crate::bench::former;
use crate::bench::ground::{Ground, runtime};

const ORG: &str = "acme";
const PROJECT: &str = "bench";
/// Millicores that a project may reserve: more than anybody here asks for.
const QUOTA: u64 = 1 << 40;

/// Everything ends when it is dropped.
pub struct Cloud {
    pub running: Running,
    pub host: Host,
    http: reqwest::Client,
    signer: Signer,
    user: UserId,
    _identity: TestIdentity,
    runtime: Runtime,
    // Last: servers go when nothing uses them any more.
    pub ground: Ground,
}

impl Cloud {
    /// `spaces`: their names. `digests`: what the registry says of the images that real nodes have.
    ///
    /// # Errors
    /// When servers or services do not start.
    pub fn start(config: Config, digests: Digests, spaces: &[&str]) -> Result<Self> {
        let ground = Ground::start()?;
        let runtime = runtime()?;
        let (running, host, identity, signer, user) = runtime.block_on(async {
            let running = ground.running()?;
            let identity = TestIdentity::start(&running).await?;
            start::<Billing>(Limits { cpu_millis: QUOTA, ..Limits::default() }, &running).await?;
            start::<Registry>(digests, &running).await?;
            start::<Identity>(gantry_host::config::Nothing {}, &running).await?;
            let host = start::<Scheduler>(config, &running).await?;
            let signer = Signer::new();
            host.auth.verifier.keys().set(&signer.set);
            let project = identity.project(&identity.org(ORG).await, PROJECT, false).await;
            for space in spaces {
                identity.space(&project, space).await;
            }
            let user = UserId(running.env.uuid());
            for scope in [project.scope(), Scope::Platform] {
                identity.grant(&format!("user:{user}"), Role::Admin, scope).await;
            }
            identity.settle(&host).await;
            anyhow::Ok((running, host, identity, signer, user))
        })?;
        let leaf = running.pki().leaf("gateway", &[])?;
        let tls = gantry_host::client_config(running.pki(), &leaf)?;
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().timeout(Duration::from_secs(60)).build()?;
        Ok(Self { running, host, http, signer, user, _identity: identity, runtime, ground })
    }

    pub fn run<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    pub fn apps(space: &str) -> String {
        format!("/api/v1/orgs/{ORG}/projects/{PROJECT}/spaces/{space}/apps")
    }

    /// The reference of an image in this project's registry, as documents name it.
    pub fn image(name: &str) -> String {
        format!("{}:1", Self::repository(name))
    }

    pub fn repository(name: &str) -> String {
        format!("{ORG}/{PROJECT}/{name}")
    }

    /// A client that trusts this installation and shows the certificate of service `gateway`.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// One request to the scheduler: the JSON of its answer (null if there is none).
    ///
    /// # Errors
    /// When it is refused; says how.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        // Made anew: a measurement lasts longer than a token.
        let token = self.signer.user(&self.running.env, &self.host.platform.public_url, self.user, "ada");
        let url = format!("{}{path}", self.host.url_of("scheduler")?);
        let mut request = self.http.request(method.clone(), url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&bytes));
        }
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Deploys a document (`format`: compose or gantry); gives the revision.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn deploy(&self, space: &str, name: &str, format: &str, document: &str) -> Result<u64> {
        let body = json!({"name": name, "format": format, "document": document, "reason": "bench"});
        let answer = self.call(Method::POST, &Self::apps(space), Some(&body)).await?;
        answer["revision"].as_u64().with_context(|| format!("no revision in {answer}"))
    }

    /// # Errors
    /// When it is refused.
    pub async fn delete(&self, space: &str, name: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("{}/{name}", Self::apps(space)), None).await.map(drop)
    }

    /// Waits until an application runs with this revision, all of it.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or the release fails.
    pub async fn runs(&self, space: &str, name: &str, revision: u64, limit: Duration) -> Result<()> {
        let (path, end) = (format!("{}/{name}", Self::apps(space)), Instant::now() + limit);
        loop {
            let app = self.call(Method::GET, &path, None).await?;
            if app["state"] == "running" && app["revision"] == revision && app["finished_revision"] == revision {
                return Ok(());
            }
            ensure!(app["state"] != "failed" && app["revision"].as_u64() >= Some(revision), "{name} did not come up: {}", app["reason"]);
            ensure!(Instant::now() < end, "{name} does not run after {limit:?}: {}: {}", app["state"], app["reason"]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nodes on which something can be placed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn known_nodes(&self) -> Result<usize> {
        let sql = "select count(*) from nodes where not lost and not removed";
        let (count,): (i64,) = sqlx::query_as(sql).fetch_one(&self.host.db().pool).await?;
        Ok(usize::try_from(count)?)
    }

    /// Instances that have not ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn alive(&self) -> Result<usize> {
        let sql = "select count(*) from instances where ended_at is null";
        let (count,): (i64,) = sqlx::query_as(sql).fetch_one(&self.host.db().pool).await?;
        Ok(usize::try_from(count)?)
    }

    /// A connection as agents have it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn agents_channel(&self) -> Result<Channel> {
        let leaf = self.running.pki().leaf("agent", &[])?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.running.pki().ca_pem))
            .identity(TlsIdentity::from_pem(&leaf.chain_pem, &leaf.key_pem))
            .domain_name(format!("scheduler.{SERVER_SUFFIX}"));
        Ok(Endpoint::from_shared(self.host.url_of("scheduler")?)?.tls_config(tls)?.connect().await?)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.runtime.block_on(self.running.stop());
    }
}

/// Waits until `met`, looking every few milliseconds; says `what` if it takes longer than `limit`.
///
/// # Errors
/// Then, or when `met` fails.
pub async fn until(what: &str, limit: Duration, mut met: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    former::doing(what);
    let end = Instant::now() + limit;
    while !met().await? {
        ensure!(Instant::now() < end, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
